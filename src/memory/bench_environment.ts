/**
 * What measurements of memory depend on: processor, kernel, nodes, page sizes, clock governors.
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { textOf } from "../core/host_requests.ts";

/** A cache of the first processor that holds data. */
export interface CacheSize {
  /** Its level, and what it holds where that is data alone: `L1d`, `L3`. */
  readonly name: string;
  /** Bytes. */
  readonly sizeBytes: number;
}

/** A machine, as far as its memory's speed depends on it. Null is what it does not tell. */
export interface BenchEnvironment {
  /** The processor's model. */
  readonly processor: string | null;
  /** How many processors are online, as the kernel writes it: `0-3`. */
  readonly cpus: string | null;
  /** Whether this is a virtual machine, as the processor says. */
  readonly isVirtual: boolean | null;
  /** The kernel's release. */
  readonly kernel: string | null;
  /** NUMA nodes online. */
  readonly nodes: string | null;
  /** Transparent huge pages for shared memory, and for other memory: what is chosen. */
  readonly hugePages: string | null;
  /** How the first processor's clock is governed. */
  readonly governor: string | null;
  /** The level of the largest cache and its size: `L3 32768K`. */
  readonly largestCache: string | null;
  /** The first processor's caches of data; empty where the machine does not tell. */
  readonly caches: readonly CacheSize[];
}

/** Reads it, in one batch. */
export function environmentOf(machine: Host): BenchEnvironment {
  const cpu = "/sys/devices/system/cpu";
  const thp = "/sys/kernel/mm/transparent_hugepage";
  const host = new BatchedReads(machine);
  host.fetch([
    ...["/proc/cpuinfo", `${cpu}/online`, "/proc/sys/kernel/osrelease", "/sys/devices/system/node/online"].map(textOf),
    textOf(`${thp}/shmem_enabled`),
    textOf(`${cpu}/cpu0/cpufreq/scaling_governor`),
    { call: "readTree", path: `${cpu}/cpu0/cache`, depth: 1, files: ["level", "size", "type"] },
  ]);
  const read = (path: string): string | null => ifReadable(() => host.readText(path).trim());
  const cpuinfo = read("/proc/cpuinfo");
  const caches = (ifReadable(() => host.list(`${cpu}/cpu0/cache`)) ?? []).filter((name) => /^index\d+$/.test(name));
  const last = caches.at(-1);
  const cache = last === undefined ? null : `${cpu}/cpu0/cache/${last}`;
  return {
    processor: /^model name\s*: (.*)$/m.exec(cpuinfo ?? "")?.[1] ?? null,
    cpus: read(`${cpu}/online`),
    isVirtual: cpuinfo === null ? null : /^flags\s*:.*\bhypervisor\b/m.test(cpuinfo),
    kernel: read("/proc/sys/kernel/osrelease"),
    nodes: read("/sys/devices/system/node/online"),
    hugePages: chosen(read(`${thp}/shmem_enabled`)),
    governor: read(`${cpu}/cpu0/cpufreq/scaling_governor`),
    largestCache: cache === null ? null : `L${read(`${cache}/level`)} ${read(`${cache}/size`)}`,
    caches: caches.flatMap((name) => cacheFrom((file) => read(`${cpu}/cpu0/cache/${name}/${file}`))),
  };
}

function cacheFrom(read: (file: string) => string | null): CacheSize[] {
  const [level, type] = [read("level"), read("type")];
  const kibibytes = /^(\d+)K$/.exec(read("size") ?? "")?.[1];
  if (level === null || !/^\d$/.test(level) || kibibytes === undefined || type === "Instruction") return [];
  return [{ name: `L${level}${type === "Data" ? "d" : ""}`, sizeBytes: Number(kibibytes) * 1024 }];
}

/** Bytes of the largest cache; null where the machine does not tell. */
export function largestCacheBytes({ largestCache }: BenchEnvironment): number | null {
  const kibibytes = /^L\d (\d+)K$/.exec(largestCache ?? "")?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1024;
}

/** The word in brackets: `always [never]`. */
function chosen(text: string | null): string | null {
  return /\[(\w+)\]/.exec(text ?? "")?.[1] ?? null;
}
