/**
 * The result of a run as a document: its parts and what each number means.
 * @module
 */

import type { EpochRow } from "./epoch_rows.ts";
import type { Explanation } from "./explanation.ts";
import type { HeatMap } from "./heat_map.ts";
import type { LinkReport, NodeReport, SwitchReport } from "./report_parts.ts";

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
