/**
 * Makes the result of a run, as data: every number that a table, a picture or a program shows.
 * @module
 */

import { valuesForPercentile } from "../core/histogram.ts";
import { END, WAITS } from "./engine/replay_counts.ts";
import { explanationOf } from "./explanation.ts";
import { heatMapOf } from "./heat_map.ts";
import { KERNEL_COUNTERS } from "./memory/page_map.ts";
import type { AttributionPart, HostReport, LatencyReport, RunFacts, RunReport } from "./report_document.ts";
import { linkReports, nodeReports, switchReports } from "./report_parts.ts";
import type { RunState } from "./run_state.ts";
import { THREAD_LIMIT } from "./trace/batch.ts";
import { checkTicks, nsOf } from "./units.ts";

/** Makes the report of a run. */
export function reportOf(state: RunState, facts: RunFacts): RunReport {
  const { config, frontEnd, replay, analytic, curve, pages } = state;
  const { counts } = frontEnd;
  const times = timesOf(state);
  return {
    schema: "cxl_sim_run/1",
    incomplete: facts.incomplete,
    trace: {
      source: facts.trace,
      accesses: counts.accesses,
      reads: counts.reads,
      writes: counts.writes,
      atomics: counts.atomics,
      prefetches: counts.prefetches,
      lines: counts.lines,
      threads: frontEnd.streams.length,
    },
    config: facts.config,
    configHash: facts.configHash,
    origins: facts.origins,
    notes: notesOf(state, facts.notes),
    weight: facts.weight,
    model: {
      bandwidth: config.bandwidthModel,
      replay: analytic === null ? config.replay : "none",
      placement: config.placement,
      migration: config.migration.policies,
      coherence: config.coherence.mode,
      mlp: analytic === null ? null : state.mlp,
      window: analytic === null && config.replay === "closed" ? config.window : null,
    },
    ...times,
    sums: {
      waitNs: replay === null ? null : nsOf(replay.events.counts.totals[WAITS] as number),
      coherenceNs: nsOf(state.coherence?.ticks ?? 0),
      moveNs: nsOf(pages.moveTicks),
      walkNs: nsOf(counts.walkTicks),
    },
    latency: replay === null ? null : latencyOf(state),
    nodes: nodeReports(state, times.time.simulatedNs),
    switches: switchReports(state, times.time.simulatedNs),
    links: linkReports(state, times.time.simulatedNs),
    hosts: hostsOf(state),
    prefetch: prefetchOf(state),
    coherence: { ...state.coherence?.directory, ...state.coherence?.incoherent },
    counters: Object.fromEntries(KERNEL_COUNTERS.map((name) => [name, String(pages.counters[name])])),
    noRoom: pages.noRoom === null ? null : {
      accesses: pages.refused,
      address: `0x${pages.noRoom.address.toString(16)}`,
      usedBytes: pages.noRoom.usedBytes.map(String),
      capacityBytes: pages.noRoom.capacityBytes.map(String),
    },
    curve: curve === null ? null : {
      droppedPoints: curve.curve.dropped,
      extrapolated: curve.control.extrapolated,
      points: config.topology.endpoints.map(({ number }) => {
        const GBs = curve.control.GBs(number);
        const share = curve.control.readShare(number);
        const known = !Number.isNaN(GBs);
        return { node: number, GBs: known ? GBs : null, ns: curve.curve.at(known ? share : 1, known ? GBs : 0).ns };
      }),
    },
    epochs: { count: state.epochs.count, cappedEpochs: 0, rows: state.rows.rows },
    heat: heatMapOf(state.heat, config.pageBytes),
    explained: explanationOf(state),
  };
}

function timesOf(state: RunState): Pick<RunReport, "time" | "attribution"> {
  const { analytic, replay, ends, nativeNs, config } = state;
  if (analytic !== null) {
    const { latencyNs, bandwidthNs, loadedNs } = analytic.total;
    const others = nsOf((state.coherence?.ticks ?? 0) + state.pages.moveTicks + state.frontEnd.counts.walkTicks);
    const delayNs = latencyNs + bandwidthNs + loadedNs + others;
    const simulatedNs = nativeNs + delayNs;
    const attribution: AttributionPart[] = [
      { part: "local", ns: nativeNs },
      { part: "path", ns: latencyNs },
      { part: "bandwidth", ns: bandwidthNs },
      { part: "loaded latency", ns: loadedNs },
      { part: "coherence", ns: nsOf(state.coherence?.ticks ?? 0) },
      { part: "moves and walks", ns: nsOf(state.pages.moveTicks + state.frontEnd.counts.walkTicks) },
    ];
    const slowdown = nativeNs === 0 ? null : simulatedNs / nativeNs;
    return { time: { nativeNs, baselineNs: nativeNs, simulatedNs, slowdown, delayNs, saturated: null }, attribution };
  }
  const end = checkTicks(replay?.events.counts.totals[END] ?? 0, "the end of the run");
  const simulatedNs = nsOf(end);
  if (config.replay === "open") {
    // More work than time in which it arrived.
    const saturated = [...replay?.events.links.busy ?? []].some((ticks) => ticks > 0 && nsOf(ticks) >= nativeNs);
    return {
      time: { nativeNs, baselineNs: null, simulatedNs, slowdown: null, delayNs: null, saturated },
      attribution: [],
    };
  }
  const { baseline, path, coherence, moves } = ends;
  const attribution: AttributionPart[] = [
    { part: "local", ns: nsOf(baseline) },
    { part: "path", ns: nsOf(path - baseline) },
    { part: "coherence", ns: nsOf(coherence - path) },
    { part: "moves and walks", ns: nsOf(moves - coherence) },
    { part: "waits", ns: nsOf(end - moves) },
  ];
  const slowdown = baseline === 0 ? null : end / baseline;
  const delayNs = nsOf(end - baseline);
  return {
    time: { nativeNs, baselineNs: nsOf(baseline), simulatedNs, slowdown, delayNs, saturated: null },
    attribution,
  };
}

/** Bins of a histogram that are one bar: 8 bars in each power of two. */
const BAR_BINS = 16;

function latencyOf({ replay }: RunState): LatencyReport | null {
  const latencies = replay?.events.counts.latencies;
  if (latencies === undefined || latencies.count === 0) return null;
  const at = (percent: number): number | null =>
    latencies.count < valuesForPercentile(percent) ? null : nsOf(latencies.percentile(percent));
  return {
    count: latencies.count,
    minNs: nsOf(latencies.min),
    meanNs: nsOf(latencies.sum) / latencies.count,
    p50Ns: at(50),
    p90Ns: at(90),
    p99Ns: at(99),
    p999Ns: at(99.9),
    maxNs: nsOf(latencies.max),
    histogram: latencies.bins(BAR_BINS).map(({ from, to, count }) => ({
      fromNs: nsOf(from),
      toNs: nsOf(to),
      count,
    })),
  };
}

function hostsOf({ frontEnd, caches }: RunState): HostReport[] {
  const hosts = [...new Set(frontEnd.streams.map((id) => Math.floor(id / THREAD_LIMIT)))].sort((a, b) => a - b);
  return hosts.map((host) => ({
    host,
    threads: frontEnd.streams.filter((id) => Math.floor(id / THREAD_LIMIT) === host).length,
    cacheHits: caches?.[host]?.hits ?? null,
    cacheMisses: caches?.[host]?.misses ?? null,
    writebacks: caches?.[host]?.writebacks ?? null,
    walks: frontEnd.tlbs[host]?.walks ?? null,
    cachedWalks: frontEnd.tlbs[host]?.cachedWalks ?? null,
  }));
}

function prefetchOf({ frontEnd, replay, config }: RunState): RunReport["prefetch"] {
  if (!config.prefetch) return null;
  const issued = frontEnd.counts.prefetchesIssued;
  const useful = frontEnd.prefetchers.reduce((sum, one) => sum + one.useful, 0);
  const demand = (replay?.events.counts.latencies.count ?? 0) - useful;
  return {
    issued,
    useful,
    late: replay?.events.counts.lateJoins ?? 0,
    coverage: useful + demand === 0 ? 0 : useful / (useful + demand),
  };
}

function notesOf(state: RunState, given: readonly string[]): string[] {
  const { config, analytic, pages, curve } = state;
  const notes = [...given];
  if (analytic !== null && config.mlp === 1) notes.push("mlp 1: no two misses overlap, which is an upper bound");
  if (config.bandwidthModel === "mlc") notes.push("mlc: the delay of an access is multiplied by accesses / mlp");
  if (config.gaps === "measured") notes.push("gaps measured: local stalls are taken off by a guess, D / window each");
  if (config.migration.timeScale !== 1) {
    notes.push(`times of the policies are divided by ${config.migration.timeScale}`);
  }
  if (curve !== null) {
    notes.push(`the curve was measured at the ${config.curveIncludesHost ? "core" : "device"}`);
    if (curve.curve.dropped > 0) {
      notes.push(`${curve.curve.dropped} points of the curve were dropped: not on its upper edge`);
    }
    if (curve.control.extrapolated) notes.push("the load went past the last point of the curve: extrapolated");
  }
  if (pages.refused > 0) notes.push(`${pages.refused} accesses found no room for their page and were left out: ENOMEM`);
  return notes;
}
