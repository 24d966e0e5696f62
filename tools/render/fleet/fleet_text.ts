/**
 * What `fleet` found, as text.
 * @module
 */

import { shortHosts, valueText } from "../../../src/remote/fleet/mod.ts";
import { columns } from "../../cli/table.ts";
import type { FleetReport } from "./fleet_json.ts";

/** Silent hosts by what they have in common: one line for a hundred machines that are off. */
export function silentGroups(
  { silent }: FleetReport,
): { readonly hosts: string[]; readonly code: string; readonly message: string }[] {
  const groups = new Map<string, { hosts: string[]; code: string; message: string }>();
  for (const { host, failure: { code, message } } of silent) {
    // The message names the host itself.
    const general = message.replaceAll(host, "HOST");
    const group = groups.get(`${code}\0${general}`) ?? { hosts: [], code, message };
    group.hosts.push(host);
    groups.set(`${code}\0${general}`, group);
  }
  return [...groups.values()];
}

/** The headline: how many there are, and how many are equal. */
export function headline(report: FleetReport): string {
  const answered = report.groups.reduce((sum, { hosts }) => sum + hosts.length, 0);
  const [largest] = report.groups;
  const equal = largest === undefined
    ? ""
    : report.groups.length === 1
    ? ", all equal"
    : `, ${report.groups.length} kinds, ${report.fields.length} fields differ`;
  const all = `${report.hostCount} host${report.hostCount === 1 ? "" : "s"}, ${answered} answered${equal}`;
  return `${report.isIncomplete ? "INCOMPLETE: " : ""}${report.words.join(" ")}: ${all}`;
}

/** The report, line by line. */
export function fleetLines(report: FleetReport): string[] {
  const lines = [headline(report)];
  for (const { hosts, differences } of report.groups) {
    const rest = differences.length === 0 ? "nothing unusual" : "";
    lines.push("", `${shortHosts(hosts)} (${hosts.length})${rest === "" ? "" : `: ${rest}`}`);
    lines.push(
      ...columns(
        differences.map(({ field, value, usual }) => [field, valueText(value), `most: ${valueText(usual)}`]),
        "  ",
      ),
    );
  }
  const silent = silentGroups(report);
  if (silent.length > 0) {
    lines.push("", "no answer:");
    lines.push(...columns(silent.map(({ hosts, code, message }) => [shortHosts(hosts), code, message]), "  "));
  }
  return lines;
}
