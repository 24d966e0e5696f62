/**
 * The schemas of what `lab` prints with `--json`.
 * @module
 */

import { closedObject, type Json, type JsonObject } from "../../../src/core/layout_json.ts";
import { documentSchema } from "../../cli/run.ts";

const TEXT: JsonObject = { type: "string" };
const TEXT_OR_NULL: JsonObject = { type: ["string", "null"] };
const FLAG: JsonObject = { type: "boolean" };

function listOf(items: Json): JsonObject {
  return { type: "array", items };
}

function orNull(schema: JsonObject): JsonObject {
  return { anyOf: [schema, { type: "null" }] };
}

const DOCUMENTS: Readonly<Record<"setup" | "clean" | "qemu" | "list", () => JsonObject>> = {
  setup: () => ({
    made: FLAG,
    image: orNull(closedObject({
      qemu: TEXT,
      kernel: TEXT,
      modules: TEXT,
      busybox: TEXT,
      root: TEXT_OR_NULL,
      record: orNull(closedObject({ key: TEXT, kernelRelease: TEXT, packages: listOf(TEXT) })),
    })),
  }),
  clean: () => ({
    dryRun: FLAG,
    guests: listOf(TEXT),
    removed: listOf(closedObject({ path: TEXT, sizeBytes: { type: "integer", minimum: 0 } })),
    freedBytes: { type: "integer", minimum: 0 },
  }),
  qemu: () => ({
    machine: TEXT,
    folder: TEXT,
    argv: listOf(TEXT),
    files: listOf(closedObject({ path: TEXT, sizeBytes: { type: "string", pattern: "^[0-9]+$" } })),
  }),
  list: () => ({
    machines: listOf(closedObject({ name: TEXT, path: TEXT, purpose: TEXT })),
    guests: listOf(closedObject({
      id: TEXT,
      machine: TEXT,
      pid: { type: "integer", minimum: 1 },
      startTime: TEXT,
      folder: TEXT,
      sockets: TEXT,
      share: TEXT,
      takesCommands: FLAG,
      kept: FLAG,
      env: { type: "object", additionalProperties: TEXT },
      startedAt: TEXT,
    })),
  }),
};

/** The schema of a subcommand's document. */
export function labSchema(subcommand: keyof typeof DOCUMENTS): JsonObject {
  const schema = { const: `lab_${subcommand}/1` };
  return documentSchema("lab", [closedObject({ schema, ...DOCUMENTS[subcommand]() })], subcommand);
}
