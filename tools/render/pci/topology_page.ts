/**
 * A page with the tree, which can be folded and searched, and the verdicts with their reasons. It fetches nothing, and shows
 * everything without its script too.
 * @module
 */

import { functionName, type PciNames } from "../../../src/pci/ids.ts";
import { describeAnswers, P2P_RULES } from "../../../src/pci/p2p.ts";
import type { PeerMatrix } from "../../../src/pci/p2p_classes.ts";
import { shortAddress, type TopologyNode } from "../../../src/pci/topology.ts";
import { escapeMarkup } from "../markup.ts";
import { BOX_KINDS, EDGES, PICTURE_COLORS, type PictureColors } from "./topology_colors.ts";
import {
  isDowngraded,
  LARGEST_UNFOLDED,
  type PictureBox,
  pictureBoxes,
  type PictureOf,
  summaryOf,
} from "./topology_labels.ts";
import { subtitleOf } from "./topology_picture.ts";
import { cellText, pairsText, reasonGroups } from "./topology_text.ts";

const STYLE = `
:root{color-scheme:light dark}
body{margin:24px;font:14px/1.45 system-ui,-apple-system,"Segoe UI","DejaVu Sans",Arial,sans-serif}
h1{font-size:20px;margin:0}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
table{border-collapse:collapse;margin:12px 0}
th,td{border:1px solid;padding:4px 10px;text-align:left;vertical-align:top}
.matrix td,.matrix thead th{white-space:nowrap}
.wide{overflow-x:auto}
.tools{display:flex;flex-wrap:wrap;gap:8px;margin:14px 0}
.tools input{flex:0 1 22em;min-width:0;font:inherit;padding:4px 8px}
.tools button{font:inherit;padding:4px 10px}
.row{display:inline-block;max-width:100%;box-sizing:border-box;margin:3px 0;padding:4px 12px;border:1px solid;
border-left:6px solid;overflow-wrap:anywhere}
.row small{display:block;font-size:12px}
summary{list-style:none;cursor:pointer}
summary::-webkit-details-marker{display:none}
summary::before{content:"▸";display:inline-block;width:1em;vertical-align:top;margin-top:8px}
details[open]>summary::before{content:"▾"}
summary .row{max-width:calc(100% - 1.2em)}
.leaf{padding-left:1em}
.children{margin-left:9px;padding-left:12px;border-left:2px solid}
details[open]>summary .below{display:none}
.slow{text-decoration:underline dashed}
.hit{outline:3px solid;outline-offset:1px}
.searching .row:not(.hit){opacity:.55}
.legend{margin:10px 0}
.legend span{display:inline-block;margin-right:14px;padding-left:6px;border-left:6px solid}
${rulesOf(PICTURE_COLORS.light)}
@media screen and (prefers-color-scheme:dark){${rulesOf(PICTURE_COLORS.dark)}}
${BOX_KINDS.map(([kind]) => `.${kind}{border-left-color:${EDGES[kind]}!important}`).join("\n")}
@media (max-width:600px){body{margin:12px}.children{margin-left:3px;padding-left:6px}th,td{padding:3px 6px}
.reasons tr,.reasons td{display:block}.reasons thead{display:none}}
@media print{body{margin:0}.tools{display:none}details::details-content{content-visibility:visible;height:auto}
.row{break-inside:avoid}}
`.trim();

/** Folds, unfolds and looks for words. What it opens for printing it closes again. */
const SCRIPT = `
const find=document.getElementById("find"),count=document.getElementById("count");
const rows=[...document.querySelectorAll("[data-function]")],all=[...document.querySelectorAll("details")];
const openAbove=(row)=>{for(let at=row.closest("details");at;at=at.parentElement.closest("details"))at.open=true};
find.addEventListener("input",()=>{const word=find.value.trim().toLowerCase();let hits=0;
document.body.classList.toggle("searching",word!=="");
for(const row of rows){const isHit=word!==""&&row.textContent.toLowerCase().includes(word);
row.classList.toggle("hit",isHit);if(isHit){hits++;openAbove(row)}}
count.textContent=word===""?"":hits+" of "+rows.length;
document.querySelector(".hit")?.scrollIntoView({block:"nearest"})});
document.getElementById("unfold").addEventListener("click",()=>{for(const one of all)one.open=true});
document.getElementById("fold").addEventListener("click",()=>{for(const one of all)one.open=false});
let closed=[];addEventListener("beforeprint",()=>{closed=all.filter((one)=>!one.open);for(const one of closed)one.open=true});
addEventListener("afterprint",()=>{for(const one of closed)one.open=false});
`.trim();

function rulesOf(colors: PictureColors): string {
  return [
    `body{background:${colors.paper};color:${colors.ink}}`,
    `.row small,.below,#count{color:${colors.soft}}`,
    `.row,th,td{border-color:${colors.border}}`,
    `.children{border-color:${colors.line}}`,
    `.warn{color:${colors.warn}}`,
    `.hit{outline-color:${colors.ink}}`,
    ...BOX_KINDS.map(([kind]) => `.row.${kind}{background:${colors.fills[kind]}}`),
    ...Object.entries(colors.verdicts).map(([answer, color]) => `td.${answer}{background:${color}}`),
  ].join("\n");
}

/** The page; with the matrix and its reasons where there are verdicts. */
export function pictureHtml(of: PictureOf, matrix: PeerMatrix | null): string {
  const title = `PCI topology of ${escapeMarkup(of.topology.host.name)}`;
  const isLarge = of.shown.size > LARGEST_UNFOLDED;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>
${STYLE}
</style>
</head>
<body>
<h1>${title}</h1>
<div>${escapeMarkup(subtitleOf(of))}</div>
<div class="tools"><input id="find" type="search" placeholder="address, name, driver…" aria-label="search"> <button
id="unfold">unfold all</button> <button id="fold">fold all</button> <span id="count" role="status"></span></div>
<div class="tree">
${pictureBoxes(of).map((box) => branch(box, of.names, 0, isLarge)).join("\n")}
</div>
<div class="legend">${BOX_KINDS.map(([kind, text]) => `<span class="${kind}">${text}</span>`).join(" ")}</div>
${matrix === null ? "" : matrixHtml(matrix, of.names)}
<script>
${SCRIPT}
</script>
</body>
</html>
`;
}

/** How deep a large machine is unfolded when the page opens: root complexes show their ports. */
const OPEN_DEPTH = 2;

function branch(box: PictureBox, names: PciNames, depth: number, isLarge: boolean): string {
  const inside = [...box.members, ...box.children];
  if (inside.length === 0) return `<div class="leaf">${rowHtml(box, "")}</div>`;
  // A run says itself what is in it.
  const below = box.members.length > 0 ? "" : summaryOf(box.children, names);
  const isOpen = box.members.length === 0 && (!isLarge || depth < OPEN_DEPTH);
  return `<details${isOpen ? " open" : ""}><summary>${rowHtml(box, below)}</summary><div class="children">${
    inside.map((one) => branch(one, names, depth + 1, isLarge)).join("\n")
  }</div></details>`;
}

function rowHtml({ name, kind, label, node, members }: PictureBox, below: string): string {
  const second = node !== null && isDowngraded(node)
    ? `<span class="slow">${escapeMarkup(label.second)}</span>`
    : escapeMarkup(label.second);
  const warning = label.warning === "" ? "" : ` <span class="warn">${escapeMarkup(label.warning)}</span>`;
  // A run is no function: its members have the names.
  const which = members.length > 0 ? "" : ` data-function="${escapeMarkup(name)}"`;
  return `<span class="row ${kind}"${which}><b>${escapeMarkup(label.first)}</b><small>${second}${warning}</small>${
    below === "" ? "" : `<small class="below">below: ${escapeMarkup(below)}</small>`
  }</span>`;
}

function matrixHtml(matrix: PeerMatrix, names: PciNames): string {
  const { classes, verdicts } = matrix;
  const head = `<thead><tr><th>from \\ to</th>${
    classes.map((_, index) => `<th>${index + 1}</th>`).join("")
  }</tr></thead>`;
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
    `<tr><td>${pairsText(pairs, all)}</td><td class="${first.writes}">${escapeMarkup(describeAnswers(first))}</td><td>${
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
<div class="wide"><table class="matrix">${head}${rows.join("\n")}</table></div>
${
    folded.length === 0 ? "" : `<h3>Functions that no verdict tells apart, judged once</h3>
<table><tr><th>class</th><th>functions</th></tr>${folded.join("\n")}</table>`
  }
<h3>Why</h3>
<table class="reasons"><thead><tr><th>pairs</th><th>verdict</th><th>why</th></tr></thead>${reasons.join("\n")}</table>`;
}

function memberHtml(node: TopologyNode, names: PciNames): string {
  return `<code>${escapeMarkup(shortAddress(node.function))}</code> ${
    escapeMarkup(functionName(names, node.function))
  }`;
}
