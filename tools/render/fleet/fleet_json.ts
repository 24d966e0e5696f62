/**
 * The JSON document of `fleet`, and its schema.
 * @module
 */

import { closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import type { Comparison, HostFailure } from "../../../src/remote/fleet/mod.ts";
import { documentSchema } from "../../cli/run.ts";

/** A host that could not be compared. */
export interface SilentHost {
  readonly host: string;
  readonly failure: HostFailure;
}

/** What `fleet` found. */
export interface FleetReport extends Comparison {
  /** The tool and its arguments. */
  readonly words: readonly string[];
  /** How many hosts were asked. */
  readonly hostCount: number;
  /** Those without an answer, in the order given. */
  readonly silent: readonly SilentHost[];
  /** True when a signal ended it before all were asked. */
  readonly isIncomplete: boolean;
}

/** The document. */
export function fleetJson(report: FleetReport): JsonObject {
  return {
    schema: "fleet/1",
    command: report.words,
    incomplete: report.isIncomplete,
    hosts: report.hostCount,
    answered: report.groups.reduce((sum, { hosts }) => sum + hosts.length, 0),
    groups: report.groups.map(({ hosts, differences }) => ({
      hosts,
      differences: differences.map(({ field, value, usual }) => ({ field, value, usual })),
    })),
    fields: report.fields.map(({ field, values }) => ({
      field,
      values: values.map(({ value, hosts }) => ({ value, hosts })),
    })),
    silent: report.silent.map(({ host, failure }) => ({ host, code: failure.code, message: failure.message })),
  };
}

/** Its schema. */
export function fleetSchema(): JsonObject {
  const text = { type: "string" };
  const maybe = { type: ["string", "null"] };
  const count = { type: "integer", minimum: 0 };
  const list = (items: JsonObject): JsonObject => ({ type: "array", items });
  return documentSchema("fleet", [closedObject({
    schema: { const: "fleet/1" },
    command: list(text),
    incomplete: { type: "boolean" },
    hosts: count,
    answered: count,
    groups: list(closedObject({
      hosts: list(text),
      differences: list(closedObject({ field: text, value: maybe, usual: maybe })),
    })),
    fields: list(closedObject({
      field: text,
      values: list(closedObject({ value: maybe, hosts: list(text) })),
    })),
    silent: list(closedObject({ host: text, code: text, message: text })),
  })]);
}
