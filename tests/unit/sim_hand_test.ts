import { assert, assertAlmostEquals, assertEquals } from "@std/assert";

import type { PartialConfig } from "../../src/sim/config.ts";
import { counterDelay } from "../../src/sim/models/counters.ts";
import { loadedLatencyNs, mixedPeakGBs, peakGBs } from "../../src/sim/models/analytic.ts";
import { endpointQueueNs, fabricWaitNs, poissonWaitNs } from "../../src/sim/models/queueing.ts";
import { bandwidthWeights } from "../../src/sim/memory/placement.ts";
import { Op, type TraceSource } from "../../src/sim/trace/batch.ts";
import { AT, fixedMap, type Line, report, ROOM } from "./sim_run.ts";

/** Section 19 of the digest. */
const EXAMPLE: Partial<PartialConfig> = {
  topology: "(1,(2)sw)",
  dramLatencyNs: [100, 100],
  latencyNs: [[300, 350], [250, 300]],
  bandwidthGBs: [[32, 32]],
  switch: { latencyNs: 50, bandwidthGBs: [32, 32] },
  epochNs: 1e6,
  mlp: 1,
  bandwidthModel: "epoch",
  capacityBytes: ROOM,
  fixed: fixedMap(2),
};

const TRACE: readonly Line[] = [
  [0, "R", 0x1_0000_0000],
  [1000, "W", 0x1_0000_0040],
  [2000, "R", 0x2_0000_0000],
  [3000, "R", 0x2_0000_0000],
];

Deno.test("the whole example: 200 + 250 + 200 + 200 = 850 ns; reads, writes, bytes of endpoints and switch", () => {
  const { time, nodes, switches, attribution, epochs } = report(EXAMPLE, TRACE);
  assertEquals(time.delayNs, 850);
  assertEquals(attribution.map(({ part, ns }) => [part, ns]), [
    ["local", 3100],
    ["path", 850],
    ["bandwidth", 0],
    ["loaded latency", 0],
    ["coherence", 0],
    ["moves and walks", 0],
  ]);
  assertEquals(nodes.map(({ reads, writes, bytes }) => [reads, writes, bytes]), [[0, 0, "0"], [1, 1, "128"], [
    2,
    0,
    "128",
  ]]);
  assertEquals(nodes.map(({ pathReadNs, pathWriteNs }) => [pathReadNs, pathWriteNs]), [[100, 100], [300, 350], [
    300,
    350,
  ]]);
  assertEquals(switches.map(({ name, reads, bytes }) => [name, reads, bytes]), [["sw", 2, "128"]]);
  assertEquals(epochs.count, 1);
  assertEquals([time.nativeNs, time.simulatedNs], [3100, 3950]);
});

Deno.test("the whole example with MLP 2: 850 / 2 = 425 ns", () => {
  assertEquals(report({ ...EXAMPLE, mlp: 2 }, TRACE).time.delayNs, 425);
});

Deno.test("the whole example with a one-line cache: 200 + 200 + 200 + 0 = 600 ns, the victim is written back, unpaid", () => {
  const cache = { sizeBytes: 64, ways: 1, replacement: "lru" as const, l1: null, flushAtEnd: false };
  const { time, nodes, hosts } = report({ ...EXAMPLE, cache }, TRACE);
  assertEquals(time.delayNs, 600);
  assertEquals(nodes.map(({ reads, writes, bytes }) => [reads, writes, bytes]), [[0, 0, "0"], [2, 1, "192"], [
    1,
    0,
    "64",
  ]]);
  assertEquals(hosts.map((host) => [host.cacheHits, host.cacheMisses, host.writebacks]), [[1, 3, 1]]);
});

Deno.test("the whole example as a closed replay: issues 0, 1000, 2000, 3000, last completion 3300, slowdown 3300/3100", () => {
  const { time, attribution, latency } = report({ ...EXAMPLE, bandwidthModel: "queue" }, TRACE);
  assertEquals([time.baselineNs, time.simulatedNs, time.slowdown], [3100, 3300, 3300 / 3100]);
  assertEquals(attribution.map(({ ns }) => ns), [3100, 200, 0, 0, 0]);
  assertEquals([latency?.minNs, latency?.maxNs, latency?.meanNs], [300, 350, (300 + 350 + 300 + 300) / 4]);
});

Deno.test("every op on a tree of 3 endpoints: path = L + hops · S + lengths; prefetches and posted stores stall nobody", () => {
  const given = { ...EXAMPLE, topology: "(1:7,(2,3:5)sw:11)", latencyNs: [[300, 350]] as const, fixed: fixedMap(3) };
  const path = (op: string, node: number): number | null =>
    report({ ...given, bandwidthModel: "queue" }, [[0, op, AT(node)]]).latency?.maxNs ?? null;
  assertEquals([path("R", 1), path("W", 1), path("A", 1)], [307, 357, 357]);
  assertEquals([path("R", 2), path("W", 2)], [300 + 50 + 11, 350 + 50 + 11]);
  assertEquals([path("R", 3), path("W", 3)], [300 + 50 + 16, 350 + 50 + 16]);
  assertEquals([path("P", 1), path("R", 0)], [null, 100]);
  const posted = report({ ...given, bandwidthModel: "queue", writesStall: false, window: 1 }, [[0, "W", AT(1)], [
    0,
    "R",
    AT(1),
  ]]);
  assertEquals(posted.time.simulatedNs, 357, "the load does not wait for the store");
  const added = (op: string): number | null => report(given, [[0, op, AT(1)]]).time.delayNs;
  assertEquals([added("R"), added("W"), added("P")], [207, 257, 0]);
});

Deno.test("a local latency above the path adds 0, never less", () => {
  assertEquals(report({ ...EXAMPLE, dramLatencyNs: [400, 400] }, TRACE).time.delayNs, 0);
});

Deno.test("FIFO by hand: service 3, arrivals 0, 1, 2, 20 wait 0, 2, 4, 0", () => {
  const lines: Line[] = [[0, "R", AT(1)], [1, "R", AT(1, 1)], [2, "R", AT(1, 2)], [20, "R", AT(1, 3)]];
  const waits = [1, 2, 3, 4].map((n) => {
    const { explained } = report({ ...EXAMPLE, bandwidthModel: "queue", serviceNs: 3, replay: "open" }, lines, n);
    return explained?.links.map(({ waitNs }) => waitNs);
  });
  assertEquals(waits, [[0], [2], [4], [0]]);
});

Deno.test("n accesses at once: the sum of waits is STT·n(n−1)/2, but the last one ends after path + (n−1)·STT", () => {
  const n = 10;
  const lines = Array.from({ length: n }, (_, i): Line => [0, "R", AT(1, i)]);
  const { time, sums } = report({ ...EXAMPLE, bandwidthModel: "queue", window: n }, lines);
  assertEquals(sums.waitNs, 2 * n * (n - 1) / 2);
  assertEquals(time.simulatedNs, 300 + (n - 1) * 2);
});

Deno.test("--explain: a read of endpoint 2 reaches its own link at its issue and the uplink after one service time", () => {
  const { explained } = report({ ...EXAMPLE, bandwidthModel: "queue" }, [[0, "R", AT(2)], [0, "R", AT(2, 1)]], 2);
  assertEquals(explained?.access, "read of endpoint 2");
  assertEquals(explained?.links, [
    { link: "endpoint 2 up", arrivalNs: 0, waitNs: 2, serviceNs: 2 },
    { link: "switch sw up", arrivalNs: 4, waitNs: 0, serviceNs: 2 },
  ]);
  assertEquals(explained?.completionNs, 250 + 50 + 2);
  assertEquals(explained?.parts.reduce((sum, { ns }) => sum + ns, 0), 302);
});

Deno.test("2 credits at a path of 300 ns cap a device at 64 B · 2 / 300 ns = 0.427 GB/s", () => {
  const given = { ...EXAMPLE, bandwidthModel: "queue" as const, credits: 2, window: 64 };
  const { nodes, links } = report(given, Array.from({ length: 1000 }, (_, i): Line => [0, "R", AT(1, i)]));
  assertAlmostEquals(nodes[1]?.GBs ?? 0, 128 / 300, 0.001);
  assert((links.find(({ name }) => name === "endpoint 1 up")?.creditStalls ?? 0) > 900);
});

Deno.test("epoch excess: 1,500,000 reads of 64 B on 64 GB/s need 1.5 ms in an epoch of 1 ms: 0.5 ms too much", () => {
  const given = {
    ...EXAMPLE,
    topology: "(1)",
    latencyNs: [[100, 100]] as const,
    bandwidthGBs: [[64, 64]] as const,
    fixed: fixedMap(1),
  };
  // All of them come at time 0; one more at 1 ms, so that the first epoch counts with its whole length.
  let made = 0;
  const source: TraceSource = {
    read(batch): number {
      batch.count = 0;
      for (; !batch.full && made < 1_500_000; made++) batch.append(0, 0, 0, Op.Read, AT(1, made % 4096), 64);
      if (!batch.full && made === 1_500_000) batch.append(1e6 * 1024, 0, 0, Op.Read, AT(1), 64), made++;
      return batch.count;
    },
  };
  assertEquals(report(given, source).attribution.find(({ part }) => part === "bandwidth")?.ns, 500_000);
});

Deno.test("epoch excess: exactly at the limit it is 0; full duplex takes the larger direction, half duplex the sum", () => {
  const given = {
    ...EXAMPLE,
    topology: "(1)",
    latencyNs: [[100, 100]] as const,
    bandwidthGBs: [[32, 32]] as const,
    fixed: fixedMap(1),
  };
  // 500 lines of 2 ns each fill 1000 ns, the shortest last epoch.
  const lines = (n: number, op: string): Line[] => Array.from({ length: n }, (_, i) => [0, op, AT(1, i)]);
  assertEquals(report(given, lines(500, "R")).time.delayNs, 0);
  assertEquals(report(given, lines(501, "R")).time.delayNs, 2);
  const both = [...lines(600, "R"), ...lines(550, "W")];
  assertEquals(report(given, both).time.delayNs, 200);
  assertEquals(report({ ...given, halfDuplex: true }, both).time.delayNs, 1300);
});

Deno.test("epoch excess: the bottleneck counts; with `sum` all links add up; an uplink carries its subtree", () => {
  const given = { ...EXAMPLE, topology: "((1,2))", latencyNs: [[50, 50]] as const, fixed: fixedMap(2) };
  const lines = [1, 2].flatMap((node) => Array.from({ length: 600 }, (_, i): Line => [0, "R", AT(node, i)]));
  const over = { endpoint: 600 * 2 - 1000, uplink: 1200 * 2 - 1000 };
  assertEquals(report(given, lines).time.delayNs, over.uplink);
  assertEquals(report({ ...given, bottleneck: "sum" }, lines).time.delayNs, over.uplink + 2 * over.endpoint);
});

const MLC = { peaksGBs: null, knee: 0.8, saturation: 0.98, alpha: 0.05, minWindowNs: 100_000 };
const LOAD = {
  accesses: 25_000,
  readShare: 1,
  firstNs: 0,
  lastNs: 0,
  peaksGBs: { read: 32, write: 16, mixed: 24 },
  lineBytes: 64,
  baseNs: 300,
};

Deno.test("mlc by hand: peak 32, all reads, window 100,000 ns, n = 25,000: u 0.5, t 2, penalty 2·0.5·0.05 = 0.05 ns", () => {
  assertAlmostEquals(loadedLatencyNs(LOAD, MLC), 0.05, 1e-12);
});

Deno.test("mlc: at the knee nothing is added; at saturation t·49; past it base·(u−sat)/(1−sat); never above 10 · base", () => {
  const at = (u: number): number => loadedLatencyNs({ ...LOAD, accesses: u * 50_000 }, MLC);
  assertAlmostEquals(at(0.8), 2 * 0.8 * 0.05, 1e-9);
  assertAlmostEquals(at(0.98), 2 * 0.98 * 0.05 + 2 * 0.98 / 0.02, 1e-6);
  assertAlmostEquals(at(0.89), 2 * 0.89 * 0.05 + 2 * (0.89 / 0.11) * 0.25, 1e-9);
  assertAlmostEquals(at(1), 2 * 0.05 + 98 + 300, 1e-6);
  assertEquals(at(100), 5000);
  assertEquals(loadedLatencyNs({ ...LOAD, accesses: 5e6, baseNs: 900 }, MLC), 9000);
});

Deno.test("mlc: peaks at read shares 0, 0.05, 0.5, 0.75, 0.95, 1; without a mixed peak the harmonic mean", () => {
  const peaks = { read: 32, write: 16, mixed: 20 };
  assertEquals([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1].map((r) => peakGBs(r, peaks)), [16, 16, 18, 20, 26, 32, 32]);
  assertAlmostEquals(mixedPeakGBs(32, 16), 64 / 3, 1e-12);
});

Deno.test("mlc: the delay of an epoch is the penalty of endpoint and switch times accesses", () => {
  const given = { ...EXAMPLE, bandwidthModel: "mlc" as const, bandwidthGBs: [[32, 32]] as const };
  // 25,000 reads of endpoint 2 at once: u 0.5 on its link and on the uplink, 0.05 ns each.
  const { attribution } = report(given, `stream?count=25000&gap=0&writes=0&base=${AT(2)}&size=64MiB`);
  assertAlmostEquals(attribution.find(({ part }) => part === "loaded latency")?.ns ?? 0, 25_000 * 0.1, 1e-6);
});

Deno.test("M/D/1: ρ 0.5, service 3: 0.5·3/(2·0.5) = 1.5; capped at 0.99; none below 0.01", () => {
  assertEquals(poissonWaitNs(0.5, 3), 1.5);
  assertAlmostEquals(poissonWaitNs(5, 3), 0.99 * 3 / 0.02, 1e-9);
  assertEquals(poissonWaitNs(0.009, 3), 0);
});

Deno.test("fabric link: 0 to 0.5, 20 ns at 0.8, 60 ns at 0.9, 100 ns at 1; an endpoint's queue 6 and 26", () => {
  assertEquals([0.4, 0.5, 0.8, 0.9, 1, 2].map((u) => Math.round(fabricWaitNs(u) * 1e6) / 1e6), [
    0,
    0,
    20,
    60,
    100,
    100,
  ]);
  assertEquals([0, 32, 51.2, 64].map((n) => Math.round(endpointQueueNs(n) * 1e6) / 1e6), [0, 0, 6, 26]);
});

Deno.test("counter mode by hand: C 4·10⁷, F 4000, w 4, h 60,000, m 10,000, D 100, path 300: 8·10⁶ ns", () => {
  const counters = {
    stallCycles: 4e7,
    llcHits: 60_000,
    llcMisses: 10_000,
    socketReads: 10_000,
    socketWritebacks: 0,
    readShare: [1],
    writeShare: [0],
  };
  const settings = { frequencyMHz: 4000, missWeight: 4, dramLatencyNs: 100, pathNs: [[300, 400]] as const };
  assertEquals(counterDelay(counters, settings), {
    stallNs: 1e7,
    readMisses: 10_000,
    writebackMisses: 0,
    delayNs: 8e6,
  });
  // Half of the misses are write-backs: 20,000 · 200 + 20,000 · 300.
  const half = { ...counters, socketWritebacks: 5000, writeShare: [1] };
  assertEquals(counterDelay(half, settings).delayNs, 20_000 * 200 + 20_000 * 300);
  const idle = { ...counters, llcHits: 0, llcMisses: 0 };
  assertEquals(counterDelay(idle, settings).delayNs, 0, "no divisor");
});

Deno.test("an access that crosses a line or a page is split: 128 B at offset 32 touch 3 lines", () => {
  const { nodes, trace } = report({ ...EXAMPLE, bandwidthModel: "queue" }, [[0, "R", AT(1) + 4096 - 32, 0, 0, 128]]);
  assertEquals([trace.accesses, trace.lines, nodes[1]?.reads], [1, 3, 3]);
});

Deno.test("weights by bandwidth as the kernel finds them: 32·38/76 and so on, without common divisor", () => {
  assertEquals(bandwidthWeights([100, 50, 50]), [2, 1, 1]);
  assertEquals(bandwidthWeights([96, 32]), [3, 1]);
  assertEquals(bandwidthWeights([1000, 1]), [31, 1]);
});

Deno.test("walks: a miss of the TLB costs 100 ns local, 300 ns remote; the upper levels are cached for the next page", () => {
  const given = { ...EXAMPLE, bandwidthModel: "queue" as const };
  const two: Line[] = [[0, "R", AT(1)], [5000, "R", AT(1) + 4096], [10_000, "R", AT(1)]];
  const local = report({ ...given, tlb: { tables: "local" } }, two);
  assertEquals([local.hosts[0]?.walks, local.hosts[0]?.cachedWalks, local.sums.walkNs], [2, 1, 100 + 20]);
  assertEquals(local.latency?.maxNs, 400);
  assertEquals(report({ ...given, tlb: { tables: "remote" } }, two).sums.walkNs, 300 + 60);
  const huge = report({ ...given, tlb: { tables: "local" }, pageBytes: 2 ** 21 }, two);
  assertEquals([huge.hosts[0]?.walks, huge.sums.walkNs], [1, 75]);
});
