/**
 * DAMON configurations for capacity expansion: cold pages go to a slow node, hot pages come back. Pure: from nodes and
 * their memory to numbers for the kernel.
 *
 * Source: Linux Documentation/admin-guide/mm/damon/usage.rst; SK hynix HMSDK, capacity expansion.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { blocksOfNode } from "./blocks.ts";
import type { MemoryRange } from "./devdax.ts";
import { readNodes } from "./tiers.ts";

/** No upper limit, as DAMON writes it. */
export const NO_LIMIT: bigint = 0xffff_ffff_ffff_ffffn;

/** From one node to another. */
export interface NodePair {
  /** The node whose memory is watched. */
  readonly from: number;
  /** The node that pages go to. */
  readonly to: number;
}

/** How often DAMON looks, and how long it sums up. Microseconds. */
export interface DamonIntervals {
  /** Between two looks at a page. */
  readonly sampleUs: number;
  /** Over which looks are summed up; then schemes are applied. */
  readonly aggregateUs: number;
  /** Between two updates of what is watched. */
  readonly updateUs: number;
}

/** HMSDK's intervals. */
export const DAMON_INTERVALS: DamonIntervals = { sampleUs: 100_000, aggregateUs: 2_000_000, updateUs: 20_000_000 };

/** What is to be moved, and whose. */
export interface DamonRequest {
  /** Cold pages go from a fast node to a slow one. */
  readonly demote: readonly NodePair[];
  /** Hot pages go from a slow node to a fast one. */
  readonly promote: readonly NodePair[];
  /** Only pages of this cgroup and those below it, as in `/hmsdk`; null for all. */
  readonly cgroup: string | null;
  /** How often DAMON looks. */
  readonly intervals?: DamonIntervals | undefined;
  /** Pages not used for so long are cold. Microseconds; 30 s by default. */
  readonly coldAgeUs?: number | undefined;
}

/** A filter of a scheme: a page is left out when its condition equals `matching`. */
export type DamonFilter =
  | { readonly type: "memcg"; readonly matching: boolean; readonly path: string }
  | { readonly type: "young"; readonly matching: boolean };

/** A smallest and a largest value. */
export interface DamonRange {
  /** The smallest that fits. */
  readonly min: bigint;
  /** The largest that fits. */
  readonly max: bigint;
}

/** One kdamond: a kernel thread that watches memory of a node and moves pages of it. */
export interface Kdamond {
  /** `demote` or `promote`. */
  readonly direction: "demote" | "promote";
  /** The node that is watched; null where a file says only which addresses. */
  readonly from: number | null;
  /** The node that pages go to. */
  readonly to: number;
  /** Physical addresses that are watched. */
  readonly regions: readonly MemoryRange[];
  /** How often it looks. */
  readonly intervals: DamonIntervals;
  /** Into how many regions memory is divided, at least and at most. */
  readonly nrRegions: DamonRange;
  /** What the scheme does. */
  readonly action: "migrate_cold" | "migrate_hot";
  /** Bytes of a region that the scheme fits. */
  readonly size: DamonRange;
  /** Looks of one aggregation that found the region used. */
  readonly accesses: DamonRange;
  /** Aggregations for which that has been so. */
  readonly age: DamonRange;
  /** At most so much work within an interval, and by what regions are chosen when it is too little. */
  readonly quota: {
    /** Milliseconds of work. */
    readonly timeMs: number;
    /** Bytes moved. */
    readonly sizeBytes: bigint;
    /** The interval in milliseconds. */
    readonly intervalMs: number;
    /** Weight of size, accesses and age, in thousandths. */
    readonly weightsPermil: readonly [size: number, accesses: number, age: number];
  };
  /** Pages that are left out. */
  readonly filters: readonly DamonFilter[];
}

/**
 * Plans the kdamonds for a request: all demotions first, then promotions.
 *
 * @param ranges the System RAM of a node: {@linkcode nodeRanges}
 * @throws {BusbarError} `usage` for pairs that make no sense; what `ranges` throws
 */
export function planDamon(request: DamonRequest, ranges: (node: number) => MemoryRange[]): Kdamond[] {
  if (request.demote.length + request.promote.length === 0) {
    throw usage(
      "nothing to demote and nothing to promote",
      "--migrate 0 1 does both between the fast node 0 and node 1",
    );
  }
  if (request.cgroup !== null && !/^\/[^\0\n]*$/.test(request.cgroup)) {
    throw usage(`'${request.cgroup}' is no cgroup`, "write its path below the mount point, as in /hmsdk");
  }
  const intervals = request.intervals ?? DAMON_INTERVALS;
  const { sampleUs, aggregateUs, updateUs } = intervals;
  if (sampleUs <= 0 || aggregateUs < sampleUs || updateUs < aggregateUs) {
    throw usage(
      "the intervals do not fit: sample ≤ aggregate ≤ update",
      `HMSDK has ${DAMON_INTERVALS.sampleUs}, ${DAMON_INTERVALS.aggregateUs} and ${DAMON_INTERVALS.updateUs} µs`,
    );
  }
  const sources = new Set<number>();
  const one = (direction: Kdamond["direction"], pair: NodePair): Kdamond => {
    if (pair.from === pair.to) throw usage(`${direction} ${pair.from} ${pair.to}: a node cannot give pages to itself`);
    if (sources.has(pair.from)) {
      throw usage(`node ${pair.from} is the source twice`, "one kdamond watches a node: name each source once");
    }
    sources.add(pair.from);
    // A node to move pages to must have memory too.
    ranges(pair.to);
    return kdamond(direction, pair, ranges(pair.from), intervals, request);
  };
  return [
    ...request.demote.map((pair) => one("demote", pair)),
    ...request.promote.map((pair) => one("promote", pair)),
  ];
}

function kdamond(
  direction: Kdamond["direction"],
  { from, to }: NodePair,
  regions: MemoryRange[],
  intervals: DamonIntervals,
  request: DamonRequest,
): Kdamond {
  const looks = BigInt(Math.floor(intervals.aggregateUs / intervals.sampleUs));
  const coldAge = BigInt(Math.floor((request.coldAgeUs ?? 30_000_000) / intervals.aggregateUs));
  const demotes = direction === "demote";
  const memcg: DamonFilter[] = request.cgroup === null
    ? []
    : [{ type: "memcg", matching: false, path: request.cgroup }];
  return {
    direction,
    from,
    to,
    regions,
    intervals,
    nrRegions: { min: 100n, max: 10_000n },
    action: demotes ? "migrate_cold" : "migrate_hot",
    size: { min: 4096n, max: NO_LIMIT },
    // Shares of the looks: 0 % to 0 %, or 5 % to 100 %, rounded down at the lower end.
    accesses: demotes ? { min: 0n, max: 0n } : { min: looks * 5n / 100n, max: looks },
    age: demotes ? { min: coldAge, max: NO_LIMIT } : { min: 0n, max: NO_LIMIT },
    quota: {
      timeMs: demotes ? 1000 : 2000,
      sizeBytes: 50n << 30n,
      intervalMs: 20_000,
      weightsPermil: [0, 0, 10],
    },
    // Cold pages that were used since are left out; hot regions' pages that were not are too.
    filters: [...memcg, { type: "young", matching: demotes }],
  };
}

function usage(message: string, hint?: string): BusbarError {
  return new BusbarError("usage", message, { operation: "plan DAMON", hint });
}

/**
 * The physical addresses of a node's System RAM: what `/proc/iomem` calls so, within the node's memory blocks.
 *
 * @throws {BusbarError} `absent` for a node that does not exist or has none; `permission` where the addresses are hidden
 */
export function nodeRanges(host: Host, node: number): MemoryRange[] {
  const nodes = readNodes(host);
  if (!nodes.some(({ id }) => id === node)) {
    throw new BusbarError("absent", `node ${node} does not exist`, {
      operation: "plan DAMON",
      path: `/sys/devices/system/node/node${node}`,
      hint: `there ${nodes.length === 1 ? "is" : "are"} ${nodes.map(({ id }) => `node ${id}`).join(", ")}`,
    });
  }
  const ram = systemRam(host);
  const blocks = blocksOfNode(host, node).filter((block) => block.state === "online");
  const ranges: MemoryRange[] = [];
  for (const { start, sizeBytes } of blocks) {
    for (const area of ram) {
      const from = area.start > start ? area.start : start;
      const to = area.end < start + sizeBytes ? area.end : start + sizeBytes;
      if (from >= to) continue;
      const last = ranges.at(-1);
      if (last?.end === from) ranges[ranges.length - 1] = { start: last.start, end: to };
      else ranges.push({ start: from, end: to });
    }
  }
  if (ranges.length > 0) return ranges;
  throw new BusbarError("absent", `node ${node} has no System RAM`, {
    operation: "plan DAMON",
    path: `/sys/devices/system/node/node${node}`,
    hint: "cxl_region list shows memory that could be taken into use",
  });
}

function systemRam(host: Host): MemoryRange[] {
  const areas: MemoryRange[] = [];
  for (const line of host.readText("/proc/iomem").split("\n")) {
    const [, start, end] = /^\s*([0-9a-f]+)-([0-9a-f]+) : System RAM/.exec(line) ?? [];
    if (start === undefined || end === undefined) continue;
    areas.push({ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) + 1n });
  }
  if (areas.some((area) => area.end > 1n)) return areas.sort((a, b) => a.start < b.start ? -1 : 1);
  throw new BusbarError("permission", "/proc/iomem shows no addresses to this user", {
    operation: "plan DAMON",
    path: "/proc/iomem",
    hint: "run as root",
  });
}

/** Where cgroup v2 is mounted; null where it is not. */
export function cgroupMount(host: Host): string | null {
  for (const line of (ifReadable(() => host.readText("/proc/self/mountinfo")) ?? "").split("\n")) {
    const [left = "", right = ""] = line.split(" - ");
    if (right.split(" ")[0] === "cgroup2") return left.split(" ")[4] ?? null;
  }
  return null;
}
