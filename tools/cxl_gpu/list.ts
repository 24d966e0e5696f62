/**
 * `cxl_gpu list`: the Type 2 GPUs of this machine.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { thisMachine } from "../../src/core/host.ts";
import { closedObject, type JsonObject } from "../../src/core/layout_json.ts";
import { printable } from "../../src/core/printable.ts";
import { listType2 } from "../../src/type2/list.ts";
import { print, printJson, printSchema } from "../cli/output.ts";
import { documentSchema } from "../cli/run.ts";
import { columns } from "../cli/table.ts";

/** The schema of its document. */
export function listSchema(): JsonObject {
  const textOrNull = { type: ["string", "null"] };
  return closedObject({
    schema: { const: "cxl_gpu/1" },
    command: { const: "list" },
    devices: {
      type: "array",
      items: closedObject({
        address: { type: "string" },
        kind: { enum: ["cxl-type2", "ivshmem"] },
        name: { ...textOrNull, description: "null: see reason" },
        generation: textOrNull,
        reason: { ...textOrNull, description: "why it could not be asked, or is no Type 2 GPU" },
      }),
    },
  });
}

/** The command line of `cxl_gpu list`. */
export const list: CommandUnknownOpts = new Command("list")
  .description("List the functions of this machine that are Type 2 GPUs, or shared memory that may be one.")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action((options) => {
    if (options.jsonSchema) return printSchema(documentSchema("cxl_gpu", [listSchema()], "list"));
    const devices = listType2(thisMachine);
    if (options.json) {
      return printJson({ schema: "cxl_gpu/1", command: "list", devices: devices.map((one) => ({ ...one })) });
    }
    if (devices.length === 0) return print("no function of this machine is a Type 2 GPU");
    print(
      columns([
        ["address", "function", "generation", "name"],
        ...devices.map(({ address, kind, generation, name, reason }) => [
          address,
          kind,
          generation ?? "-",
          printable(name ?? reason ?? ""),
        ]),
      ]).join("\n"),
    );
  });
