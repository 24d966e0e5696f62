/**
 * The result of a run as text.
 * @module
 */

import { formatBytes } from "../../../src/core/units.ts";
import type { RunReport } from "../../../src/sim/report_document.ts";
import { columns } from "../../cli/table.ts";
import { NUMA_COUNTERS } from "../../../src/memory/counters.ts";
import { counterTable } from "../memory/numa_stats.ts";

function ns(value: number | null): string {
  if (value === null) return "-";
  if (value >= 1e9) return `${(value / 1e9).toFixed(3)} s`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(3)} ms`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(3)} us`;
  return `${Number(value.toFixed(2))} ns`;
}

function percent(share: number | null): string {
  return share === null ? "-" : `${(100 * share).toFixed(1)} %`;
}

/** The report, line by line. */
export function runLines(report: RunReport): string[] {
  const { trace, time, model, latency } = report;
  const head = [
    `${report.incomplete ? "INCOMPLETE: " : ""}${trace.source}: ${trace.accesses} accesses (${trace.reads} reads, ` +
    `${trace.writes} writes, ${trace.atomics} atomics), ${trace.threads} thread(s)`,
    `model ${model.bandwidth}, replay ${model.replay}, placement ${model.placement}, migration ${
      model.migration.join("+")
    }, ` +
    `coherence ${model.coherence}${model.mlp === null ? "" : `, mlp ${model.mlp}`}${
      model.window === null ? "" : `, window ${model.window}`
    }`,
    "",
    ...columns([
      ["native", ns(time.nativeNs)],
      ["all local", ns(time.baselineNs)],
      ["simulated", ns(time.simulatedNs)],
      ["slowdown", time.slowdown === null ? "-" : time.slowdown.toFixed(4)],
      ...time.saturated === null ? [] : [["saturated", time.saturated ? "yes: a link is always busy" : "no"]],
    ]),
  ];
  const parts = report.attribution.filter(({ ns }) => ns !== 0);
  return [
    ...head,
    ...section(
      "where the time goes",
      parts.map(({ part, ns: value }) => [part, ns(value), percent(value / Math.max(1, time.simulatedNs))]),
    ),
    ...latency === null ? [] : section("latency", [
      ["min", "mean", "p50", "p90", "p99", "p99.9", "max"],
      [latency.minNs, latency.meanNs, latency.p50Ns, latency.p90Ns, latency.p99Ns, latency.p999Ns, latency.maxNs].map(
        ns,
      ),
    ]),
    ...section("nodes", [
      ["node", "hops", "path r/w", "reads", "writes", "moved", "GB/s", "mean", "used", "capacity"],
      ...report.nodes.map((node) => [
        node.name,
        String(node.hops),
        `${Number(node.pathReadNs.toFixed(2))}/${Number(node.pathWriteNs.toFixed(2))} ns`,
        String(node.reads),
        String(node.writes),
        formatBytes(BigInt(node.bytes)),
        node.GBs.toFixed(3),
        ns(node.meanNs),
        formatBytes(BigInt(node.usedBytes)),
        formatBytes(BigInt(node.capacityBytes)),
      ]),
    ]),
    ...section(
      "switches",
      report.switches.length === 0 ? [] : [
        ["switch", "reads", "writes", "moved", "GB/s"],
        ...report.switches.map((
          one,
        ) => [one.name, String(one.reads), String(one.writes), formatBytes(BigInt(one.bytes)), one.GBs.toFixed(3)]),
      ],
    ),
    ...section(
      "links",
      report.links.length === 0 || report.links[0]?.utilisation === null ? [] : [
        ["link", "utilisation", "peak", "sum of waits", "longest queue", "credit stalls"],
        ...report.links.map((link) => [
          link.name,
          percent(link.utilisation),
          percent(link.peakUtilisation),
          ns(link.waitNs),
          String(link.longestQueue ?? "-"),
          String(link.creditStalls ?? "-"),
        ]),
      ],
    ),
    ...hostLines(report),
    ...counterLines(report),
    "",
    `epochs ${report.epochs.count}, settings ${report.configHash.slice(0, 16)}`,
    ...report.noRoom === null ? [] : [
      `ENOMEM: ${report.noRoom.accesses} accesses; first at ${report.noRoom.address}, used ` +
      `${report.noRoom.usedBytes.join(",")} of ${report.noRoom.capacityBytes.join(",")} bytes`,
    ],
  ];
}

function hostLines(report: RunReport): string[] {
  if (report.hosts.every(({ cacheHits, walks }) => cacheHits === null && walks === null)) return [];
  return section("hosts", [
    ["host", "threads", "hits", "misses", "written back", "walks", "cached walks"],
    ...report.hosts.map((host) => [
      String(host.host),
      String(host.threads),
      ...[host.cacheHits, host.cacheMisses, host.writebacks, host.walks, host.cachedWalks].map((value) =>
        String(value ?? "-")
      ),
    ]),
  ]);
}

function counterLines(report: RunReport): string[] {
  const coherence = Object.entries(report.coherence ?? {}).map(([name, value]) => [name, String(value)]);
  const prefetch = report.prefetch === null ? [] : [
    ["prefetches", String(report.prefetch.issued)],
    ["useful", String(report.prefetch.useful)],
    ["late", String(report.prefetch.late)],
    ["coverage", percent(report.prefetch.coverage)],
  ];
  const kernel = report.model.migration.every((policy) => policy === "none") ? [] : [
    "",
    ...counterTable([{
      title: "run",
      // The rows of numa_stats: what a run does not have is not 0.
      values: new Map(NUMA_COUNTERS.map((name) => {
        const value = report.counters[name];
        return [name, value === undefined ? null : BigInt(value)];
      })),
      durationMs: null,
      exitStatus: null,
    }], "text"),
  ];
  return [...section("coherence", coherence), ...section("prefetcher", prefetch), ...kernel];
}

function section(title: string, rows: readonly (readonly string[])[]): string[] {
  return rows.length === 0 ? [] : ["", title, ...columns(rows, "  ")];
}

/** How the latency of one access is made up. */
export function explanationLines(report: RunReport): string[] {
  const { explained } = report;
  if (explained === null) return ["there is no such access"];
  if (explained.issueNs === null || explained.completionNs === null) return [explained.access];
  const total = explained.completionNs - explained.issueNs;
  return [
    `${explained.access}: issued at ${explained.issueNs} ns, complete at ${explained.completionNs} ns, ${total} ns`,
    ...columns(explained.parts.map(({ part, ns: value }) => [part, `${value} ns`]), "  "),
    ...explained.links.length === 0 ? [] : [
      "links",
      ...columns([
        ["link", "reached at", "waits", "is occupied for"],
        ...explained.links.map((one) => [one.link, `${one.arrivalNs} ns`, `${one.waitNs} ns`, `${one.serviceNs} ns`]),
      ], "  "),
    ],
  ];
}
