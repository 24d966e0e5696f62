/** Pages in a browser: light, dark, on a telephone, printed, searched and folded. */

import { assert, assertEquals } from "@std/assert";

import { pictureHtml } from "../../tools/render/pci/topology_page.ts";
import { withNeeds } from "../needs.ts";
import { findChromium, measurePage } from "./chromium.ts";
import { large, largeMatrix, matrix, picture, server, serverMatrix, topology } from "./picture_machine.ts";

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
const boxes = [...document.querySelectorAll("[data-function]")].map((row) => {
  const rect = row.getBoundingClientRect();
  const fill = getComputedStyle(row).backgroundColor;
  let inside = true;
  for (const text of row.querySelectorAll("b,small,span")) {
    const place = text.getBoundingClientRect();
    if (place.width === 0) continue;
    inside &&= place.left >= rect.left && place.right <= rect.right && place.top >= rect.top && place.bottom <= rect.bottom;
    contrast = Math.min(contrast, ratio(getComputedStyle(text).color, fill));
  }
  return { name: row.dataset.function, x: rect.left, y: rect.top, right: rect.right, bottom: rect.bottom, inside };
});
for (const cell of document.querySelectorAll("td,th,h2,h3,.legend span,#count")) {
  const style = getComputedStyle(cell);
  const own = style.backgroundColor;
  const paper = own === "rgba(0, 0, 0, 0)" ? getComputedStyle(document.body).backgroundColor : own;
  contrast = Math.min(contrast, ratio(style.color, paper));
}
const { scrollWidth: width, scrollHeight: height } = document.documentElement;
return { boxes, width, height, contrast, refused: window.refused,
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
      const html = pictureHtml(picture, matrix);
      const measured = await measurePage(chromium ?? "", html, MEASURE, scheme) as Measured;
      assertEquals(measured.error, undefined);
      assertEquals(measured.boxes.length, topology.nodes.length + 1 + (picture.numaNodes?.length ?? 0));
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
    const html = pictureHtml(picture, null).replace("</body>", '<img src="x.png"></body>');
    const measured = await measurePage(chromium ?? "", html, MEASURE) as Measured;
    assert(measured.refused.length + measured.fetched.length > 0);
  },
});

/** The page in a frame of this width: a window without a screen is never so narrow. */
function inFrame(page: string, width: number): string {
  const text = page.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
  return `<!doctype html><html><head></head><body><iframe style="width:${width}px;height:800px;border:0" srcdoc="${text}"></iframe></body></html>`;
}

for (
  const [name, of, verdicts] of [["the server", server, serverMatrix], ["400 functions", large, largeMatrix]] as const
) {
  Deno.test({
    ...withNeeds(
      `in a browser, 390 px wide: ${name} needs no scrolling sideways, but for the matrix in its own frame`,
      "chromium",
    ),
    fn: async () => {
      const script = `const page = document.querySelector("iframe").contentDocument.documentElement;
        for (const one of page.querySelectorAll("details")) one.open = true;
        const rows = [...page.querySelectorAll(".row")].filter((row) => row.getBoundingClientRect().width > 0);
        return { width: page.scrollWidth, rows: rows.length,
          right: Math.max(...rows.map((row) => row.getBoundingClientRect().right)) };`;
      const measured = await measurePage(chromium ?? "", inFrame(pictureHtml(of, verdicts), 390), script) as {
        width: number;
        rows: number;
        right: number;
        error?: string;
      };
      assertEquals(measured.error, undefined);
      assert(measured.rows >= of.shown.size, `${measured.rows} rows`);
      assert(measured.width <= 390 && measured.right <= 390, JSON.stringify(measured));
    },
  });
}

Deno.test({
  ...withNeeds(
    "in a browser: a search unfolds what it finds, and says how much; printing unfolds everything, and folds it again",
    "chromium",
  ),
  fn: async () => {
    const script = `const open = () => [...document.querySelectorAll("details")].filter((one) => one.open).length;
      const seen = () => [...document.querySelectorAll("[data-function]")].filter((row) => row.checkVisibility({
        contentVisibilityAuto: true })).length;
      const result = { all: document.querySelectorAll("details").length, before: seen(), openBefore: open() };
      dispatchEvent(new Event("beforeprint")); result.printed = open();
      dispatchEvent(new Event("afterprint")); result.openAfter = open();
      const find = document.getElementById("find"); find.value = "0000:05:00.0".slice(5);
      find.dispatchEvent(new Event("input"));
      result.count = document.getElementById("count").textContent;
      const hits = [...document.querySelectorAll(".hit")]; result.hits = hits.map((row) => row.dataset.function);
      result.isSeen = hits.every((row) => row.getBoundingClientRect().height > 0);
      document.getElementById("fold").click(); result.folded = open();
      document.getElementById("unfold").click(); result.unfolded = open();
      return result;`;
    const measured = await measurePage(chromium ?? "", pictureHtml(large, largeMatrix), script) as Record<
      string,
      unknown
    >;
    assertEquals(measured.error, undefined);
    const { all, before, openBefore, printed, openAfter, count, hits, isSeen, folded, unfolded } = measured;
    assert(
      typeof openBefore === "number" && typeof all === "number" && openBefore < all / 2,
      `${openBefore} of ${all} open`,
    );
    assert(typeof before === "number" && before < 60, `${before} rows at first`);
    assertEquals([printed, openAfter, folded, unfolded], [all, openBefore, 0, all]);
    const expected = large.topology.nodes.map((node) => node.function.name).filter((one) => one.endsWith("05:00.0"));
    assertEquals([hits, isSeen], [expected, true]);
    assertEquals(count, `${expected.length} of ${large.shown.size + 6}`);
  },
});
