/**
 * The kernel's counters of NUMA placement, promotion, demotion and migration.
 *
 * Source: proc(5) (vmstat), Linux Documentation/admin-guide/numastat.rst, include/linux/vm_event_item.h.
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { textOf } from "../core/host_requests.ts";

/** The counters that users expect, in their order. */
export const NUMA_COUNTERS: readonly string[] = [
  ...["numa_hit", "numa_miss", "numa_foreign", "numa_interleave", "numa_local", "numa_other"],
  ...["pgpromote_success", "pgpromote_candidate", "pgdemote_kswapd", "pgdemote_direct", "pgdemote_khugepaged"],
  ...["pgalloc_dma", "pgalloc_dma32", "pgalloc_normal", "pgfault", "pgmajfault"],
  ...["kswapd_low_wmark_hit_quickly", "kswapd_high_wmark_hit_quickly", "numa_pte_updates", "numa_huge_pte_updates"],
  ...["numa_hint_faults", "numa_hint_faults_local", "numa_pages_migrated", "pgmigrate_success", "pgmigrate_fail"],
];

/** Counters that count a share of another one in newer kernels, shown only where they exist. */
const NEWER_COUNTERS: readonly string[] = ["pgpromote_candidate_nrl", "pgdemote_proactive"];

/** Values by name; null for a counter that this kernel or node does not have. */
export type CounterValues = ReadonlyMap<string, bigint | null>;

/**
 * Reads the counters of the machine, or of one node. A node has no counters of faults and allocations.
 *
 * @throws {BusbarError} `absent` when there is no such node
 */
export function readCounters(machine: Host, node: number | null = null): CounterValues {
  const path = node === null ? "/proc/vmstat" : `/sys/devices/system/node/node${node}/vmstat`;
  const placement = `/sys/devices/system/node/node${node}/numastat`;
  const host = new BatchedReads(machine);
  host.fetch([path, ...(node === null ? [] : [placement])].map(textOf));
  const values = new Map<string, bigint>();
  const vmstat = host.readText(path);
  // Kernels before 5.14 have the placement counters in numastat only, with names of their own.
  const numastat = node === null ? null : ifReadable(() => host.readText(placement));
  for (const line of (numastat ?? "").split("\n")) {
    const [name = "", value = ""] = line.split(" ");
    const full = NUMASTAT_NAMES[name];
    if (full !== undefined && /^\d+$/.test(value)) values.set(full, BigInt(value));
  }
  for (const line of vmstat.split("\n")) {
    const [name = "", value = ""] = line.split(" ");
    if (/^\d+$/.test(value)) values.set(name, BigInt(value));
  }
  const names = [...NUMA_COUNTERS, ...NEWER_COUNTERS.filter((name) => values.has(name))];
  return new Map(names.map((name) => [name, values.get(name) ?? null]));
}

const NUMASTAT_NAMES: Readonly<Record<string, string>> = {
  numa_hit: "numa_hit",
  numa_miss: "numa_miss",
  numa_foreign: "numa_foreign",
  interleave_hit: "numa_interleave",
  local_node: "numa_local",
  other_node: "numa_other",
};

/** What was counted between two readings; 64-bit counters may have wrapped. */
export function countedBetween(before: CounterValues, after: CounterValues): CounterValues {
  return new Map([...after].map(([name, value]) => {
    const old = before.get(name) ?? null;
    return [name, value === null || old === null ? null : BigInt.asUintN(64, value - old)];
  }));
}

/** A relation that counters of the whole machine obey. */
export interface CounterIdentity {
  /** As a formula: `numa_hit + numa_miss = numa_local + numa_other`. */
  readonly formula: string;
  /** The left side minus the right side; null where a counter is missing. */
  readonly difference: bigint | null;
}

/** Checks what must hold between counters of the whole machine. */
export function checkIdentities(values: CounterValues): CounterIdentity[] {
  const sum = (...names: string[]): bigint | null => {
    let total = 0n;
    for (const name of names) {
      const value = values.get(name) ?? null;
      if (value === null) return null;
      total += value;
    }
    return total;
  };
  const compare = (formula: string, left: bigint | null, right: bigint | null): CounterIdentity => ({
    formula,
    difference: left === null || right === null ? null : left - right,
  });
  return [
    compare(
      "numa_hit + numa_miss = numa_local + numa_other",
      sum("numa_hit", "numa_miss"),
      sum("numa_local", "numa_other"),
    ),
    compare("numa_miss = numa_foreign", sum("numa_miss"), sum("numa_foreign")),
  ];
}

/**
 * What to know about numbers like these: DAMON moves pages without the counters of promotion and demotion.
 *
 * @returns one sentence, or null where there is nothing to say
 */
export function counterNote(values: CounterValues): string | null {
  const migrated = values.get("pgmigrate_success") ?? 0n;
  const tiered = [
    "pgpromote_success",
    "pgdemote_kswapd",
    "pgdemote_direct",
    "pgdemote_khugepaged",
    "pgdemote_proactive",
  ]
    .some((name) => (values.get(name) ?? 0n) > 0n);
  if (migrated === 0n || tiered) return null;
  return "pages were migrated without being counted as promoted or demoted: by DAMON, by mbind or by compaction " +
    "(damon_config status shows what DAMON did)";
}
