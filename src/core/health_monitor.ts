/**
 * Watching numbers over time: what crossed a threshold, what changed, and the last look; never more than that.
 * @module
 */

import { BusbarError } from "./error.ts";
import type { MetricRow, MetricValue } from "./metrics.ts";

/** A limit that a number should keep to. */
export interface Threshold {
  /** As it was written: `nvme_temperature_celsius>70`. */
  readonly text: string;
  /** Name of the metric, without prefix and suffix. */
  readonly metric: string;
  /** The number is beyond the threshold when this holds. */
  readonly relation: ">" | "<" | ">=" | "<=" | "==" | "!=";
  /** The limit; for `increases`, how much more than at the look before. */
  readonly limit: number;
  /** True: the growth since the look before counts, not the number. */
  readonly ofGrowth: boolean;
}

/** What begins every name. */
export const METRIC_PREFIX = "busbar_";

/**
 * Reads `NAME>LIMIT`, with any of > < >= <= == !=; `+NAME>0` is of the growth since the look before.
 *
 * @param known the names that there are
 * @throws {BusbarError} `usage`
 */
export function parseThreshold(text: string, known: readonly string[]): Threshold {
  const match = /^(\+?)([a-z][a-z0-9_]*)\s*(>=|<=|==|!=|>|<)\s*(-?\d+(?:\.\d+)?)$/.exec(text.trim());
  const [, growth, name = "", relation, limit] = match ?? [];
  const metric = name.startsWith(METRIC_PREFIX) ? name.slice(METRIC_PREFIX.length) : name;
  if (match === null || !known.includes(metric.replace(/_total$/, ""))) {
    throw new BusbarError("usage", match === null ? `'${text}' is no threshold` : `there is no metric '${metric}'`, {
      hint: match === null ? "write it as in nvme_temperature_celsius>70" : `there are ${known.join(", ")}`,
    });
  }
  return {
    text: text.trim(),
    metric: metric.replace(/_total$/, ""),
    relation: relation as Threshold["relation"],
    limit: Number(limit),
    ofGrowth: growth === "+",
  };
}

/** What was read of a device. */
export interface DeviceSample {
  /** The device, as it was named. */
  readonly device: string;
  /** Its numbers; empty where nothing could be read. */
  readonly values: readonly MetricValue[];
  /** Why nothing, or not all, could be read; null where all was. */
  readonly problem: string | null;
}

/** Something that happened between two looks. */
export interface HealthEvent {
  /** When, in milliseconds since 1970. */
  readonly timeMs: number;
  /** The device. */
  readonly device: string;
  /** What: crossed a threshold, came back, could not be read, can be read again. */
  readonly kind: "beyond" | "back" | "lost" | "found";
  /** One sentence. */
  readonly text: string;
}

/** A number that is beyond a threshold. */
export interface Breach {
  /** The device. */
  readonly device: string;
  /** The threshold. */
  readonly threshold: string;
  /** One sentence: `nvme_temperature_celsius is 75: beyond nvme_temperature_celsius>70`. */
  readonly text: string;
}

/** Keeps the last look, and what is beyond thresholds: its size depends on the devices alone, not on how long it runs. */
export class HealthMonitor {
  readonly #thresholds: readonly Threshold[];
  #last: ReadonlyMap<string, DeviceSample> = new Map();
  #breaches = new Map<string, Breach>();
  #timeMs: number | null = null;

  /** Nothing was looked at yet. */
  constructor(thresholds: readonly Threshold[]) {
    this.#thresholds = thresholds;
  }

  /** The last look, by device. */
  get samples(): readonly DeviceSample[] {
    return [...this.#last.values()];
  }

  /** When it was; null before the first. */
  get timeMs(): number | null {
    return this.#timeMs;
  }

  /** What is beyond a threshold now. */
  get breaches(): readonly Breach[] {
    return [...this.#breaches.values()];
  }

  /** Takes a look, and says what happened since the one before. */
  take(timeMs: number, samples: readonly DeviceSample[]): HealthEvent[] {
    const events: HealthEvent[] = [];
    const add = (device: string, kind: HealthEvent["kind"], text: string): void =>
      void events.push({ timeMs, device, kind, text });
    const breaches = new Map<string, Breach>();
    for (const sample of samples) {
      const before = this.#last.get(sample.device);
      if (sample.problem !== null && before?.problem !== sample.problem) add(sample.device, "lost", sample.problem);
      if (sample.problem === null && (before?.problem ?? null) !== null) {
        add(sample.device, "found", "it can be read again");
      }
      for (const breach of this.#breachesOf(sample, before)) {
        breaches.set(`${breach.device} ${breach.threshold} ${breach.text.split(" is ")[0]}`, breach);
      }
    }
    for (const [key, breach] of breaches) if (!this.#breaches.has(key)) add(breach.device, "beyond", breach.text);
    const unread = new Set(samples.filter(({ problem }) => problem !== null).map(({ device }) => device));
    for (const [key, breach] of this.#breaches) {
      if (breaches.has(key)) continue;
      // Of a device that cannot be read nobody knows that it is better.
      if (unread.has(breach.device)) breaches.set(key, breach);
      else add(breach.device, "back", `no longer beyond ${breach.threshold}`);
    }
    this.#breaches = breaches;
    this.#last = new Map(samples.map((sample) => [sample.device, sample]));
    this.#timeMs = timeMs;
    return events;
  }

  #breachesOf(sample: DeviceSample, before: DeviceSample | undefined): Breach[] {
    return this.#thresholds.flatMap((threshold) =>
      sample.values.filter(({ row }) => row.name === METRIC_PREFIX + threshold.metric).flatMap((value) => {
        const number = threshold.ofGrowth ? growthOf(value, before) : Number(value.value);
        if (number === null || !holds(number, threshold)) return [];
        const what = threshold.ofGrowth ? "grew by" : "is";
        const name = `${threshold.metric}${tellTale(value)}`;
        const text = `${name} ${what} ${number}: beyond ${threshold.text}`;
        return [{ device: sample.device, threshold: threshold.text, text }];
      })
    );
  }
}

function growthOf(value: MetricValue, before: DeviceSample | undefined): number | null {
  const key = tellTale(value);
  const old = before?.values.find((one) => one.row === value.row && tellTale(one) === key);
  return old === undefined ? null : Number(BigInt(value.value) - BigInt(old.value));
}

/** What tells a value from others of its kind and device. */
function tellTale({ labels }: MetricValue): string {
  const own = Object.entries(labels).filter(([name]) => !["device", "address", "serial"].includes(name));
  return own.length === 0 ? "" : `{${own.map(([name, value]) => `${name}=${value}`).join(",")}}`;
}

function holds(value: number, { relation, limit }: Threshold): boolean {
  switch (relation) {
    case ">":
      return value > limit;
    case "<":
      return value < limit;
    case ">=":
      return value >= limit;
    case "<=":
      return value <= limit;
    case "==":
      return value === limit;
    case "!=":
      return value !== limit;
  }
}

/** Names of rows without the prefix. */
export function metricNames(rows: readonly MetricRow[]): string[] {
  return rows.map(({ name }) => name.slice(METRIC_PREFIX.length));
}
