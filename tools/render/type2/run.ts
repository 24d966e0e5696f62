/**
 * The documents of `cxl_gpu run` and `cxl_gpu copy`.
 * @module
 */

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";

/** What `run --json` prints. */
export function runSchema(): JsonObject {
  return closedObject({
    schema: { const: "cxl_gpu/1" },
    command: { const: "run" },
    kernel: { type: "string" },
    tookMs: { type: "number", minimum: 0, description: "launch to end as the client saw it" },
    printed: { type: "string", description: "text of the kernel's printf" },
    outputs: {
      type: "array",
      items: closedObject({ type: { type: "string" }, values: { type: "string" } }),
    },
  });
}

/** What `copy --json` prints. */
export function copySchema(): JsonObject {
  const size = { type: "integer", minimum: 0 };
  return closedObject({
    schema: { const: "cxl_gpu/1" },
    command: { const: "copy" },
    sizeBytes: size,
    writeMs: { type: "number", minimum: 0 },
    readMs: { type: "number", minimum: 0 },
    equal: { type: "boolean" },
  });
}
