/**
 * What `nvme_identify` found, as JSON, and the schema.
 * @module
 */

import { closedObject, type Json, type JsonObject, rowsSchema, rowsToJson } from "../../../src/core/layout_json.ts";
import { hex } from "../../../src/core/units.ts";
import { summarizeController, summarizeNamespace } from "../../../src/nvme/tables/summary.ts";
import { type DecodedFeature, FEATURE_CAPABILITIES, FEATURES } from "../../../src/nvme/tables/features.ts";
import {
  decodeFetched,
  type FetchedFeature,
  type FetchedPage,
  isWholePage,
  type NvmeReport,
} from "../../../src/nvme/jobs/fetch.ts";
import { decodePage, NVME_PAGES, type NvmePage } from "../../../src/nvme/tables/pages.ts";
import { documentSchema } from "../../cli/run.ts";
import type { AccessPath } from "./nvme_identify.ts";

const SCHEMA = "nvme_identify/1";

const ACCESS_PATHS: readonly AccessPath[] = ["driven from here", "through the kernel's driver", "from a file"];

/** The rows of a page, or null and why. */
function pageJson(fetched: FetchedPage): JsonObject {
  const table = decodeFetched(fetched);
  return table === null ? { value: null, reason: fetched.reason } : rowsToJson(table.rows);
}

function pagesJson(pages: readonly FetchedPage[]): JsonObject {
  return Object.fromEntries(pages.map((fetched) => [fetched.page.name, pageJson(fetched)]));
}

/** Everything that was read. */
export function reportJson(device: string, accessPath: AccessPath, { pages, features }: NvmeReport): JsonObject {
  const identify = pages.filter(({ page }) => page.source.kind === "identify");
  const logs = pages.filter(({ page }) => page.source.kind === "log");
  const ofNamespaces = identify.filter(({ page }) => page.scope !== "controller");
  const nsids = [...new Set(ofNamespaces.map(({ of }) => of))];
  return {
    schema: SCHEMA,
    device,
    way: accessPath,
    summary: summaryJson(identify),
    controller: pagesJson(identify.filter(({ page }) => page.scope === "controller")),
    namespaces: nsids.map((nsid) => namespaceJson(nsid, ofNamespaces.filter(({ of }) => of === nsid))),
    logs: logs.map((fetched) => ({ log: fetched.page.name, of: fetched.of, content: pageJson(fetched) })),
    features: features.map(featureJson),
  };
}

function summaryJson(pages: readonly FetchedPage[]): Json {
  const identity = pages.find(({ page }) => page.name === "id-ctrl");
  if (identity === undefined || identity.bytes === null || !isWholePage(identity)) return null;
  const { version, capacityBytes, ...summary } = summarizeController(decodePage(identity.page, identity.bytes));
  return { ...summary, version: hex(version, 8), capacityBytes: capacityBytes?.toString() ?? null };
}

function namespaceJson(nsid: number | null, pages: readonly FetchedPage[]): JsonObject {
  const own = pages.find(({ page }) => page.name === "id-ns");
  const summary = own === undefined || own.bytes === null || !isWholePage(own)
    ? null
    : summarizeNamespace(decodePage(own.page, own.bytes));
  return {
    nsid,
    summary: summary === null ? null : {
      active: summary.isActive,
      blocks: summary.sizeBlocks.toString(),
      sizeBytes: summary.sizeBytes?.toString() ?? null,
      blockBytes: summary.format?.dataBytes ?? null,
      metadataBytes: summary.format?.metadataBytes ?? null,
      metadata: summary.metadata,
      protection: summary.protection,
    },
    pages: pagesJson(pages),
  };
}

function featureJson({ feature, instance, of, current, byDefault, capabilities, reason }: FetchedFeature): JsonObject {
  const head = { id: feature.id, name: feature.name, instance: instance.name, of };
  return {
    ...head,
    current: valueJson(current),
    default: valueJson(byDefault),
    capabilities: capabilities === null ? null : rowsToJson(capabilities.rows),
    reason,
  };
}

function valueJson(value: DecodedFeature | null): Json {
  if (value === null) return null;
  return { result: rowsToJson(value.result.rows), data: value.data === null ? null : rowsToJson(value.data.rows) };
}

function orNull(schema: JsonObject): JsonObject {
  return { anyOf: [schema, { type: "null" }] };
}

function pageSchema(page: NvmePage): JsonObject {
  const refused = closedObject({ value: { type: "null" }, reason: { type: "string" } });
  return { description: page.layout.name, anyOf: [rowsSchema(page.layout.rows), refused] };
}

/** Pages by name; which of them there are depends on the controller. */
function pagesSchema(pages: readonly NvmePage[]): JsonObject {
  const properties = Object.fromEntries(pages.map((page) => [page.name, pageSchema(page)]));
  return { type: "object", properties, additionalProperties: false };
}

/**
 * The schema of every document that `nvme_identify --json` prints.
 *
 * @param only the page of `--page`: the schema of the documents that hold no other
 */
export function nvmeIdentifySchema(only?: NvmePage): JsonObject {
  const pages = only === undefined ? NVME_PAGES : [only];
  const identify = pages.filter((page) => page.source.kind === "identify");
  const decimal = { type: "string", pattern: "^[0-9]+$" };
  const integer = { type: "integer", minimum: 0 };
  const text = { type: "string" };
  const id = { type: ["integer", "null"], minimum: 0 };
  return documentSchema("nvme_identify", [closedObject({
    schema: { const: SCHEMA },
    device: text,
    way: { enum: ACCESS_PATHS },
    summary: orNull(closedObject({
      serial: text,
      model: text,
      firmware: text,
      subsystem: text,
      controllerId: integer,
      namespaceLimit: integer,
      version: { type: "string", pattern: "^0x[0-9a-f]{8}$" },
      capacityBytes: orNull(decimal),
    })),
    controller: pagesSchema(identify.filter((page) => page.scope === "controller")),
    namespaces: {
      type: "array",
      items: closedObject({
        nsid: id,
        summary: orNull(closedObject({
          active: { type: "boolean" },
          blocks: decimal,
          sizeBytes: orNull(decimal),
          blockBytes: orNull(integer),
          metadataBytes: orNull(integer),
          metadata: text,
          protection: text,
        })),
        pages: pagesSchema(identify.filter((page) => page.scope !== "controller")),
      }),
    },
    logs: {
      type: "array",
      items: {
        anyOf: pages.filter((page) => page.source.kind === "log").map((page) =>
          closedObject({ log: { const: page.name }, of: id, content: pageSchema(page) })
        ),
      },
    },
    features: only === undefined
      ? { type: "array", items: { anyOf: FEATURES.map(featureSchema) } }
      : { type: "array", maxItems: 0 },
  })], only?.name);
}

function featureSchema({ id, name, instances, result, data }: typeof FEATURES[number]): JsonObject {
  const value = orNull(closedObject({
    result: rowsSchema(result.rows),
    data: data === null ? { type: "null" } : rowsSchema(data.rows),
  }));
  return closedObject({
    id: { const: id },
    name: { const: name },
    instance: { enum: instances.map((instance) => instance.name) },
    of: { type: ["integer", "null"], minimum: 0 },
    current: value,
    default: value,
    capabilities: orNull(rowsSchema(FEATURE_CAPABILITIES.rows)),
    reason: { type: ["string", "null"] },
  });
}
