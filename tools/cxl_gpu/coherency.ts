/**
 * `cxl_gpu coherency`: a trace through the coherency engine.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError, systemError } from "../../src/core/error.ts";
import { closedObject, type JsonObject } from "../../src/core/layout_json.ts";
import { hex } from "../../src/core/units.ts";
import { CoherencyEngine, parseTrace } from "../../src/type2/coherency.ts";
import { wholeNumber } from "../cli/arguments.ts";
import { print, printJson, printSchema } from "../cli/output.ts";
import { documentSchema, raiseExitStatus } from "../cli/run.ts";
import { columns } from "../cli/table.ts";

const MOST_BYTES = 64 << 20;

function readTrace(path: string): string {
  try {
    if (Deno.statSync(path).size > MOST_BYTES) {
      throw new BusbarError("out-of-range", `${path}: longer than 64 MiB`, { path });
    }
    return Deno.readTextFileSync(path);
  } catch (cause) {
    throw systemError(cause, "read the trace", path);
  }
}

function coherencySchema(): JsonObject {
  const count = { type: "integer", minimum: 0 };
  const counters = Object.fromEntries(Object.keys(new CoherencyEngine().counters).map((name) => [name, count]));
  return closedObject({
    schema: { const: "cxl_gpu/1" },
    command: { const: "coherency" },
    counters: closedObject(counters),
    lines: {
      type: "array",
      items: closedObject({
        address: { type: "string" },
        state: { enum: ["S", "E", "M"] },
        holders: { type: "array", items: { type: "string" } },
      }),
    },
    broken: { type: ["string", "null"], description: "the first invariant that did not hold; null: all held" },
  });
}

/** The command line of `cxl_gpu coherency`. */
export const coherency: CommandUnknownOpts = new Command("coherency")
  .description("Replay a trace through the coherency engine, and show lines and counters.")
  .argument("<trace>", "lines of domain, request, address, bytes: GPU WR_INV 0x1000 64")
  .option("--filter <lines>", "lines of the snoop filter", wholeNumber, 4096)
  .option("--check", "verify the invariants after each line of the trace")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action((trace, options) => {
    if (options.jsonSchema) return printSchema(documentSchema("cxl_gpu", [coherencySchema()], "coherency"));
    const engine = new CoherencyEngine(options.filter);
    let broken: string | null = null;
    for (const { domain, request, address, sizeBytes } of parseTrace(readTrace(trace))) {
      engine.range(domain, request, address, sizeBytes);
      if (options.check) broken ??= engine.broken();
    }
    const lines = [...engine.lines].map(([line, { state, holders }]) => ({
      address: hex(64n * line),
      state,
      holders: [...holders],
    }));
    if (options.json) {
      printJson({ schema: "cxl_gpu/1", command: "coherency", counters: engine.counters, lines, broken });
    } else {
      print(
        columns([
          ["address", "state", "holders"],
          ...lines.map((line) => [line.address, line.state, line.holders.join(" ")]),
        ]).join("\n"),
      );
      print(columns(Object.entries(engine.counters).map(([name, value]) => [name, String(value)])).join("\n"));
      if (options.check) print(broken === null ? "all invariants held" : `broken: ${broken}`);
    }
    if (broken !== null) raiseExitStatus("no");
  });
