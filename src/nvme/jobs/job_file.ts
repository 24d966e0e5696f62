/**
 * The file of a benchmark: phases one after the other, each on all drives at once. Words are fio's where they mean the same.
 * Every mistake is named with its place. Brings zod, so it is loaded only when there is a file.
 *
 * ```yaml
 * drives: ["0000:01:00.0", "0000:02:00.0"]
 * global: { bs: 4KiB, iodepth: 32 }
 * phases:
 *   - { name: fill, rw: write, bs: 128KiB, pattern: 7 }
 *   - { name: mixed, rw: randrw, rwmixread: 70, random_distribution: "zipf:0.9", duration: 10s }
 *   - { name: calm, rw: randread, rate_iops: 1000, duration: 10s }
 * ```
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { loadZod, type z as Z } from "../../core/packages.ts";
import { parseBytes, parseDurationMs } from "../../core/units.ts";

const { z } = await loadZod();

/** What is done in a phase, on each drive. */
export interface BenchPhase {
  /** What it is called. */
  readonly name: string;
  /** Share of reads, 0 to 1. */
  readonly readShare: number;
  /** At random places; in order otherwise. */
  readonly isRandom: boolean;
  /** Zipf's exponent for random places, or null where all are equally frequent. */
  readonly zipfTheta: number | null;
  /** Of the random places. */
  readonly seed: number;
  /** Bytes of a transfer. */
  readonly transferBytes: number;
  /** Transfers in flight; what is usual where the file does not say. */
  readonly depth: number | undefined;
  /** I/O queue pairs. */
  readonly queues: number;
  /** On how many threads the queues take turns; null for the one that all else runs on. */
  readonly threads: number | null;
  /** Most transfers that begin in a second, or null. */
  readonly ratePerSecond: number | null;
  /** Milliseconds, or null. */
  readonly durationMs: number | null;
  /** Transfers, or null. */
  readonly transfers: number | null;
  /** First byte of the range. */
  readonly offsetBytes: number;
  /** Bytes of the range; to the end of the namespace where it is null. */
  readonly sizeBytes: number | null;
  /** Seed of the pattern that is written, and that what is read is compared with, or null. */
  readonly patternSeed: number | null;
  /** Milliseconds of quiet before it. */
  readonly startDelayMs: number;
}

/** A benchmark. */
export interface BenchJob {
  /** Locators of drives; empty where the file names none. */
  readonly drives: readonly string[];
  /** At least one. */
  readonly phases: readonly BenchPhase[];
}

const RW = ["read", "write", "randread", "randwrite", "rw", "randrw"] as const;
/** Phases of a job, and drives. */
const MOST = 1000;

/** A text or number that `parse` takes, within limits. */
function quantity(parse: (text: string) => bigint | number, least: number, what: string): Z.ZodType<number> {
  return z.union([z.string(), z.number()]).transform((given, context): number => {
    let value = NaN;
    try {
      value = Number(parse(String(given)));
    } catch {
      // Not what it should be: said below.
    }
    if (Number.isSafeInteger(Math.round(value)) && value >= least) return value;
    context.addIssue({ code: "custom", message: `'${given}' is no ${what}` });
    return z.NEVER;
  });
}

const bytes = (least: number): Z.ZodType<number> =>
  quantity(parseBytes, least, "size: write it as in 4096, 64KiB or 1GiB");
const time = (least: number): Z.ZodType<number> =>
  quantity(parseDurationMs, least, "duration: write it as in 500ms, 2s or 5m");
const seed = z.int().min(0).max(0xffff_ffff);

const settings = {
  rw: z.enum(RW),
  bs: bytes(1),
  iodepth: z.int().min(1).max(65_535),
  queues: z.int().min(1).max(64),
  threads: z.union([z.boolean(), z.int().min(1).max(64)]),
  duration: time(1),
  number_ios: z.int().min(1),
  offset: bytes(0),
  size: bytes(1),
  rwmixread: z.number().min(0).max(100),
  rate_iops: z.number().positive(),
  random_distribution: z.string().regex(/^(?:random|zipf:0?\.\d+)$/, "is neither 'random' nor 'zipf:0.9'"),
  randseed: seed,
  pattern: seed,
  startdelay: time(0),
};

const schema = z.strictObject({
  drives: z.array(z.string().min(1)).max(MOST).default([]),
  global: z.strictObject(settings).partial().default({}),
  phases: z.array(z.strictObject({ name: z.string().min(1).max(64), ...settings }).partial().required({ name: true }))
    .min(1).max(MOST),
});

type Settings = ReturnType<typeof schema.parse>["global"];

/**
 * The benchmark of a value that was read from a file.
 *
 * @throws {BusbarError} `malformed`: every mistake, one behind the other
 */
export function benchJobOf(source: unknown, path: string): BenchJob {
  const refuse = (mistakes: readonly string[]): never => {
    throw new BusbarError("malformed", `${path}: ${mistakes.join("; ")}`, { operation: "read the job", path });
  };
  const parsed = schema.safeParse(source);
  if (!parsed.success) {
    return refuse(parsed.error.issues.flatMap((issue) => {
      const place = issue.path.length === 0 ? "job" : issue.path.join(".");
      if (issue.code === "unrecognized_keys") return issue.keys.map((key) => `${place}: there is no '${key}'`);
      return [`${place}: ${issue.message}`];
    }));
  }
  const { drives, global, phases } = parsed.data;
  const mistakes: string[] = [];
  const made = phases.map(({ name, ...own }, index) =>
    phaseOf(name, { ...global, ...own }, `phases.${index}`, mistakes)
  );
  const names = new Set(made.map(({ name }) => name));
  if (names.size < made.length) mistakes.push("phases: two have the same name");
  return mistakes.length > 0 ? refuse(mistakes) : { drives, phases: made };
}

function phaseOf(name: string, given: Settings, place: string, mistakes: string[]): BenchPhase {
  const { rw = "read", random_distribution: distribution = "random" } = given;
  const isRandom = rw.startsWith("rand");
  const isMixed = rw.endsWith("rw");
  const without = (key: keyof Settings, isOf: boolean, what: string): void => {
    if (given[key] !== undefined && !isOf) {
      mistakes.push(`${place}: ${key} has no effect with rw: ${rw}, only with ${what}`);
    }
  };
  without("rwmixread", isMixed, "rw and randrw");
  without("random_distribution", isRandom, "randread, randwrite and randrw");
  without("randseed", isRandom, "randread, randwrite and randrw");
  if (isRandom && given.duration === undefined && given.number_ios === undefined) {
    mistakes.push(`${place}: at random places it has no end: add duration or number_ios`);
  }
  if (typeof given.threads === "number" && given.threads > (given.queues ?? 1)) {
    mistakes.push(`${place}: threads: ${given.threads} for ${given.queues ?? 1} queues`);
  }
  return {
    name,
    readShare: isMixed ? (given.rwmixread ?? 50) / 100 : rw.endsWith("read") ? 1 : 0,
    isRandom,
    zipfTheta: distribution === "random" ? null : Number(distribution.slice("zipf:".length)),
    seed: given.randseed ?? 1,
    transferBytes: given.bs ?? 4096,
    depth: given.iodepth,
    queues: given.queues ?? 1,
    threads: given.threads === true ? given.queues ?? 1 : given.threads || null,
    ratePerSecond: given.rate_iops ?? null,
    durationMs: given.duration ?? null,
    transfers: given.number_ios ?? null,
    offsetBytes: given.offset ?? 0,
    sizeBytes: given.size ?? null,
    patternSeed: given.pattern ?? null,
    startDelayMs: given.startdelay ?? 0,
  };
}
