/**
 * A grid of runs: a tool, fixed options, and parameters whose values are tried in every combination.
 * @module
 */

import type { Options, OptionValue } from "./option.ts";
import { type Condition, fulfils } from "./where.ts";

export type { Options, OptionValue };

/** One dimension of the grid. */
export interface Parameter {
  /** Long name of the option, without the dashes. */
  readonly name: string;
  /** What it takes, in the order of the runs. */
  readonly values: readonly OptionValue[];
}

/** What a report is about: paths into the result, as `time.slowdown`, or names of parameters. */
export interface ReportRequest {
  /** Columns behind the parameters. */
  readonly fields: readonly string[];
  /** Less is better. */
  readonly minimise: readonly string[];
  /** More is better. */
  readonly maximise: readonly string[];
}

/** A grid file that was read and checked. */
export interface Grid {
  /** The tool, and its subcommand, as `["cxl_sim", "run"]`. It prints one document with `--json`. */
  readonly tool: readonly string[];
  /** Options that every run gets. */
  readonly options: Options;
  /** What stands behind the options, as `["--", "./ld", "320"]`. */
  readonly arguments: readonly string[];
  /** Options that differ from run to run. */
  readonly parameters: readonly Parameter[];
  /** Parameters that change together, and have as many values each; by name. */
  readonly zip?: readonly (readonly string[])[];
  /** What a point must fulfil, all of it. */
  readonly where?: readonly Condition[];
  /** What the report shows. */
  readonly report: ReportRequest;
}

/** The options of one run. */
export interface Combination {
  /** Place in the grid, from 0: the last parameter changes first. */
  readonly index: number;
  /** The values of the parameters here. */
  readonly parameters: Options;
}

/** Parameters that change together; one alone is a group of its own. */
function groupsOf({ parameters, zip = [] }: Grid): Parameter[][] {
  const groups: Parameter[][] = [];
  for (const parameter of parameters) {
    const together = zip.find((names) => names.includes(parameter.name)) ?? [parameter.name];
    // A group stands where its first parameter does.
    if (parameters.find(({ name }) => together.includes(name)) !== parameter) continue;
    groups.push(parameters.filter(({ name }) => together.includes(name)));
  }
  return groups;
}

/** How many runs the parameters make, without regard to `where`. */
export function countOf(grid: Grid): number {
  return groupsOf(grid).reduce((product, [first]) => product * (first?.values.length ?? 1), 1);
}

/** Every combination of values that is wanted, in order. */
export function* combinationsOf(grid: Grid): Generator<Combination> {
  const count = countOf(grid);
  const groups = groupsOf(grid).reverse();
  let index = 0;
  for (let product = 0; product < count; product++) {
    let rest = product;
    const chosen = new Map<string, OptionValue>();
    for (const group of groups) {
      const length = group[0]?.values.length ?? 1;
      for (const { name, values } of group) chosen.set(name, values[rest % length] as OptionValue);
      rest = Math.floor(rest / length);
    }
    const parameters = Object.fromEntries(grid.parameters.map(({ name }) => [name, chosen.get(name) ?? null]));
    const options = { ...grid.options, ...parameters };
    if ((grid.where ?? []).every((condition) => fulfils(condition, options))) yield { index: index++, parameters };
  }
}

/** Options and arguments as a command line, without the tool's name. */
export function commandLineOf(options: Options, rest: readonly string[]): string[] {
  const words = Object.entries(options).flatMap(([name, value]) => {
    if (value === null || value === false) return [];
    if (value === true) return [`--${name}`];
    // One word, so that a value with a leading dash is a value.
    return [`--${name}=${Array.isArray(value) ? value.join(",") : String(value)}`];
  });
  return [...words, ...rest];
}
