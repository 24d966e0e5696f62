/** Files of benchmarks: what the words mean, and that every mistake is named. Bandwidth over time, and latency files. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parse } from "@std/yaml";

import { Histogram } from "../../src/core/histogram.ts";
import { benchJobOf } from "../../src/nvme/jobs/job_file.ts";
import { Timeline, type TimelineRow } from "../../src/nvme/jobs/timeline.ts";
import { histogramLog, percentileDistribution } from "../../tools/render/nvme/latency_file.ts";

Deno.test("a phase has what the file says in fio's words, and what global says where it does not", () => {
  const job = benchJobOf(
    parse(`
drives: ["soft:nvme", "soft:nvme?serial=B"]
global: { bs: 8k, iodepth: 4 }
phases:
  - { name: fill, rw: write, bs: 128KiB, size: 1MiB, offset: 64KiB, pattern: 7 }
  - { name: mixed, rw: randrw, rwmixread: 70, random_distribution: "zipf:0.9", randseed: 3, duration: 10s, queues: 2,
      threads: true, rate_iops: 1000, number_ios: 50, startdelay: 1500ms }
`),
    "x",
  );
  assertEquals(job.drives, ["soft:nvme", "soft:nvme?serial=B"]);
  assertEquals(job.phases, [
    {
      name: "fill",
      readShare: 0,
      isRandom: false,
      zipfTheta: null,
      seed: 1,
      transferBytes: 131_072,
      depth: 4,
      queues: 1,
      threads: null,
      ratePerSecond: null,
      durationMs: null,
      transfers: null,
      offsetBytes: 65_536,
      sizeBytes: 1 << 20,
      patternSeed: 7,
      startDelayMs: 0,
    },
    {
      name: "mixed",
      readShare: 0.7,
      isRandom: true,
      zipfTheta: 0.9,
      seed: 3,
      transferBytes: 8192,
      depth: 4,
      queues: 2,
      threads: 2,
      ratePerSecond: 1000,
      durationMs: 10_000,
      transfers: 50,
      offsetBytes: 0,
      sizeBytes: null,
      patternSeed: null,
      startDelayMs: 1500,
    },
  ]);
});

Deno.test("every mistake of a job is named with its place", () => {
  for (
    const [text, ...parts] of [
      ["phases: []", "phases"],
      ["drives: [a]", "phases"],
      ["phases: [{ rw: read }]", "phases.0.name"],
      ["phases: [{ name: a, queues: 2, threads: 3 }]", "phases.0: threads: 3 for 2 queues"],
      ["phases: [{ name: a, ioengine: libaio }]", "phases.0: there is no 'ioengine'"],
      ["phases: [{ name: a, bs: 5x }, { name: b, iodepth: 0 }]", "phases.0.bs: '5x' is no size", "phases.1.iodepth"],
      ["phases: [{ name: a, duration: soon }]", "phases.0.duration: 'soon' is no duration"],
      ["phases: [{ name: a, rw: randread }]", "phases.0: at random places it has no end"],
      ["phases: [{ name: a, rwmixread: 50 }]", "phases.0: rwmixread has no effect with rw: read"],
      ["phases: [{ name: a, random_distribution: random }]", "phases.0: random_distribution has no effect"],
      ["phases: [{ name: a, rw: randread, duration: 1s, random_distribution: pareto:1 }]", "random_distribution"],
      ["phases: [{ name: a }, { name: a }]", "two have the same name"],
    ] as const
  ) {
    const { message } = assertThrows(() => benchJobOf(parse(text), "x.yaml"), Error);
    assertStringIncludes(message, "x.yaml");
    for (const part of parts) assertStringIncludes(message, part);
  }
});

Deno.test("a timeline has a row for each interval, and its transfers add up", () => {
  const rows: TimelineRow[] = [];
  const timeline = new Timeline(1000, 2000, 1000, (row) => rows.push(row));
  for (let now = 2020; now <= 5500; now += 20) timeline.update(now - 2000, now);
  timeline.end(3500, 5500);
  assertEquals(rows.map(({ seconds }) => seconds), [2, 3, 4, 4.5]);
  assertEquals(rows.map(({ lengthSeconds }) => lengthSeconds), [1, 1, 1, 0.5]);
  assertEquals(rows.map(({ transfers }) => transfers), [1000, 1000, 1000, 500]);
});

function latencies(): Histogram {
  const latency = new Histogram();
  for (let i = 0; i < 900; i++) latency.add(10_000);
  for (let i = 0; i < 100; i++) latency.add(2_000_000);
  return latency;
}

Deno.test("a percentile distribution says what the histogram says, in microseconds", async () => {
  const text = await percentileDistribution([
    { tag: "a", startSeconds: 0, lengthSeconds: 1, latency: latencies() },
    { tag: "b", startSeconds: 1, lengthSeconds: 1, latency: latencies() },
  ]);
  const rows = text.split("\n").map((line) => line.trim().split(/ +/).map(Number)).filter(([value]) =>
    Number.isFinite(value)
  );
  const at = (percentile: number): number => rows.find((row) => (row[1] ?? 0) >= percentile)?.[0] ?? NaN;
  assert(Math.abs(at(0.5) / 10 - 1) < 0.01, `${at(0.5)}`);
  assert(Math.abs(at(0.95) / 2000 - 1) < 0.01, `${at(0.95)}`);
  assertStringIncludes(text, "Total count    =         2000]");
});

Deno.test("a log is read back by HdrHistogram: a line for each interval, with its tag and every value", async () => {
  const { HistogramLogReader, decodeFromCompressedBase64 } = await import("hdr-histogram-js");
  const text = await histogramLog(
    [{ tag: "mixed:soft:nvme", startSeconds: 2, lengthSeconds: 1.5, latency: latencies() }],
    new Date("2026-01-01T00:00:00Z"),
  );
  const one = new HistogramLogReader(text).nextIntervalHistogram();
  assert(one !== null);
  assertEquals([one.tag, one.totalCount], ["mixed:soft:nvme", 1000]);
  const encoded = /,(HIST\S+)$/m.exec(text)?.[1] ?? "";
  const decoded = decodeFromCompressedBase64(encoded);
  assert(Math.abs(decoded.getValueAtPercentile(50) / 10_000 - 1) < 0.01);
  assert(Math.abs(decoded.getValueAtPercentile(99) / 2_000_000 - 1) < 0.01);
  assertStringIncludes(text, "2.000,1.500,");
});
