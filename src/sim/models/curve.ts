/**
 * Measured curves of latency by load: reading, cleaning, looking up, and letting a replay settle on them.
 *
 * Form and dynamics: Mess (Esmaili-Dokht et al., MICRO 2024).
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { LoadObserver } from "../engine/load_observer.ts";
import { nsOf, ticksOf } from "../units.ts";

/** A point of a curve. */
export interface CurvePoint {
  /** 0…1. */
  readonly readShare: number;
  /** Bandwidth. */
  readonly GBs: number;
  /** Latency at it. */
  readonly ns: number;
}

/** What a curve says at a load. */
export interface CurveValue {
  /** Latency. */
  readonly ns: number;
  /** True past the last point that was measured. */
  readonly extrapolated: boolean;
}

interface Line {
  readonly readShare: number;
  readonly GBs: readonly number[];
  readonly ns: readonly number[];
}

/** Curves by read share. */
export class Curve {
  /** Points that were dropped: measured near saturation, where bandwidth falls while latency rises. */
  readonly dropped: number;
  readonly #lines: readonly Line[];

  /**
   * Cleans points on load: sorted by bandwidth, the upper envelope of latency.
   *
   * @throws {BusbarError} `malformed` without points
   */
  constructor(points: readonly CurvePoint[]) {
    if (points.length === 0) {
      throw new BusbarError("malformed", "a curve without points", { operation: "read a curve" });
    }
    for (const { readShare, GBs, ns } of points) {
      if (readShare >= 0 && readShare <= 1 && GBs >= 0 && ns > 0 && Number.isFinite(GBs + ns)) continue;
      throw new BusbarError("malformed", `a curve with the point ${readShare}, ${GBs} GB/s, ${ns} ns`, {
        operation: "read a curve",
        hint: "read shares are 0 to 1, bandwidth in GB/s, latency in ns above zero",
      });
    }
    const shares = [...new Set(points.map(({ readShare }) => readShare))].sort((a, b) => a - b);
    const lines = shares.map((share) => clean(share, points.filter(({ readShare }) => readShare === share)));
    this.#lines = lines;
    this.dropped = points.length - lines.reduce((sum, { GBs }) => sum + GBs.length, 0);
  }

  /** The greatest bandwidth that was measured at the nearest read share. */
  maxGBs(readShare: number): number {
    const [below, above] = this.#around(readShare);
    const last = (line: Line): number => line.GBs[line.GBs.length - 1] ?? 0;
    return readShare - below.readShare <= above.readShare - readShare ? last(below) : last(above);
  }

  /** Latency at a load: the two nearest read shares, linear in bandwidth, blended by share. */
  at(readShare: number, GBs: number): CurveValue {
    const [below, above] = this.#around(readShare);
    const low = along(below, GBs);
    if (below === above) return low;
    const high = along(above, GBs);
    const weight = (readShare - below.readShare) / (above.readShare - below.readShare);
    return { ns: low.ns + (high.ns - low.ns) * weight, extrapolated: low.extrapolated || high.extrapolated };
  }

  #around(readShare: number): readonly [Line, Line] {
    const lines = this.#lines;
    let above = lines.findIndex((line) => line.readShare >= readShare);
    if (above < 0) above = lines.length - 1;
    const exact = lines[above]?.readShare === readShare || above === 0 || (lines[above]?.readShare ?? 0) < readShare;
    return [lines[exact ? above : above - 1] as Line, lines[above] as Line];
  }
}

function clean(readShare: number, points: readonly CurvePoint[]): Line {
  const sorted = [...points].sort((a, b) => a.GBs - b.GBs || b.ns - a.ns);
  const kept: CurvePoint[] = [];
  for (const point of sorted) {
    const last = kept[kept.length - 1];
    if (last !== undefined && (point.GBs === last.GBs || point.ns < last.ns)) continue;
    kept.push(point);
  }
  return { readShare, GBs: kept.map(({ GBs }) => GBs), ns: kept.map(({ ns }) => ns) };
}

/** Along one line: flat below its first point, the slope of the last piece past its last. */
function along({ GBs, ns }: Line, load: number): CurveValue {
  const last = GBs.length - 1;
  if (last === 0 || load <= (GBs[0] as number)) {
    return { ns: ns[0] as number, extrapolated: last === 0 && load > (GBs[0] as number) };
  }
  let to = 1;
  while (to < last && (GBs[to] as number) < load) to++;
  const slope = ((ns[to] as number) - (ns[to - 1] as number)) / ((GBs[to] as number) - (GBs[to - 1] as number));
  return { ns: (ns[to] as number) + slope * (load - (GBs[to] as number)), extrapolated: load > (GBs[last] as number) };
}

/** Reads one file of the Mess form, `bwlat_<percent of reads>.txt`: lines of MB/s, tab, ns. */
export function parseMessFile(text: string, name: string): CurvePoint[] {
  const percent = /bwlat_(\d{1,3})\.txt$/.exec(name)?.[1];
  if (percent === undefined || Number(percent) > 100) {
    throw new BusbarError("malformed", `${name}: the name does not say the share of reads`, {
      operation: "read a curve",
      path: name,
      hint: "Mess names them bwlat_<percent>.txt",
    });
  }
  return text.split("\n").flatMap((line, i) => {
    if (line.trim() === "" || line.startsWith("#")) return [];
    const [MBs = NaN, ns = NaN] = line.trim().split(/\s+/).map(Number);
    if (!(MBs >= 0 && ns > 0)) throw badLine(name, i, line, "MB/s, tab, ns");
    return [{ readShare: Number(percent) / 100, GBs: MBs / 1000, ns }];
  });
}

/** Reads `readShare,GBs,ns` lines, with or without that header. */
export function parseCurveCsv(text: string, name: string): CurvePoint[] {
  return text.split("\n").flatMap((line, i) => {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#") || /^readShare\b/i.test(trimmed)) return [];
    const [readShare = NaN, GBs = NaN, ns = NaN] = trimmed.split(",").map(Number);
    if (!(readShare >= 0 && readShare <= 1 && GBs >= 0 && ns > 0)) throw badLine(name, i, line, "readShare,GBs,ns");
    return [{ readShare, GBs, ns }];
  });
}

function badLine(name: string, i: number, line: string, form: string): BusbarError {
  return new BusbarError("malformed", `${name}:${i + 1}: '${line.slice(0, 60)}' is not ${form}`, {
    operation: "read a curve",
    path: name,
  });
}

/** Lines after which an endpoint's load is looked at again. */
const WINDOW = 1000;
/** Share of the newest observation. */
const NEW_SHARE = 0.05;
/** Halvings of an interval of bandwidth: to 1 in 10^9. */
const STEPS = 30;

/** Lets the latency of endpoints follow a curve while a replay goes on. */
export class CurveControl implements LoadObserver {
  /** True when the load of an endpoint was past the last point. */
  extrapolated = false;
  readonly #curve: Curve;
  readonly #path: Float64Array;
  /** What the path has besides the device: switches and lengths, in ticks by route. */
  readonly #beyond: Float64Array;
  readonly #lineBytes: number;
  readonly #count: Float64Array<ArrayBuffer>;
  readonly #reads: Float64Array<ArrayBuffer>;
  readonly #began: Float64Array<ArrayBuffer>;
  readonly #periodEnd: Float64Array<ArrayBuffer>;
  readonly #GBs: Float64Array<ArrayBuffer>;
  readonly #share: Float64Array<ArrayBuffer>;
  /** What the curve says for each node now. */
  readonly #ns: Float64Array<ArrayBuffer>;

  /**
   * Begins at the unloaded latencies.
   *
   * @param path latency by route in ticks, which is changed
   * @param deviceTicks the part of it that the curve replaces
   */
  constructor(curve: Curve, path: Float64Array, deviceTicks: Float64Array, lineBytes: number) {
    this.#curve = curve;
    this.#path = path;
    this.#beyond = path.map((ticks, route) => ticks - (deviceTicks[route] as number));
    this.#lineBytes = lineBytes;
    const nodes = path.length / 2;
    this.#count = new Float64Array(nodes);
    this.#reads = new Float64Array(nodes);
    this.#began = new Float64Array(nodes);
    this.#periodEnd = new Float64Array(nodes);
    this.#GBs = new Float64Array(nodes).fill(NaN);
    this.#share = new Float64Array(nodes).fill(NaN);
    this.#ns = new Float64Array(nodes);
    for (let node = 1; node < nodes; node++) this.#set(node, curve.at(1, 0).ns);
  }

  /** Bandwidth of a node as it is seen, in GB/s; NaN before its first window. */
  GBs(node: number): number {
    return this.#GBs[node] as number;
  }

  /** Share of reads of a node as it is seen; NaN before its first window. */
  readShare(node: number): number {
    return this.#share[node] as number;
  }

  /** {@inheritDoc LoadObserver.used} */
  used(route: number, lines: number, issueTicks: number): void {
    const node = route >> 1;
    if (node === 0) return;
    if (issueTicks >= (this.#periodEnd[node] as number)) this.#endPeriod(node, issueTicks);
    if ((route & 1) === 0) this.#reads[node] = (this.#reads[node] as number) + lines;
    this.#count[node] = (this.#count[node] as number) + lines;
  }

  /**
   * A window lasts a whole number of latencies: a loop of outstanding misses repeats its pattern once in each latency,
   * so the window holds that pattern whole, however uneven it is.
   */
  #endPeriod(node: number, issueTicks: number): void {
    const began = this.#began[node] as number;
    const latency = ticksOf(this.#ns[node] as number);
    const end = began + Math.floor((issueTicks - began) / latency) * latency;
    const count = this.#count[node] as number;
    if (count >= WINDOW && end > began) {
      this.#look(node, count * this.#lineBytes / nsOf(end - began), (this.#reads[node] as number) / count);
      this.#began[node] = end;
      this.#count[node] = 0;
      this.#reads[node] = 0;
    }
    this.#periodEnd[node] = end + ticksOf(this.#ns[node] as number);
  }

  /** A window of a node is over: this was its bandwidth and its share of reads. */
  #look(node: number, seenGBs: number, seenShare: number): void {
    const first = Number.isNaN(this.#GBs[node] as number);
    const old = first ? 0 : this.#GBs[node] as number;
    const share = first ? seenShare : blend(this.#share[node] as number, seenShare);
    const oldNs = this.#ns[node] as number;
    let GBs = first ? seenGBs : blend(old, seenGBs);
    // Where the curve is steep, a loop of outstanding misses would swing: with a new latency the same misses move
    // seen · old / new. No step goes past the load where both agree, which such a loop settles at.
    const past = (load: number): boolean => {
      const settled = seenGBs * oldNs / this.#curve.at(share, load).ns;
      return seenGBs > old ? load > settled : load < settled;
    };
    if (past(GBs)) {
      let [near, far] = [old, GBs];
      for (let i = 0; i < STEPS; i++) {
        const middle = (near + far) / 2;
        if (past(middle)) far = middle;
        else near = middle;
      }
      GBs = near;
    }
    this.#GBs[node] = GBs;
    this.#share[node] = share;
    const value = this.#curve.at(share, GBs);
    this.extrapolated ||= value.extrapolated;
    this.#set(node, value.ns);
  }

  #set(node: number, ns: number): void {
    this.#ns[node] = ns;
    this.#path[node * 2] = ticksOf(ns) + (this.#beyond[node * 2] as number);
    this.#path[node * 2 + 1] = ticksOf(ns) + (this.#beyond[node * 2 + 1] as number);
  }
}

function blend(old: number, now: number): number {
  return NEW_SHARE * now + (1 - NEW_SHARE) * old;
}
