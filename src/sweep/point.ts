/**
 * Points of a sweep: one run each, with a name that its parameters, its inputs and the version of busbar make.
 * @module
 */

import { createHash } from "node:crypto";

import { systemError } from "../core/error.ts";
import { combinationsOf, commandLineOf, type Grid, type Options, type OptionValue } from "./grid.ts";

/** One run. */
export interface Point {
  /** Name of its result: 24 hexadecimal digits. The same run has the same name in every grid. */
  readonly id: string;
  /** Place in the grid. */
  readonly index: number;
  /** What differs from the other points. */
  readonly parameters: Options;
  /** All options. */
  readonly options: Options;
  /** The command line, without the tool's name and without `--json`. */
  readonly commandLine: readonly string[];
}

/** What besides its options makes a run what it is. */
export interface PointFacts {
  /** Its version: results of another version are not reused. */
  readonly version: string;
  /** Options that name a file which the run reads: its contents belong to the name of the result. */
  readonly inputOptions: readonly string[];
}

/**
 * Every point of a grid, in order.
 *
 * @throws {BusbarError} as reading an input fails
 */
export async function pointsOf(grid: Grid, facts: PointFacts): Promise<Point[]> {
  const digests = new Map<string, string>();
  const digestOf = async (path: string): Promise<string> => {
    const known = digests.get(path) ?? await digestOfInput(path);
    digests.set(path, known);
    return known;
  };
  const points: Point[] = [];
  for (const { index, parameters } of combinationsOf(grid)) {
    const options = { ...grid.options, ...parameters };
    const inputs: [string, string][] = [];
    for (const name of facts.inputOptions) {
      const path = options[name];
      if (typeof path === "string" && path !== "-") inputs.push([name, await digestOf(path)]);
    }
    const id = nameOf({ ...facts, tool: grid.tool, options, arguments: grid.arguments, inputs });
    points.push({ id, index, parameters, options, commandLine: commandLineOf(options, grid.arguments) });
  }
  return points;
}

interface NameParts {
  readonly version: string;
  readonly tool: readonly string[];
  readonly options: Options;
  readonly arguments: readonly string[];
  readonly inputs: readonly (readonly [string, string])[];
}

/** SHA-256 of what makes a run, in a form that does not depend on the order of options. */
function nameOf({ version, tool, options, inputs, ...rest }: NameParts): string {
  const sorted = Object.entries(options).filter(([, value]) => value !== null && value !== false)
    .map(([name, value]): [string, OptionValue] => [name, value])
    .sort(([a], [b]) => a < b ? -1 : 1);
  const text = JSON.stringify([version, tool, sorted, rest.arguments, inputs]);
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}

/** SHA-256 of a file; of a folder, of the names and contents of the files in it. */
async function digestOfInput(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    const files = (await Deno.stat(path)).isDirectory
      ? (await Array.fromAsync(Deno.readDir(path))).filter(({ isFile }) => isFile).map(({ name }) => `${path}/${name}`)
        .sort()
      : [path];
    for (const file of files) {
      if (files.length > 1) hash.update(`${file.slice(path.length)}\0`);
      using opened = await Deno.open(file);
      for await (const bytes of opened.readable) hash.update(bytes);
    }
  } catch (cause) {
    throw systemError(cause, "read an input of the sweep", path);
  }
  return hash.digest("hex");
}
