/** The tools that can look at another machine, and their answers without what changes by itself. */

import { assert, assertEquals } from "@std/assert";

import type { Json } from "../../src/core/layout_json.ts";
import { type IsVolatile, volatileOf } from "../../src/remote/fleet/fields.ts";
import { runTool, type ToolResult } from "./tool.ts";

/** Command lines that take `--host`. */
export const HOST_TOOLS: readonly (readonly [tool: string, ...args: string[]])[] = [
  ["doctor"],
  ["pcie_topology"],
  ["numa_stats"],
  ["tiering"],
  ["cxl_region", "list"],
  ["dax_config", "show"],
  ["dax_config", "check", "--resource", "/dev/dax0.0"],
  ["dax_config", "namespace", "list"],
  ["damon_config", "status"],
  ["check_p2p", "0000:01:00.0"],
  ["list"],
];

/** Those in whose answers time enters: counters, free memory, temperatures. */
const TIME_ENTERS: readonly string[] = ["numa_stats", "tiering", "damon_config", "list"];

const schemas = new Map<string, Promise<IsVolatile>>();

/** What a tool's schema marks as changing by itself. */
function volatileFor(tool: string, args: readonly string[]): Promise<IsVolatile> {
  const words = args.filter((word) => /^[a-z]+$/.test(word));
  const key = [tool, ...words].join(" ");
  let known = schemas.get(key);
  if (known === undefined) {
    known = runTool(tool, [...words, "--json-schema"]).then(({ code, stdout, stderr }) => {
      assertEquals(code, 0, stderr);
      return volatileOf(JSON.parse(stdout));
    });
    schemas.set(key, known);
  }
  return known;
}

/** The exit status and the document, byte for byte; where time enters, without what the schema marks as changing by itself. */
export async function answerOf(tool: string, args: readonly string[], result: ToolResult): Promise<unknown> {
  assert(result.stdout !== "", `${tool} ${args.join(" ")}: ${result.stderr}`);
  if (!TIME_ENTERS.includes(tool)) return [result.code, result.stdout];
  const isVolatile = await volatileFor(tool, args);
  const kept = (value: Json, place: readonly string[]): Json => {
    if (isVolatile(place)) return null;
    if (Array.isArray(value)) return value.map((one) => kept(one, [...place, "*"]));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, kept(one, [...place, name])]));
  };
  return [result.code, kept(JSON.parse(result.stdout), [])];
}
