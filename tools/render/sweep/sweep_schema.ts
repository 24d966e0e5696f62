/**
 * The schema of what `cxl_sim sweep --json` prints.
 * @module
 */

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { documentSchema } from "../../cli/run.ts";

/** The schema of the report of a sweep. */
export function sweepSchema(): JsonObject {
  const text = { type: "string" };
  const texts = { type: "array", items: text };
  const count = { type: "integer", minimum: 0 };
  const field = { type: ["number", "string", "boolean", "null"] };
  const record = { type: "object", additionalProperties: field };
  const failure = closedObject({ code: text, message: text, hint: { type: ["string", "null"] } });
  return documentSchema("cxl_sim", [closedObject({
    schema: { const: "cxl_sim_sweep/1" },
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
