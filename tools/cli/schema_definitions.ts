/**
 * JSON schemas in which nothing stands twice: what is used in several places becomes a definition, and each place refers to it.
 * @module
 */

import type { Json, JsonObject } from "../../src/core/layout_json.ts";

/** Shorter ones stay where they are: a reference would be no shorter. */
const LEAST_CHARACTERS = 60;

/** Keywords that hold a schema, a list of schemas, or schemas by name. JSON Schema 2020-12, core §10. */
const ONE: ReadonlySet<string> = new Set([
  "items",
  "additionalProperties",
  "propertyNames",
  "contains",
  "not",
  "if",
  "then",
  "else",
]);
const LIST: ReadonlySet<string> = new Set(["anyOf", "oneOf", "allOf", "prefixItems"]);
const BY_NAME: ReadonlySet<string> = new Set(["properties", "patternProperties", "dependentSchemas"]);

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The schema with each of its inner schemas changed; `name` is what they are called where they stand. */
function withInner(schema: JsonObject, change: (inner: JsonObject, name: string) => Json, own: string): JsonObject {
  const changed: Record<string, Json> = {};
  for (const [key, value] of Object.entries(schema)) {
    if (ONE.has(key) && isObject(value)) changed[key] = change(value, own);
    else if (LIST.has(key) && Array.isArray(value)) {
      changed[key] = value.map((inner: Json) => isObject(inner) ? change(inner, own) : inner);
    } else if (BY_NAME.has(key) && isObject(value)) {
      changed[key] = Object.fromEntries(
        Object.entries(value).map(([name, inner]) => [name, isObject(inner) ? change(inner, name) : inner]),
      );
    } else changed[key] = value;
  }
  return changed;
}

/**
 * The same schema, shorter: it takes the same documents.
 *
 * @param schema without references of its own
 */
export function shareDefinitions(schema: JsonObject): JsonObject {
  const uses = new Map<string, number>();
  const count = (inner: JsonObject): Json => {
    const text = JSON.stringify(inner);
    const before = uses.get(text) ?? 0;
    uses.set(text, before + 1);
    // What a definition holds is counted once, however often the definition is used.
    if (before === 0) withInner(inner, count, "");
    return inner;
  };
  withInner(schema, count, "");
  const names = new Map<string, string>();
  const taken = new Set<string>();
  const definitions: Record<string, Json> = {};
  const share = (inner: JsonObject, where: string): Json => {
    const text = JSON.stringify(inner);
    if ((uses.get(text) ?? 0) < 2 || text.length < LEAST_CHARACTERS) return withInner(inner, share, where);
    const known = names.get(text);
    if (known !== undefined) return { $ref: `#/$defs/${known}` };
    const base = where.replaceAll(/[^A-Za-z0-9_]/g, "_") || "value";
    let name = base;
    for (let n = 2; taken.has(name); n++) name = `${base}_${n}`;
    taken.add(name);
    names.set(text, name);
    definitions[name] = withInner(inner, share, where);
    return { $ref: `#/$defs/${name}` };
  };
  const shared = withInner(schema, share, "");
  return Object.keys(definitions).length === 0 ? shared : { ...shared, $defs: definitions };
}
