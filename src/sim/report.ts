/**
 * The result of a run, as data: every number that a table, a picture or a program shows.
 * @module
 */

import { valuesForPercentile } from "../core/histogram.ts";
import { END, WAITS } from "./engine/events.ts";
import type { EpochRow } from "./epoch_rows.ts";
import { type Explanation, explanationOf } from "./explanation.ts";
import { type HeatMap, heatMapOf } from "./heat_map.ts";
import { KERNEL_COUNTERS } from "./memory/page_map.ts";
import {
  type LinkReport,
  linkReports,
  type NodeReport,
  nodeReports,
  type SwitchReport,
  switchReports,
} from "./report_parts.ts";
import type { RunState } from "./simulator.ts";
import { THREAD_LIMIT } from "./trace/batch.ts";
import { checkTicks, nsOf } from "./units.ts";

/** Where a value of the settings comes from: `default`, `-d`, a file's name. */
export type Origins = Readonly<Record<string, string>>;

/** What is known of a run besides its numbers. */
export interface RunFacts {
  /** Where the accesses come from: a file's name, a program, a generator. */
  readonly trace: string;
  /** The settings as JSON. */
  readonly config: Readonly<Record<string, unknown>>;
  /** SHA-256 of those settings. */
  readonly configHash: string;
  /** Where each setting comes from. */
  readonly origins: Origins;
  /** What the reader should know. */
  readonly notes: readonly string[];
  /** True when the run was interrupted. */
  readonly incomplete: boolean;
  /** What `-w` gives, with its arithmetic mean; null without. Counter mode alone uses it. */
  readonly weight: { readonly values: readonly number[]; readonly mean: number } | null;
}

/** Latencies of the program's accesses, in ns. */
export interface LatencyReport {
  /** Accesses. */
  readonly count: number;
  /** The shortest. */
  readonly minNs: number;
  /** Arithmetic mean. */
  readonly meanNs: number;
  /** A percentile is null where no access lies beyond it: 99 % needs 100 accesses. */
  readonly p50Ns: number | null;
  /** 90 %. */
  readonly p90Ns: number | null;
  /** 99 %. */
  readonly p99Ns: number | null;
  /** 99.9 %. */
  readonly p999Ns: number | null;
  /** The longest. */
  readonly maxNs: number;
  /** Counts of accesses by latency, from included, to excluded. */
  readonly histogram: readonly { readonly fromNs: number; readonly toNs: number; readonly count: number }[];
}

/** A part of the time of a run. */
export interface AttributionPart {
  /** Which part. */
  readonly part: "local" | "path" | "coherence" | "moves and walks" | "waits" | "bandwidth" | "loaded latency";
  /** Its time. */
  readonly ns: number;
}

/** A host's caches, prefetches and walks. */
export interface HostReport {
  /** Number of the host. */
  readonly host: number;
  /** Threads that it has in the trace. */
  readonly threads: number;
  /** Null without a cache. */
  readonly cacheHits: number | null;
  /** Null without a cache. */
  readonly cacheMisses: number | null;
  /** Null without a cache. */
  readonly writebacks: number | null;
  /** Page walks; null without a TLB. */
  readonly walks: number | null;
  /** Those of which the tables were cached; null without a TLB. */
  readonly cachedWalks: number | null;
}

/** The result of a run. */
export interface RunReport {
  /** Name and version of the document. */
  readonly schema: "cxl_sim_run/1";
  /** True when the run was interrupted. */
  readonly incomplete: boolean;
  /** What was replayed. */
  readonly trace: {
    readonly source: string;
    readonly accesses: number;
    readonly reads: number;
    readonly writes: number;
    readonly atomics: number;
    readonly prefetches: number;
    readonly lines: number;
    readonly threads: number;
  };
  /** The settings. */
  readonly config: Readonly<Record<string, unknown>>;
  /** SHA-256 of the settings. */
  readonly configHash: string;
  /** Where each setting comes from. */
  readonly origins: Origins;
  /** What the reader should know. */
  readonly notes: readonly string[];
  /** What `-w` gave; null without. */
  readonly weight: RunFacts["weight"];
  /** How it was modelled. */
  readonly model: {
    readonly bandwidth: string;
    readonly replay: string;
    readonly placement: string;
    readonly migration: readonly string[];
    readonly coherence: string;
    readonly mlp: number | null;
    readonly window: number | null;
  };
  /** How long the program took, simulated and with everything local. */
  readonly time: {
    readonly nativeNs: number;
    readonly baselineNs: number | null;
    readonly simulatedNs: number;
    readonly slowdown: number | null;
    readonly delayNs: number | null;
    readonly saturated: boolean | null;
  };
  /** What the time is made of. */
  readonly attribution: readonly AttributionPart[];
  /** Sums over accesses: statistics, never delays of the program. */
  readonly sums: {
    readonly waitNs: number | null;
    readonly coherenceNs: number;
    readonly moveNs: number;
    readonly walkNs: number;
  };
  /** Null where requests are not replayed. */
  readonly latency: LatencyReport | null;
  /** Local memory first. */
  readonly nodes: readonly NodeReport[];
  /** By number. */
  readonly switches: readonly SwitchReport[];
  /** Both directions of each. */
  readonly links: readonly LinkReport[];
  /** By number. */
  readonly hosts: readonly HostReport[];
  /** Null without prefetchers. */
  readonly prefetch: {
    readonly issued: number;
    readonly useful: number;
    readonly late: number;
    readonly coverage: number;
  } | null;
  /** Counts of the directory; null where hosts share nothing. */
  readonly coherence: Readonly<Record<string, number>> | null;
  /** Page moves by the kernel's names of the counters. */
  readonly counters: Readonly<Record<string, string>>;
  /** The first access whose page had no room, and how many there were; null when all had. */
  readonly noRoom: {
    readonly accesses: number;
    readonly address: string;
    readonly usedBytes: readonly string[];
    readonly capacityBytes: readonly string[];
  } | null;
  /** What was used of measured curves; null without. */
  readonly curve: {
    readonly droppedPoints: number;
    readonly extrapolated: boolean;
    readonly points: readonly { readonly node: number; readonly GBs: number | null; readonly ns: number }[];
  } | null;
  /** Epoch by epoch. */
  readonly epochs: { readonly count: number; readonly cappedEpochs: number; readonly rows: readonly EpochRow[] };
  /** Accesses by address and time; null without accesses. */
  readonly heat: HeatMap | null;
  /** How the latency of one access is made up; null unless asked for. */
  readonly explained: Explanation | null;
}

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
      waitNs: replay === null ? null : nsOf(replay.events.totals[WAITS] as number),
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
  const end = checkTicks(replay?.events.totals[END] ?? 0, "the end of the run");
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
  const latencies = replay?.events.latencies;
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
  const demand = (replay?.events.latencies.count ?? 0) - useful;
  return {
    issued,
    useful,
    late: replay?.events.lateJoins ?? 0,
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
