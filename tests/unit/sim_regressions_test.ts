/**
 * Faults of the reference simulator, a test each: section 17 of the list of its known faults.
 */

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";

import type { PartialConfig } from "../../src/sim/config.ts";
import { endpointMemory } from "../../src/sim/serve/endpoints.ts";
import { AT, fixedMap, type Line, report, ROOM } from "./sim_run.ts";

const GIVEN: Partial<PartialConfig> = {
  topology: "(1,(2,3))",
  dramLatencyNs: [100, 100],
  latencyNs: [[300, 350]],
  bandwidthGBs: [[32, 32]],
  switch: { latencyNs: 70, bandwidthGBs: [32, 32] },
  capacityBytes: ROOM,
  fixed: fixedMap(3),
};

/** Reads of lines of an endpoint, `gap` ns apart. */
function reads(node: number, count: number, gap: number): Line[] {
  return Array.from({ length: count }, (_, i): Line => [i * gap, "R", AT(node, i)]);
}

Deno.test("(1,(2,3)) costs more than (1,2,3) by exactly the hop: 70 ns for each load of 2 or 3, none for 1", () => {
  for (const [node, hop] of [[1, 0], [2, 70], [3, 70]] as const) {
    const chase = Array.from({ length: 50 }, (_, i): Line => [0, "Rd", AT(node, i)]);
    const time = (topology: string): number => report({ ...GIVEN, topology }, chase).time.simulatedNs;
    assertEquals(time("(1,(2,3))") - time("(1,2,3)"), 50 * hop, `endpoint ${node}`);
    assertEquals(time("((1,2,3))") - time("(1,2,3)"), 50 * 70, "and behind one switch all of them");
    assertEquals(time("(1,((2,3)))") - time("(1,2,3)"), 2 * 50 * hop, "two switches are two hops");
  }
});

Deno.test("the delay of an epoch is not capped: 10,000 reads in 0.1 ms add 10,000 · 200 ns = 2 ms", () => {
  const { time, epochs } = report({ ...GIVEN, bandwidthModel: "epoch", epochNs: 1e6 }, reads(1, 10_000, 10));
  assertEquals([time.delayNs, epochs.count, epochs.cappedEpochs], [10_000 * 200, 1, 0]);
});

Deno.test("an endpoint is charged for its own accesses alone, a switch for those of its subtree", () => {
  const { nodes, switches } = report(GIVEN, [...reads(2, 3, 10), [100, "W", AT(3)]]);
  assertEquals(nodes.map((one) => [one.reads, one.writes]), [[0, 0], [0, 0], [3, 0], [0, 1]]);
  assertEquals(switches.map((one) => [one.reads, one.writes]), [[3, 1]]);
  const delay = (lines: readonly Line[]): number | null =>
    report({ ...GIVEN, bandwidthModel: "epoch" }, lines).time.delayNs;
  assertEquals(delay(reads(2, 3, 10)), 3 * 270);
});

Deno.test("the delay is a sum: 100 times the accesses are 100 times the delay", () => {
  const delay = (count: number): number =>
    report({ ...GIVEN, bandwidthModel: "epoch" }, reads(1, count, 1000)).time.delayNs ?? 0;
  assertEquals(delay(1000), 100 * delay(10));
  assertEquals(delay(10), 10 * 200);
});

Deno.test("too much for a link is a penalty: 1000 reads of 64 B in 1 us need 2 us at 32 GB/s, 1 us too much", () => {
  const { attribution } = report({ ...GIVEN, bandwidthModel: "epoch", epochNs: 1000 }, reads(1, 1000, 0.5));
  assertEquals(attribution.find(({ part }) => part === "bandwidth")?.ns, 2000 - 1000);
});

Deno.test("bytes and GB/s are not mixed up: a line occupies a link of 64 GB/s for 1 ns, in runs and in the memory server", () => {
  const { links } = report({ ...GIVEN, bandwidthGBs: [[64, 64]] }, reads(1, 1, 0));
  assertEquals(links.find(({ name }) => name === "endpoint 1 up")?.serviceNs, 1);
  const { latency } = endpointMemory({
    topology: "(1,(2))",
    capacityBytes: [4096],
    latencyNs: [300, 350],
    bandwidthGBs: [64, 64],
    switchLatencyNs: 70,
    switchBandwidthGBs: 64,
  });
  assertEquals([latency.latencyNs(0, false, 0), latency.latencyNs(64, false, 0)], [300, 301]);
  // The reference's server answers 109 ns whatever the address: the tree counts here.
  assertEquals(latency.latencyNs(4096, false, null), 370);
});

Deno.test("no conflict is lost: the sum of waits of 200 arrivals is that of each wait by hand, in any order of addresses", () => {
  const lines = Array.from({ length: 200 }, (_, i): Line => [i % 2, "R", AT(1, (i * 77) % 200)])
    .sort((a, b) => a[0] - b[0]);
  let free = 0;
  let sum = 0;
  for (const [arrival] of lines) {
    const start = Math.max(arrival, free);
    sum += start - arrival;
    free = start + 2;
  }
  assertEquals(report({ ...GIVEN, replay: "open" }, lines).sums.waitNs, sum);
});

Deno.test("nothing is sampled or dropped: 1,000 requests at once all count, and the last ends after 999 services", () => {
  const { nodes, time, latency } = report({ ...GIVEN, window: 1000 }, reads(1, 1000, 0));
  assertEquals([nodes[1]?.reads, latency?.count, time.simulatedNs], [1000, 1000, 300 + 999 * 2]);
});

Deno.test("the same run twice is the same bytes, 200,000 random accesses, every part of the model on", () => {
  const given: Partial<PartialConfig> = {
    topology: "(1,(2,3))",
    capacityBytes: [2 ** 22, 2 ** 26],
    cache: { sizeBytes: 65536, ways: 4, replacement: "random", l1: null, flushAtEnd: true },
    prefetch: true,
    tlb: { tables: "remote" },
    migration: { policies: ["tpp"], timeScale: 1000 },
    epochNs: 1e5,
  };
  const text = (): string => JSON.stringify(report(given, "ycsb?workload=A&count=200000"));
  assertEquals(text(), text());
});

Deno.test("weights by latency are not all 0: 255 · least / own", () => {
  const given = { ...GIVEN, fixed: [], capacityBytes: [2 ** 30, 2 ** 30], placement: "latency-weighted" as const };
  const pages = Array.from({ length: 255 + 85 + 69 + 69 }, (_, i): Line => [i, "R", i * 4096]);
  // 255·100/100, /300, /370, /370.
  assertEquals(report(given, pages).nodes.map(({ reads }) => reads), [255, 85, 69, 69]);
});

Deno.test("policies run: a hot page of an endpoint is promoted", () => {
  const lines = [...reads(1, 200, 10).map(([time, op]): Line => [time, op, AT(1)]), [3e6, "R", AT(1)] as const];
  const given: Partial<PartialConfig> = { ...GIVEN, epochNs: 1e6, migration: { policies: ["heat"] } };
  const { counters, nodes } = report(given, lines);
  assertEquals([counters["pgpromote_success"], nodes[0]?.reads], ["1", 1]);
});

Deno.test("the cost of an access does not grow with the lines seen: a million distinct lines end, in seconds", () => {
  const begun = performance.now();
  const given: Partial<PartialConfig> = { ...GIVEN, fixed: [], coherence: { mode: "mesi", filterLines: 500_000 } };
  const { trace, coherence } = report(given, "stream?count=1000000&size=64MiB&gap=1&hosts=2");
  assertEquals(trace.accesses, 1_000_000);
  assert((coherence?.["filterEvictions"] ?? 0) > 0);
  // A list that is searched for each access takes 5·10^11 steps here.
  assert(performance.now() - begun < 60_000);
});

Deno.test("the tree matters to each access: a read of endpoint 3 is charged to 3, with its hop and its length", () => {
  const given = { ...GIVEN, topology: "(1,(2,3:15))" };
  const { nodes, latency } = report(given, reads(3, 5, 1000));
  assertEquals([nodes[3]?.reads, latency?.minNs, latency?.maxNs], [5, 385, 385]);
});

Deno.test("a first touch is no write and a repeat is no read: shares are those of the trace", () => {
  const lines: Line[] = [[0, "R", AT(1)], [10, "R", AT(1)], [20, "W", AT(1)], [30, "W", AT(1, 1)]];
  const { nodes } = report(GIVEN, lines);
  assertEquals([nodes[1]?.reads, nodes[1]?.writes], [2, 2]);
});

Deno.test("a report says units, seed and what it is of", () => {
  const { config, schema, model, latency } = report(GIVEN, reads(1, 2, 5));
  assertEquals([schema, model.bandwidth, config], ["cxl_sim_run/1", "queue", {}]);
  assert(Object.keys(latency ?? {}).every((key) => /Ns$|count|histogram/.test(key)));
  assertAlmostEquals(latency?.meanNs ?? 0, 300);
});
