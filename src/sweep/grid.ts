/**
 * A grid of runs: a tool, fixed options, and parameters whose values are tried in every combination.
 * @module
 */

/** A value of an option: `true` gives the flag alone, `false` and null leave it out, a list is joined by commas. */
export type OptionValue = string | number | boolean | null | readonly (string | number)[];

/** Options by long name, without the dashes. */
export type Options = Readonly<Record<string, OptionValue>>;

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

/** How many runs a grid has. */
export function countOf(grid: Grid): number {
  return grid.parameters.reduce((product, { values }) => product * values.length, 1);
}

/** Every combination of values, in order. */
export function* combinationsOf(grid: Grid): Generator<Combination> {
  const count = countOf(grid);
  for (let index = 0; index < count; index++) {
    let rest = index;
    const chosen: [string, OptionValue][] = [];
    for (const { name, values } of grid.parameters.toReversed()) {
      chosen.unshift([name, values[rest % values.length] as OptionValue]);
      rest = Math.floor(rest / values.length);
    }
    yield { index, parameters: Object.fromEntries(chosen) };
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
