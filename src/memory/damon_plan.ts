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
  /** A kdamond watches at most so many bytes: a source with more memory gets several. No limit by default. */
  readonly regionMaxBytes?: bigint | undefined;
}

/** A filter of a scheme: a page is left out when its condition equals `matching`. */
export type DamonFilter =
  | { readonly type: "memcg"; readonly matching: boolean; readonly path: string }
  | { readonly type: "anon" | "young"; readonly matching: boolean };

/** A smallest and a largest value. */
export interface DamonRange {
  /** The smallest that fits. */
  readonly min: bigint;
  /** The largest that fits. */
  readonly max: bigint;
}

/** What a quota is steered by: the kernel makes it larger or smaller until the metric has the value. */
export interface DamonGoal {
  /** The kernel's word for what is looked at. */
  readonly metric: "user_input" | "some_mem_psi_us" | "node_mem_used_bp" | "node_mem_free_bp";
  /** What it is to be: microseconds of pressure, or ten-thousandths of the node's memory. */
  readonly targetValue: bigint;
  /** What it is, for `user_input` only. */
  readonly currentValue: bigint;
  /** The node, for the two metrics of a node; null for the others. */
  readonly node: number | null;
}

/** When a scheme rests: free memory of the system, in thousandths. */
export interface DamonWatermarks {
  /** The kernel's word for what is looked at. */
  readonly metric: "free_mem_rate";
  /** Microseconds between two looks. */
  readonly intervalUs: number;
  /** Above this the scheme rests. */
  readonly highPermil: number;
  /** Below this it begins. */
  readonly midPermil: number;
  /** Below this it rests again. */
  readonly lowPermil: number;
}

/** A node that takes a share of the pages. */
export interface DamonDestination {
  /** The node. */
  readonly node: number;
  /** Its share, in relation to the weights of the others. */
  readonly weight: number;
}

/** By what the kernel tunes the intervals itself. */
export interface DamonIntervalsGoal {
  /** Ten-thousandths of the greatest possible number of access events. */
  readonly accessBp: number;
  /** Aggregations over which they are counted. */
  readonly aggregations: number;
  /** The shortest time between two looks, in microseconds. */
  readonly minSampleUs: number;
  /** The longest. */
  readonly maxSampleUs: number;
}

/** What a kdamond does with regions that fit. */
export interface DamonScheme {
  /** Moves pages, or only counts (`stat`). */
  readonly action: "migrate_cold" | "migrate_hot" | "stat";
  /** The node that pages go to; null for `stat`. */
  readonly to: number | null;
  /** Nodes that share the pages; empty where `to` takes all. */
  readonly destinations: readonly DamonDestination[];
  /** Bytes of a region that the scheme fits. */
  readonly size: DamonRange;
  /** Looks of one aggregation that found the region used. */
  readonly accesses: DamonRange;
  /** Aggregations for which that has been so. */
  readonly age: DamonRange;
  /** Microseconds between two times that it is applied; 0: after each aggregation. */
  readonly applyIntervalUs: number;
  /** At most so much work within an interval, and by what regions are chosen when it is too little. */
  readonly quota: {
    /** Milliseconds of work; 0: no limit. */
    readonly timeMs: number;
    /** Bytes moved; 0: no limit. */
    readonly sizeBytes: bigint;
    /** The interval in milliseconds. */
    readonly intervalMs: number;
    /** Weight of size, accesses and age, in thousandths. */
    readonly weightsPermil: readonly [size: number, accesses: number, age: number];
    /** What the quota is steered by. */
    readonly goals: readonly DamonGoal[];
  };
  /** When it rests; null: never. */
  readonly watermarks: DamonWatermarks | null;
  /** Pages that are left out. */
  readonly filters: readonly DamonFilter[];
}

/** One kdamond: a kernel thread that watches physical memory and applies schemes to it. */
export interface Kdamond {
  /** The node that is watched; null where a file says only which addresses. */
  readonly from: number | null;
  /** Physical addresses that are watched. */
  readonly regions: readonly MemoryRange[];
  /** How often it looks. */
  readonly intervals: DamonIntervals;
  /** By what the kernel tunes them; null: they stay. */
  readonly intervalsGoal: DamonIntervalsGoal | null;
  /** Into how many regions memory is divided, at least and at most. */
  readonly nrRegions: DamonRange;
  /** What it does, in the order in which it is tried; empty: it only watches. */
  readonly schemes: readonly DamonScheme[];
}

/** Which way a scheme moves pages; null for one that moves none. */
export function directionOf(scheme: DamonScheme): "demote" | "promote" | null {
  return scheme.action === "migrate_cold" ? "demote" : scheme.action === "migrate_hot" ? "promote" : null;
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
  const intervals = request.intervals ?? DAMON_INTERVALS;
  const sources = new Set<number>();
  const one = (direction: "demote" | "promote", pair: NodePair): Kdamond[] => {
    if (pair.from === pair.to) throw usage(`${direction} ${pair.from} ${pair.to}: a node cannot give pages to itself`);
    if (sources.has(pair.from)) {
      throw usage(`node ${pair.from} is the source twice`, "one kdamond watches a node: name each source once");
    }
    sources.add(pair.from);
    // A node to move pages to must have memory too.
    ranges(pair.to);
    return splitRegions(ranges(pair.from), request.regionMaxBytes).map((regions) =>
      kdamond(direction, pair, regions, intervals, request)
    );
  };
  // Wrong cgroups and intervals are told before a node is looked for.
  if (request.cgroup !== null) checkCgroupPath(request.cgroup);
  checkIntervals(intervals);
  const kdamonds = [
    ...request.demote.flatMap((pair) => one("demote", pair)),
    ...request.promote.flatMap((pair) => one("promote", pair)),
  ];
  kdamonds.forEach(checkKdamond);
  return kdamonds;
}

function checkCgroupPath(path: string): void {
  if (/^\/[^\0\n]*$/.test(path)) return;
  throw usage(`'${path}' is no cgroup`, "write its path below the mount point, as in /hmsdk");
}

function checkIntervals({ sampleUs, aggregateUs, updateUs }: DamonIntervals): void {
  if (sampleUs > 0 && aggregateUs >= sampleUs && updateUs >= aggregateUs) return;
  throw usage(
    "the intervals do not fit: sample ≤ aggregate ≤ update",
    `HMSDK has ${DAMON_INTERVALS.sampleUs}, ${DAMON_INTERVALS.aggregateUs} and ${DAMON_INTERVALS.updateUs} µs`,
  );
}

/**
 * Checks what can be told of a kdamond without the machine: the same for options and for files.
 *
 * @throws {BusbarError} `usage` for the first value that makes no sense
 */
export function checkKdamond(kdamond: Kdamond): void {
  checkIntervals(kdamond.intervals);
  const { min, max } = kdamond.nrRegions;
  // mm/damon/core.c, damon_set_attrs(): fewer than three regions cannot be told apart.
  if (min < 3n || max < min) {
    throw usage(`${min} to ${max} regions do not fit: at least 3, and the most not below the least`);
  }
  if (kdamond.regions.length === 0) throw usage("no addresses are watched", "name regions of physical memory");
  let end = 0n;
  for (const region of kdamond.regions) {
    if (region.start >= region.end || region.start < end) {
      throw usage(`the regions do not follow one another: ${region.start} to ${region.end} stands after ${end}`);
    }
    end = region.end;
  }
  for (const scheme of kdamond.schemes) checkScheme(scheme);
}

function checkScheme(scheme: DamonScheme): void {
  if (scheme.action !== "stat" && scheme.to === null && scheme.destinations.length === 0) {
    throw usage(`${scheme.action} needs a node that pages go to`);
  }
  for (const [name, range] of [["size", scheme.size], ["accesses", scheme.accesses], ["age", scheme.age]] as const) {
    if (range.min > range.max) throw usage(`the ${name} does not fit: ${range.min} is above ${range.max}`);
  }
  for (const { weight } of scheme.destinations) if (weight < 1) throw usage(`a weight of ${weight} takes no pages`);
  const { watermarks } = scheme;
  if (
    watermarks !== null && (watermarks.lowPermil > watermarks.midPermil || watermarks.midPermil > watermarks.highPermil)
  ) {
    throw usage("the watermarks do not fit: low ≤ mid ≤ high");
  }
  for (const filter of scheme.filters) if (filter.type === "memcg") checkCgroupPath(filter.path);
}

/**
 * Checks that the nodes which pages go to are there and have memory.
 *
 * @throws {BusbarError} what {@linkcode nodeRanges} throws
 */
export function checkTargetNodes(host: Host, kdamonds: readonly Kdamond[]): void {
  for (const { to, destinations } of kdamonds.flatMap(({ schemes }) => schemes)) {
    for (const node of [...to === null ? [] : [to], ...destinations.map(({ node }) => node)]) nodeRanges(host, node);
  }
}

/** The smallest limit: below it a node of usual size would need more kdamonds than a kernel keeps up with. */
const SMALLEST_REGION_BYTES = 1n << 20n;
/** kdamonds are threads of the kernel: more than these are a mistake in the limit. */
const MAX_PARTS = 256;

/** A source's memory in parts of at most `maxBytes`, in order; a range that is larger is cut. */
function splitRegions(ranges: readonly MemoryRange[], maxBytes: bigint | undefined): MemoryRange[][] {
  if (maxBytes === undefined) return [[...ranges]];
  if (maxBytes < SMALLEST_REGION_BYTES || maxBytes % 4096n !== 0n) {
    throw usage(`regions of at most ${maxBytes} bytes do not fit`, "write whole pages, 1MiB at the least");
  }
  const parts: MemoryRange[][] = [[]];
  let room = maxBytes;
  for (const { start, end } of ranges) {
    for (let at = start; at < end;) {
      if (room === 0n) {
        if (parts.length === MAX_PARTS) {
          throw usage(`regions of at most ${maxBytes} bytes need more than ${MAX_PARTS} kdamonds`);
        }
        parts.push([]);
        room = maxBytes;
      }
      const until = end - at < room ? end : at + room;
      parts.at(-1)?.push({ start: at, end: until });
      room -= until - at;
      at = until;
    }
  }
  return parts;
}

function kdamond(
  direction: "demote" | "promote",
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
  const scheme: DamonScheme = {
    action: demotes ? "migrate_cold" : "migrate_hot",
    to,
    destinations: [],
    size: { min: 4096n, max: NO_LIMIT },
    // Shares of the looks: 0 % to 0 %, or 5 % to 100 %, rounded down at the lower end.
    accesses: demotes ? { min: 0n, max: 0n } : { min: looks * 5n / 100n, max: looks },
    age: demotes ? { min: coldAge, max: NO_LIMIT } : { min: 0n, max: NO_LIMIT },
    applyIntervalUs: 0,
    quota: {
      timeMs: demotes ? 1000 : 2000,
      sizeBytes: 50n << 30n,
      intervalMs: 20_000,
      weightsPermil: [0, 0, 10],
      goals: [],
    },
    watermarks: null,
    // Cold pages that were used since are left out; hot regions' pages that were not are too.
    filters: [...memcg, { type: "young", matching: demotes }],
  };
  return { from, regions, intervals, intervalsGoal: null, nrRegions: { min: 100n, max: 10_000n }, schemes: [scheme] };
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
