/**
 * A picture of the tree: an SVG of its own, with nothing fetched, that follows the reader's light or dark setting.
 *
 * Layout: one row for each function, indented by its depth, so that nothing can overlap however wide the machine is.
 * Links are drawn as elbows whose thickness grows with the lanes; a downgraded one is dashed and coloured.
 * @module
 */

import { valueOf } from "../../../src/core/fact.ts";
import { formatBytes } from "../../../src/core/units.ts";
import { redirectingServices } from "../../../src/pci/acs.ts";
import { functionName, kindName, type PciNames } from "../../../src/pci/ids.ts";
import { formatLink, formatRate } from "../../../src/pci/link.ts";
import { describeAnswers, P2P_RULES } from "../../../src/pci/p2p.ts";
import type { PeerMatrix } from "../../../src/pci/p2p_classes.ts";
import { hostBridge } from "../../../src/pci/root_complexes.ts";
import { isUnresponsive } from "../../../src/pci/accessibility.ts";
import {
  isBridge,
  nodesBelow,
  type RootComplex,
  shortAddress,
  type Topology,
  type TopologyNode,
} from "../../../src/pci/topology.ts";
import { escapeMarkup } from "../markup.ts";
import { cellText, pairsText, reasonGroups, rootKind } from "./topology_text.ts";

const ROW = 58;
const BOX_HEIGHT = 44;
const INDENT = 34;
const MARGIN = 24;
const BOX_MIN = 250;
/** Width of a character of each font size, a little above what common sans-serif fonts have. */
const CHARACTER = { 13: 8.6, 11: 6.6 } as const;
const TITLE_HEIGHT = 56;
const LEGEND_HEIGHT = 44;

/**
 * Colours as they are written into the picture. Literal, light first: librsvg, which draws SVG in file managers and office programs,
 * knows neither custom properties nor media queries.
 */
const PALETTE = {
  light: {
    ...{ paper: "#ffffff", ink: "#1b1f24", soft: "#59636e", line: "#8c959f", edge: "#c4ccd4", warn: "#92400e" },
    ...{ root: "#eef1f4", port: "#f6f8fa", device: "#ddf0ff", gpu: "#dff5e1", cxl: "#f1e5ff", drive: "#fff2d6" },
  },
  dark: {
    ...{ paper: "#0f1419", ink: "#e6edf3", soft: "#a5b0bb", line: "#77828d", edge: "#3b454f", warn: "#f0b04a" },
    ...{ root: "#1c232b", port: "#171d24", device: "#12304a", gpu: "#143822", cxl: "#33214d", drive: "#3d2f10" },
  },
} as const;

function colorRules(colors: Readonly<Record<keyof typeof PALETTE.light, string>>): string {
  const boxes = (["root", "port", "device", "gpu", "cxl", "drive"] as const).map((kind) =>
    `.pcie .${kind}{fill:${colors[kind]}}`
  );
  return [
    `.pcie .paper{fill:${colors.paper}}`,
    `.pcie text{fill:${colors.ink}}`,
    `.pcie .small{fill:${colors.soft}}`,
    `.pcie .box{stroke:${colors.edge}}`,
    `.pcie .link{stroke:${colors.line}}`,
    `.pcie .down{stroke:${colors.warn}}`,
    `.pcie .warn{fill:${colors.warn}}`,
    ...boxes,
  ].join("\n");
}

const STYLE = `
.pcie{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",Arial,sans-serif}
.pcie text{font-size:13px}
.pcie .title{font-size:18px;font-weight:600}
.pcie .small{font-size:11px}
.pcie .strong{font-weight:600}
.pcie .box{stroke-width:1}
.pcie .link{fill:none;stroke-linecap:round}
.pcie .down{stroke-dasharray:7 5}
${colorRules(PALETTE.light)}
@media (prefers-color-scheme:dark){
${colorRules(PALETTE.dark)}
}
`.trim();

interface Row {
  readonly node: TopologyNode | null;
  readonly root: RootComplex;
  readonly depth: number;
  readonly y: number;
  readonly lines: readonly [string, string];
  /** What deserves a look, in the colour of warnings; empty for most. */
  readonly warning: string;
  readonly width: number;
}

/** The picture as a file of its own. */
export function pictureSvg(topology: Topology, shown: ReadonlySet<TopologyNode>, names: PciNames): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${drawing(topology, shown, names)}\n`;
}

/** A page with the picture, and the matrix and its reasons where there are verdicts. */
export function pictureHtml(
  topology: Topology,
  shown: ReadonlySet<TopologyNode>,
  names: PciNames,
  matrix: PeerMatrix | null,
): string {
  const title = `PCI topology of ${topology.host.name}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escapeMarkup(title)}</title>
<style>
:root{color-scheme:light dark}
body{margin:24px;background:light-dark(#fff,#0f1419);color:light-dark(#1b1f24,#e6edf3);
font:14px/1.45 system-ui,-apple-system,"Segoe UI","DejaVu Sans",Arial,sans-serif}
table{border-collapse:collapse;margin:12px 0}
th,td{border:1px solid light-dark(#c4ccd4,#3b454f);padding:4px 10px;text-align:left;vertical-align:top}
th{font-weight:600}
td:not(:last-child){white-space:nowrap}
.wide{overflow-x:auto}
td.yes{background:light-dark(#dff5e1,#143822)}
td.unknown{background:light-dark(#fff2d6,#3d2f10)}
td.no{background:light-dark(#ffe3e0,#4a1c1a)}
svg{max-width:100%;height:auto}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace}
</style>
</head>
<body>
${drawing(topology, shown, names)}
${matrix === null ? "" : matrixHtml(matrix, names)}
</body>
</html>
`;
}

function drawing(topology: Topology, shown: ReadonlySet<TopologyNode>, names: PciNames): string {
  const rows = rowsOf(topology, shown, names);
  const width = Math.max(560, ...rows.map((row) => MARGIN + row.depth * INDENT + row.width)) + MARGIN;
  const height = TITLE_HEIGHT + rows.length * ROW + LEGEND_HEIGHT;
  const at = new Map(rows.map((row) => [row.node ?? row.root, row]));
  const links = rows.flatMap((row) =>
    row.node === null ? [] : [elbow(row, at.get(row.node.parent ?? row.root) ?? row)]
  );
  const subtitle = [topology.processor?.name, `${shown.size} functions`].filter((text) => text !== undefined).join(
    ", ",
  );
  return `<svg class="pcie" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" ` +
    `height="${height}" role="img" aria-label="PCI topology">
<style>${STYLE}</style>
<rect class="paper" width="${width}" height="${height}"/>
<text class="title" x="${MARGIN}" y="28">PCI topology of ${escapeMarkup(topology.host.name)}</text>
<text class="small" x="${MARGIN}" y="46">${escapeMarkup(subtitle)}</text>
${links.join("\n")}
${rows.map(boxOf).join("\n")}
${legend(height - LEGEND_HEIGHT + 20)}
</svg>`;
}

function rowsOf(topology: Topology, shown: ReadonlySet<TopologyNode>, names: PciNames): Row[] {
  const rows: Row[] = [];
  const push = (node: TopologyNode | null, root: RootComplex, depth: number): void => {
    const { lines, warning } = node === null ? { lines: rootLines(root, names), warning: "" } : nodeLines(node, names);
    const second = `${lines[1]}${warning === "" ? "" : `  ${warning}`}`;
    const width = Math.max(
      BOX_MIN,
      24 + lines[0].length * CHARACTER[13],
      24 + second.length * CHARACTER[11],
    );
    rows.push({ node, root, depth, y: TITLE_HEIGHT + rows.length * ROW, lines, warning, width: Math.ceil(width) });
  };
  const walk = (node: TopologyNode, depth: number): void => {
    push(node, node.rootComplex, depth);
    for (const child of node.children) if (shown.has(child)) walk(child, depth + 1);
  };
  for (const root of topology.rootComplexes) {
    const children = root.children.filter((node) => nodesBelow(node).some((one) => shown.has(one)));
    if (children.length === 0) continue;
    push(null, root, 0);
    for (const node of children) walk(node, 1);
  }
  return rows;
}

function rootLines(root: RootComplex, names: PciNames): readonly [string, string] {
  const bridge = hostBridge(root);
  const facts = [
    ...(valueOf(root.numaNode) === null ? [] : [`NUMA node ${root.numaNode}`]),
    ...(root.behind === null ? [] : [`behind ${root.behind}`]),
    ...(bridge?.kind === "host bridge" ? [functionName(names, bridge.function)] : []),
  ];
  return [
    root.isBelowUnknown ? `${root.name}: ${rootKind(root)}` : `${rootKind(root)} ${root.name.slice(3)}`,
    facts.join(" · "),
  ];
}

function nodeLines(node: TopologyNode, names: PciNames): { lines: readonly [string, string]; warning: string } {
  const { function: fn, link, iommu } = node;
  const kind = isBridge(node.kind) ? node.kind : kindName(names, fn.classCode);
  const bars = (fn.resources ?? []).filter((bar) => bar.role === "BAR" && bar.space === "memory");
  const facts = [
    ...(link === null || isHiddenLink(node) ? [] : [link.state === "up" ? formatRate(link.current) : formatLink(link)]),
    ...(redirectingServices(node.acs).length > 0 ? ["ACS redirects"] : []),
    ...(iommu.group === null ? [] : [`IOMMU group ${iommu.group}${iommu.type === null ? "" : ` (${iommu.type})`}`]),
    ...(valueOf(fn.numaNode) === null ? [] : [`node ${fn.numaNode}`]),
    ...(typeof fn.driver === "string" ? [fn.driver] : []),
    ...(isBridge(node.kind) ? [] : bars.map((bar) => `BAR${bar.index} ${formatBytes(bar.sizeBytes)}`)),
  ];
  const asleep = valueOf(fn.powerState)?.startsWith("D3") ? [`powered down (${fn.powerState})`] : [];
  const slow = link !== null && (link.isSlower === true || link.isNarrower === true) && !isHiddenLink(node)
    ? [`could be ${formatRate(link.possible)}`]
    : [];
  const warning = [...slow, ...asleep, ...(isUnresponsive(fn) ? ["does not answer"] : [])].join(", ");
  return {
    lines: [`${shortAddress(fn)}  ${functionName(names, fn)}`, [kind, ...facts].join(" · ")],
    warning: warning === "" ? "" : `▼ ${warning}`,
  };
}

/** A port's link is that of the function below it, which shows it. */
function isHiddenLink(node: TopologyNode): boolean {
  return isBridge(node.kind) && node.kind !== "switch upstream port" &&
    node.children.some((child) => child.link !== null);
}

function kindClass(node: TopologyNode | null): string {
  if (node === null) return "root";
  if (isBridge(node.kind) || node.kind === "host bridge") return "port";
  const { classCode } = node.function;
  if (classCode >>> 16 === 0x03 || classCode >>> 16 === 0x12) return "gpu";
  if (classCode >>> 16 === 0x01) return "drive";
  return classCode >>> 8 === 0x0502 ? "cxl" : "device";
}

function boxOf(row: Row): string {
  const x = MARGIN + row.depth * INDENT;
  const name = row.node === null ? row.root.name : row.node.function.name;
  const warning = row.warning === "" ? "" : `<tspan class="warn" dx="8">${escapeMarkup(row.warning)}</tspan>`;
  return `<g data-function="${escapeMarkup(name)}"><rect class="box ${kindClass(row.node)}" x="${x}" y="${row.y}" ` +
    `width="${row.width}" height="${BOX_HEIGHT}" rx="6"/>` +
    `<text class="strong" x="${x + 12}" y="${row.y + 18}">${escapeMarkup(row.lines[0])}</text>` +
    `<text class="small" x="${x + 12}" y="${row.y + 35}">${escapeMarkup(row.lines[1])}${warning}</text></g>`;
}

/** From the foot of the parent's box to the left side of the child's. */
function elbow(row: Row, parent: Row): string {
  const from = MARGIN + parent.depth * INDENT + 16;
  const to = MARGIN + row.depth * INDENT;
  const y = row.y + BOX_HEIGHT / 2;
  const link = row.node?.link ?? null;
  const lanes = link?.current.width ?? 1;
  const isOwn = row.node !== null && !isHiddenLink(row.node) && link !== null;
  const width = isOwn ? 1.5 + Math.log2(Math.max(1, lanes)) * 0.7 : 1.5;
  const isBelow = isOwn && (link.isSlower === true || link.isNarrower === true);
  return `<path class="link${isBelow ? " down" : ""}" stroke-width="${width.toFixed(1)}" ` +
    `d="M${from} ${parent.y + BOX_HEIGHT}V${y}H${to}"/>`;
}

function legend(y: number): string {
  const entries: readonly (readonly [string, string])[] = [
    ["root", "root complex"],
    ["port", "port, bridge"],
    ["drive", "drive"],
    ["gpu", "GPU, accelerator"],
    ["cxl", "CXL memory"],
    ["device", "other"],
  ];
  let x = MARGIN;
  const marks = entries.map(([kind, text]) => {
    const mark = `<rect class="box ${kind}" x="${x}" y="${y - 10}" width="14" height="14" rx="3"/>` +
      `<text class="small" x="${x + 20}" y="${y + 1}">${text}</text>`;
    x += 36 + text.length * CHARACTER[11];
    return mark;
  });
  return `<g class="legend">${marks.join("")}</g>`;
}

function matrixHtml(matrix: PeerMatrix, names: PciNames): string {
  const { classes, verdicts } = matrix;
  const head = `<tr><th>from \\ to</th>${classes.map((_, index) => `<th>${index + 1}</th>`).join("")}</tr>`;
  const rows = classes.map((members, row) => {
    const [first] = members;
    const cells = (verdicts[row] ?? []).map((verdict) =>
      verdict.class === "X"
        ? "<td>·</td>"
        : `<td class="${verdict.writes}">${verdict.class ?? "?"} ${escapeMarkup(cellText(verdict))}</td>`
    );
    return `<tr><th>${row + 1} ${first === undefined ? "" : memberHtml(first, names)}${
      members.length > 1 ? ` and ${members.length - 1} more` : ""
    }</th>${cells.join("")}</tr>`;
  });
  const folded = classes.flatMap((members, index) =>
    members.length === 1
      ? []
      : [`<tr><td>${index + 1}</td><td>${
        members.map((node) => shortAddress(node.function)).map(escapeMarkup).join(" ")
      }</td></tr>`]
  );
  const groups = reasonGroups(matrix);
  const all = groups.reduce((sum, { pairs }) => sum + pairs.length, 0);
  const reasons = groups.map(({ first, pairs }) =>
    `<tr><td>${pairsText(pairs, all)}</td><td>${escapeMarkup(describeAnswers(first))}</td><td>${
      first.decidedBy.map((finding) =>
        `<div>Rule ${P2P_RULES[finding.rule].number} (${escapeMarkup(P2P_RULES[finding.rule].title)}): ${
          escapeMarkup(finding.text)
        } <code>${escapeMarkup(finding.evidence)}</code>${
          finding.remedy === null ? "" : `<br>→ ${escapeMarkup(finding.remedy)}`
        }</div>`
      ).join("")
    }</td></tr>`
  );
  return `<h2>Peer to peer</h2>
<div class="wide"><table>${head}${rows.join("\n")}</table></div>
${
    folded.length === 0 ? "" : `<h3>Functions that no verdict tells apart, judged once</h3>
<table><tr><th>class</th><th>functions</th></tr>${folded.join("\n")}</table>`
  }
<h3>Why</h3>
<table><tr><th>pairs</th><th>verdict</th><th>why</th></tr>${reasons.join("\n")}</table>`;
}

function memberHtml(node: TopologyNode, names: PciNames): string {
  return `<code>${escapeMarkup(shortAddress(node.function))}</code> ${
    escapeMarkup(functionName(names, node.function))
  }`;
}
