/**
 * A fleet's answers in a folder, to be compared later.
 * @module
 */

import { BusbarError, systemError } from "../../core/error.ts";
import type { Json } from "../../core/layout_json.ts";
import type { HostAnswer, HostFailure } from "./run.ts";

/** What a folder holds. */
export interface SavedFleet {
  /** The tool and its arguments. */
  readonly words: readonly string[];
  /** The schema of its documents, which says what changes by itself. */
  readonly schema: Json;
  /** The answers, in the order of the hosts. */
  readonly answers: readonly HostAnswer[];
}

const INDEX = "fleet.json";
/** Bytes of one file. */
const SIZE_LIMIT = 64 << 20;

interface IndexFile {
  readonly schema: "fleet_folder/1";
  readonly words: readonly string[];
  readonly documentSchema: Json;
  readonly hosts: readonly {
    readonly host: string;
    readonly file: string | null;
    readonly failure: HostFailure | null;
  }[];
}

/** True when a folder holds answers that {@linkcode saveFleet} wrote. */
export function isSavedFleet(folder: string): boolean {
  try {
    return Deno.statSync(`${folder}/${INDEX}`).isFile;
  } catch {
    return false;
  }
}

/**
 * Writes the answers: a file for each host, and an index that is written last.
 *
 * @throws {BusbarError} as writing fails
 */
export function saveFleet(folder: string, { words, schema, answers }: SavedFleet): void {
  try {
    Deno.mkdirSync(folder, { recursive: true });
    const hosts = answers.map((answer, i) => {
      if ("failure" in answer) return { host: answer.host, file: null, failure: answer.failure };
      const file = `${String(i + 1).padStart(4, "0")}-${answer.host.replaceAll(/[^\w.-]/g, "_")}.json`;
      writeWhole(`${folder}/${file}`, JSON.stringify(answer.document, null, 1) + "\n");
      return { host: answer.host, file, failure: null };
    });
    const index: IndexFile = { schema: "fleet_folder/1", words, documentSchema: schema, hosts };
    writeWhole(`${folder}/${INDEX}`, JSON.stringify(index) + "\n");
  } catch (cause) {
    throw systemError(cause, "save the answers in", folder);
  }
}

function writeWhole(path: string, text: string): void {
  const temporary = `${path}.${Deno.pid}.tmp`;
  Deno.writeTextFileSync(temporary, text);
  Deno.renameSync(temporary, path);
}

/** Reads a folder again. @throws {BusbarError} `malformed` for what {@linkcode saveFleet} did not write */
export function loadFleet(folder: string): SavedFleet {
  const index = readJson(`${folder}/${INDEX}`);
  if (!isIndex(index)) throw malformed(`${folder}/${INDEX}`, "it is no index of a fleet");
  const answers = index.hosts.map(({ host, file, failure }): HostAnswer => {
    if (file === null) return { host, failure: failure ?? { code: "bug", message: "not known" }, durationMs: 0 };
    // A name in the folder, and nothing else.
    if (!/^[\w.-]+$/.test(file)) throw malformed(folder, `'${file}' is no name of an answer`);
    return { host, document: readJson(`${folder}/${file}`) as Json, exitStatus: 0, durationMs: 0 };
  });
  return { words: index.words, schema: index.documentSchema, answers };
}

function readJson(path: string): unknown {
  try {
    const { size } = Deno.statSync(path);
    if (size > SIZE_LIMIT) throw malformed(path, `${size} bytes are too many for an answer`);
    return JSON.parse(Deno.readTextFileSync(path));
  } catch (cause) {
    if (cause instanceof SyntaxError) throw malformed(path, "it is no JSON document");
    throw systemError(cause, "read", path);
  }
}

function isIndex(value: unknown): value is IndexFile {
  if (typeof value !== "object" || value === null) return false;
  const { schema, words, hosts } = value as Partial<Record<keyof IndexFile, unknown>>;
  const isText = (one: unknown): boolean => typeof one === "string";
  return schema === "fleet_folder/1" && Array.isArray(words) && words.every(isText) && Array.isArray(hosts) &&
    hosts.every((one: unknown) => {
      if (typeof one !== "object" || one === null) return false;
      const { host, file } = one as Record<string, unknown>;
      return isText(host) && (file === null || isText(file));
    });
}

function malformed(path: string, why: string): BusbarError {
  return new BusbarError("malformed", `${path}: ${why}`, { operation: "read the answers", path });
}
