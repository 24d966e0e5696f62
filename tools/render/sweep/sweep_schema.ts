/**
 * The schemas of what `sweep` and `cxl_sim sweep` print with `--json`.
 * @module
 */

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { documentSchema } from "../../cli/run.ts";

/** The schema of the report of a sweep. */
export function sweepSchema(tool: string = "cxl_sim", schema: string = "cxl_sim_sweep/1"): JsonObject {
  const text = { type: "string" };
  const texts = { type: "array", items: text };
  const count = { type: "integer", minimum: 0 };
  const field = { type: ["number", "string", "boolean", "null"] };
  const record = { type: "object", additionalProperties: field };
  const failure = closedObject({ code: text, message: text, hint: { type: ["string", "null"] } });
  return documentSchema(tool, [closedObject({
    schema: { const: schema },
    incomplete: { type: "boolean" },
    tool: text,
    parameters: texts,
    fields: texts,
    minimise: texts,
    maximise: texts,
    done: count,
    failed: count,
    missing: count,
    rows: {
      type: "array",
      items: closedObject({
        id: text,
        parameters: record,
        state: { enum: ["missing", "done", "failed"] },
        fields: record,
        failure: { anyOf: [failure, { type: "null" }] },
        pareto: { type: ["boolean", "null"] },
      }),
    },
  })], "sweep");
}

/** The schema of what `sweep status --json` prints. */
export function statusSchema(): JsonObject {
  const count = { type: "integer", minimum: 0 };
  return documentSchema("sweep", [closedObject({
    schema: { const: "sweep_status/1" },
    tool: { type: "string" },
    points: count,
    done: count,
    failed: count,
    missing: count,
  })]);
}
