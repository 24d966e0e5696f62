/**
 * `cxl_gpu bench`: how long commands and copies take.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { closedObject, type JsonObject } from "../../src/core/layout_json.ts";
import { formatBytes } from "../../src/core/units.ts";
import { measureType2 } from "../../src/type2/measure.ts";
import { openType2 } from "../../src/type2/open.ts";
import { sizeBytes } from "../cli/arguments.ts";
import { print, printJson, printSchema } from "../cli/output.ts";
import { Progress } from "../cli/progress.ts";
import { documentSchema, interruption } from "../cli/run.ts";
import { columns } from "../cli/table.ts";

const LEAST_BYTES = 4096;

/** The schema of its document. */
export function benchSchema(): JsonObject {
  const figure = { type: "number", minimum: 0 };
  return closedObject({
    schema: { const: "cxl_gpu/1" },
    command: { const: "bench" },
    commandUs: closedObject({ medianUs: figure, p90Us: figure, count: { type: "integer" } }),
    copies: {
      type: "array",
      items: closedObject({ sizeBytes: { type: "integer" }, writeBytesPerS: figure, readBytesPerS: figure }),
    },
  });
}

/** The command line of `cxl_gpu bench`. */
export const bench: CommandUnknownOpts = new Command("bench")
  .description("Measure how long a command takes there and back, and how fast copies are.")
  .argument("<device>", "soft:type2, type2:PATH, or a PCI address")
  .addOption(
    new Option("--largest <size>", "the largest copy; from 4 KiB each is 16 times the last").argParser(sizeBytes)
      .default(64n << 20n, "64MiB"),
  )
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (device, options) => {
    if (options.jsonSchema) return printSchema(documentSchema("cxl_gpu", [benchSchema()], "bench"));
    const sizes: number[] = [];
    for (let size = LEAST_BYTES; size < Number(options.largest); size *= 16) sizes.push(size);
    sizes.push(Number(options.largest));
    await using gpu = openType2(device, { signal: interruption });
    using progress = new Progress("copying", sizes.length);
    const { command, copies } = await measureType2(gpu, sizes, (done) => progress.update(done));
    if (options.json) {
      const rows = copies.map((one) => ({ ...one }));
      return printJson({ schema: "cxl_gpu/1", command: "bench", commandUs: { ...command }, copies: rows });
    }
    print(`a command: median ${command.medianUs.toFixed(1)} us, 90 % within ${command.p90Us.toFixed(1)} us`);
    const rate = (bytes: number): string => `${formatBytes(Math.round(bytes))}/s`;
    print(
      columns([
        ["size", "to the device", "back"],
        ...copies.map((one) => [formatBytes(one.sizeBytes), rate(one.writeBytesPerS), rate(one.readBytesPerS)]),
      ]).join("\n"),
    );
  });
