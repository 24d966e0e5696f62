import { assert, assertEquals } from "@std/assert";

import { pictureHtml } from "../../tools/render/pci/topology_picture.ts";
import { withNeeds } from "../needs.ts";
import { findChromium, measurePage } from "./chromium.ts";
import { matrix, NAMES, shown, topology } from "./picture_machine.ts";

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

for (const scheme of ["light", "dark"] as const) {
  Deno.test({
    ...withNeeds(
      `in a browser, ${scheme}: all functions are visible, nothing overlaps, nothing is fetched, texts can be read`,
      "chromium",
    ),
    fn: async () => {
      const html = pictureHtml(topology, shown, NAMES, matrix);
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
  ...withNeeds("in a browser: a page that does fetch something is found out", "chromium"),
  fn: async () => {
    const html = pictureHtml(topology, shown, NAMES, null).replace("</body>", '<img src="x.png"></body>');
    const measured = await measurePage(chromium ?? "", html, MEASURE) as Measured;
    assert(measured.refused.length + measured.fetched.length > 0);
  },
});
