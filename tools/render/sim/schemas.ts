/**
 * The schemas of what the subcommands of `cxl_sim` print with `--json`, but for `run` and `sweep`.
 * @module
 */

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { documentSchema } from "../../cli/run.ts";

const number: JsonObject = { type: "number" };
const count: JsonObject = { type: "integer", minimum: 0 };
const text: JsonObject = { type: "string" };
const yes: JsonObject = { const: true };
const quantity: JsonObject = { type: "string", pattern: "^[0-9]+$" };
const address: JsonObject = { type: "string", pattern: "^0x[0-9a-f]+$" };
const optional = (schema: JsonObject): JsonObject => ({ anyOf: [schema, { type: "null" }] });
const list = (items: JsonObject): JsonObject => ({ type: "array", items });
const pair: JsonObject = { type: "array", items: number, minItems: 2, maxItems: 2 };

/** A document of a subcommand. */
function document(name: string, properties: Record<string, JsonObject>): JsonObject {
  return closedObject({ schema: { const: `cxl_sim_${name}/1` }, ...properties });
}

const COUNTERS = { requests: count, reads: count, writes: count, atomics: count, errors: count };

/** What `client` prints, by action. */
function clientDocuments(): JsonObject[] {
  const of = (action: string, properties: Record<string, JsonObject>): JsonObject =>
    document("client", { action: { const: action }, ...properties });
  return [
    of("read", { address, data: { type: "string", pattern: "^([0-9a-f]{2})+$" }, latencyNs: list(number) }),
    of("write", { address, bytes: count, latencyNs: list(number) }),
    of("stats", { clients: count, ...COUNTERS, latencyNs: number, sizeBytes: count, heldBytes: count }),
    of("dcd", { base: address, sizeBytes: quantity }),
    of("dcd", { released: yes }),
    of("dcd", {
      totalBytes: quantity,
      allocatedBytes: quantity,
      freeBytes: quantity,
      extents: count,
      failedRequests: count,
    }),
    of("gfam", { done: yes }),
    of("gfam", {
      hosts: count,
      grants: count,
      sharedGrants: count,
      reads: count,
      writes: count,
      atomics: count,
      denied: count,
    }),
    of("mhsld", { head: count, heads: count }),
    of("mhsld", { head: count, heads: count, reads: count, writes: count, latencyNs: number, conflicts: count }),
  ];
}

/** Documents by subcommand. */
const DOCUMENTS: Readonly<Record<string, () => JsonObject[]>> = {
  record: () => [document("record", {
    path: text,
    records: quantity,
    threads: count,
    sizeBytes: count,
    exitStatus: optional(count),
    signal: optional(text),
    notes: list(text),
  })],
  convert: () => [document("convert", {
    input: text,
    output: text,
    from: text,
    to: text,
    entries: count,
    loses: optional(text),
  })],
  serve: () => [document("serve", { where: text, ...COUNTERS })],
  client: clientDocuments,
  topology: () => [document("topology", {
    topology: text,
    endpoints: list(closedObject({
      endpoint: count,
      name: text,
      hops: count,
      extraNs: number,
      readNs: number,
      writeNs: number,
      readGBs: number,
      writeGBs: number,
    })),
    notes: list(text),
  })],
  presets: () => [document("presets", {
    presets: list({
      type: "object",
      required: ["name", "title", "source", "includes"],
      properties: { name: text, title: text, source: text, includes: text, latencyNs: optional(pair) },
    }),
  })],
  check: () => [document("check", { file: text, mistakes: list(text) })],
};

/** The schema of a subcommand's document. */
export function simSchema(subcommand: string): JsonObject {
  return documentSchema("cxl_sim", DOCUMENTS[subcommand]?.() ?? [], subcommand);
}

/** What `run --counters` prints. */
export function countersDocument(): JsonObject {
  return document("counters", {
    source: text,
    config: { type: "object" },
    configHash: { type: "string", pattern: "^[0-9a-f]{64}$" },
    missWeight: number,
    frequencyMHz: number,
    epochs: list(closedObject({ stallNs: number, readMisses: number, writebackMisses: number, delayNs: number })),
    time: closedObject({ nativeNs: number, delayNs: number, simulatedNs: number, slowdown: optional(number) }),
  });
}
