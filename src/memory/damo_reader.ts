/**
 * Reads files of damo. What a file sets is taken or refused by name: nothing is dropped. What it leaves out has the value
 * that damo gives it.
 *
 * Source: damo 2.4 and 3.0 (`_damon.py`, the defaults of Damos, DamosQuotas, DamonIntervals and DamonNrRegionsRange).
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { BYTES, parseAmount, parsePercent, parseTime, PLAIN } from "./damo_amount.ts";
import {
  checkKdamond,
  type DamonDestination,
  type DamonFilter,
  type DamonGoal,
  type DamonIntervalsGoal,
  type DamonRange,
  type DamonScheme,
  type DamonWatermarks,
  type Kdamond,
  NO_LIMIT,
} from "./damon_plan.ts";

/**
 * Reads the object that a damo file holds: that of 2.4, of 3.0, or with plain numbers.
 *
 * @throws {BusbarError} `malformed`, with the place in the file, when it is none, sets what busbar does not apply, or has
 * values that make no sense
 */
export function fromDamo(data: unknown, file: string): Kdamond[] {
  const root = Place.root(data, file);
  root.takes(["kdamonds"]);
  const kdamonds = root.list("kdamonds");
  if (kdamonds === null) throw root.wrong("kdamonds", "it is missing");
  if (kdamonds.length === 0) throw root.wrong("kdamonds", "it is empty");
  return kdamonds.map(readKdamond);
}

/** An object in the file, with where it stands. */
class Place {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #at: string;
  readonly #file: string;

  private constructor(object: unknown, at: string, file: string) {
    this.#at = at;
    this.#file = file;
    if (typeof object !== "object" || object === null || Array.isArray(object)) throw this.wrong("", "it is no object");
    this.#object = { ...object };
  }

  static root(data: unknown, file: string): Place {
    return new Place(data, "", file);
  }

  #path(key: string): string {
    return key === "" ? this.#at : this.#at === "" ? key : `${this.#at}.${key}`;
  }

  wrong(key: string, what: string, cause?: unknown): BusbarError {
    return new BusbarError("malformed", `${this.#file}: ${this.#path(key) || "the file"}: ${what}`, {
      operation: "read a damo file",
      path: this.#file,
      hint: "damon_config generate prints one that is right",
      cause,
    });
  }

  /** Refuses every key that is none of these. */
  takes(known: readonly string[]): void {
    for (const key of Object.keys(this.#object)) {
      if (!known.includes(key)) throw this.wrong(key, "busbar does not know this setting, and leaves none out");
    }
  }

  /** Refuses a setting unless it has one of the values that change nothing. */
  unset(key: string, ...harmless: readonly unknown[]): void {
    const value = this.#object[key];
    if (value === undefined || value === null || harmless.includes(value)) return;
    if (Array.isArray(value) && value.length === 0) return;
    throw this.wrong(key, `busbar does not apply it (${JSON.stringify(value)})`);
  }

  value(key: string): unknown {
    return this.#object[key] ?? undefined;
  }

  /** The objects of a list; null where there is none. */
  list(key: string): Place[] | null {
    const value = this.value(key);
    if (value === undefined) return null;
    if (!Array.isArray(value)) throw this.wrong(key, "it is no list");
    return value.map((one, i) => new Place(one, `${this.#path(key)}[${i}]`, this.#file));
  }

  only(key: string): Place {
    const list = this.list(key);
    if (list === null) throw this.wrong(key, "it is missing");
    const [first, ...others] = list;
    if (first === undefined || others.length > 0) throw this.wrong(key, "busbar takes exactly one");
    return first;
  }

  /** An object; an empty one where there is none. */
  object(key: string): Place {
    return new Place(this.value(key) ?? {}, this.#path(key), this.#file);
  }

  read<T>(key: string, otherwise: T, parse: (value: unknown) => T | null): T {
    const value = this.value(key);
    if (value === undefined) return otherwise;
    const found = parse(value);
    if (found === null) throw this.wrong(key, `${JSON.stringify(value)} is no value for it`);
    return found;
  }

  count(key: string, otherwise: number): number {
    return this.read(key, otherwise, wholeNumber);
  }

  microseconds(key: string, otherwise: number): number {
    return this.read(key, otherwise, (value) => safe(parseTime(value, 1000n)));
  }

  milliseconds(key: string, otherwise: number): number {
    return this.read(key, otherwise, (value) => safe(parseTime(value, 1_000_000n)));
  }

  permil(key: string): number {
    return this.read(key, 0, (value) => {
      const percent = parsePercent(value);
      return percent === null ? wholeNumber(value) : Math.round(percent * 10);
    });
  }

  range(key: string, otherwise: DamonRange, parse: (value: unknown, end: "min" | "max") => bigint | null): DamonRange {
    const range = this.object(key);
    range.takes(["min", "max"]);
    return {
      min: range.read("min", otherwise.min, (value) => parse(value, "min")),
      max: range.read("max", otherwise.max, (value) => parse(value, "max")),
    };
  }
}

function safe(value: bigint | null): number | null {
  return value === null || value > BigInt(Number.MAX_SAFE_INTEGER) ? null : Number(value);
}

function wholeNumber(value: unknown): number | null {
  return safe(parseAmount(value, PLAIN));
}

function readKdamond(place: Place): Kdamond {
  place.takes(["state", "pid", "refresh_ms", "contexts"]);
  // What a running kdamond was, not what one is to be.
  place.unset("refresh_ms", 0, "0", "0 ns");
  const context = place.only("contexts");
  context.takes(["ops", "addr_unit", "pause", "targets", "intervals", "nr_regions", "schemes"]);
  context.unset("addr_unit", 1, "1");
  context.unset("pause", false);
  if (context.value("ops") !== "paddr") {
    throw context.wrong("ops", `busbar watches physical memory (paddr), not ${JSON.stringify(context.value("ops"))}`);
  }
  const target = context.only("targets");
  target.takes(["pid", "obsolete", "regions"]);
  target.unset("pid");
  target.unset("obsolete", false);
  const intervals = readIntervals(context.object("intervals"));
  const kdamond: Kdamond = {
    from: null,
    regions: (target.list("regions") ?? []).map((region) => {
      region.takes(["start", "end"]);
      const address = (key: string): bigint => region.read(key, -1n, (value) => parseAmount(value, PLAIN));
      const [start, end] = [address("start"), address("end")];
      if (start < 0n) throw region.wrong("start", "it is missing");
      if (end < 0n) throw region.wrong("end", "it is missing");
      return { start, end };
    }),
    intervals,
    intervalsGoal: readIntervalsGoal(context.object("intervals").object("intervals_goal")),
    nrRegions: context.range("nr_regions", { min: 10n, max: 1000n }, (value) => parseAmount(value, PLAIN)),
    schemes: (context.list("schemes") ?? []).map((scheme) => readScheme(scheme, intervals)),
  };
  try {
    checkKdamond(kdamond);
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    throw place.wrong("", error.message, error);
  }
  return kdamond;
}

function readIntervals(place: Place): Kdamond["intervals"] {
  place.takes(["sample_us", "aggr_us", "ops_update_us", "intervals_goal"]);
  return {
    sampleUs: place.microseconds("sample_us", 5_000),
    aggregateUs: place.microseconds("aggr_us", 100_000),
    updateUs: place.microseconds("ops_update_us", 1_000_000),
  };
}

function readIntervalsGoal(place: Place): DamonIntervalsGoal | null {
  place.takes(["access_bp", "aggrs", "min_sample_us", "max_sample_us"]);
  const goal = {
    accessBp: place.read("access_bp", 0, (value) => {
      const percent = parsePercent(value);
      return percent === null ? wholeNumber(value) : Math.round(percent * 100);
    }),
    aggregations: place.count("aggrs", 0),
    minSampleUs: place.microseconds("min_sample_us", 0),
    maxSampleUs: place.microseconds("max_sample_us", 0),
  };
  return Object.values(goal).every((value) => value === 0) ? null : goal;
}

const SCHEME_KEYS = [
  ...["action", "target_nid", "dests", "access_pattern", "apply_interval_us", "quotas", "watermarks", "filters"],
  // What a running scheme has done.
  ...["stats", "tried_regions"],
];

function readScheme(place: Place, intervals: Kdamond["intervals"]): DamonScheme {
  place.takes(SCHEME_KEYS);
  const action = place.value("action") ?? "stat";
  if (action !== "migrate_cold" && action !== "migrate_hot" && action !== "stat") {
    throw place.wrong("action", `busbar does migrate_cold, migrate_hot and stat, not ${JSON.stringify(action)}`);
  }
  const { aggregateUs, sampleUs } = intervals;
  const looks = Math.floor(aggregateUs / sampleUs);
  const pattern = place.object("access_pattern");
  pattern.takes(["sz_bytes", "nr_accesses", "age"]);
  const share = (value: unknown, end: "min" | "max"): bigint | null => {
    const percent = parsePercent(value);
    if (percent === null) return parseAmount(value, PLAIN);
    const exact = Number((percent * looks / 100).toFixed(6));
    return BigInt(end === "min" ? Math.floor(exact) : Math.ceil(exact));
  };
  const age = (value: unknown): bigint | null => {
    const plain = parseAmount(value, PLAIN);
    if (plain !== null) return plain;
    const us = parseTime(value, 1000n);
    return us === null ? null : us / BigInt(aggregateUs);
  };
  const any: DamonRange = { min: 0n, max: NO_LIMIT };
  return {
    action,
    to: action === "stat" ? null : place.read<number | null>("target_nid", null, wholeNumber),
    destinations: (place.list("dests") ?? []).map(readDestination),
    size: pattern.range("sz_bytes", any, (value) => parseAmount(value, BYTES)),
    accesses: pattern.range("nr_accesses", { min: 0n, max: BigInt(looks) }, share),
    age: pattern.range("age", any, age),
    applyIntervalUs: place.microseconds("apply_interval_us", 0),
    quota: readQuota(place.object("quotas")),
    watermarks: readWatermarks(place.object("watermarks")),
    filters: (place.list("filters") ?? []).map(readFilter),
  };
}

function readDestination(place: Place): DamonDestination {
  place.takes(["id", "weight"]);
  const node = place.read("id", -1, wholeNumber);
  if (node < 0) throw place.wrong("id", "it is missing");
  return { node, weight: place.count("weight", 1) };
}

function readQuota(place: Place): DamonScheme["quota"] {
  // What the kernel has made of the goals is no setting.
  place.takes(["time_ms", "sz_bytes", "reset_interval_ms", "goals", "effective_sz_bytes", "weights", "goal_tuner"]);
  place.unset("goal_tuner");
  const weights = place.object("weights");
  weights.takes(["sz_permil", "nr_accesses_permil", "age_permil"]);
  return {
    timeMs: place.milliseconds("time_ms", 0),
    sizeBytes: place.read("sz_bytes", 0n, (value) => parseAmount(value, BYTES)),
    intervalMs: place.milliseconds("reset_interval_ms", 0),
    weightsPermil: [weights.permil("sz_permil"), weights.permil("nr_accesses_permil"), weights.permil("age_permil")],
    goals: (place.list("goals") ?? []).map(readGoal),
  };
}

const METRICS = ["user_input", "some_mem_psi_us", "node_mem_used_bp", "node_mem_free_bp"] as const;

function readGoal(place: Place): DamonGoal {
  place.takes(["metric", "target_value", "current_value", "nid"]);
  const metric = METRICS.find((one) => one === place.value("metric"));
  if (metric === undefined) {
    const given = JSON.stringify(place.value("metric")) ?? "nothing";
    throw place.wrong("metric", `busbar knows ${METRICS.join(", ")}, not ${given}`);
  }
  const value = (key: string, otherwise: bigint): bigint =>
    place.read(key, otherwise, (given) => {
      const percent = metric.endsWith("_bp") ? parsePercent(given) : null;
      if (percent !== null) return BigInt(Math.round(percent * 100));
      const plain = parseAmount(given, PLAIN);
      return plain === null && metric === "some_mem_psi_us" ? parseTime(given, 1000n) : plain;
    });
  const targetValue = value("target_value", -1n);
  if (targetValue < 0n) throw place.wrong("target_value", "it is missing");
  const isOfNode = metric.startsWith("node_");
  const node = place.read<number | null>("nid", null, wholeNumber);
  if (isOfNode && node === null) throw place.wrong("nid", `${metric} needs a node`);
  return { metric, targetValue, currentValue: value("current_value", 0n), node: isOfNode ? node : null };
}

function readWatermarks(place: Place): DamonWatermarks | null {
  place.takes(["metric", "interval_us", "high_permil", "mid_permil", "low_permil"]);
  const metric = place.value("metric") ?? "none";
  if (metric === "none") return null;
  if (metric !== "free_mem_rate") {
    throw place.wrong("metric", `busbar knows none and free_mem_rate, not ${JSON.stringify(metric)}`);
  }
  return {
    metric,
    intervalUs: place.microseconds("interval_us", 0),
    highPermil: place.permil("high_permil"),
    midPermil: place.permil("mid_permil"),
    lowPermil: place.permil("low_permil"),
  };
}

function readFilter(place: Place): DamonFilter {
  place.takes(["filter_type", "matching", "allow", "memcg_path", "address_range", "damon_target_idx", "hugepage_size"]);
  const type = place.value("filter_type");
  const matching = place.value("matching") ?? true;
  if (typeof matching !== "boolean") throw place.wrong("matching", "it is neither true nor false");
  place.unset("allow", false);
  if (type === "anon" || type === "young") {
    for (const key of ["memcg_path", "address_range", "damon_target_idx", "hugepage_size"]) place.unset(key);
    return { type, matching };
  }
  const path = place.value("memcg_path");
  if (type === "memcg" && typeof path === "string") {
    for (const key of ["address_range", "damon_target_idx", "hugepage_size"]) place.unset(key);
    return { type, matching, path };
  }
  throw place.wrong(
    "",
    `busbar knows filters of type anon, memcg (with a memcg_path) and young, not ${JSON.stringify(type) ?? "nothing"}`,
  );
}
