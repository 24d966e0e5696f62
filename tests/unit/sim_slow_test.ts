import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";

import { buildNetwork } from "../../src/sim/engine/network.ts";
import { Replay } from "../../src/sim/engine/replay.ts";
import { Flag, RequestBatch } from "../../src/sim/engine/request.ts";
import { END, WAITS } from "../../src/sim/engine/replay_counts.ts";
import { readTopology } from "../../src/sim/topology/topology.ts";
import { type SlowAccess, type SlowSettings, slowSimulate, type Tree } from "./sim_slow_simulator.ts";

const NS = 1024;

/** A tree over endpoints 1…n: each endpoint is put somewhere by a list of choices. */
function treeOf(endpoints: number, choices: readonly number[]): Tree {
  let nodes: (number | Tree)[] = Array.from({ length: endpoints }, (_, i) => i + 1);
  for (const choice of choices) {
    if (nodes.length < 2) break;
    const from = choice % nodes.length;
    const to = Math.min(nodes.length, from + 1 + (choice >> 4) % 3);
    nodes = [...nodes.slice(0, from), nodes.slice(from, to), ...nodes.slice(to)];
  }
  return nodes;
}

function newickOf(tree: Tree): string {
  return `(${tree.map((child) => typeof child === "number" ? String(child) : newickOf(child)).join(",")})`;
}

interface Case {
  readonly tree: Tree;
  readonly accesses: readonly SlowAccess[];
  readonly settings: SlowSettings;
  readonly bandwidths: readonly (readonly [number, number])[];
  readonly switchBandwidth: readonly [number, number];
  readonly localBandwidth: readonly [number, number] | null;
}

const pair = (from: number, to: number): fc.Arbitrary<readonly [number, number]> =>
  fc.tuple(fc.integer({ min: from, max: to }), fc.integer({ min: from, max: to }));

/** Few different times and bandwidths, so that events often fall together. */
const cases: fc.Arbitrary<Case> = fc.record({
  endpoints: fc.integer({ min: 1, max: 5 }),
  choices: fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 4 }),
  latency: fc.array(pair(300, 600), { minLength: 6, maxLength: 6 }),
  bandwidths: fc.array(pair(1, 8), { minLength: 6, maxLength: 6 }),
  switchBandwidth: pair(1, 8),
  local: fc.boolean(),
  switchLatency: fc.integer({ min: 0, max: 90 }),
  window: fc.constantFrom(1, 2, 3, 8, 64),
  writesStall: fc.boolean(),
  open: fc.boolean(),
  endpointCredits: fc.constantFrom(null, null, 1, 2, 5),
  switchCredits: fc.constantFrom(null, null, 1, 3),
  streams: fc.integer({ min: 1, max: 4 }),
  list: fc.array(
    fc.record({
      gap: fc.constantFrom(0, 0, 0, 1, 4, 16, 64, 300),
      stream: fc.nat(3),
      endpoint: fc.nat(5),
      write: fc.boolean(),
      depends: fc.boolean(),
    }),
    { minLength: 1, maxLength: 60 },
  ),
}).map((one) => {
  let time = 7000 * NS;
  const accesses = one.list.map((access) => ({
    time: time += access.gap * NS,
    stream: one.open ? 0 : access.stream % one.streams,
    endpoint: access.endpoint % (one.endpoints + 1),
    write: access.write,
    depends: access.depends && !access.write && !one.open,
  })).sort((a, b) => a.time - b.time || a.stream - b.stream);
  const service = ([up, down]: readonly [number, number]): readonly [number, number] => [
    Math.round(64 / up * NS),
    Math.round(64 / down * NS),
  ];
  const localBandwidth = one.local ? one.bandwidths[0] as readonly [number, number] : null;
  return {
    tree: treeOf(one.endpoints, one.choices),
    accesses,
    bandwidths: one.bandwidths,
    switchBandwidth: one.switchBandwidth,
    localBandwidth,
    settings: {
      window: one.window,
      writesStall: one.writesStall,
      open: one.open,
      latency: one.latency.slice(0, one.endpoints + 1).map(([r, w]) => [r * NS, w * NS] as const),
      service: one.bandwidths.slice(0, one.endpoints + 1).map((bandwidth, i) =>
        i === 0 && localBandwidth === null ? null : service(bandwidth)
      ),
      switchLatency: one.switchLatency * NS,
      switchService: service(one.switchBandwidth),
      endpointCredits: one.endpointCredits,
      switchCredits: one.switchCredits,
    },
  };
});

interface Outcome {
  readonly results: readonly { readonly issue: number; readonly wait: number; readonly completion: number }[];
  readonly end: number | undefined;
  readonly waits: number | undefined;
  readonly count: number;
  readonly sum: number;
  readonly max: number;
  readonly links: readonly number[];
  readonly busy: readonly number[];
  readonly stalls: readonly (readonly [name: string, stalls: number | undefined])[];
}

function fast(
  { tree, accesses, settings, bandwidths, switchBandwidth, localBandwidth }: Case,
  batchSize: number,
  watch: boolean,
): Outcome {
  const topology = readTopology(newickOf(tree));
  const network = buildNetwork(topology, {
    localLatencyNs: [(settings.latency[0]?.[0] ?? 0) / NS, (settings.latency[0]?.[1] ?? 0) / NS],
    localBandwidthGBs: localBandwidth,
    latencyNs: settings.latency.slice(1).map(([r, w]) => [r / NS, w / NS]),
    bandwidthGBs: bandwidths.slice(1, settings.latency.length),
    serviceNs: null,
    credits: settings.endpointCredits,
    switch: {
      latencyNs: settings.switchLatency / NS,
      bandwidthGBs: switchBandwidth,
      serviceNs: null,
      credits: settings.switchCredits,
    },
    fabric: { latencyNs: 100, bandwidthGBs: 25, credits: 32 },
    lineBytes: 64,
    headerBytes: 0,
  });
  const several = new Set(accesses.map(({ stream }) => stream)).size > 1;
  const replay = new Replay(network, settings.window, accesses[0]?.time ?? 0, 5e6 * NS, several);
  const results: { issue: number; wait: number; completion: number }[] = [];
  if (watch) {
    replay.events.observer = {
      used: (_route, _lines, issue, order, wait, completion) => void (results[order] = { issue, wait, completion }),
    };
  }
  const batch = new RequestBatch();
  for (const [i, access] of accesses.entries()) {
    let flags = Flag.Program | (access.write ? 0 : Flag.Load) | (access.depends ? Flag.Depends : 0);
    if (!access.write || settings.writesStall) flags |= Flag.Place;
    if (settings.open) flags &= ~(Flag.Place | Flag.Load | Flag.Depends);
    batch.add(access.time, access.stream, access.endpoint * 2 + (access.write ? 1 : 0), flags, 0, 0, 0, 1);
    if ((i + 1) % batchSize !== 0) continue;
    replay.run(batch);
    batch.clear();
  }
  if (batch.count > 0) replay.run(batch);
  replay.finish();
  const { events } = replay;
  return {
    results,
    end: events.counts.totals[END],
    waits: events.counts.totals[WAITS],
    count: events.counts.latencies.count,
    sum: events.counts.latencies.sum,
    max: events.counts.latencies.max,
    links: [...events.links.waits],
    busy: [...events.links.busy],
    stalls: network.links.map(({ name }, i) => [name, events.links.creditStalls[i]] as const),
  };
}

/** The fast simulator's names of links in the slow one's words. */
function slowName(name: string): string {
  return name.replace("local", "e0").replace("endpoint ", "e").replace("switch ", "s");
}

function compare(one: Case): void {
  const slow = slowSimulate(one.tree, one.accesses, one.settings);
  const watched = fast(one, 7, true);
  assertEquals(watched.results, slow.results);
  for (const [name, count] of watched.stalls) assertEquals(count, slow.stalls.get(slowName(name)), name);
  // The same once more through the loop without calls, and in one piece.
  const { results: _, ...expected } = watched;
  for (const batchSize of [3, 4096]) {
    const { results: __, ...unwatched } = fast(one, batchSize, false);
    assertEquals(unwatched, expected);
  }
}

Deno.test("a plain list of events gives the same waits and completions: 1,000 random trees, traces and settings", () => {
  fc.assert(fc.property(cases, compare), { numRuns: 1000, seed: 20261 });
});

Deno.test("the random cases meet what they are for: waits, credit stalls, several streams, switches in switches", () => {
  const seen = { waits: 0, stalls: 0, streams: 0, deep: 0 };
  for (const one of fc.sample(cases, { numRuns: 200, seed: 5 })) {
    const slow = slowSimulate(one.tree, one.accesses, one.settings);
    if (slow.results.some(({ wait }) => wait > 0)) seen.waits++;
    if ([...slow.stalls.values()].some((count) => count > 0)) seen.stalls++;
    if (new Set(one.accesses.map(({ stream }) => stream)).size > 1) seen.streams++;
    if (/\(\(.*\(/.test(newickOf(one.tree))) seen.deep++;
  }
  for (const [what, count] of Object.entries(seen)) assert(count > 10, `${what}: ${count} of 200`);
});

export { cases, compare };
