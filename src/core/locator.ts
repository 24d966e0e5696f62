/**
 * Locators: the strings that name a device, the same in every tool and every open function.
 *
 * | written | names |
 * |---|---|
 * | `0000:01:00.0`, `01:00.0` | a PCI function of this machine |
 * | `soft:nvme?size=64MiB` | a software device in this process |
 * | `soft:cuda?cc=90`, `cuda:0`, `cuda:PATH?device=1` | a CUDA device: software, of the installed driver, of a library file |
 * | `type2:PATH` | the shared file of a CXL Type 2 GPU |
 * | `file:saved.dump` | a recorded machine or device: decode only |
 * | `/dev/dax0.0`, `nvme0`, `nvme0n1`, `mem0`, `dax0.0` | a device node, also by the kernel's name for it |
 * | `ssh:lab7/0000:01:00.0`, `ssh:me@lab7:2222//dev/dax0.0` | what the locator after the first `/` names, on another machine |
 * | `ssh:lab7/` | that machine as a whole |
 *
 * This module only parses. Each domain's open function says which kinds it takes; the host part chooses a machine in
 * `machineOf` of `machine.ts` and nowhere else.
 * @module
 */

import { BusbarError } from "./error.ts";
import { type HostPart, parseHostPart } from "./host_part.ts";
import { levenshteinDistance } from "./packages.ts";
import { parsePciAddress, type PciAddress } from "./pci_address.ts";
import { parseBytes, parseUnsigned } from "./units.ts";

/** What every locator has. */
export interface LocatorBase {
  /** The text as given, with the host part. */
  readonly text: string;
  /** The machine that it is on; null for this one. */
  readonly host: HostPart | null;
}

/** A PCI function. */
export interface PciLocator extends LocatorBase {
  /** Tells the kinds apart. */
  readonly kind: "pci";
  /** Where it is. */
  readonly address: PciAddress;
}

/** A software device in this process. */
export interface SoftLocator extends LocatorBase {
  /** Tells the kinds apart. */
  readonly kind: "soft";
  /** Software devices live in this process only. */
  readonly host: null;
  /** Which software device: `nvme`. */
  readonly device: string;
  /** The settings after `?`, decoded, not yet checked: see {@linkcode readOptions}. */
  readonly query: ReadonlyMap<string, string>;
}

/** A file that holds a recorded machine or device. */
export interface FileLocator extends LocatorBase {
  /** Tells the kinds apart. */
  readonly kind: "file";
  /** Recordings are read here only. */
  readonly host: null;
  /** The file, relative to the current folder. */
  readonly path: string;
  /** The settings after `?`, decoded, not yet checked: see {@linkcode readOptions}. */
  readonly query: ReadonlyMap<string, string>;
}

/** A device of a CUDA driver library. The software one is a {@linkcode SoftLocator}: `soft:cuda`. */
export interface CudaLocator extends LocatorBase {
  /** Tells the kinds apart. */
  readonly kind: "cuda";
  /** The library is loaded into this process. */
  readonly host: null;
  /** The library: a path, or a file name for the loader; null is the installed one, where it is usually found. */
  readonly library: string | null;
  /** The device's ordinal in that library, 0 to {@linkcode MAX_CUDA_DEVICE}. */
  readonly device: number;
}

/** The shared file of a CXL Type 2 GPU. */
export interface Type2Locator extends LocatorBase {
  /** Tells the kinds apart. */
  readonly kind: "type2";
  /** The file is shared with a program on this machine. */
  readonly host: null;
  /** The file, relative to the current folder. */
  readonly path: string;
  /** The settings after `?`, decoded, not yet checked: see {@linkcode readOptions}. */
  readonly query: ReadonlyMap<string, string>;
}

/** A device node. */
export interface NodeLocator extends LocatorBase {
  /** Tells the kinds apart. */
  readonly kind: "node";
  /** Absolute path, such as `/dev/dax0.0`. */
  readonly path: string;
}

/** Another machine as a whole. */
export interface MachineLocator extends LocatorBase {
  /** Tells the kinds apart. */
  readonly kind: "machine";
  /** Which machine. */
  readonly host: HostPart;
}

/**
 * What a locator string names.
 *
 * @example
 * ```ts
 * import { type Locator, parseLocator } from "@busbar/busbar";
 * const drives: Locator[] = ["soft:nvme", "01:00.0", "nvme0"].map(parseLocator);
 * console.assert(drives.map((drive) => drive.kind).join() === "soft,pci,node");
 * ```
 */
export type Locator =
  | PciLocator
  | SoftLocator
  | FileLocator
  | CudaLocator
  | Type2Locator
  | NodeLocator
  | MachineLocator;

/** The largest ordinal that `cuda:` takes. */
export const MAX_CUDA_DEVICE = 999;

/** What only means something in this process or on this machine, and so never stands after a host part. */
const LOCAL_ONLY: readonly string[] = ["soft:", "file:", "cuda:", "type2:", "ssh:"];

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
 * const remote = parseLocator("ssh:lab7//dev/dax0.0");
 * console.assert(remote.kind === "node" && remote.path === "/dev/dax0.0" && remote.host?.name === "lab7");
 * ```
 */
export function parseLocator(text: string): Locator {
  if (text.startsWith("ssh:")) return parseRemote(text);
  if (text.startsWith("soft:")) {
    const [device, query] = splitQuery(text, text.slice("soft:".length));
    if (!/^[a-z][a-z0-9_]*$/.test(device)) throw notALocator(text, "a software device has a name: soft:nvme");
    return { kind: "soft", text, host: null, device, query };
  }
  if (text.startsWith("file:")) {
    const [path, query] = splitQuery(text, text.slice("file:".length));
    if (path === "") throw notALocator(text, "a file has a name: file:saved.dump");
    return { kind: "file", text, host: null, path, query };
  }
  if (text.startsWith("cuda:")) return parseCuda(text);
  if (text.startsWith("type2:")) {
    const [path, query] = splitQuery(text, text.slice("type2:".length));
    if (path === "" || path.includes("\0")) throw notALocator(text, "a shared file has a name: type2:PATH");
    return { kind: "type2", text, host: null, path, query };
  }
  return parseOnMachine(text, text, null);
}

/** Names that the kernel gives in /dev, and that nothing else has: a controller, a namespace, a partition, a dax device. */
const KERNEL_NAME = /^(?:nvme\d{1,5}(?:n\d{1,9}(?:p\d{1,4})?)?|dax\d{1,5}\.\d{1,5})$/;

/** What the files of a machine name: a device node or a PCI function. */
function parseOnMachine(text: string, rest: string, host: HostPart | null): Locator {
  if (rest.startsWith("/")) {
    if (rest.includes("\0") || rest.endsWith("/")) throw notALocator(text, "it names no file");
    if (rest.startsWith("/dev/") && rest.includes("?")) throw notALocator(text, "a device node has no settings");
    return { kind: "node", text, host, path: rest };
  }
  if (KERNEL_NAME.test(rest)) return { kind: "node", text, host, path: `/dev/${rest}` };
  if (/^mem\d{1,5}$/.test(rest)) return { kind: "node", text, host, path: `/dev/cxl/${rest}` };
  if (!rest.includes(":")) throw notALocator(text, "it has no colon and does not begin with /");
  return { kind: "pci", text, host, address: parsePciAddress(rest) };
}

/** `ssh:[user@]host[:port]/REST`. Without the `/`, as with nothing after it, it is the whole machine. */
function parseRemote(text: string): Locator {
  const slash = text.indexOf("/");
  const host = parseHostPart(slash < 0 ? text : text.slice(0, slash));
  const rest = slash < 0 ? "" : text.slice(slash + 1);
  if (rest === "") return { kind: "machine", text, host };
  const prefix = LOCAL_ONLY.find((one) => rest.startsWith(one));
  if (prefix !== undefined) {
    throw new BusbarError("usage", `'${text}': ${prefix} is not reached on another machine`, {
      operation: "parse locator",
      path: text,
      hint:
        `on ${host.text} there are PCI functions (${host.text}/0000:01:00.0) and device nodes (${host.text}//dev/nvme0)`,
    });
  }
  return parseOnMachine(text, rest, host);
}

function parseCuda(text: string): CudaLocator {
  const [place, query] = splitQuery(text, text.slice("cuda:".length));
  if (place === "" || place.includes("\0")) throw notALocator(text, "write cuda:0 or cuda:PATH?device=0");
  const isOrdinal = /^\d+$/.test(place);
  const known = isOrdinal ? [] : ["device"];
  for (const key of query.keys()) if (!known.includes(key)) throw unknownKey(text, key, known);
  const ordinal = isOrdinal ? place : query.get("device") ?? "0";
  if (!/^\d{1,9}$/.test(ordinal) || Number(ordinal) > MAX_CUDA_DEVICE) {
    throw notALocator(text, `a CUDA device has a number, 0 to ${MAX_CUDA_DEVICE}`);
  }
  return { kind: "cuda", text, host: null, library: isOrdinal ? null : place, device: Number(ordinal) };
}

/** A locator that may be given as text. @throws {BusbarError} `usage`, as {@linkcode parseLocator} */
export function toLocator(locator: string | Locator): Locator {
  return typeof locator === "string" ? parseLocator(locator) : locator;
}

/** The error of an open function for a locator of another kind. @param what what it opens: `PCI device` */
export function wrongDevice(locator: Locator, what: string, takes: readonly string[]): BusbarError {
  return new BusbarError("usage", `'${locator.text}' is no ${what}`, {
    operation: `open ${what}`,
    path: locator.text,
    hint: `it takes ${takes.join(", ")}`,
  });
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
    hint:
      "write a PCI address (0000:01:00.0), soft:NAME, file:PATH, cuda:N, type2:PATH, a path under /dev, or one of " +
      "these on another machine: ssh:HOST/0000:01:00.0",
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
export function readOptions(
  locator: SoftLocator | FileLocator | Type2Locator,
  table: OptionTable,
): Map<string, string> {
  const known = Object.keys(table);
  for (const key of locator.query.keys()) {
    if (!Object.hasOwn(table, key)) {
      throw unknownKey(locator.text, key, known);
    }
  }
  const values = new Map<string, string>();
  for (const [key, spec] of Object.entries(table)) values.set(key, readOption(locator, key, spec));
  return values;
}

function unknownKey(text: string, key: string, known: readonly string[]): BusbarError {
  const near = nearest(key, known);
  return new BusbarError("usage", `'${key}' in '${text}' is no setting of this device`, {
    operation: "parse locator",
    path: text,
    hint: near === null
      ? `it takes ${known.join(", ") || "none"}`
      : `did you mean '${near}'? It takes ${known.join(", ")}`,
  });
}

function readOption(locator: SoftLocator | FileLocator | Type2Locator, key: string, spec: OptionSpec): string {
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
