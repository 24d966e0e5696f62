/**
 * What differs between machines: equal ones are one group, and of each other group what differs from most.
 * @module
 */

import { type Fields, THERE } from "./fields.ts";

/** A field that differs from what most machines have. */
export interface Difference {
  /** Its name: `functions[Samsung 980].link.current.width`. */
  readonly field: string;
  /** What it is here; null where it is not there. */
  readonly value: string | null;
  /** What it is on most machines; null where most do not have it. */
  readonly usual: string | null;
}

/** Machines that say the same. */
export interface Group {
  /** Their names, in the order given. */
  readonly hosts: readonly string[];
  /** What differs from most, by name; empty for a group that has nothing unusual. */
  readonly differences: readonly Difference[];
}

/** A field that is not the same everywhere, and who has what; the most frequent value first. */
export interface DifferingField {
  /** Its name. */
  readonly field: string;
  /** Its values; null where it is not there. */
  readonly values: readonly { readonly value: string | null; readonly hosts: readonly string[] }[];
}

/** A comparison. */
export interface Comparison {
  /** The groups, the largest first. */
  readonly groups: readonly Group[];
  /** The fields that differ, by name. */
  readonly fields: readonly DifferingField[];
}

/** Compares machines by their fields. */
export function compareHosts(hosts: ReadonlyMap<string, Fields>): Comparison {
  const groups = foldEqual(hosts);
  const differing = differingFields(groups);
  const usual = new Map(differing.map(({ field, values }) => [field, values[0]?.value ?? null]));
  return {
    fields: differing,
    groups: groups.map(({ hosts, fields }) => ({ hosts, differences: differencesOf(fields, usual) })),
  };
}

interface Folded {
  readonly hosts: string[];
  readonly fields: Fields;
}

function foldEqual(hosts: ReadonlyMap<string, Fields>): Folded[] {
  const groups = new Map<string, Folded>();
  for (const [host, fields] of hosts) {
    const key = JSON.stringify([...fields].sort(([one], [other]) => one < other ? -1 : 1));
    const known = groups.get(key);
    if (known === undefined) groups.set(key, { hosts: [host], fields });
    else known.hosts.push(host);
  }
  return [...groups.values()].sort((one, other) => other.hosts.length - one.hosts.length);
}

/** The thing of a list that a field is part of: what stands before each `]` but its own. */
function* thingsAround(field: string): Generator<string> {
  for (let end = field.indexOf("]"); end >= 0 && end < field.length - 1; end = field.indexOf("]", end + 1)) {
    yield field.slice(0, end + 1);
  }
}

/** A part of a thing that is not there is no difference of its own. */
function isPartOfMissing(field: string, fields: Fields, all: ReadonlySet<string>): boolean {
  for (const thing of thingsAround(field)) if (all.has(thing) && !fields.has(thing)) return true;
  return false;
}

function differingFields(groups: readonly Folded[]): DifferingField[] {
  const all = new Set(groups.flatMap(({ fields }) => [...fields.keys()]));
  const differing: DifferingField[] = [];
  for (const field of [...all].sort()) {
    const byValue = new Map<string | null, string[]>();
    for (const { hosts, fields } of groups) {
      if (isPartOfMissing(field, fields, all)) continue;
      const value = fields.get(field) ?? null;
      const known = byValue.get(value);
      if (known === undefined) byValue.set(value, [...hosts]);
      else known.push(...hosts);
    }
    if (byValue.size < 2) continue;
    const values = [...byValue].map(([value, hosts]) => ({ value, hosts }));
    // Of two that are equally frequent, the one that the largest group has.
    values.sort((one, other) => other.hosts.length - one.hosts.length);
    differing.push({ field, values });
  }
  // A thing that is not everywhere is one difference; what differs within it among those that have it is another.
  return differing;
}

function differencesOf(fields: Fields, usual: ReadonlyMap<string, string | null>): Difference[] {
  const differences: Difference[] = [];
  const things = new Set([...usual.keys()].filter((field) => field.endsWith("]")));
  for (const [field, value] of usual) {
    if (isPartOfMissing(field, fields, things)) continue;
    const here = fields.get(field) ?? null;
    if (here !== value) differences.push({ field, value: here, usual: value });
  }
  return differences;
}

/** A value for people. */
export function valueText(value: string | null): string {
  if (value === null) return "missing";
  return value === THERE ? "there" : value;
}
