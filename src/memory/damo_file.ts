/**
 * DAMON configurations as files of damo, the user-space tool of DAMON, in the form that HMSDK writes.
 *
 * Source: damo 2.4 and 3.0 (`damo args damon --format yaml`); HMSDK gen_migpol.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { type DamonFilter, type DamonRange, type Kdamond, NO_LIMIT } from "./damon_plan.ts";

/** The version of damo that a file is for. */
export const DAMO_SCHEMAS = ["2.4", "3.0"] as const;

/** The version of damo that a file is for. */
export type DamoSchema = typeof DAMO_SCHEMAS[number];

/** What a damo file holds: an object of objects, lists and texts. */
export type DamoTree = { readonly [key: string]: unknown };

/** Kdamonds as the object that a damo file holds; YAML and JSON of it are both read by damo. */
export function toDamo(kdamonds: readonly Kdamond[], schema: DamoSchema = "2.4"): DamoTree {
  const newer = schema === "3.0";
  return {
    kdamonds: kdamonds.map((kdamond) => ({
      ...newer ? { refresh_ms: "0 ns" } : { state: null, pid: null },
      contexts: [{
        ops: "paddr",
        targets: [{
          pid: null,
          regions: kdamond.regions.map(({ start, end }) => ({ start: commas(start), end: commas(end) })),
          ...newer ? { obsolete: false } : {},
        }],
        intervals: {
          sample_us: duration(BigInt(kdamond.intervals.sampleUs) * 1000n),
          aggr_us: duration(BigInt(kdamond.intervals.aggregateUs) * 1000n),
          ops_update_us: duration(BigInt(kdamond.intervals.updateUs) * 1000n),
          ...newer
            ? { intervals_goal: { access_bp: "0 %", aggrs: "0", min_sample_us: "0 ns", max_sample_us: "0 ns" } }
            : {},
        },
        nr_regions: { min: commas(kdamond.nrRegions.min), max: commas(kdamond.nrRegions.max) },
        schemes: [schemeTree(kdamond, newer)],
      }],
    })),
  };
}

function schemeTree(kdamond: Kdamond, newer: boolean): DamoTree {
  const { aggregateUs, sampleUs } = kdamond.intervals;
  const looks = BigInt(Math.floor(aggregateUs / sampleUs));
  const [size, accesses, age] = kdamond.quota.weightsPermil;
  const permil = (value: number): string => `${value / 10} %`;
  const ageText = (value: bigint): string => value === NO_LIMIT ? "max" : duration(value * BigInt(aggregateUs) * 1000n);
  return {
    action: kdamond.action,
    target_nid: kdamond.to,
    ...newer ? { dests: [] } : {},
    access_pattern: {
      sz_bytes: { min: bytes(kdamond.size.min), max: bytes(kdamond.size.max) },
      nr_accesses: { min: percent(kdamond.accesses.min, looks), max: percent(kdamond.accesses.max, looks) },
      age: { min: ageText(kdamond.age.min), max: ageText(kdamond.age.max) },
    },
    apply_interval_us: "0 ns",
    quotas: {
      time_ms: duration(BigInt(kdamond.quota.timeMs) * 1_000_000n),
      sz_bytes: bytes(kdamond.quota.sizeBytes),
      reset_interval_ms: duration(BigInt(kdamond.quota.intervalMs) * 1_000_000n),
      goals: [],
      effective_sz_bytes: "0 B",
      weights: { sz_permil: permil(size), nr_accesses_permil: permil(accesses), age_permil: permil(age) },
    },
    watermarks: { metric: "none", interval_us: "0 ns", high_permil: "0 %", mid_permil: "0 %", low_permil: "0 %" },
    filters: kdamond.filters.map((filter) => ({
      filter_type: filter.type,
      matching: filter.matching,
      ...newer ? { allow: false } : {},
      ...filter.type === "memcg" ? { memcg_path: filter.path } : {},
    })),
  };
}

function commas(value: bigint): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

const DURATION_UNITS: readonly (readonly [name: string, nanoseconds: bigint])[] = [
  ["d", 86_400_000_000_000n],
  ["h", 3_600_000_000_000n],
  ["m", 60_000_000_000n],
  ["s", 1_000_000_000n],
  ["ms", 1_000_000n],
  ["us", 1000n],
  ["ns", 1n],
];

/** The largest unit that divides it, but seconds up to a minute of them, as damo writes: `100 ms`, `30 s`, `0 ns`. */
function duration(nanoseconds: bigint): string {
  const [name, unit] = DURATION_UNITS.find(([, unit]) => nanoseconds !== 0n && nanoseconds % unit === 0n) ?? ["ns", 1n];
  return `${commas(nanoseconds / unit)} ${name}`;
}

const SIZE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

/** `4.000 KiB`, `0 B`, `max`. What has more than three decimals is written in bytes, so that nothing is lost. */
function bytes(value: bigint): string {
  if (value === NO_LIMIT) return "max";
  let unit = 0;
  while (unit < SIZE_UNITS.length - 1 && value >= 1n << BigInt(10 * (unit + 1))) unit++;
  const scale = 1n << BigInt(10 * unit);
  if (unit === 0 || value * 1000n % scale !== 0n) return `${commas(value)} B`;
  const thousandths = (value * 1000n / scale).toString().padStart(4, "0");
  return `${thousandths.slice(0, -3)}.${thousandths.slice(-3)} ${SIZE_UNITS[unit]}`;
}

/** A share of the looks, in percent with as many decimals as it needs. */
function percent(value: bigint, looks: bigint): string {
  return `${Number((Number(value) * 100 / Number(looks)).toFixed(6))} %`;
}

/** What was read from a file. */
export interface DamoFile {
  /** The kdamonds. */
  readonly kdamonds: Kdamond[];
  /** Keys that were not understood and left out, with their places. */
  readonly ignored: string[];
}

/**
 * Reads the object that a damo file holds: that of 2.4, of 3.0, or with plain numbers.
 *
 * @throws {BusbarError} `malformed`, with the place in the file, when it is none or does what busbar does not
 */
export function fromDamo(data: unknown, file: string): DamoFile {
  const reader = new DamoReader(file);
  const kdamonds = reader.list(reader.object(data, ""), "kdamonds", "").map((one, i) =>
    readKdamond(reader, one, `kdamonds[${i}]`)
  );
  if (kdamonds.length === 0) throw reader.wrong("kdamonds", "it is empty");
  return { kdamonds, ignored: reader.ignored };
}

/** Takes values out of an object and notes what was not taken. */
class DamoReader {
  readonly ignored: string[] = [];
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  wrong(place: string, what: string): BusbarError {
    return new BusbarError("malformed", `${this.#file}: ${place || "the file"}: ${what}`, {
      operation: "read a damo file",
      path: this.#file,
      hint: "damon_config generate prints one that is right",
    });
  }

  object(value: unknown, place: string): Record<string, unknown> {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw this.wrong(place, "it is no object");
    return { ...value };
  }

  list(object: DamoTree, key: string, place: string): Record<string, unknown>[] {
    const value = object[key];
    const at = place === "" ? key : `${place}.${key}`;
    if (!Array.isArray(value)) throw this.wrong(at, value === undefined ? "it is missing" : "it is no list");
    return value.map((one, i) => this.object(one, `${at}[${i}]`));
  }

  only(object: DamoTree, key: string, place: string): Record<string, unknown> {
    const [first, ...others] = this.list(object, key, place);
    if (first === undefined || others.length > 0) throw this.wrong(`${place}.${key}`, "busbar takes exactly one");
    return first;
  }

  rest(object: DamoTree, known: readonly string[], place: string): void {
    for (const key of Object.keys(object)) if (!known.includes(key)) this.ignored.push(`${place}.${key}`);
  }

  number(object: DamoTree, key: string, place: string, units: ReadonlyMap<string, bigint>): bigint {
    const value = object[key];
    const found = parseAmount(value, units);
    if (found === null) throw this.wrong(`${place}.${key}`, `${JSON.stringify(value) ?? "nothing"} is no value for it`);
    return found;
  }

  range(object: DamoTree, key: string, place: string, read: (value: unknown) => bigint | null): DamonRange {
    const range = this.object(object[key], `${place}.${key}`);
    const one = (name: "min" | "max"): bigint => {
      const value = read(range[name]);
      if (value === null) {
        throw this.wrong(`${place}.${key}.${name}`, `${JSON.stringify(range[name]) ?? "nothing"} is no value for it`);
      }
      return value;
    };
    return { min: one("min"), max: one("max") };
  }
}

const PLAIN: ReadonlyMap<string, bigint> = new Map([["", 1n]]);
const NANOSECONDS: ReadonlyMap<string, bigint> = new Map(DURATION_UNITS);
const BYTES: ReadonlyMap<string, bigint> = new Map([
  ["", 1n],
  ...SIZE_UNITS.map((name, i) => [name, 1n << BigInt(10 * i)] as const),
]);

/** `4.000 KiB`, `10,000`, `max`, or a plain number; null when it is none, or no whole number of units. */
function parseAmount(value: unknown, units: ReadonlyMap<string, bigint>): bigint | null {
  if (value === "max") return NO_LIMIT;
  const text = typeof value === "number" || typeof value === "bigint" ? String(value) : value;
  if (typeof text !== "string") return null;
  const match = /^(\d+)(?:\.(\d+))?\s*([A-Za-z]*)$/.exec(text.replaceAll(",", "").trim());
  const unit = units.get(match?.[3] ?? "-");
  if (match === null || unit === undefined) return null;
  const [, whole = "", fraction = ""] = match;
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * unit;
  return scaled % scale === 0n ? scaled / scale : null;
}

/** A time in units of `unitNs`: text with a unit, or a plain number of those units. */
function parseTime(value: unknown, unitNs: bigint): bigint | null {
  const plain = parseAmount(value, PLAIN);
  if (plain !== null) return plain;
  const nanoseconds = parseAmount(value, NANOSECONDS);
  return nanoseconds === null || nanoseconds % unitNs !== 0n ? null : nanoseconds / unitNs;
}

function parsePercent(value: unknown): number | null {
  const match = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*%$/.exec(value.trim()) : null;
  return match === null ? null : Number(match[1]);
}

function readKdamond(reader: DamoReader, object: Record<string, unknown>, place: string): Kdamond {
  reader.rest(object, ["state", "pid", "refresh_ms", "contexts"], place);
  const context = reader.only(object, "contexts", place);
  const at = `${place}.contexts[0]`;
  reader.rest(context, ["ops", "targets", "intervals", "nr_regions", "schemes"], at);
  if (context["ops"] !== "paddr") {
    throw reader.wrong(`${at}.ops`, `busbar watches physical memory (paddr), not ${JSON.stringify(context["ops"])}`);
  }
  const target = reader.only(context, "targets", at);
  const regions = reader.list(target, "regions", `${at}.targets[0]`).map((region, i) => {
    const where = `${at}.targets[0].regions[${i}]`;
    return { start: reader.number(region, "start", where, PLAIN), end: reader.number(region, "end", where, PLAIN) };
  });
  const times = reader.object(context["intervals"], `${at}.intervals`);
  const time = (key: string): number => {
    const value = parseTime(times[key], 1000n);
    if (value === null || value === 0n) throw reader.wrong(`${at}.intervals.${key}`, "it is no time above zero");
    return Number(value);
  };
  const intervals = { sampleUs: time("sample_us"), aggregateUs: time("aggr_us"), updateUs: time("ops_update_us") };
  const scheme = reader.only(context, "schemes", at);
  return {
    ...readScheme(reader, scheme, `${at}.schemes[0]`, intervals.sampleUs, intervals.aggregateUs),
    from: null,
    regions,
    intervals,
    nrRegions: reader.range(context, "nr_regions", at, (value) => parseAmount(value, PLAIN)),
  };
}

const SCHEME_KEYS = [
  ...["action", "target_nid", "dests", "access_pattern", "apply_interval_us", "quotas", "watermarks", "filters"],
];

function readScheme(
  reader: DamoReader,
  scheme: Record<string, unknown>,
  at: string,
  sampleUs: number,
  aggregateUs: number,
): Omit<Kdamond, "from" | "regions" | "intervals" | "nrRegions"> {
  reader.rest(scheme, SCHEME_KEYS, at);
  const { action } = scheme;
  if (action !== "migrate_cold" && action !== "migrate_hot") {
    throw reader.wrong(`${at}.action`, `busbar does migrate_cold and migrate_hot, not ${JSON.stringify(action)}`);
  }
  const pattern = reader.object(scheme["access_pattern"], `${at}.access_pattern`);
  const looks = Math.floor(aggregateUs / sampleUs);
  const share = (value: unknown, round: (value: number) => number): bigint | null => {
    const percent = parsePercent(value);
    return percent === null ? parseAmount(value, PLAIN) : BigInt(round(Number((percent * looks / 100).toFixed(6))));
  };
  const accesses = reader.object(pattern["nr_accesses"], `${at}.access_pattern.nr_accesses`);
  const [least, most] = [share(accesses["min"], Math.floor), share(accesses["max"], Math.ceil)];
  if (least === null || most === null) {
    throw reader.wrong(`${at}.access_pattern.nr_accesses`, "it is no pair of shares");
  }
  const age = (value: unknown): bigint | null => {
    if (value === "max") return NO_LIMIT;
    const plain = parseAmount(value, PLAIN);
    if (plain !== null) return plain;
    const us = parseTime(value, 1000n);
    return us === null ? null : us / BigInt(aggregateUs);
  };
  const quotas = reader.object(scheme["quotas"], `${at}.quotas`);
  const milliseconds = (key: string): number => {
    const value = parseTime(quotas[key], 1_000_000n);
    if (value === null) throw reader.wrong(`${at}.quotas.${key}`, "it is no time");
    return Number(value);
  };
  const weights = reader.object(quotas["weights"], `${at}.quotas.weights`);
  const weight = (key: string): number => {
    const percent = parsePercent(weights[key]);
    const value = percent === null ? parseAmount(weights[key], PLAIN) : BigInt(Math.round(percent * 10));
    if (value === null) throw reader.wrong(`${at}.quotas.weights.${key}`, "it is no weight");
    return Number(value);
  };
  return {
    direction: action === "migrate_cold" ? "demote" : "promote",
    to: Number(reader.number(scheme, "target_nid", at, PLAIN)),
    action,
    size: reader.range(pattern, "sz_bytes", `${at}.access_pattern`, (value) => parseAmount(value, BYTES)),
    accesses: { min: least, max: most },
    age: reader.range(pattern, "age", `${at}.access_pattern`, age),
    quota: {
      timeMs: milliseconds("time_ms"),
      sizeBytes: reader.number(quotas, "sz_bytes", `${at}.quotas`, BYTES),
      intervalMs: milliseconds("reset_interval_ms"),
      weightsPermil: [weight("sz_permil"), weight("nr_accesses_permil"), weight("age_permil")],
    },
    filters: reader.list(scheme, "filters", at).map((filter, i) => readFilter(reader, filter, `${at}.filters[${i}]`)),
  };
}

function readFilter(reader: DamoReader, filter: Record<string, unknown>, at: string): DamonFilter {
  const { filter_type: type, matching, allow = false, memcg_path: path } = filter;
  if (typeof matching !== "boolean") throw reader.wrong(`${at}.matching`, "it is neither true nor false");
  if (allow !== false) throw reader.wrong(`${at}.allow`, "busbar's filters leave pages out: allow is false");
  if (type === "young") return { type, matching };
  if (type === "memcg" && typeof path === "string") return { type, matching, path };
  throw reader.wrong(
    at,
    `busbar knows filters of type memcg (with a memcg_path) and young, not ${JSON.stringify(type)}`,
  );
}
