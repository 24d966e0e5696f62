/**
 * The schema of what `restore` prints with `--json`.
 * @module
 */

import { closedObject, type Json, type JsonObject } from "../../../src/core/layout_json.ts";
import { documentSchema } from "../../cli/run.ts";

const TEXT: JsonObject = { type: "string" };
const TEXT_OR_NULL: JsonObject = { type: ["string", "null"] };

function listOf(items: Json): JsonObject {
  return { type: "array", items };
}

/** The schema of every document of `restore --json`. */
export function restoreSchema(): JsonObject {
  const restored = closedObject({
    what: TEXT,
    path: TEXT,
    outcome: { enum: ["restored", "unchanged", "changed", "vanished", "failed", "damaged"] },
    old: TEXT_OR_NULL,
    left: TEXT_OR_NULL,
    found: TEXT_OR_NULL,
    error: TEXT_OR_NULL,
  });
  const journal = closedObject({
    path: TEXT,
    pid: { type: "integer", minimum: 0 },
    command: TEXT,
    createdAt: TEXT,
    state: { enum: ["alive", "locked", "dead", "kept", "earlier boot"] },
    changes: listOf(closedObject({ what: TEXT, path: TEXT, old: TEXT_OR_NULL })),
    damaged: listOf(TEXT),
    restored: { anyOf: [listOf(restored), { type: "null" }] },
    error: TEXT_OR_NULL,
  });
  return documentSchema("restore", [closedObject({
    schema: { const: "restore/1" },
    journals: listOf(journal),
    refused: listOf(closedObject({ path: TEXT, reason: TEXT })),
  })]);
}
