/**
 * A picture of the tree: an SVG of its own, with nothing fetched, that follows the reader's light or dark setting.
 *
 * Layout: one row for each box, indented by its depth, so that nothing can overlap however wide the machine is. Links are
 * drawn as elbows whose thickness grows with the lanes; a downgraded one is dashed and coloured. Verdicts stand below, as a matrix.
 * @module
 */

import type { PeerMatrix } from "../../../src/pci/p2p_classes.ts";
import { shortAddress } from "../../../src/pci/topology.ts";
import { functionName, type PciNames } from "../../../src/pci/ids.ts";
import { escapeMarkup } from "../markup.ts";
import { BOX_KINDS, colorRules, EDGES, PICTURE_COLORS } from "./topology_colors.ts";
import { isDowngraded, isHiddenLink, type PictureBox, pictureBoxes, type PictureOf } from "./topology_labels.ts";
import { cellText } from "./topology_text.ts";

const ROW = 58;
const BOX_HEIGHT = 44;
const EDGE_WIDTH = 6;
const INDENT = 34;
const MARGIN = 24;
const BOX_MIN = 250;
/** Width of a character of each font size, a little above what common sans-serif fonts have. */
const CHARACTER = { 13: 8.6, 11: 6.6 } as const;
const TITLE_HEIGHT = 56;
const LEGEND_HEIGHT = 44;
const CELL = { width: 76, height: 26 } as const;

const STYLE = `
.pcie{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",Arial,sans-serif}
.pcie text{font-size:13px}
.pcie .title{font-size:18px;font-weight:600}
.pcie .small{font-size:11px}
.pcie .strong{font-weight:600}
.pcie .box{stroke-width:1}
.pcie .link{fill:none;stroke-linecap:round}
.pcie .down{stroke-dasharray:7 5}
${colorRules(PICTURE_COLORS.light)}
@media screen and (prefers-color-scheme:dark){
${colorRules(PICTURE_COLORS.dark)}
}
`.trim();

interface Row {
  readonly box: PictureBox;
  readonly parent: PictureBox | null;
  readonly depth: number;
  readonly y: number;
  readonly width: number;
}

/** The picture as a file of its own; with the verdicts below the tree where there are some. */
export function pictureSvg(of: PictureOf, matrix: PeerMatrix | null): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${drawing(of, matrix)}\n`;
}

function drawing(of: PictureOf, matrix: PeerMatrix | null): string {
  const rows = rowsOf(pictureBoxes(of));
  const table = matrix === null ? null : drawnMatrix(matrix, of.names, TITLE_HEIGHT + rows.length * ROW);
  const width = Math.ceil(
    Math.max(620, table?.width ?? 0, ...rows.map((row) => MARGIN + row.depth * INDENT + row.width + MARGIN)),
  );
  const height = TITLE_HEIGHT + rows.length * ROW + (table?.height ?? 0) + LEGEND_HEIGHT;
  const at = new Map(rows.map((row) => [row.box, row]));
  const links = rows.flatMap((row) => {
    const parent = row.parent === null ? undefined : at.get(row.parent);
    return parent === undefined ? [] : [elbow(row, parent)];
  });
  const title = `PCI topology of ${escapeMarkup(of.topology.host.name)}`;
  return `<svg class="pcie" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" ` +
    `height="${height}" role="img" aria-label="${title}">
<style>${STYLE}</style>
<rect class="paper" width="${width}" height="${height}"/>
<text class="title" x="${MARGIN}" y="28">${title}</text>
<text class="small" x="${MARGIN}" y="46">${escapeMarkup(subtitleOf(of))}</text>
${links.join("\n")}
${rows.map(drawnBox).join("\n")}
${table?.markup ?? ""}
${legend(height - LEGEND_HEIGHT + 20)}
</svg>`;
}

/** The processor, and how many functions are shown. */
export function subtitleOf({ topology, shown }: PictureOf): string {
  return [topology.processor?.name, `${shown.size} functions`].filter((text) => typeof text === "string").join(", ");
}

function rowsOf(boxes: readonly PictureBox[]): Row[] {
  const rows: Row[] = [];
  const push = (box: PictureBox, parent: PictureBox | null, depth: number): void => {
    const { first, second, warning } = box.label;
    const width = Math.max(
      BOX_MIN,
      24 + EDGE_WIDTH + first.length * CHARACTER[13],
      24 + EDGE_WIDTH + (second.length + 2 + warning.length) * CHARACTER[11],
    );
    rows.push({ box, parent, depth, y: TITLE_HEIGHT + rows.length * ROW, width: Math.ceil(width) });
    for (const child of box.children) push(child, box, depth + 1);
  };
  for (const box of boxes) push(box, null, 0);
  return rows;
}

function drawnBox({ box, depth, y, width }: Row): string {
  const x = MARGIN + depth * INDENT;
  const { first, second, warning } = box.label;
  const mark = warning === "" ? "" : `<tspan class="warn" dx="8">${escapeMarkup(warning)}</tspan>`;
  const members = box.members.map(({ name }) => name).join(" ");
  const title = members === "" ? "" : `<title>${escapeMarkup(members)}</title>`;
  const text = x + 12 + EDGE_WIDTH;
  return `<g data-function="${escapeMarkup(box.name)}">${title}<rect class="box ${box.kind}" x="${x}" y="${y}" ` +
    `width="${width}" height="${BOX_HEIGHT}"/>` +
    `<rect fill="${EDGES[box.kind]}" x="${x}" y="${y}" width="${EDGE_WIDTH}" height="${BOX_HEIGHT}"/>` +
    `<text class="strong" x="${text}" y="${y + 18}">${escapeMarkup(first)}</text>` +
    `<text class="small" x="${text}" y="${y + 35}">${escapeMarkup(second)}${mark}</text></g>`;
}

/** From the foot of the parent's box to the left side of the child's. */
function elbow({ box, depth, y }: Row, parent: Row): string {
  const from = MARGIN + parent.depth * INDENT + 16;
  const to = MARGIN + depth * INDENT;
  const { node } = box;
  const isOwn = node !== null && node.link !== null && !isHiddenLink(node);
  const lanes = node?.link?.current.width ?? 1;
  const width = isOwn ? 1.5 + Math.log2(Math.max(1, lanes)) * 0.7 : 1.5;
  const isDown = node !== null && isDowngraded(node);
  return `<path class="link${isDown ? " down" : ""}" stroke-width="${width.toFixed(1)}" ` +
    `d="M${from} ${parent.y + BOX_HEIGHT}V${y + BOX_HEIGHT / 2}H${to}"/>`;
}

function legend(y: number): string {
  let x = MARGIN;
  const marks = BOX_KINDS.filter(([kind]) => kind !== "numa").map(([kind, text]) => {
    const mark = `<rect class="box ${kind}" x="${x}" y="${y - 10}" width="14" height="14"/>` +
      `<rect fill="${EDGES[kind]}" x="${x}" y="${y - 10}" width="4" height="14"/>` +
      `<text class="small" x="${x + 20}" y="${y + 1}">${text}</text>`;
    x += 36 + text.length * CHARACTER[11];
    return mark;
  });
  return `<g class="legend">${marks.join("")}</g>`;
}

/** The matrix from `top` on: a row for each initiator or class of them, a column for each target. */
function drawnMatrix(
  { classes, verdicts }: PeerMatrix,
  names: PciNames,
  top: number,
): { readonly markup: string; readonly width: number; readonly height: number } {
  const labels = classes.map((members, index) => {
    const [first] = members;
    const more = members.length > 1 ? ` and ${members.length - 1} more` : "";
    return first === undefined
      ? ""
      : `${index + 1}  ${shortAddress(first.function)}${more}  ${functionName(names, first.function)}`;
  });
  const left = MARGIN + Math.ceil(Math.max(...labels.map((label) => label.length)) * CHARACTER[11]) + 12;
  const y = (row: number): number => top + 52 + row * CELL.height;
  const x = (column: number): number => left + column * CELL.width;
  const numbers = classes.map((_, column) =>
    `<text class="small" x="${x(column) + 8}" y="${y(0) - 8}">to ${column + 1}</text>`
  );
  const cells = classes.flatMap((_, row) => [
    `<text class="small" x="${MARGIN}" y="${y(row) + 17}">${escapeMarkup(labels[row] ?? "")}</text>`,
    ...(verdicts[row] ?? []).map((verdict, column) => {
      const isSame = verdict.class === "X";
      const text = isSame ? "·" : `${verdict.class ?? "?"} ${cellText(verdict)}`;
      return `<rect class="box ${isSame ? "paper" : verdict.writes}" x="${x(column)}" y="${y(row)}" ` +
        `width="${CELL.width}" height="${CELL.height}"/>` +
        `<text x="${x(column) + 8}" y="${y(row) + 17}">${escapeMarkup(text)}</text>`;
    }),
  ]);
  return {
    markup: `<g class="verdicts"><text class="strong" x="${MARGIN}" y="${
      top + 20
    }">Peer to peer: yes = writes arrive and reads return, ? = cannot be told</text>${numbers.join("")}\n${
      cells.join("\n")
    }</g>`,
    width: x(classes.length) + MARGIN,
    height: 52 + classes.length * CELL.height + 24,
  };
}
