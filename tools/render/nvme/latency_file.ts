/**
 * Latencies in the forms of HdrHistogram: its percentile distribution (`.hgrm`) and its log (`.hlog`), which its plotters and
 * analysers read.
 * @module
 */

import type { Histogram } from "../../../src/core/histogram.ts";
import { printable } from "../../../src/core/printable.ts";

/** Latencies of a part of a run. */
export interface LatencyInterval {
  /** What they are of. */
  readonly tag: string;
  /** Seconds from the start of the run. */
  readonly startSeconds: number;
  /** How long it took. */
  readonly lengthSeconds: number;
  /** Nanoseconds. */
  readonly latency: Histogram;
}

/** Nanoseconds in a unit of the files: microseconds in a distribution, as wrk and fio's readers have it; milliseconds in a log. */
const DISTRIBUTION_UNIT_NS = 1000;
const LOG_UNIT_NS = 1e6;
/** A day, in nanoseconds: no command takes longer. */
const LONGEST_NS = 86_400e9;
const TICKS_IN_EACH_HALF = 5;

type Hdr = typeof import("hdr-histogram-js");
type HdrHistogram = ReturnType<Hdr["build"]>;

/** A value of each bin stands for all of it: its middle, which is within 0.4 % of each. */
function addTo(to: HdrHistogram, latency: Histogram): HdrHistogram {
  for (const { from, to: end, count } of latency.bins()) {
    to.recordValueWithCount(Math.max(1, Math.floor((from + end - 1) / 2)), count);
  }
  return to;
}

function empty(hdr: Hdr): HdrHistogram {
  return hdr.build({
    bitBucketSize: 64,
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_NS,
    numberOfSignificantValueDigits: 3,
    useWebAssembly: false,
  });
}

/** The percentile distribution of all intervals together, in microseconds. */
export async function percentileDistribution(intervals: readonly LatencyInterval[]): Promise<string> {
  const hdr = await import("hdr-histogram-js");
  const all = empty(hdr);
  for (const { latency } of intervals) addTo(all, latency);
  return all.outputPercentileDistribution(TICKS_IN_EACH_HALF, DISTRIBUTION_UNIT_NS);
}

/** The log: a line for each interval with its tag; its maximum is in milliseconds. */
export async function histogramLog(intervals: readonly LatencyInterval[], startedAt: Date): Promise<string> {
  const hdr = await import("hdr-histogram-js");
  let text = "";
  const writer = new hdr.HistogramLogWriter((line: string) => text += line);
  writer.outputLogFormatVersion();
  writer.outputStartTime(startedAt.getTime());
  writer.outputLegend();
  for (const { tag, startSeconds, lengthSeconds, latency } of intervals) {
    const one = addTo(empty(hdr), latency);
    one.tag = printable(tag);
    writer.outputIntervalHistogram(one, startSeconds, startSeconds + lengthSeconds, LOG_UNIT_NS);
  }
  return text;
}
