/**
 * What `fleet` found, as one page that needs nothing else: short for five hundred hosts, because equal ones are one row.
 * @module
 */

import { shortHosts, valueText } from "../../../src/remote/fleet/mod.ts";
import { escapeMarkup } from "../markup.ts";
import type { FleetReport } from "./fleet_json.ts";
import { headline, silentGroups } from "./fleet_text.ts";

const STYLE =
  `body { font-family: sans-serif; margin: 2em; max-width: 75em } table { border-collapse: collapse; width: 100% }
td, th { padding: 0.3em 0.8em; text-align: left; vertical-align: top; border-bottom: 1px solid #ccc; overflow-wrap: anywhere }
.usual { color: #666 } summary { cursor: pointer } nav a { margin-right: 1em }`;

function row(cells: readonly string[], tag: "td" | "th" = "td"): string {
  return `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>\n`;
}

function table(head: readonly string[], rows: readonly string[]): string {
  return `<table>\n${row(head, "th")}${rows.join("")}</table>\n`;
}

/** A list of hosts in short; whole behind a click where that is long. */
function hostCell(hosts: readonly string[]): string {
  const short = escapeMarkup(shortHosts(hosts));
  if (short.length < 120) return `${short}${hosts.length > 1 ? ` (${hosts.length})` : ""}`;
  return `<details><summary>${hosts.length} hosts</summary>${short}</details>`;
}

/** The page. */
export function fleetPage(report: FleetReport): string {
  const title = escapeMarkup(headline(report));
  const groups = report.groups.map(({ hosts, differences }) =>
    row([
      hostCell(hosts),
      differences.length === 0
        ? "nothing unusual"
        : differences.map(({ field, value, usual }) =>
          `${escapeMarkup(field)}: <b>${escapeMarkup(valueText(value))}</b> <span class="usual">most: ${
            escapeMarkup(valueText(usual))
          }</span>`
        ).join("<br>\n"),
    ])
  );
  const fields = report.fields.map(({ field, values }) =>
    row([
      escapeMarkup(field),
      values.map(({ value, hosts }) => `<b>${escapeMarkup(valueText(value))}</b>: ${hostCell(hosts)}`).join("<br>\n"),
    ])
  );
  const silent = silentGroups(report).map(({ hosts, code, message }) =>
    row([hostCell(hosts), escapeMarkup(code), escapeMarkup(message)])
  );
  return `<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>${title}</title>\n<style>${STYLE}</style>\n` +
    `</head>\n<body>\n<h1>${title}</h1>\n<nav><a href="#hosts">by host</a><a href="#fields">by field</a>` +
    `<a href="#silent">no answer</a></nav>\n` +
    `<h2 id="hosts">By host</h2>\n${table(["hosts", "what differs from most"], groups)}` +
    `<h2 id="fields">By field</h2>\n${
      fields.length === 0 ? "<p>No field differs.</p>\n" : table(["field", "values"], fields)
    }` +
    `<h2 id="silent">No answer</h2>\n${
      silent.length === 0 ? "<p>Every host answered.</p>\n" : table(["hosts", "code", "why"], silent)
    }</body>\n</html>\n`;
}
