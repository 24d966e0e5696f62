/**
 * `cxl_gpu decode`: the registers in a file.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError, systemError } from "../../src/core/error.ts";
import { decodeBytes } from "../../src/core/layout.ts";
import { closedObject, type JsonObject, rowsSchema, rowsToJson } from "../../src/core/layout_json.ts";
import { textLines } from "../../src/core/layout_text.ts";
import { commandOf, resultName } from "../../src/type2/commands.ts";
import { DATA_OFFSET, registerOffset, TYPE2_REGISTERS } from "../../src/type2/registers.ts";
import { print, printJson, printSchema } from "../cli/output.ts";
import { documentSchema } from "../cli/run.ts";
import { columns } from "../cli/table.ts";

function readWindow(path: string): Uint8Array<ArrayBuffer> {
  try {
    using file = Deno.openSync(path);
    const bytes = new Uint8Array(DATA_OFFSET);
    let size = 0;
    for (let got: number | null; size < bytes.length && (got = file.readSync(bytes.subarray(size))) !== null;) {
      size += got;
    }
    if (size < registerOffset("CMD")) {
      throw new BusbarError("malformed", `${path}: ${size} bytes hold no registers`, { path });
    }
    return bytes.slice(0, size);
  } catch (cause) {
    if (cause instanceof BusbarError) throw cause;
    throw systemError(cause, "read registers", path);
  }
}

function decodeSchema(): JsonObject {
  return closedObject({
    schema: { const: "cxl_gpu/1" },
    command: { const: "decode" },
    registers: rowsSchema(TYPE2_REGISTERS.rows),
  });
}

/** The command line of `cxl_gpu decode`. */
export const decode: CommandUnknownOpts = new Command("decode")
  .description("Explain the registers in a file: a shared file, or a dump of BAR2.")
  .argument("<file>", "a shared file, or a dump of BAR2 from its start")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action((file, options) => {
    if (options.jsonSchema) return printSchema(documentSchema("cxl_gpu", [decodeSchema()], "decode"));
    const bytes = readWindow(file);
    const rows = decodeBytes(TYPE2_REGISTERS.rows, bytes);
    if (options.json) {
      printJson({ schema: "cxl_gpu/1", command: "decode", registers: rowsToJson(rows) });
      return;
    }
    const lines = textLines(rows).map(({ kind, place, name, value, text, remark }) =>
      kind === "row" ? [place, name, value, remark ?? text] : ["", `  ${name}`, value, `[${place}] ${text}`]
    );
    print(columns([["offset", "register", "value", "meaning"], ...lines]).join("\n"));
    const view = new DataView(bytes.buffer);
    if (bytes.length > registerOffset("CMD_RESULT") + 4) {
      const code = view.getUint32(registerOffset("CMD"), true);
      const result = view.getUint32(registerOffset("CMD_RESULT"), true);
      const command = commandOf(code);
      print(
        `last command ${command === null ? "unknown" : `${command.name}: ${command.title}`}; result ${
          resultName(result)
        }`,
      );
    }
  });
