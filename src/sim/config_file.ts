/**
 * Settings from a JSON or YAML file: every mistake with its place. Brings zod, so it is loaded only when there is a file.
 * @module
 */

import { loadZod } from "../core/packages.ts";
import { BANDWIDTH_MODELS, COHERENCE_MODES, MIGRATIONS, type PartialConfig, PLACEMENTS } from "./config.ts";

const { z } = await loadZod();

const above = z.number().positive();
const notBelow = z.number().min(0);
const whole = z.int().min(0);
const credits = z.int().positive().nullable();
const pair = z.union([above.transform((one): [number, number] => [one, one]), z.tuple([above, above])]);
const capacity = z.number().min(0);

const window = z.union([
  z.int().min(1).max(65536),
  z.strictObject({
    mshr: z.int().min(1).max(65536),
    rob: whole.optional(),
    missesPerInstruction: z.number().min(0).max(1).optional(),
  })
    .transform(({ mshr, rob, missesPerInstruction }) =>
      rob === undefined || missesPerInstruction === undefined
        ? mshr
        : Math.min(mshr, Math.floor(rob * missesPerInstruction) + 1)
    ),
]);

const damonScheme = z.strictObject({
  action: z.enum(["promote", "demote"]),
  targetNode: whole,
  minRatePercent: z.number().min(0).max(100),
  maxRatePercent: z.number().min(0).max(100),
  minAgeNs: notBelow,
  quotaBytes: z.number().positive().default(Infinity),
  quotaIntervalNs: above.default(1e9),
});

const schema = z.strictObject({
  topology: z.string(),
  endpoints: z.int().min(1).max(1024),
  preset: z.string(),
  epochMs: above,
  dramLatencyNs: pair,
  localBandwidthGBs: pair.nullable(),
  latencyNs: z.array(pair),
  bandwidthGBs: z.array(pair),
  capacityBytes: z.array(capacity),
  serviceNs: notBelow.nullable(),
  credits,
  switch: z.strictObject({ latencyNs: notBelow, bandwidthGBs: pair, serviceNs: notBelow.nullable(), credits })
    .partial(),
  fabric: z.strictObject({ latencyNs: notBelow, bandwidthGBs: above, credits }).partial(),
  headerBytes: whole,
  lineBytes: whole,
  pageBytes: whole,
  replay: z.enum(["closed", "open"]),
  bandwidthModel: z.enum(BANDWIDTH_MODELS),
  window,
  writesStall: z.boolean(),
  gaps: z.enum(["compute", "measured"]),
  mlp: z.union([z.number().min(1), z.literal("trace")]),
  bottleneck: z.enum(["max", "sum"]),
  halfDuplex: z.boolean(),
  mlc: z.strictObject({
    peaksGBs: z.strictObject({ read: above, write: above, mixed: above.nullable().default(null) }).nullable(),
    knee: z.number(),
    saturation: z.number(),
    alpha: notBelow,
    minWindowNs: z.number(),
  }).partial(),
  curve: z.array(z.strictObject({ readShare: z.number().min(0).max(1), GBs: notBelow, ns: above })).nullable(),
  curveIncludesHost: z.boolean(),
  cache: z.strictObject({
    sizeBytes: z.int().positive(),
    ways: z.int().positive(),
    replacement: z.enum(["lru", "fifo", "random"]).default("lru"),
    l1: z.strictObject({ sizeBytes: z.int().positive(), ways: z.int().positive() }).nullable().default(null),
    flushAtEnd: z.boolean().default(false),
  }).nullable(),
  prefetch: z.boolean(),
  tlb: z.strictObject({ tables: z.enum(["local", "remote"]) }).nullable(),
  placement: z.enum(PLACEMENTS),
  weights: z.array(z.int().min(0).max(255)),
  node: whole,
  localFillShare: z.number().min(0).max(1),
  byAllocation: z.boolean(),
  fixed: z.array(z.strictObject({ baseAddress: z.int().min(0), sizeBytes: z.int().positive(), node: whole })),
  windows: z.array(z.strictObject({
    baseAddress: z.int().min(0),
    sizeBytes: z.int().positive(),
    granularityBytes: z.int().positive(),
    targets: z.array(z.int().positive()),
    arithmetic: z.enum(["modulo", "xor"]).optional(),
  })),
  migration: z.strictObject({
    policies: z.array(z.enum(MIGRATIONS)),
    timeScale: above,
    heatCount: whole,
    hotCount: whole,
    coldCount: whole,
    halveNs: above,
    balanceShare: z.number().min(0).max(1),
    balancePages: whole,
    lifetimeNs: notBelow,
    windowNs: notBelow,
    lowFreeShare: z.number().min(0).max(1),
    highFreeShare: z.number().min(0).max(1),
    kernelNsPerPage: notBelow,
    damon: z.array(damonScheme),
  }).partial(),
  coherence: z.strictObject({
    mode: z.enum(COHERENCE_MODES),
    L: notBelow,
    oS: notBelow,
    oR: notBelow,
    g: notBelow,
    grantExclusive: z.boolean(),
    filterLines: z.int().positive().nullable(),
  }).partial(),
  hosts: z.int().min(1).max(32).nullable(),
  seed: z.int().min(0).max(2 ** 32 - 1),
}).partial();

/** Settings of a file, and the preset that it names. */
export interface FileConfig {
  readonly preset: string | null;
  readonly config: Partial<PartialConfig>;
}

/** What {@linkcode checkConfig} found: the settings, or the mistakes, one line each. */
export type CheckedConfig = { readonly file: FileConfig } | { readonly mistakes: readonly string[] };

/** Checks a value that was read from a file. */
export function checkConfig(value: unknown): CheckedConfig {
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    return {
      mistakes: parsed.error.issues.flatMap((issue) => {
        const place = issue.path.length === 0 ? "settings" : issue.path.join(".");
        if (issue.code === "unrecognized_keys") return issue.keys.map((key) => `${place}: there is no '${key}'`);
        return [`${place}: ${issue.message}`];
      }),
    };
  }
  const { preset, epochMs, ...rest } = parsed.data;
  const config = { ...rest, ...epochMs === undefined ? {} : { epochNs: epochMs * 1e6 } };
  return { file: { preset: preset ?? null, config: config as Partial<PartialConfig> } };
}

/** The JSON Schema of such a file. */
export function configFileSchema(): Record<string, unknown> {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Record<string, unknown>;
}
