import { assert, assertEquals } from "@std/assert";

import type { PartialConfig } from "../../src/sim/config.ts";
import { completeConfig } from "../../src/sim/complete_config.ts";
import { Simulator } from "../../src/sim/simulator.ts";
import { AccessBatch, Op } from "../../src/sim/trace/batch.ts";
import { fixedMap, type Line, report, ROOM, simulate } from "./sim_run.ts";

const PAGE = 4096;
const MAP = fixedMap(1);

/** One endpoint of 300 ns, a link of 2 ns a line. */
const PREFETCHED: Partial<PartialConfig> = {
  topology: "(1)",
  dramLatencyNs: [100, 100],
  latencyNs: [[300, 300]],
  bandwidthGBs: [[32, 32]],
  capacityBytes: ROOM,
  fixed: MAP,
  prefetch: true,
};

const line = (index: number): number => 2 ** 32 + index * 64;

Deno.test("prefetcher: two misses on neighbouring lines start a stream of degree 2, distance 4; the third access waits for nothing", () => {
  // Access 1 of line 1 fetches 2 and 3 ahead; line 2 fetches 4 and 5, line 3 fetches 6 and 7, line 4 fetches 8.
  const lines = [0, 1, 2, 3, 4].map((index): Line => [index * 1000, "R", line(index)]);
  const { prefetch, latency, nodes } = report(PREFETCHED, lines);
  assertEquals(prefetch, { issued: 2 + 2 + 2 + 1, useful: 3, late: 0, coverage: 3 / 5 });
  assertEquals([latency?.minNs, latency?.maxNs], [0, 300]);
  assertEquals(nodes[1]?.reads, 2 + 7, "prefetches use bandwidth");
});

Deno.test("prefetcher: a demand access of a line in flight waits only for the rest: 300 + 2 − 10 = 292 ns", () => {
  // The prefetch of line 2 is issued with access 1 at 1000 and stands behind it on the link for 2 ns.
  const lines: Line[] = [[0, "R", line(0)], [1000, "R", line(1)], [1010, "R", line(2)]];
  const state = simulate(PREFETCHED, lines);
  assertEquals((state.replay?.events.counts.totals[0] ?? 0) / 1024, 1000 + 300 + 2);
  const { prefetch, latency } = report(PREFETCHED, lines);
  assertEquals([prefetch?.late, latency?.minNs], [1, 292]);
});

Deno.test("prefetcher: a stream goes down as well as up, ends with its page of 4 KiB, and single misses start none", () => {
  const issued = (indexes: readonly number[]): number | undefined =>
    report(PREFETCHED, indexes.map((index, i): Line => [i * 1000, "R", line(index)])).prefetch?.issued;
  assertEquals(issued([40, 39]), 2);
  assertEquals(issued([62, 63]), 0, "line 64 is another page");
  assertEquals(issued([61, 62]), 1);
  assertEquals(issued([1, 0]), 0, "line −1 is another page");
  assertEquals(issued([0, 2, 4, 6]), 0);
  assertEquals(issued([0, 1, 500, 2]), 2 + 2, "another miss between does not end a stream");
});

Deno.test("prefetcher: the seventeenth stream takes the place of the one used longest ago", () => {
  const others = Array.from({ length: 16 }, (_, i) => 1000 * (i + 1));
  const issued = (indexes: readonly number[]): number | undefined =>
    report(PREFETCHED, indexes.map((index, i): Line => [i * 1000, "R", line(index)])).prefetch?.issued;
  assertEquals(issued([0, ...others.slice(0, 15), 1]), 2, "16 are remembered");
  assertEquals(issued([0, ...others, 1]), 0);
});

/** Pages, one touch each, and the node of each. */
function nodesOf(given: Partial<PartialConfig>, pages: number): number[] {
  const lines = Array.from({ length: pages }, (_, i): Line => [i, "R", i * PAGE]);
  return [...simulate(given, lines).pages.entries()].map(({ node }) => node);
}

const TWO: Partial<PartialConfig> = { topology: "(1,2)", latencyNs: [[300, 300], [200, 200]] };
const room = (...pages: number[]): number[] => pages.map((count) => count * PAGE);

Deno.test("local-first: local until 90 % of 10 pages are used, then the endpoints in order, then the rest of local", () => {
  assertEquals(nodesOf({ ...TWO, capacityBytes: room(10, 2, 1) }, 13), [
    ...Array.from({ length: 9 }, () => 0),
    ...[1, 1, 2, 0],
  ]);
});

Deno.test("interleave with weights 3,1: A A A B; a full node is passed over", () => {
  const given = { ...TWO, placement: "interleave" as const, weights: [3, 1, 0], capacityBytes: room(100, 2, 100) };
  assertEquals(nodesOf(given, 12), [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
});

Deno.test("bandwidth-weighted: 32·60/90 = 21 and 32·30/90 = 10 pages, no common divisor", () => {
  const given: Partial<PartialConfig> = {
    ...TWO,
    placement: "bandwidth-weighted",
    bandwidthGBs: [[60, 60], [30, 30]],
    capacityBytes: room(0, 1000, 1000),
  };
  const nodes = nodesOf(given, 31);
  assertEquals([nodes.filter((node) => node === 1).length, nodes.filter((node) => node === 2).length], [21, 10]);
});

Deno.test("numa score: 1/(0.7·Lr + 0.3·Lw) · (1 − used/capacity), the highest wins, ties go to the lowest node", () => {
  // Scores 1/110, 1/300, 1/200 times free shares: local down to 1/220 at half, and so on.
  const given = { ...TWO, placement: "numa-score" as const, capacityBytes: room(4, 4, 4) };
  // 1/110, then 3/440 against 2/400: local; 2/440 is less than 1/200: endpoint 2; 3/800 less: local …
  assertEquals(nodesOf(given, 5), [0, 0, 2, 0, 2]);
  const equal = { topology: "(1,2)", placement: "numa-score" as const, capacityBytes: room(0, 4, 4) };
  assertEquals(nodesOf(equal, 4), [1, 2, 1, 2]);
});

Deno.test("bind ends without room: ENOMEM with the page, what is used and what there is; preferred falls back by latency", () => {
  const bound = { ...TWO, placement: "bind" as const, node: 1, capacityBytes: room(10, 2, 10) };
  const lines = Array.from({ length: 4 }, (_, i): Line => [i, "R", i * PAGE]);
  const { noRoom, nodes } = report(bound, lines);
  assertEquals(noRoom, {
    accesses: 2,
    address: "0x2000",
    usedBytes: ["0", "8192", "0"],
    capacityBytes: ["40960", "8192", "40960"],
  });
  assertEquals(nodes.map(({ reads }) => reads), [0, 2, 0], "what found no room is left out");
  const preferred = { ...bound, placement: "preferred" as const, capacityBytes: room(1, 2, 1) };
  assertEquals(nodesOf(preferred, 4), [1, 1, 0, 2]);
});

Deno.test("a fixed range goes where it says, and on by the policy when that is full", () => {
  const given = { ...TWO, fixed: [{ baseAddress: 0, sizeBytes: 3 * PAGE, node: 2 }], capacityBytes: room(10, 10, 2) };
  assertEquals(nodesOf(given, 5), [2, 2, 0, 0, 0]);
});

Deno.test("by allocation: all pages of one go to one node, in one piece; free gives the room back", () => {
  const given: Partial<PartialConfig> = {
    ...TWO,
    byAllocation: true,
    localFillShare: 1,
    capacityBytes: room(4, 8, 8),
  };
  const batch = new AccessBatch(64);
  const touch = (pages: readonly number[]): void => {
    for (const page of pages) batch.append(0, 0, 0, Op.Read, page * PAGE, 64);
  };
  const allocate = (page: number, pages: number): void => {
    batch.append(0, 0, 0, Op.Allocate, page * PAGE, 0);
    batch.append(0, 0, 0, Op.Size, pages * PAGE, 0);
  };
  allocate(100, 3);
  allocate(200, 6);
  touch([100, 200, 101, 201, 102, 205]);
  batch.append(0, 0, 0, Op.Free, 100 * PAGE, 0);
  allocate(300, 4);
  touch([300, 301, 302, 303]);
  const simulator = new Simulator(completeConfig({ topology: "(1,2)", ...given }).config);
  simulator.feed(batch);
  const state = simulator.finish();
  const nodes = new Map([...state.pages.entries()].map(({ page, node }) => [page, node]));
  assertEquals([200, 201, 205].map((page) => nodes.get(page)), [1, 1, 1], "6 pages do not fit into 4 − 3");
  assertEquals(
    [300, 301, 302, 303].map((page) => nodes.get(page)),
    [0, 0, 0, 0],
    "the room of the first is free again",
  );
  assert(!nodes.has(100));
  assertEquals([...state.pages.placement.used], [4 * PAGE, 3 * PAGE, 0]);
});

Deno.test("posted writes: with one place in the window 10 stores end after path + 9 services, stalling ones after 10 paths", () => {
  const stores = Array.from({ length: 10 }, (_, i): Line => [0, "W", line(i)]);
  const given = { ...PREFETCHED, prefetch: false, window: 1 };
  assertEquals(report({ ...given, writesStall: false }, stores).time.simulatedNs, 300 + 9 * 2);
  assertEquals(report(given, stores).time.simulatedNs, 10 * 300);
});
