/** Schemas in which nothing stands twice: shorter, and taking the same documents. */

import { assert, assertEquals } from "@std/assert";

import type { JsonObject } from "../../src/core/layout_json.ts";
import { NVME_PAGES } from "../../src/nvme/tables/pages.ts";
import { shareDefinitions } from "../../tools/cli/schema_definitions.ts";
import { nvmeIdentifySchema } from "../../tools/render/nvme/nvme_identify_json.ts";
import { restoreSchema } from "../../tools/render/restore/restore_schema.ts";
import { runTool } from "../soft/tool.ts";
import { schemaErrors } from "./schema.ts";

const PLACE: JsonObject = {
  type: "object",
  properties: { offset: { type: "integer", minimum: 0 }, name: { type: "string", pattern: "^[a-z]+$" } },
  required: ["offset", "name"],
  additionalProperties: false,
};

Deno.test("what stands in several places becomes one definition, inside definitions too", () => {
  const pair = { type: "object", properties: { left: PLACE, right: PLACE }, additionalProperties: false };
  const schema = {
    type: "object",
    properties: { first: pair, all: { type: "array", items: { anyOf: [pair, PLACE] } } },
  };
  const shared = shareDefinitions(schema);
  const text = JSON.stringify(shared);
  assertEquals(text.match(/\^\[a-z\]\+\$/g)?.length, 1);
  assertEquals(Object.keys(shared["$defs"] as JsonObject).length, 2);
  assert(text.length < JSON.stringify(schema).length);
  const good = { offset: 1, name: "a" };
  const documents = [
    { first: { left: good } },
    { all: [good, { left: good, right: good }] },
    { first: { left: { offset: -1, name: "a" } } },
    { all: [{ left: good, middle: good }] },
    { all: [{ ...good, name: "A" }] },
  ];
  assertEquals(
    documents.map((document) => schemaErrors(shared, document) === ""),
    documents.map((document) => schemaErrors(schema, document) === ""),
  );
  assertEquals(documents.map((document) => schemaErrors(shared, document) === ""), [true, true, false, false, false]);
});

Deno.test("values that look like schemas are left alone", () => {
  const value = { kind: "a value of sixty characters, which no reference may stand for" };
  const schema = { type: "object", properties: { a: { const: value }, b: { enum: [value] } } };
  assertEquals(shareDefinitions(schema), schema);
});

Deno.test("the schema of nvme_identify is below 300 KB, and that of one page far below", () => {
  assert(JSON.stringify(nvmeIdentifySchema()).length < 300_000);
  const smart = NVME_PAGES.find(({ name }) => name === "smart");
  const one = JSON.stringify(nvmeIdentifySchema(smart));
  assert(one.length < 30_000, `${one.length}`);
});

Deno.test("a list of journals fits the schema of restore", () => {
  const restored = { what: "w", path: "p", outcome: "changed", old: "1", left: "2", found: null, error: null };
  const journal = {
    path: "/run/busbar/1-2.jsonl",
    pid: 1,
    command: "tiering",
    createdAt: "2026-01-01T00:00:00Z",
    state: "earlier boot",
    changes: [{ what: "w", path: "p", old: null }],
    damaged: [],
    restored: [restored],
    error: null,
  };
  const document = { schema: "restore/1", journals: [journal], refused: [{ path: "p", reason: "r" }] };
  assertEquals(schemaErrors(restoreSchema(), document), "");
  assert(schemaErrors(restoreSchema(), { ...document, journals: [{ ...journal, state: "odd" }] }) !== "");
});

Deno.test("lab and restore print what their schemas say", async () => {
  for (const [tool, ...args] of [["lab", "list"], ["restore", "--dry-run"]] as const) {
    const schema = JSON.parse((await runTool(tool, [...args, "--json-schema"])).stdout);
    const { stdout, stderr } = await runTool(tool, [...args, "--json"]);
    assertEquals(schemaErrors(schema, JSON.parse(stdout)), "", stderr);
  }
});
