/**
 * A document as fields with names, so that those of two machines can be compared: things are called by what they are, not by
 * where the kernel put them, and what changes by itself is left out.
 * @module
 */

import type { Json } from "../../core/layout_json.ts";

/** Fields by name. What names a thing in a list holds {@linkcode THERE}. */
export type Fields = ReadonlyMap<string, string>;

/** The value of a field that is a whole thing of a list: that it is there. */
export const THERE = "(there)";

/** Members that say which thing of a list it is, best first. */
const NAMING: readonly string[] = ["name", "id", "title", "kind", "index", "path"];
const PCI_ADDRESS = /\b[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]\b/g;
const ROOT_BUS = /\bpci[0-9a-f]{4,8}:[0-9a-f]{2}\b/g;

/** Whether a place in a document changes by itself: its names, those of list elements as `*`. */
export type IsVolatile = (place: readonly string[]) => boolean;

/**
 * The fields of a document.
 *
 * @param isVolatile says what is left out
 */
export function fieldsOf(document: Json, isVolatile: IsVolatile): Fields {
  const fields = new Map<string, string>();
  const names = identitiesOf(document);
  const put = (name: string, value: string): void => void fields.set(unused(fields, name), value);
  const walk = (value: Json, name: string, place: readonly string[]): void => {
    if (isVolatile(place)) return;
    if (Array.isArray(value)) return walkList(value, name, place);
    if (value === null || typeof value !== "object") return put(name, plain(value, names));
    const members = Object.entries(value);
    const { value: inner, reason } = value as { readonly value?: Json; readonly reason?: Json };
    // A value with a reason beside it, for when it is not known.
    if (inner === null && typeof reason === "string" && !isVolatile([...place, "value"])) {
      return put(name, `not known: ${plain(reason, names)}`);
    }
    for (const [key, member] of members) {
      if (key === "reason" && "value" in value) continue;
      const isInner = key === "value" && "reason" in value;
      walk(member, isInner ? name : name === "" ? key : `${name}.${key}`, [...place, key]);
    }
  };
  const walkList = (list: readonly Json[], name: string, place: readonly string[]): void => {
    if (!list.some((one) => typeof one === "object" && one !== null)) {
      return put(name, list.map((one) => plain(one, names)).join(", "));
    }
    const counts = new Map<string, number>();
    for (const [i, one] of list.entries()) {
      const thing = thingName(one, names) ?? String(i + 1);
      const count = (counts.get(thing) ?? 0) + 1;
      counts.set(thing, count);
      // The second thing of the same kind is #2, wherever it is.
      const key = `${name}[${thing}${count === 1 ? "" : ` #${count}`}]`;
      if (isVolatile([...place, "*"])) continue;
      put(key, THERE);
      walk(one, key, [...place, "*"]);
    }
  };
  walk(document, "", []);
  return fields;
}

function unused(fields: Fields, name: string): string {
  let free = name;
  for (let i = 2; fields.has(free); i++) free = `${name} #${i}`;
  return free;
}

function thingName(thing: Json, names: ReadonlyMap<string, string>): string | null {
  if (typeof thing !== "object" || thing === null || Array.isArray(thing)) return null;
  const members = thing as Readonly<Record<string, Json>>;
  for (const key of NAMING) {
    const value = members[key];
    if (typeof value === "string" || typeof value === "number") {
      // The number that tells two of a kind apart is counted again in each list.
      return plain(value, names).replace(/ #\d+$/, "");
    }
  }
  return null;
}

function plain(value: Json, names: ReadonlyMap<string, string>): string {
  if (value === null) return "none";
  if (typeof value !== "string") return typeof value === "object" ? JSON.stringify(value) : String(value);
  const named = value.replace(PCI_ADDRESS, (address) => names.get(address) ?? address);
  return named.replace(ROOT_BUS, (bus) => names.get(bus) ?? bus);
}

/** What each PCI function and root bus of a document is, by its address there. */
function identitiesOf(document: Json): ReadonlyMap<string, string> {
  const kinds = new Map<string, string>();
  const visit = (value: Json): void => {
    if (Array.isArray(value)) return value.forEach(visit);
    if (typeof value !== "object" || value === null) return;
    const members = value as Readonly<Record<string, Json>>;
    const address = [members.name, members.address, members.id, members.device].find((one) =>
      typeof one === "string" && one.replace(PCI_ADDRESS, "").replace(ROOT_BUS, "") === "" && one !== ""
    );
    if (typeof address === "string" && !kinds.has(address)) {
      const kind = kindOf(members);
      if (kind !== null) kinds.set(address, kind);
    }
    Object.values(members).forEach(visit);
  };
  visit(document);
  const names = new Map<string, string>();
  const counts = new Map<string, number>();
  for (const [address, kind] of [...kinds].sort(([one], [other]) => one < other ? -1 : 1)) {
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    names.set(address, count === 1 ? kind : `${kind} #${count}`);
  }
  return names;
}

function kindOf(members: Readonly<Record<string, Json>>): string | null {
  const { deviceName, what, vendorId, deviceId, kind } = members;
  if (typeof deviceName === "string") return deviceName;
  if (typeof what === "string") return what;
  if (typeof vendorId === "number" && typeof deviceId === "number") {
    return [vendorId, deviceId].map((id) => id.toString(16).padStart(4, "0")).join(":");
  }
  // A root bus has nothing but its kind.
  return typeof kind === "string" ? `${kind} root` : null;
}

/** What a reference of a schema stands for: `#/$defs/NAME` of the whole schema. Anything else stands for itself. */
function definitionOf(node: Json | undefined, whole: Json): Json | undefined {
  const members = (node ?? {}) as Readonly<Record<string, Json>>;
  const { $ref: reference } = members;
  if (typeof reference !== "string" || !reference.startsWith(DEFINITIONS)) return node;
  const { $defs: definitions } = (whole ?? {}) as Readonly<Record<string, Json>>;
  return (definitions as Readonly<Record<string, Json>> | undefined)?.[reference.slice(DEFINITIONS.length)];
}

const DEFINITIONS = "#/$defs/";
/** A schema that holds itself goes no deeper than this. */
const MOST_DEPTH = 100;

/** What a schema marks with `x-volatile`, of all the documents that it describes. */
export function volatileOf(schema: Json): IsVolatile {
  const places: string[][] = [];
  const visit = (given: Json | undefined, place: readonly string[]): void => {
    const node = definitionOf(given, schema);
    if (typeof node !== "object" || node === null || Array.isArray(node) || place.length > MOST_DEPTH) return;
    const members = node as Readonly<Record<string, Json>>;
    if (members["x-volatile"] === true) {
      places.push([...place]);
      return;
    }
    for (const key of ["anyOf", "oneOf", "allOf"]) {
      const list = members[key];
      if (Array.isArray(list)) list.forEach((one) => visit(one, place));
    }
    visit(members.items, [...place, "*"]);
    visit(members.additionalProperties, [...place, "*"]);
    const { properties } = members;
    if (typeof properties === "object" && properties !== null && !Array.isArray(properties)) {
      for (const [name, one] of Object.entries(properties)) visit(one, [...place, name]);
    }
  };
  visit(schema, []);
  const marked = new Set(places.map((place) => place.join("\0")));
  const lengths = new Set(places.map(({ length }) => length));
  const wild = places.some((place) => place.includes("*"));
  return (place) => {
    if (!lengths.has(place.length)) return false;
    if (marked.has(place.join("\0"))) return true;
    // Members of an object with free names are elements too.
    return wild &&
      places.some((one) => one.length === place.length && one.every((name, i) => name === "*" || name === place[i]));
  };
}

/** Whether a document has the members that one of a schema's documents has: exactly those, and of the right kind. */
export function fitsSchema(document: Json, given: Json, whole: Json = given): boolean {
  const schema = definitionOf(given, whole);
  if (schema === undefined || typeof schema !== "object" || schema === null || Array.isArray(schema)) return false;
  const { anyOf, properties, required } = schema as Readonly<Record<string, Json>>;
  if (Array.isArray(anyOf)) return anyOf.some((one) => fitsSchema(document, one, whole));
  if (typeof document !== "object" || document === null || Array.isArray(document)) return false;
  if (typeof properties !== "object" || properties === null || !Array.isArray(required)) return false;
  const kinds = properties as Readonly<Record<string, Json>>;
  return required.every((name) => typeof name === "string" && Object.hasOwn(document, name)) &&
    Object.entries(document).every(([name, value]) =>
      Object.hasOwn(kinds, name) && isOfKind(value, definitionOf(kinds[name], whole) ?? null)
    );
}

function isOfKind(value: Json, schema: Json): boolean {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) return true;
  const { type, const: only } = schema as Readonly<Record<string, Json>>;
  if (only !== undefined) return value === only;
  if (type === undefined) return true;
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  const names = Array.isArray(type) ? type : [type];
  return names.includes(kind) || (kind === "number" && names.includes("integer"));
}
