import { assert, assertEquals, assertNotMatch, assertStringIncludes } from "@std/assert";

import { parsePciNames } from "../../src/pci/ids.ts";
import { judgePair } from "../../src/pci/p2p.ts";
import { isPeer, readTopology, type Topology } from "../../src/pci/topology.ts";
import { pictureHtml, pictureSvg } from "../../tools/render/pci/topology_picture.ts";
import { findChromium, measurePage } from "./chromium.ts";
import { type FunctionSpec, pciMachine } from "./pci_machine.ts";

const NAMES = parsePciNames("10de  NVIDIA Corporation\n\t2330  GH100 [H100 SXM5 80GB] <&\"'>\n", "made-up");

/** Three switches with eight devices each, one of them downgraded: wide, deep, and with names that need escaping. */
function bigMachine(): Topology {
  const functions: FunctionSpec[] = [{ at: "00:00.0", id: "8086:09a2", kind: "host-bridge" }];
  for (let s = 0; s < 3; s++) {
    const bus = 0x10 + 0x20 * s;
    const at = (n: number): string => (bus + n).toString(16).padStart(2, "0");
    functions.push(
      {
        at: `00:0${s + 1}.0`,
        id: "8086:347a",
        kind: "root-port",
        buses: [bus, bus + 9],
        link: [4, 16, 4, 16],
        acs: [],
      },
      { at: `${at(0)}:00.0`, id: "10b5:8747", kind: "upstream", buses: [bus + 1, bus + 9], link: [4, 16, 4, 16] },
    );
    for (let d = 0; d < 8; d++) {
      const port = `${at(1)}:${d.toString(16).padStart(2, "0")}.0`;
      functions.push(
        {
          at: port,
          id: "10b5:8747",
          kind: "downstream",
          buses: [bus + 2 + d, bus + 2 + d],
          link: [4, 16, 4, 16],
          acs: [],
        },
        {
          at: `${at(2 + d)}:00.0`,
          id: "10de:2330",
          class: "030200",
          link: d === 3 ? [1, 8, 5, 16] : [4, 16, 5, 16],
          bars: [{ bar: 0, address: 0x8000_0000 + 0x1000_0000 * (8 * s + d), size: 0x100_0000 }],
          group: 8 * s + d,
          node: s,
          driver: "nvidia",
        },
      );
    }
  }
  return readTopology(pciMachine({ functions, cpu: { "model name": "A <processor> & more" } }).host);
}

const topology = bigMachine();
const shown = new Set(topology.nodes);
const peers = topology.nodes.filter(isPeer);
const verdicts = peers.slice(0, 8).flatMap((a) => peers.slice(0, 8).map((b) => judgePair(topology, a, b)));

Deno.test("the picture has every function once, is well-formed, and names nothing that would be fetched", () => {
  const svg = pictureSvg(topology, shown, NAMES);
  const drawn = [...svg.matchAll(/data-function="([^"]+)"/g)].map(([, name]) => name);
  assertEquals(drawn.toSorted(), [...topology.nodes.map((node) => node.function.name), "pci0000:00"].toSorted());
  const html = pictureHtml(topology, shown, NAMES, verdicts);
  for (const text of [svg.replace("http://www.w3.org/2000/svg", ""), html.replace("http://www.w3.org/2000/svg", "")]) {
    assertNotMatch(text, /https?:|url\(|@import|<script|\bsrc=|\bhref=/);
  }
  assertStringIncludes(svg, "A &#60;processor&#62; &#38; more");
  // Every tag that is opened is closed, in order.
  const open: string[] = [];
  for (const [, close, name = "", self] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (close === "/") assertEquals(open.pop(), name);
    else if (self !== "/") open.push(name);
  }
  assertEquals(open, []);
});

interface Measured {
  readonly boxes: readonly { name: string; x: number; y: number; right: number; bottom: number; inside: boolean }[];
  readonly width: number;
  readonly height: number;
  readonly fetched: readonly string[];
  readonly refused: readonly string[];
  readonly contrast: number;
  readonly error?: string;
}

/** Runs in the page: where the boxes are, whether texts fit in them, what was fetched, and the worst contrast. */
const MEASURE = `
const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
const light = (color) => { const [r, g, b] = rgb(color).map((v) => { v /= 255;
  return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
let contrast = 99;
const svg = document.querySelector("svg").getBoundingClientRect();
const boxes = [...document.querySelectorAll("g[data-function]")].map((g) => {
  const rect = g.querySelector("rect").getBoundingClientRect();
  const fill = getComputedStyle(g.querySelector("rect")).fill;
  let inside = true;
  for (const text of g.querySelectorAll("text,tspan")) {
    const place = text.getBoundingClientRect();
    if (place.width === 0) continue;
    inside &&= place.left >= rect.left && place.right <= rect.right && place.top >= rect.top && place.bottom <= rect.bottom;
    contrast = Math.min(contrast, ratio(getComputedStyle(text).fill, fill));
  }
  return { name: g.dataset.function, x: rect.left, y: rect.top, right: rect.right, bottom: rect.bottom, inside };
});
for (const cell of document.querySelectorAll("td,th,h2")) {
  const style = getComputedStyle(cell);
  const own = style.backgroundColor;
  const paper = own === "rgba(0, 0, 0, 0)" ? getComputedStyle(document.body).backgroundColor : own;
  contrast = Math.min(contrast, ratio(style.color, paper));
}
return { boxes, width: svg.right, height: svg.bottom, contrast, refused: window.refused,
  fetched: performance.getEntriesByType("resource").map((entry) => entry.name) };
`;

const chromium = findChromium();
const notRun = chromium === null ? " (not run: there is no chromium on the PATH)" : "";

for (const scheme of ["light", "dark"] as const) {
  Deno.test({
    name:
      `in a browser, ${scheme}: all functions are visible, nothing overlaps, nothing is fetched, texts can be read${notRun}`,
    ignore: chromium === null,
    fn: async () => {
      const html = pictureHtml(topology, shown, NAMES, verdicts);
      const measured = await measurePage(chromium ?? "", html, MEASURE, scheme) as Measured;
      assertEquals(measured.error, undefined);
      assertEquals(measured.boxes.length, topology.nodes.length + 1);
      assertEquals([measured.fetched, measured.refused], [[], []]);
      for (const box of measured.boxes) {
        assert(box.x >= 0 && box.y >= 0 && box.right <= measured.width && box.bottom <= measured.height, box.name);
        assert(box.inside, `${box.name}: its text leaves its box`);
        for (const other of measured.boxes) {
          const apart = box === other || box.right <= other.x || other.right <= box.x || box.bottom <= other.y ||
            other.bottom <= box.y;
          assert(apart, `${box.name} and ${other.name} overlap`);
        }
      }
      // WCAG 2.1, 1.4.3: 4.5 to 1 for text of this size.
      assert(measured.contrast >= 4.5, `the worst contrast is ${measured.contrast.toFixed(2)} to 1`);
    },
  });
}

Deno.test({
  name: `in a browser: a page that does fetch something is found out${notRun}`,
  ignore: chromium === null,
  fn: async () => {
    const html = pictureHtml(topology, shown, NAMES, []).replace("</body>", '<img src="x.png"></body>');
    const measured = await measurePage(chromium ?? "", html, MEASURE) as Measured;
    assert(measured.refused.length + measured.fetched.length > 0);
  },
});
