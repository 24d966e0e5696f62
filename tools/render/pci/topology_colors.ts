/**
 * The colours of pictures of PCI machines. `tests/unit/colors_test.ts` says for whom they differ, and that texts can be read on them.
 * @module
 */

import type { P2pAnswer } from "../../../src/pci/p2p.ts";

/** What a box may be of, as a class of the style sheet, and its name in the legend. */
export const BOX_KINDS = [
  ["numa", "NUMA node"],
  ["root", "root complex"],
  ["port", "port, bridge"],
  ["drive", "drive"],
  ["gpu", "GPU, accelerator"],
  ["cxl", "CXL memory"],
  ["device", "other"],
] as const;

/** What a box is of. */
export type BoxKind = typeof BOX_KINDS[number][0];

/** The edge of a box, which says what it is of. The same on light and dark. */
export const EDGES: Readonly<Record<BoxKind, string>> = {
  numa: "#6c6f73",
  root: "#6c6f73",
  port: "#b0b4b9",
  drive: "#e8822a",
  gpu: "#0b7a45",
  cxl: "#8b3fb8",
  device: "#268ef6",
};

/** One set of colours: light or dark. */
export interface PictureColors {
  readonly paper: string;
  readonly ink: string;
  readonly soft: string;
  readonly line: string;
  readonly border: string;
  readonly warn: string;
  readonly fills: Readonly<Record<BoxKind, string>>;
  readonly verdicts: Readonly<Record<P2pAnswer, string>>;
}

/**
 * Literal colours, light ones first: librsvg, which draws SVG in file managers and office programs, knows neither custom
 * properties nor media queries.
 */
export const PICTURE_COLORS: Readonly<Record<"light" | "dark", PictureColors>> = {
  light: {
    ...{ paper: "#ffffff", ink: "#1b1f24", soft: "#59636e", line: "#8c959f", border: "#c4ccd4", warn: "#92400e" },
    fills: {
      ...{ numa: "#ffffff", root: "#eef1f4", port: "#f6f8fa", device: "#ddf0ff" },
      ...{ gpu: "#dff5e1", cxl: "#f1e5ff", drive: "#fff2d6" },
    },
    verdicts: { yes: "#bde3f3", unknown: "#fff3cf", no: "#f7ab96" },
  },
  dark: {
    ...{ paper: "#0f1419", ink: "#e6edf3", soft: "#a5b0bb", line: "#77828d", border: "#3b454f", warn: "#f0b04a" },
    fills: {
      ...{ numa: "#0f1419", root: "#1c232b", port: "#171d24", device: "#12304a" },
      ...{ gpu: "#143822", cxl: "#33214d", drive: "#3d2f10" },
    },
    verdicts: { yes: "#11566f", unknown: "#6b5210", no: "#3c0f0c" },
  },
};

/** Style rules for boxes, cells and texts below elements of class `pcie`. */
export function colorRules(colors: PictureColors): string {
  return [
    `.pcie .paper{fill:${colors.paper}}`,
    `.pcie text{fill:${colors.ink}}`,
    `.pcie .small{fill:${colors.soft}}`,
    `.pcie .box{stroke:${colors.border}}`,
    `.pcie .link{stroke:${colors.line}}`,
    `.pcie .down{stroke:${colors.warn}}`,
    `.pcie .warn{fill:${colors.warn}}`,
    ...BOX_KINDS.map(([kind]) => `.pcie .${kind}{fill:${colors.fills[kind]}}`),
    ...Object.entries(colors.verdicts).map(([answer, color]) => `.pcie .${answer}{fill:${color}}`),
  ].join("\n");
}
