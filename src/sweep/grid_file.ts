/**
 * The file of a grid: every mistake with its place. Brings zod, so it is loaded only when there is a file.
 *
 * ```yaml
 * tool: cxl_sim run
 * options: { synthetic: "gups?count=100000", topology: "(1,(2,3))" }
 * arguments: []
 * parameters:
 *   model: [queue, epoch]
 *   window: { from: 1, to: 64, factor: 2 }
 * zip: [[local-ns, remote-ns]]   # these change together
 * where: ["window <= 32", "model != epoch or window > 4"]
 * report:
 *   fields: [time.slowdown, latency.p99Ns]
 *   minimise: [time.slowdown]
 * ```
 * @module
 */

import { loadZod, type z as Z } from "../core/packages.ts";

import { BusbarError } from "../core/error.ts";
import { combinationsOf, countOf, type Grid, type OptionValue, type Parameter } from "./grid.ts";
import { readCondition } from "./where.ts";

const { z } = await loadZod();

/** Runs of one grid. */
export const POINT_LIMIT = 1_000_000;
/** Values of one range. */
const RANGE_LIMIT = 100_000;

const finite = z.number();
const scalar = z.union([z.string(), finite, z.boolean()]);
const list = z.array(z.union([z.string(), finite]));
const value = z.union([scalar, z.null(), list]);
const optionName = z.string().regex(/^[a-z][a-z0-9_-]*$/i, "is no long name of an option: write it without dashes");

const range = z.strictObject({ from: finite, to: finite, step: finite, factor: finite, steps: z.int() })
  .partial()
  .required({ from: true, to: true });

const schema = z.strictObject({
  tool: z.string().regex(/^[a-z][\w-]*( [a-z][\w-]*)*$/, "is no tool: write its name, and its subcommand behind it"),
  options: z.record(optionName, value).default({}),
  arguments: z.array(z.union([z.string(), finite])).default([]),
  parameters: z.record(optionName, z.union([z.array(value).min(1), range])),
  zip: z.array(z.array(optionName).min(2)).default([]),
  where: z.array(z.string()).default([]),
  report: z.strictObject({
    fields: z.array(z.string()).default([]),
    minimise: z.array(z.string()).default([]),
    maximise: z.array(z.string()).default([]),
  }).default({ fields: [], minimise: [], maximise: [] }),
});

/** What {@linkcode checkGrid} found: the grid, or the mistakes, one line each. */
export type CheckedGrid = { readonly grid: Grid } | { readonly mistakes: readonly string[] };

/** Checks a value that was read from a file. */
export function checkGrid(source: unknown): CheckedGrid {
  const parsed = schema.safeParse(source);
  if (!parsed.success) {
    return {
      mistakes: parsed.error.issues.flatMap((issue) => {
        const place = issue.path.length === 0 ? "grid" : issue.path.join(".");
        if (issue.code === "unrecognized_keys") return issue.keys.map((key) => `${place}: there is no '${key}'`);
        if (issue.code === "invalid_key") return issue.issues.map(({ message }) => `${place}: ${message}`);
        if (issue.code === "invalid_union") return [`${place}: is neither a list of values nor {from, to, step}`];
        return [`${place}: ${issue.message}`];
      }),
    };
  }
  const { tool, options, parameters, report } = parsed.data;
  const mistakes: string[] = [];
  const dimensions = Object.entries(parameters).map(([name, given]) => {
    if (Object.hasOwn(options, name)) mistakes.push(`parameters.${name}: is an option too`);
    const values = Array.isArray(given) ? given : valuesOfRange(given, `parameters.${name}`, mistakes);
    const seen = new Set(values.map((one) => JSON.stringify(one)));
    if (seen.size < values.length) mistakes.push(`parameters.${name}: holds the same value twice`);
    return { name, values: values as OptionValue[] };
  });
  const { zip } = parsed.data;
  checkZip(zip, dimensions, mistakes);
  const names = new Set([...Object.keys(options), ...Object.keys(parameters)]);
  const where = parsed.data.where.flatMap((text) => {
    const condition = readCondition(text, names);
    if (typeof condition !== "string") return [condition];
    mistakes.push(`where: ${condition}`);
    return [];
  });
  const grid = {
    tool: tool.split(" "),
    options: options as Grid["options"],
    arguments: parsed.data.arguments.map(String),
    parameters: dimensions,
    zip,
    where,
    report,
  };
  const count = countOf(grid);
  if (count > POINT_LIMIT) mistakes.push(`parameters: ${count} runs, where ${POINT_LIMIT} are the most`);
  if (mistakes.length === 0 && combinationsOf(grid).next().done) mistakes.push("where: no point fulfils it");
  return mistakes.length > 0 ? { mistakes } : { grid };
}

function checkZip(zip: readonly (readonly string[])[], parameters: readonly Parameter[], mistakes: string[]): void {
  const seen = new Set<string>();
  for (const names of zip) {
    const lengths = new Set<number>();
    for (const name of names) {
      const parameter = parameters.find((one) => one.name === name);
      if (parameter === undefined) mistakes.push(`zip: there is no parameter '${name}'`);
      else lengths.add(parameter.values.length);
      if (seen.has(name)) mistakes.push(`zip: '${name}' stands there twice`);
      seen.add(name);
    }
    if (lengths.size > 1) mistakes.push(`zip: ${names.join(", ")} have different numbers of values`);
  }
}

/**
 * The grid of a value that was read from a file.
 *
 * @throws {BusbarError} `malformed`: every mistake, one behind the other
 */
export function gridOf(source: unknown, path: string): Grid {
  const checked = checkGrid(source);
  if ("grid" in checked) return checked.grid;
  throw new BusbarError("malformed", `${path}: ${checked.mistakes.join("; ")}`, { operation: "read the grid", path });
}

function valuesOfRange(given: Z.infer<typeof range>, place: string, mistakes: string[]): number[] {
  const { from, to, step, factor, steps } = given;
  const ways = [step, factor, steps].filter((one) => one !== undefined).length;
  const wrong = (message: string): number[] => {
    mistakes.push(`${place}: ${message}`);
    return [];
  };
  if (ways !== 1) return wrong("a range has one of step, factor and steps");
  if (to < from) return wrong(`from ${from} to ${to} goes down`);
  if (step !== undefined && step <= 0) return wrong(`step ${step} is not above 0`);
  if (factor !== undefined && (factor <= 1 || from <= 0)) return wrong("a factor is above 1, and from above 0");
  if (steps !== undefined && steps < 2) return wrong(`steps ${steps}: two or more, both ends included`);
  // A hair above the end is the end: 0.1 · 3 is more than 0.3.
  const hair = 1 + 1e-12;
  const count = steps ??
    (step !== undefined
      ? Math.floor((to - from) / step * hair) + 1
      : Math.floor(Math.log(to / from) / Math.log(factor ?? 2) * hair) + 1);
  if (count > RANGE_LIMIT) return wrong(`${count} values, where ${RANGE_LIMIT} are the most`);
  const at = (i: number): number => {
    if (step !== undefined) return from + i * step;
    return factor !== undefined ? from * factor ** i : from + i * (to - from) / (count - 1);
  };
  // 12 digits: 0.30000000000000004 is 0.3.
  return Array.from({ length: count }, (_, i) => Number(at(i).toPrecision(12)));
}

/** The JSON Schema of such a file. */
export function gridFileSchema(): Record<string, unknown> {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Record<string, unknown>;
}
