import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";

import type { PartialConfig } from "../../src/sim/config.ts";
import { Curve, parseCurveCsv, parseMessFile } from "../../src/sim/models/curve.ts";
import { PRESETS, presetSettings } from "../../src/sim/presets.ts";
import { SyntheticSource } from "../../src/sim/trace/synthetic.ts";
import { poissonWait } from "./sim_poisson.ts";
import { AT, fixedMap, type Line, report, ROOM } from "./sim_run.ts";

/** One endpoint of 300 ns with a link of 2 ns a line. */
const ONE: Partial<PartialConfig> = {
  topology: "(1)",
  dramLatencyNs: [100, 100],
  latencyNs: [[300, 300]],
  bandwidthGBs: [[32, 32]],
  capacityBytes: ROOM,
  fixed: fixedMap(1),
};

for (const [rho, percent] of [[0.5, 2], [0.8, 4]] as const) {
  Deno.test(`Poisson arrivals at ρ ${rho}: mean wait within ${percent} % of ρ·s/(2(1−ρ)) at 300,000 accesses`, () => {
    const { mean, expected } = poissonWait(rho, 300_000, 4);
    assert(Math.abs(mean / expected - 1) < percent / 100, `${mean} ns, not ${expected}`);
  });
}

for (const window of [1, 10, 400]) {
  Deno.test(`closed replay with ${window} outstanding: min(1/2 ns, ${window}/300 ns) accesses, within 0.5 %`, () => {
    const count = 100_000;
    const { time } = report({ ...ONE, window }, `stream?count=${count}&gap=0&writes=0&base=${AT(1)}&size=64MiB`);
    const rate = count / time.simulatedNs;
    assertAlmostEquals(rate / Math.min(1 / 2, window / 300), 1, 0.005);
  });
}

Deno.test("a chase of n loads takes n · L exactly", () => {
  const { time, latency } = report(ONE, `chase?count=10000&gap=0&base=${AT(1)}&size=64MiB`);
  assertEquals(time.simulatedNs, 10_000 * 300);
  assertEquals([latency?.minNs, latency?.p50Ns, latency?.maxNs], [300, 300, 300]);
});

Deno.test("a chase whose loads hit a cache waits for the last load that missed, and not for a load it does not depend on", () => {
  const cache = { sizeBytes: 4096, ways: 4, replacement: "lru" as const, l1: null, flushAtEnd: false };
  const chain: Line[] = [[0, "R", AT(1)], [0, "R", AT(1, 1)], [0, "Rd", AT(1)], [0, "Rd", AT(1, 2)]];
  assertEquals(report({ ...ONE, cache }, chain).time.simulatedNs, 302 + 300, "through the hit to the miss before it");
  const free: Line[] = [[0, "R", AT(1)], [1000, "R", AT(1, 1)], [1000, "R", AT(1)], [1000, "Rd", AT(1, 2)]];
  assertEquals(report({ ...ONE, cache }, free).time.simulatedNs, 1302, "the load it depends on was a hit");
});

for (const what of ["gups", "chase", "ycsb?workload=F", "tpcc", "stream?threads=3"]) {
  Deno.test(`slowdown is exactly 1 when everything is local: ${what}`, () => {
    const source = `${what}${what.includes("?") ? "&" : "?"}count=20000`;
    const local = { topology: "(1,(2,3))", capacityBytes: [2 ** 40], localFillShare: 1 };
    assertEquals(report(local, source).time.slowdown, 1);
    const linked = report({ ...local, localBandwidthGBs: [4, 4] }, source);
    assertEquals(linked.time.slowdown, 1, "with a limit of local bandwidth");
    assertEquals(report({ ...local, tlb: { tables: "local" } }, source).time.slowdown, 1, "with walks of local tables");
  });
}

Deno.test("makespan of n accesses at once, fewer than the window: path + (n−1)·STT", () => {
  for (const n of [1, 2, 16, 63]) {
    const lines = Array.from({ length: n }, (_, i): Line => [0, "R", AT(1, i)]);
    assertEquals(report({ ...ONE, window: 64 }, lines).time.simulatedNs, 300 + 2 * (n - 1));
  }
});

Deno.test("work conservation: the last departure is not before n·STT, and every wait is zero or more", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(20), fc.boolean()), { minLength: 1, maxLength: 80 }), (steps) => {
      let time = 0;
      const lines = steps.map(([gap, write], i): Line => [time += gap, write ? "W" : "R", AT(1, i)]);
      const { links, time: times, attribution } = report({ ...ONE, window: 64 }, lines);
      for (const link of links) {
        assert((link.waitNs ?? -1) >= 0 && (link.utilisation ?? 2) <= 1);
        assert(times.simulatedNs >= (link.utilisation ?? 0) * times.simulatedNs + 300 - 2 - 1e-6);
      }
      for (const { ns } of attribution) assert(ns >= 0);
    }),
    { numRuns: 100, seed: 11 },
  );
});

Deno.test("monotone on one endpoint: more latency or less bandwidth never make a run shorter", () => {
  const steps = fc.array(fc.tuple(fc.constantFrom(0, 1, 5, 400), fc.constantFrom("R", "W", "Rd")), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 0, max: 30 }),
      (list, window, more, less) => {
        let time = 0;
        const lines = list.map(([gap, op], i): Line => [time += gap, op, AT(1, i)]);
        const run = (latency: number, GBs: number): number =>
          report({ ...ONE, window, latencyNs: [[latency, latency]], bandwidthGBs: [[GBs, GBs]] }, lines).time
            .simulatedNs;
        const base = run(300, 32);
        assert(run(300 + more, 32) >= base);
        assert(run(300, 32 - less) >= base);
      },
    ),
    { numRuns: 100, seed: 12 },
  );
});

Deno.test("scaling all times by 4 scales the result by 4", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(50), fc.integer({ min: 1, max: 3 })), { minLength: 1, maxLength: 80 }),
      (list) => {
        const run = (scale: number): number => {
          let time = 0;
          const lines = list.map(([gap, node], i): Line => [scale * (time += gap), "R", AT(node, i)]);
          return report({
            topology: "(1,(2,3))",
            dramLatencyNs: [100 * scale, 100 * scale],
            latencyNs: [[300 * scale, 300 * scale]],
            bandwidthGBs: [[16 / scale, 16 / scale]],
            switch: { latencyNs: 64 * scale, bandwidthGBs: [16 / scale, 16 / scale] },
            capacityBytes: ROOM,
            fixed: fixedMap(3),
          }, lines).time.simulatedNs;
        };
        assertEquals(run(4), 4 * run(1));
      },
    ),
    { numRuns: 50, seed: 13 },
  );
});

Deno.test("a trace split over two hosts on private devices gives the results of the two alone", () => {
  const given: Partial<PartialConfig> = { ...ONE, topology: "(1,2)", fixed: fixedMap(2), bandwidthGBs: [[0.4, 0.4]] };
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(60), fc.nat(1)), { minLength: 2, maxLength: 80 }), (list) => {
      let time = 0;
      const lines = list.map(([gap, host], i): Line => [time += gap, "R", AT(1 + host, i), host]);
      lines.unshift([0, "R", AT(1), 0], [0, "R", AT(2), 1]);
      const both = report(given, lines);
      const alone = [0, 1].map((host) =>
        report(given, lines.filter((line) => line[3] === host).map((l): Line => [l[0], l[1], l[2]]))
      );
      assertEquals(both.time.simulatedNs, Math.max(...alone.map((one) => one.time.simulatedNs)));
      assertEquals(both.nodes[1]?.meanNs, alone[0]?.nodes[1]?.meanNs);
      assertEquals(both.nodes[2]?.meanNs, alone[1]?.nodes[2]?.meanNs);
    }),
    { numRuns: 60, seed: 14 },
  );
});

Deno.test("open replay says saturated when a link is always busy, and no slowdown", () => {
  const source = `poisson?count=50000&gap=1&writes=0&base=${AT(1)}&size=64MiB`;
  const { time } = report({ ...ONE, replay: "open" }, source);
  assertEquals([time.saturated, time.slowdown], [true, null], "an arrival each ns, 2 ns of service");
  assertEquals(report({ ...ONE, replay: "open" }, source.replace("gap=1", "gap=8")).time.saturated, false);
});

const EXPANDER = PRESETS["expander-curve"]?.curve ?? [];

Deno.test("curve in = curve out: a paced load returns each point below the knee within 1 %, and the bandwidth of all", () => {
  for (const { GBs, ns } of EXPANDER) {
    const source = `stream?count=250000&gap=${64 / GBs}&writes=0.4&base=${AT(1)}&size=64MiB&seed=2`;
    const given = { ...ONE, ...presetSettings("expander-curve"), window: 4096 };
    const { curve, nodes } = report(given, source);
    const point = curve?.points[0];
    assertAlmostEquals((point?.GBs ?? 0) / GBs, 1, 0.01, `${GBs} GB/s`);
    assertAlmostEquals((nodes[1]?.GBs ?? 0) / GBs, 1, 0.01, `${GBs} GB/s`);
    // Beyond it 1 % of bandwidth is more than the whole latency: there a closed loop has to return the point.
    if (GBs < 42.5) assertAlmostEquals((point?.ns ?? 0) / ns, 1, 0.01, `${GBs} GB/s`);
  }
});

Deno.test("curve in = curve out: a closed loop of W = bandwidth · latency / 64 returns each point within 1 %, the steep ones too", () => {
  const curve = new Curve(EXPANDER);
  for (const { GBs, ns } of EXPANDER.slice(1)) {
    const window = Math.round(GBs * ns / 64);
    const given = { ...ONE, ...presetSettings("expander-curve"), window };
    const { curve: settled, nodes } = report(given, `stream?count=400000&gap=0&writes=0.4&base=${AT(1)}&size=64MiB`);
    const { GBs: gotGBs, ns: gotNs = 0 } = settled?.points[0] ?? {};
    assertAlmostEquals((gotGBs ?? 0) * gotNs / (64 * window), 1, 0.001, "bandwidth · latency = 64 · W");
    assertAlmostEquals(curve.at(0.6, gotGBs ?? 0).ns / gotNs, 1, 1e-9, "on the curve");
    assertAlmostEquals((gotGBs ?? 0) / GBs, 1, 0.01, `${GBs} GB/s`);
    assertAlmostEquals(gotNs / ns, 1, 0.01, `${ns} ns`);
    assertAlmostEquals((nodes[1]?.GBs ?? 0) / GBs, 1, 0.01, `${GBs} GB/s of the whole run`);
    assertAlmostEquals((nodes[1]?.meanNs ?? 0) / ns, 1, 0.01, `${ns} ns, mean of the whole run`);
  }
});

Deno.test("curves: points are cleaned on load, read shares are blended, past the end the last slope is held and flagged", () => {
  const curve = new Curve([
    { readShare: 0.5, GBs: 10, ns: 100 },
    { readShare: 0.5, GBs: 20, ns: 200 },
    { readShare: 0.5, GBs: 18, ns: 300 },
    { readShare: 1, GBs: 10, ns: 80 },
    { readShare: 1, GBs: 30, ns: 120 },
  ]);
  assertEquals(curve.dropped, 1);
  assertEquals(curve.at(1, 20), { ns: 100, extrapolated: false });
  assertEquals(curve.at(0.75, 10), { ns: 90, extrapolated: false });
  assertEquals(curve.at(0.5, 5).ns, 100);
  assertEquals(curve.at(1, 40), { ns: 140, extrapolated: true });
  assertEquals(curve.at(0, 10).ns, 100);
});

Deno.test("curves: a Mess file and a CSV of the same points are the same curve; a wrong line is named", () => {
  const mess = parseMessFile("42800\t427\n40000\t149\n300\t107\n", "x/bwlat_60.txt");
  const csv = parseCurveCsv("readShare,GBs,ns\n0.6,42.8,427\n0.6,40,149\n0.6,0.3,107\n", "x.csv");
  assertEquals(mess, csv);
  for (const parse of [() => parseMessFile("1\tx\n", "bwlat_60.txt"), () => parseCurveCsv("1,2\n", "x.csv")]) {
    let message = "";
    try {
      parse();
    } catch (error) {
      message = String(error);
    }
    assert(/:1: /.test(message), message);
  }
});

for (const [name, preset] of Object.entries(PRESETS)) {
  if (preset.latencyNs === null) continue;
  Deno.test(`preset ${name}: a chase takes what it states, a stream reaches its bandwidth, within 2 %`, () => {
    const given = { ...ONE, latencyNs: undefined, bandwidthGBs: undefined, ...presetSettings(name) };
    const [read] = preset.latencyNs ?? [0];
    const chase = report(given, `chase?count=4000&gap=0&base=${AT(1)}&size=64MiB`);
    assertAlmostEquals(chase.time.simulatedNs / 4000 / read, 1, 0.02);
    if (preset.bandwidthGBs === null) return;
    const [GBs] = preset.bandwidthGBs;
    // Outstanding misses that fill the device, and for a curve those of its last point.
    const window = Math.ceil(preset.curve === null ? 4 * GBs * read / 64 : GBs * 427 / 64);
    const count = preset.curve === null ? 30_000 : 400_000;
    const writes = preset.curve === null ? 0 : 0.4;
    const stream = report(
      { ...given, window },
      `stream?count=${count}&gap=0&writes=${writes}&base=${AT(1)}&size=64MiB`,
    );
    assertAlmostEquals((stream.curve?.points[0]?.GBs ?? stream.nodes[1]?.GBs ?? 0) / GBs, 1, 0.02);
  });
}

Deno.test("every preset says where its figures are from and what they include", () => {
  for (const { source, includes, title } of Object.values(PRESETS)) {
    assert(source !== "" && includes !== "" && title !== "");
  }
});

Deno.test("a synthetic trace is the same accesses every time, and another seed is another", () => {
  const sum = (text: string): number => {
    const { nodes, heat } = report({ ...ONE, fixed: [], capacityBytes: ROOM }, text);
    return nodes.reduce((total, { reads, writes }) => total + reads * 3 + writes, 0) + (heat?.rows.length ?? 0) +
      (heat?.rows[3]?.counts[5] ?? 0);
  };
  assertEquals(sum("gups?count=5000&seed=3"), sum("gups?count=5000&seed=3"));
  assert(new SyntheticSource("gups?seed=1") instanceof SyntheticSource);
});
