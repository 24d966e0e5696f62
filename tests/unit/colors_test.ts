/** Colours of pictures and charts: told apart by everybody, and read on their ground. */

import { assert, assertAlmostEquals } from "@std/assert";

import { PAPER, PAPER_DARK, SERIES } from "../../tools/render/chart/colors.ts";
import { EDGES, PICTURE_COLORS } from "../../tools/render/pci/topology_colors.ts";
import { colorDistance, contrast, VISIONS } from "./color_vision.ts";

/** CIEDE2000: below 1 nobody sees it; 10 is seen at a glance. */
const DISTANCE = 10;

function assertApart(colors: Readonly<Record<string, string>>, what: string): void {
  const all = Object.entries(colors);
  for (const vision of VISIONS) {
    for (const [i, [name, color]] of all.entries()) {
      for (const [other, another] of all.slice(i + 1)) {
        const distance = colorDistance(color, another, vision);
        assert(distance >= DISTANCE, `${what}, ${vision}: ${name} and ${other} are ${distance.toFixed(1)} apart`);
      }
    }
  }
}

Deno.test("the distance of colours is CIEDE2000's, and those without a cone see less", () => {
  assertAlmostEquals(colorDistance("#000000", "#ffffff", "normal"), 100, 0.01);
  assertAlmostEquals(colorDistance("#336699", "#336699", "deuteranopia"), 0, 1e-9);
  // Red and green of the same lightness.
  const [red, green] = ["#b03000", "#5b7a00"];
  assert(colorDistance(red, green, "normal") > 40);
  assert(colorDistance(red, green, "deuteranopia") < 12);
});

Deno.test("series of charts are told apart with every colour vision, on light and dark", () => {
  assertApart(Object.fromEntries(SERIES.map((color) => [color, color])), "series");
  // WCAG 2.1, 1.4.11: 3 to 1 for what has to be seen.
  for (const color of SERIES) {
    for (const paper of [PAPER, PAPER_DARK]) assert(contrast(color, paper) >= 3, `${color} on ${paper}`);
  }
});

Deno.test("kinds of devices and verdicts are told apart with every colour vision", () => {
  // A NUMA node has the edge of a root complex: it stands left of it.
  const { numa: _, ...edges } = EDGES;
  assertApart(edges, "edges");
  assertApart(PICTURE_COLORS.light.verdicts, "verdicts, light");
  assertApart(PICTURE_COLORS.dark.verdicts, "verdicts, dark");
});

Deno.test("texts can be read on every box and verdict, in colour and in grey", () => {
  for (const { paper, ink, soft, warn, fills, verdicts } of Object.values(PICTURE_COLORS)) {
    // Contrast weighs luminance alone, so it is the same in grey.
    for (const ground of [paper, ...Object.values(fills), ...Object.values(verdicts)]) {
      assert(contrast(ink, ground) >= 4.5, `${ink} on ${ground}: ${contrast(ink, ground)}`);
    }
    for (const ground of [paper, ...Object.values(fills)]) {
      for (const text of [soft, warn]) {
        assert(contrast(text, ground) >= 4.5, `${text} on ${ground}: ${contrast(text, ground)}`);
      }
    }
  }
});
