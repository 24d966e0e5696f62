/**
 * The settings of a run, complete and checked: what the models read.
 * @module
 */

import type { Pair } from "./engine/network.ts";
import type { Window } from "./topology/interleave.ts";
import type { Topology } from "./topology/topology.ts";

/** Names of the bandwidth models. */
export const BANDWIDTH_MODELS = ["queue", "epoch", "mlc", "curve"] as const;
/** Names of the placements. */
export const PLACEMENTS = [
  "local-first",
  "interleave",
  "latency-weighted",
  "bandwidth-weighted",
  "numa-score",
  "bind",
  "preferred",
] as const;
/** Names of the migration policies. */
export const MIGRATIONS = [
  "none",
  "heat",
  "frequency",
  "load-balance",
  "locality",
  "lifetime",
  "tpp",
  "damon",
  "hybrid",
] as const;
/** How hosts that share memory see each other's writes. */
export const COHERENCE_MODES = ["private", "mesi", "moesi", "none"] as const;

/** A cache of each host. */
export interface CacheSettings {
  /** Capacity. */
  readonly sizeBytes: number;
  /** Lines that a set holds. */
  readonly ways: number;
  /** Which line of a set leaves. */
  readonly replacement: "lru" | "fifo" | "random";
  /** An L1 in front of it, or null. Inclusive: what leaves the cache leaves the L1. */
  readonly l1: { readonly sizeBytes: number; readonly ways: number } | null;
  /** Write dirty lines back at the end of the trace. */
  readonly flushAtEnd: boolean;
}

/** A part of the address space that lies on a node. */
export interface FixedRange {
  /** First byte. */
  readonly baseAddress: number;
  /** Length. */
  readonly sizeBytes: number;
  /** Node that has it: 0 is local. */
  readonly node: number;
}

/** One scheme of a DAMON plan, as `damon_config` writes it. */
export interface DamonScheme {
  /** `migrate_hot` (to `target`), `migrate_cold`, `demote`, `promote` by another name. */
  readonly action: "promote" | "demote";
  /** Node that pages go to. */
  readonly targetNode: number;
  /** Least share of samples that saw an access, 0 to 100. */
  readonly minRatePercent: number;
  /** Greatest such share. */
  readonly maxRatePercent: number;
  /** How long a region has had that rate at least. */
  readonly minAgeNs: number;
  /** Bytes that may be moved in an interval; Infinity for no limit. */
  readonly quotaBytes: number;
  /** The interval. */
  readonly quotaIntervalNs: number;
}

/** Times and limits of the migration policies. */
export interface MigrationSettings {
  /** The policies, in the order in which they run. */
  readonly policies: readonly typeof MIGRATIONS[number][];
  /** Divides every time of the policies: traces last milliseconds where kernels scan for seconds. */
  readonly timeScale: number;
  /** Of `heat`: a page beyond local memory with more accesses is promoted. */
  readonly heatCount: number;
  /** Of `frequency`: a page beyond local memory with at least so many accesses is promoted. */
  readonly hotCount: number;
  /** Of `frequency`: a local page with at most so many is demoted. */
  readonly coldCount: number;
  /** Counts are halved so often. */
  readonly halveNs: number;
  /** Of `load-balance`: pages move when the least loaded node is this share of the busiest one's load below it, 0 to 1. */
  readonly balanceShare: number;
  /** Of `load-balance`: pages moved at the end of an epoch. */
  readonly balancePages: number;
  /** Of `lifetime`: a page that was not used for so long is demoted. */
  readonly lifetimeNs: number;
  /** Two accesses to a page within this time mark it as used twice, which `tpp` promotes. */
  readonly windowNs: number;
  /** Of `tpp`: demotion begins below this free share of local memory. */
  readonly lowFreeShare: number;
  /** Of `tpp`: and ends above this one. */
  readonly highFreeShare: number;
  /** What the kernel takes to move a page. */
  readonly kernelNsPerPage: number;
  /** Schemes of `damon`. */
  readonly damon: readonly DamonScheme[];
}

/** All settings of a run. Sizes in bytes, times in ns, bandwidths in GB/s. */
export interface SimConfig {
  /** The tree of switches and endpoints. */
  readonly topology: Topology;
  /** Length of an epoch. */
  readonly epochNs: number;
  /** Of local memory: read, write. */
  readonly dramLatencyNs: Pair;
  /** Of local memory: read, write; null for no limit. */
  readonly localBandwidthGBs: Pair | null;
  /** By endpoint. */
  readonly latencyNs: readonly Pair[];
  /** By endpoint: up (reads), down (writes). */
  readonly bandwidthGBs: readonly Pair[];
  /** By node: local first. */
  readonly capacityBytes: readonly number[];
  /** Time of a line on an endpoint's link; null: from its bandwidth. */
  readonly serviceNs: number | null;
  /** Requests that an endpoint takes at a time; null for no limit. */
  readonly credits: number | null;
  /** What a switch adds, and what its uplink carries. */
  readonly switch: {
    readonly latencyNs: number;
    readonly bandwidthGBs: Pair;
    readonly serviceNs: number | null;
    readonly credits: number | null;
  };
  /** The link between pools. */
  readonly fabric: { readonly latencyNs: number; readonly bandwidthGBs: number; readonly credits: number | null };
  /** Bytes that each line takes on a link beside its own. */
  readonly headerBytes: number;
  /** A power of two. */
  readonly lineBytes: number;
  /** A power of two. */
  readonly pageBytes: number;
  /** `closed`: an access waits for its window and its predecessor; `open`: it comes at its time. */
  readonly replay: "closed" | "open";
  /** How waits are found. */
  readonly bandwidthModel: typeof BANDWIDTH_MODELS[number];
  /** Outstanding misses of a stream. */
  readonly window: number;
  /** A write holds a place of the window, as a load does. */
  readonly writesStall: boolean;
  /** `measured`: gaps of the trace hold local stalls already. */
  readonly gaps: "compute" | "measured";
  /** Of the analytic models: a number, or `trace`. */
  readonly mlp: number | "trace";
  /** Of the analytic models: the slowest part, or all parts. */
  readonly bottleneck: "max" | "sum";
  /** Both directions of a link share its bandwidth. */
  readonly halfDuplex: boolean;
  /** Of the model `mlc`. */
  readonly mlc: {
    readonly peaksGBs: { readonly read: number; readonly write: number; readonly mixed: number | null } | null;
    readonly knee: number;
    readonly saturation: number;
    readonly alpha: number;
    readonly minWindowNs: number;
  };
  /** Measured curves: points of read share, GB/s, ns; null without. */
  readonly curve: readonly { readonly readShare: number; readonly GBs: number; readonly ns: number }[] | null;
  /** True when the curve was measured at the core; false: at the device. Said in the report, no effect. */
  readonly curveIncludesHost: boolean;
  /** Each host's last-level cache; null: the trace was filtered already. */
  readonly cache: CacheSettings | null;
  /** Each stream has a prefetcher. */
  readonly prefetch: boolean;
  /** Each host has a TLB, and page tables where this says; null without. */
  readonly tlb: { readonly tables: "local" | "remote" } | null;
  /** Where new pages go. */
  readonly placement: typeof PLACEMENTS[number];
  /** Of `interleave`: by node. */
  readonly weights: readonly number[];
  /** Of `bind` and `preferred`. */
  readonly node: number;
  /** Of `local-first`: local until this share of it is used. */
  readonly localFillShare: number;
  /** Pages of one allocation go to one node. */
  readonly byAllocation: boolean;
  /** Ranges that are placed by address. */
  readonly fixed: readonly FixedRange[];
  /** Windows that are interleaved over endpoints. */
  readonly windows: readonly Window[];
  /** Policies that move pages. */
  readonly migration: MigrationSettings;
  /** How hosts see each other, with the costs of a message (LogP), in ns. */
  readonly coherence: {
    readonly mode: typeof COHERENCE_MODES[number];
    readonly L: number;
    readonly oS: number;
    readonly oR: number;
    readonly g: number;
    readonly grantExclusive: boolean;
    readonly filterLines: number | null;
  };
  /** Hosts that begin together; null: those seen among the first accesses. */
  readonly hosts: number | null;
  /** Seed of everything that is drawn. */
  readonly seed: number;
}

/** The parts of a {@linkcode SimConfig} that are given; lists may be short. */
export type PartialConfig =
  & { readonly topology: string; readonly endpoints?: number | undefined }
  & {
    readonly [K in keyof Omit<SimConfig, "topology" | "switch" | "fabric" | "migration" | "coherence" | "mlc">]?:
      | SimConfig[K]
      | undefined;
  }
  & {
    readonly [K in "switch" | "fabric" | "migration" | "coherence" | "mlc"]?:
      | { readonly [F in keyof SimConfig[K]]?: SimConfig[K][F] | undefined }
      | undefined;
  };

/** Latency of an endpoint, in ns. */
export const DEFAULT_LATENCY: Pair = [200, 250];
/** Bandwidth of an endpoint, in GB/s. */
export const DEFAULT_BANDWIDTH: Pair = [50, 50];

/** Everything that has a default, but for what depends on the topology. */
export const DEFAULTS: Omit<SimConfig, "topology" | "latencyNs" | "bandwidthGBs" | "capacityBytes"> = {
  epochNs: 5e6,
  dramLatencyNs: [110, 110],
  localBandwidthGBs: null,
  serviceNs: null,
  credits: null,
  switch: { latencyNs: 70, bandwidthGBs: DEFAULT_BANDWIDTH, serviceNs: null, credits: null },
  fabric: { latencyNs: 100, bandwidthGBs: 25, credits: 32 },
  headerBytes: 0,
  lineBytes: 64,
  pageBytes: 4096,
  replay: "closed",
  bandwidthModel: "queue",
  window: 16,
  writesStall: true,
  gaps: "compute",
  mlp: 1,
  bottleneck: "max",
  halfDuplex: false,
  mlc: { peaksGBs: null, knee: 0.8, saturation: 0.98, alpha: 0.05, minWindowNs: 100_000 },
  curve: null,
  curveIncludesHost: false,
  cache: null,
  prefetch: false,
  tlb: null,
  placement: "local-first",
  weights: [],
  node: 0,
  localFillShare: 0.9,
  byAllocation: false,
  fixed: [],
  windows: [],
  migration: {
    policies: ["none"],
    timeScale: 1,
    heatCount: 100,
    hotCount: 100,
    coldCount: 10,
    halveNs: 1e7,
    balanceShare: 0.2,
    balancePages: 5,
    lifetimeNs: 1e6,
    windowNs: 1e9,
    lowFreeShare: 0.02,
    highFreeShare: 0.04,
    kernelNsPerPage: 1000,
    damon: [],
  },
  coherence: { mode: "private", L: 150, oS: 20, oR: 20, g: 4, grantExclusive: true, filterLines: null },
  hosts: null,
  seed: 1,
};
