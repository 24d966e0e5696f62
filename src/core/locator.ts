/**
 * Locators: the strings that name a device, the same in every tool and every open function.
 *
 * | written | names |
 * |---|---|
 * | `0000:01:00.0`, `01:00.0` | a PCI function of this machine |
 * | `soft:nvme?size=64MiB` | a software device in this process |
 * | `file:saved.dump` | a recorded machine or device: decode only |
 * | `/dev/dax0.0` | a device node |
 *
 * This module only parses. Each domain's open function says which kinds it takes.
 * @module
 */

import { levenshteinDistance } from "@std/text/levenshtein-distance";

import { BusbarError } from "./error.ts";
import { parsePciAddress, type PciAddress } from "./pci_address.ts";
import { parseBytes, parseUnsigned } from "./units.ts";

/** A PCI function of this machine. */
export interface PciLocator {
  /** Tells the kinds apart. */
  readonly kind: "pci";
  /** The text as given. */
  readonly text: string;
  /** Where it is. */
  readonly address: PciAddress;
}

/** A software device in this process. */
export interface SoftLocator {
  /** Tells the kinds apart. */
  readonly kind: "soft";
  /** The text as given. */
  readonly text: string;
  /** Which software device: `nvme`. */
  readonly device: string;
  /** The settings after `?`, decoded, not yet checked: see {@linkcode readOptions}. */
  readonly query: ReadonlyMap<string, string>;
}

/** A file that holds a recorded machine or device. */
export interface FileLocator {
  /** Tells the kinds apart. */
  readonly kind: "file";
  /** The text as given. */
  readonly text: string;
  /** The file, relative to the current folder. */
  readonly path: string;
  /** The settings after `?`, decoded, not yet checked: see {@linkcode readOptions}. */
  readonly query: ReadonlyMap<string, string>;
}

/** A device node. */
export interface NodeLocator {
  /** Tells the kinds apart. */
  readonly kind: "node";
  /** The text as given. */
  readonly text: string;
  /** Absolute path, such as `/dev/dax0.0`. */
  readonly path: string;
}

/** What a locator string names. */
export type Locator = PciLocator | SoftLocator | FileLocator | NodeLocator;

/**
 * Parses a locator.
 *
 * @throws {BusbarError} `usage`, with the forms that exist
 *
 * @example
 * ```ts
 * import { parseLocator } from "./locator.ts";
 * const locator = parseLocator("soft:nvme?serial=XYZ");
 * console.assert(locator.kind === "soft" && locator.query.get("serial") === "XYZ");
 * ```
 */
export function parseLocator(text: string): Locator {
  if (text.startsWith("soft:")) {
    const [device, query] = splitQuery(text, text.slice("soft:".length));
    if (!/^[a-z][a-z0-9_]*$/.test(device)) throw notALocator(text, "a software device has a name: soft:nvme");
    return { kind: "soft", text, device, query };
  }
  if (text.startsWith("file:")) {
    const [path, query] = splitQuery(text, text.slice("file:".length));
    if (path === "") throw notALocator(text, "a file has a name: file:saved.dump");
    return { kind: "file", text, path, query };
  }
  if (text.startsWith("/")) {
    if (text.includes("\0") || text.endsWith("/")) throw notALocator(text, "it names no file");
    return { kind: "node", text, path: text };
  }
  if (!text.includes(":")) throw notALocator(text, "it has no colon and does not begin with /");
  return { kind: "pci", text, address: parsePciAddress(text) };
}

/** The error for a locator of a kind, or a software device, that the caller cannot open. */
export function wrongLocatorKind(locator: Locator, operation: string, takes: readonly string[]): BusbarError {
  return new BusbarError("usage", `'${locator.text}' is nothing that ${operation} can open`, {
    operation,
    path: locator.text,
    hint: `it takes ${takes.join(", ")}`,
  });
}

function notALocator(text: string, why: string): BusbarError {
  return new BusbarError("usage", `'${text}' names no device: ${why}`, {
    operation: "parse locator",
    path: text,
    hint: "write a PCI address (0000:01:00.0), soft:NAME, file:PATH or a path under /dev",
  });
}

function splitQuery(text: string, rest: string): [string, Map<string, string>] {
  const query = new Map<string, string>();
  const mark = rest.indexOf("?");
  if (mark < 0) return [rest, query];
  for (const pair of rest.slice(mark + 1).split("&")) {
    const equals = pair.indexOf("=");
    if (equals <= 0) {
      throw new BusbarError("usage", `'${pair}' in '${text}' is not a setting`, {
        operation: "parse locator",
        path: text,
        hint: "write key=value, joined by &",
      });
    }
    const key = decode(text, pair.slice(0, equals));
    if (query.has(key)) {
      throw new BusbarError("usage", `'${key}' is given twice in '${text}'`, {
        operation: "parse locator",
        path: text,
      });
    }
    query.set(key, decode(text, pair.slice(equals + 1)));
  }
  return [rest.slice(0, mark), query];
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (cause) {
    throw new BusbarError("usage", `'${part}' in '${text}' has a bad percent code`, {
      operation: "parse locator",
      path: text,
      hint: "write % as %25",
      cause,
    });
  }
}

/** One setting that a locator may carry after `?`. */
export interface OptionSpec {
  /** `size` accepts units. Integers and sizes are unsigned. */
  readonly type: "text" | "integer" | "size";
  /** One sentence for the list of settings. */
  readonly title: string;
  /** What it is when it is not given. */
  readonly default: string;
  /** Smallest value of an integer or size. */
  readonly min?: bigint;
  /** Largest value of an integer or size; of a text, its length in bytes. */
  readonly max?: bigint;
}

/** The settings that a kind of device knows, by key. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

/**
 * Checks the settings of a locator against the table of the device that it names.
 *
 * @returns every key of the table: text as given, integers and sizes as decimal text
 * @throws {BusbarError} `usage` for an unknown key (with the nearest known one) and for a bad value
 */
export function readOptions(locator: SoftLocator | FileLocator, table: OptionTable): Map<string, string> {
  const known = Object.keys(table);
  for (const key of locator.query.keys()) {
    if (!Object.hasOwn(table, key)) {
      const near = nearest(key, known);
      throw new BusbarError("usage", `'${key}' in '${locator.text}' is no setting of this device`, {
        operation: "parse locator",
        path: locator.text,
        hint: near === null
          ? `it takes ${known.join(", ") || "none"}`
          : `did you mean '${near}'? It takes ${known.join(", ")}`,
      });
    }
  }
  const values = new Map<string, string>();
  for (const [key, spec] of Object.entries(table)) values.set(key, readOption(locator, key, spec));
  return values;
}

function readOption(locator: SoftLocator | FileLocator, key: string, spec: OptionSpec): string {
  const text = locator.query.get(key) ?? spec.default;
  const fail = (rule: string, cause?: unknown): BusbarError =>
    new BusbarError("usage", `${key}='${text}' in '${locator.text}': ${rule}`, {
      operation: "parse locator",
      path: locator.text,
      hint: `${key}: ${spec.title}`,
      cause,
    });
  if (spec.type === "text") {
    const length = new TextEncoder().encode(text).length;
    if (/[\n\0]/.test(text)) throw fail("line breaks and NUL are not allowed");
    if (spec.max !== undefined && BigInt(length) > spec.max) throw fail(`at most ${spec.max} bytes`);
    return text;
  }
  let value: bigint;
  try {
    value = spec.type === "size" ? parseBytes(text) : parseUnsigned(text, key);
  } catch (cause) {
    throw fail(spec.type === "size" ? "not a size" : "not a number", cause);
  }
  if (spec.min !== undefined && value < spec.min) throw fail(`at least ${spec.min}`);
  if (spec.max !== undefined && value > spec.max) throw fail(`at most ${spec.max}`);
  return value.toString();
}

/** The member of `known` that `word` is most likely a misspelling of, or null when none is near. */
export function nearest(word: string, known: readonly string[]): string | null {
  const distances = known.map((candidate) => levenshteinDistance(word.toLowerCase(), candidate.toLowerCase()));
  const best = Math.min(...distances);
  // Two letters in the wrong order count as two mistakes, in a short word too.
  const allowed = word.length < 4 ? 1 : Math.max(2, word.length / 3);
  return best <= allowed ? known[distances.indexOf(best)] ?? null : null;
}
