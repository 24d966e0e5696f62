import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { Histogram, HISTOGRAM_BINS, histogramBin, histogramBinStart } from "../../src/core/histogram.ts";

/** The rule of the module's comment, in whole numbers of any size. */
function binByRule(value: bigint): number {
  const exponent = value < 256n ? 0n : BigInt(value.toString(2).length - 8);
  return Number(exponent * 128n + (value >> exponent));
}

Deno.test("bins follow one another without a gap, are narrower than 1 % and reach to 64 bits", () => {
  for (let bin = 0; bin < 5888; bin++) {
    const start = histogramBinStart(bin);
    assertEquals([histogramBin(start), binByRule(BigInt(start))], [bin, bin]);
    const end = histogramBinStart(bin + 1);
    assert(end > start && (bin < 128 || (end - start) / start <= 1 / 128), `bin ${bin}: ${start} to ${end}`);
    assertEquals(histogramBin(end - 1), bin);
  }
  assertEquals(binByRule(2n ** 64n - 1n), HISTOGRAM_BINS - 1);
  assertEquals(histogramBin(Number.MAX_SAFE_INTEGER), binByRule(2n ** 53n - 1n));
});

Deno.test("a histogram's percentiles are those of the sorted values, to the width of a bin", () => {
  const histogram = new Histogram();
  const values = Array.from({ length: 10_000 }, (_, i) => 1 + Math.floor((i * 7919 % 10_000) ** 1.5));
  for (const value of values) histogram.add(value);
  const sorted = values.toSorted((a, b) => a - b);
  for (const percent of [0, 1, 10, 50, 90, 99, 99.9, 100]) {
    const exact = sorted[Math.max(0, Math.ceil(10_000 * percent / 100) - 1)] ?? 0;
    const found = histogram.percentile(percent);
    assert(found >= exact && found <= exact * (1 + 1 / 128), `${percent} %: ${found}, exactly ${exact}`);
  }
  assertEquals([histogram.count, histogram.min, histogram.max], [10_000, sorted[0], sorted.at(-1)] as unknown[]);
  assertAlmostEquals(histogram.mean, values.reduce((a, b) => a + b) / values.length, 1e-6);
  assertEquals(histogram.octaves().reduce((sum, one) => sum + one.count, 0), 10_000);
  for (const { from, to, count } of histogram.octaves()) {
    assertEquals(values.filter((value) => value >= from && value < to).length, count);
  }
  assertEquals(histogram.bins().reduce((sum, one) => sum + one.count, 0), 10_000);
});

Deno.test("a histogram without values says 0, and takes nothing but whole numbers from 0 on", () => {
  const empty = new Histogram();
  assertEquals([empty.min, empty.max, empty.mean, empty.percentile(99), empty.octaves().length], [0, 0, 0, 0, 0]);
  for (const wrong of [-1, 0.5, NaN, Infinity, 2 ** 53]) assertThrows(() => empty.add(wrong), BusbarError);
  empty.add(0);
  assertEquals(empty.octaves(), [{ from: 0, to: 1, count: 1 }]);
});

Deno.test("a column counts as its values do one by one, whatever their size", () => {
  const values = [0, 1, 127, 128, 255, 256, 2 ** 29 + 5, 2 ** 30 - 1, 2 ** 30, 2 ** 31, 2 ** 32 + 7, 2 ** 52];
  const [all, each] = [new Histogram(), new Histogram()];
  all.addAll(Float64Array.from([...values, 99]), values.length);
  for (const value of values) each.add(value);
  assertEquals(all.bins(), each.bins());
  assertEquals([all.count, all.sum, all.min, all.max], [each.count, each.sum, each.min, each.max]);
  assertEquals(all.bins(16).reduce((sum, { count }) => sum + count, 0), values.length);
});
