/**
 * The grid of a sweep, checked against the tool that it names before anything starts.
 * @module
 */

import denoJson from "../../deno.json" with { type: "json" };
import { parseJson, parseYaml } from "../../src/core/documents.ts";
import { BusbarError } from "../../src/core/error.ts";
import { readInputText } from "../../src/core/input.ts";
import { type Grid, LineWorker, type Point, pointsOf, type PointWorker, ProcessWorker } from "../../src/sweep/mod.ts";
import { selfCommand, toolCommand } from "../cli/self.ts";

/** Bytes of a grid's file. */
const SIZE_LIMIT = 16 * 2 ** 20;

/** A grid and its points. */
export interface Sweep {
  readonly grid: Grid;
  readonly points: readonly Point[];
}

/** Reads and checks a grid. @throws {BusbarError} every mistake in it; `usage` for options that its tool does not have */
export async function readSweep(path: string): Promise<Sweep> {
  const text = readInputText(path, { limitBytes: SIZE_LIMIT, what: "the grid" });
  const value = path.endsWith(".json") ? parseJson(text, path) : await parseYaml(text, path);
  const { gridOf } = await import("../../src/sweep/grid_file.ts");
  const grid = gridOf(value, path);
  const flags = await flagsOf(grid, path);
  const names = [...Object.keys(grid.options), ...grid.parameters.map(({ name }) => name)];
  const unknown = names.filter((name) => !flags.has(name));
  if (unknown.length > 0 || !flags.has("json")) {
    const what = unknown.length > 0 ? `no option ${unknown.map((name) => `--${name}`).join(", ")}` : "no --json";
    throw new BusbarError("usage", `${path}: ${grid.tool.join(" ")} has ${what}`, {
      operation: "check the grid",
      path,
      hint: `${grid.tool.join(" ")} --help lists its options`,
    });
  }
  const inputOptions = names.filter((name) => flags.get(name) === "<file>" && isInput(grid, name));
  return { grid, points: await pointsOf(grid, { version: denoJson.version, inputOptions }) };
}

/** Whether all values of an option are files that are there: then they are read, and belong to the name of a result. */
function isInput({ options, parameters }: Grid, name: string): boolean {
  const values = parameters.find((one) => one.name === name)?.values ?? [options[name] ?? null];
  return values.every((value) => {
    try {
      return typeof value === "string" && Deno.statSync(value).isFile;
    } catch {
      return false;
    }
  });
}

/** The long options of a tool and what each takes, as its help says. */
async function flagsOf({ tool }: Grid, path: string): Promise<Map<string, string>> {
  const [name = "", ...subcommand] = tool;
  const [program = "", ...args] = [...toolCommand(name, "sweep"), ...subcommand, "--help"];
  const output = await new Deno.Command(program, { args, stdin: "null" }).output();
  const text = new TextDecoder().decode(output.stdout);
  const flags = new Map([...text.matchAll(/^\s+(?:-\w, )?--([a-z][\w-]*)(?: ([<[][^>\]]*[>\]]))?/gm)].map((
    [, flag = "", takes = ""],
  ) => [flag, takes]));
  if (output.success && flags.size > 0) return flags;
  throw new BusbarError("usage", `${path}: there is no tool '${tool.join(" ")}'`, {
    operation: "check the grid",
    path,
    hint: "busbar --help lists the tools",
  });
}

/** A worker for the points of a tool. */
export function workerOf(tool: readonly string[], limitMs: number): PointWorker {
  const [name = "", ...subcommand] = tool;
  // The simulator's process takes one point after the other: most of a short run is the start of a process.
  if (name === "cxl_sim") return new LineWorker([...toolCommand(name, "sweep"), "sweep", "--worker"], limitMs);
  return new ProcessWorker([...toolCommand(name, "sweep"), ...subcommand], limitMs);
}

/** The command that runs a chunk, without the chunk. */
export function chunkCommand(tool: readonly string[], limitMs: number): string[] {
  return [...selfCommand("sweep"), "chunk", "--timeout", `${limitMs}ms`, "--tool", tool.join(" ")];
}

/** Where the results of a grid lie when nothing else is said. */
export function folderOf(path: string): string {
  return `${path.replace(/\.(ya?ml|json)$/, "")}.results`;
}
