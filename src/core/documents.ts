/**
 * YAML and JSON of strangers. A few bytes of YAML can stand for a value without an end, or for more than any memory holds;
 * such a value is refused before anybody walks through it.
 * @module
 */

import { BusbarError } from "./error.ts";
import { type InputOptions, readInputText } from "./input.ts";
import { loadYaml } from "./packages.ts";

/** Values that a document may stand for, each alias counted as what it names. */
const MOST_VALUES = 100_000;
/** How deep they may lie in each other. */
const MOST_DEPTH = 200;
/** A mistake's text at most. */
const MOST_MESSAGE = 200;

/** A document of settings is some kilobytes. */
export const DOCUMENT_BYTES: number = 4 << 20;

/**
 * The value in a YAML text, of which JSON is a part.
 *
 * @param path for messages
 * @throws {BusbarError} `malformed` where it is no YAML, or holds itself, lies too deep or is too much
 */
export async function parseYaml(text: string, path: string): Promise<unknown> {
  const { parse } = await loadYaml();
  return parseWith(() => parse(text), "YAML", path);
}

/** The value in a JSON text. @throws {BusbarError} as {@linkcode parseYaml} */
export function parseJson(text: string, path: string): unknown {
  return parseWith(() => JSON.parse(text), "JSON", path);
}

/** The value in a YAML file. @throws {BusbarError} as {@linkcode parseYaml} and {@linkcode readInputText} */
export async function readYamlFile(
  path: string,
  options: InputOptions = { limitBytes: DOCUMENT_BYTES, what: "a document", operation: "read" },
): Promise<unknown> {
  return await parseYaml(readInputText(path, options), path);
}

function parseWith(parse: () => unknown, language: string, path: string): unknown {
  const malformed = (why: string, cause?: unknown): BusbarError =>
    new BusbarError("malformed", `${path}: ${why}`, { operation: `read ${language}`, path, cause });
  let value: unknown;
  try {
    value = parse();
  } catch (cause) {
    // The parser of YAML calls itself for each level.
    if (cause instanceof RangeError) throw malformed(`it is nested too deeply for ${language}`, cause);
    const [first = ""] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    const short = first.length > MOST_MESSAGE ? `${first.slice(0, MOST_MESSAGE)}…` : first;
    throw malformed(`not ${language}${short === "" ? "" : `: ${short}`}`, cause);
  }
  const problem = whyTooMuch(value);
  if (problem !== null) throw malformed(problem);
  return value;
}

/** Why a value is more than a document may hold, or null. It takes no longer than the limits allow. */
export function whyTooMuch(value: unknown): string | null {
  let count = 0;
  const open = new Set<object>();
  const visit = (one: unknown, depth: number): string | null => {
    if (++count > MOST_VALUES) return `it stands for more than ${MOST_VALUES} values`;
    if (typeof one !== "object" || one === null) return null;
    if (open.has(one)) return "an anchor holds an alias of itself";
    if (depth >= MOST_DEPTH) return `its values lie more than ${MOST_DEPTH} deep`;
    open.add(one);
    for (const inner of one instanceof Map ? one.values() : Object.values(one)) {
      const problem = visit(inner, depth + 1);
      if (problem !== null) return problem;
    }
    open.delete(one);
    return null;
  };
  return visit(value, 0);
}
