/**
 * The npm packages that the library itself uses, by full specifier: whoever imports busbar has another import map. The
 * tests compare the versions with deno.json. All but the first are loaded when they are needed.
 * @module
 */

// @ts-types="./edit_distance.d.ts"
import { levenshteinDistance as stdLevenshteinDistance } from "npm:deno-std@1.4.0/text/levenshtein_distance.js";

/** The types of zod; {@linkcode loadZod} has its functions. */
export type { z } from "npm:zod@4.6.7";

/** The number of insertions, deletions and substitutions that turn one text into the other. */
export const levenshteinDistance: (a: string, b: string) => number = stdLevenshteinDistance;

/** Loads zod, which checks input files. It takes some 25 ms, so it is loaded when one is read. */
export function loadZod(): Promise<typeof import("npm:zod@4.6.7")> {
  return import("npm:zod@4.6.7");
}

/** What is used of the standard library's YAML. */
export interface Yaml {
  /** The value that a document holds. @throws {SyntaxError} where it is none */
  parse(text: string): unknown;
  /** A value as a document. */
  stringify(value: unknown, options?: { readonly indent?: number; readonly lineWidth?: number }): string;
}

/** Loads the standard library's YAML. */
export async function loadYaml(): Promise<Yaml> {
  return await import("npm:deno-std@1.4.0/yaml/mod.js");
}
