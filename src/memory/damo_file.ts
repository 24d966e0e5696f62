/**
 * DAMON configurations as files of damo, the user-space tool of DAMON, in the form that HMSDK writes.
 *
 * Source: damo 2.4 and 3.0 (`damo args damon --format yaml`); HMSDK gen_migpol.
 * @module
 */

import { type DamonScheme, type Kdamond, NO_LIMIT } from "./damon_plan.ts";
import { DURATION_UNITS, SIZE_UNITS } from "./damo_amount.ts";

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
          ...newer ? { intervals_goal: intervalsGoalTree(kdamond) } : {},
        },
        nr_regions: { min: commas(kdamond.nrRegions.min), max: commas(kdamond.nrRegions.max) },
        schemes: kdamond.schemes.map((scheme) => schemeTree(kdamond, scheme, newer)),
      }],
    })),
  };
}

function intervalsGoalTree({ intervalsGoal: goal }: Kdamond): DamoTree {
  const { accessBp = 0, aggregations = 0, minSampleUs = 0, maxSampleUs = 0 } = goal ?? {};
  const time = (us: number): string => duration(BigInt(us) * 1000n);
  return {
    access_bp: `${accessBp / 100} %`,
    aggrs: commas(BigInt(aggregations)),
    min_sample_us: time(minSampleUs),
    max_sample_us: time(maxSampleUs),
  };
}

function schemeTree(kdamond: Kdamond, scheme: DamonScheme, newer: boolean): DamoTree {
  const { aggregateUs, sampleUs } = kdamond.intervals;
  const looks = BigInt(Math.floor(aggregateUs / sampleUs));
  const { quota, watermarks } = scheme;
  const [size, accesses, age] = quota.weightsPermil;
  const ageText = (value: bigint): string => value === NO_LIMIT ? "max" : duration(value * BigInt(aggregateUs) * 1000n);
  return {
    action: scheme.action,
    target_nid: scheme.to,
    ...newer || scheme.destinations.length > 0
      ? { dests: scheme.destinations.map(({ node, weight }) => ({ id: node, weight })) }
      : {},
    access_pattern: {
      sz_bytes: { min: bytes(scheme.size.min), max: bytes(scheme.size.max) },
      nr_accesses: { min: percent(scheme.accesses.min, looks), max: percent(scheme.accesses.max, looks) },
      age: { min: ageText(scheme.age.min), max: ageText(scheme.age.max) },
    },
    apply_interval_us: duration(BigInt(scheme.applyIntervalUs) * 1000n),
    quotas: {
      time_ms: duration(BigInt(quota.timeMs) * 1_000_000n),
      sz_bytes: bytes(quota.sizeBytes),
      reset_interval_ms: duration(BigInt(quota.intervalMs) * 1_000_000n),
      goals: quota.goals.map((goal) => ({
        metric: goal.metric,
        target_value: commas(goal.targetValue),
        current_value: commas(goal.currentValue),
        ...goal.node === null ? {} : { nid: goal.node },
      })),
      effective_sz_bytes: "0 B",
      weights: { sz_permil: permil(size), nr_accesses_permil: permil(accesses), age_permil: permil(age) },
    },
    watermarks: {
      metric: watermarks?.metric ?? "none",
      interval_us: duration(BigInt(watermarks?.intervalUs ?? 0) * 1000n),
      high_permil: permil(watermarks?.highPermil ?? 0),
      mid_permil: permil(watermarks?.midPermil ?? 0),
      low_permil: permil(watermarks?.lowPermil ?? 0),
    },
    filters: scheme.filters.map((filter) => ({
      filter_type: filter.type,
      matching: filter.matching,
      ...newer ? { allow: false } : {},
      ...filter.type === "memcg" ? { memcg_path: filter.path } : {},
    })),
  };
}

function permil(value: number): string {
  return `${value / 10} %`;
}

function commas(value: bigint): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** The largest unit that divides it, but seconds up to a minute of them, as damo writes: `100 ms`, `30 s`, `0 ns`. */
function duration(nanoseconds: bigint): string {
  const [name, unit] = DURATION_UNITS.find(([, unit]) => nanoseconds !== 0n && nanoseconds % unit === 0n) ?? ["ns", 1n];
  return `${commas(nanoseconds / unit)} ${name}`;
}

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
