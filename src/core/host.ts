/**
 * The machine's text interfaces: everything under `/sys`, `/proc` and `/dev` that is read, listed or written as a file.
 * Nothing else in busbar opens those paths, so a recorded machine or a failing one can stand in for this one.
 * @module
 */

import { BusbarError, isBusbarError, systemError } from "./error.ts";
import { type Fact, Unknown } from "./fact.ts";
import type { HostAnswer, HostRequest, HostTree, TreeRequest } from "./host_requests.ts";
import { type TreeSource, walkTree } from "./host_tree.ts";
import type { OpenJournal } from "./undo/open_journal.ts";

/** Files larger than this are cut: no text interface of the kernel comes near it. */
const MAX_READ_BYTES = 16 << 20;

/**
 * A machine. All paths are absolute. Calls are synchronous.
 *
 * Every method throws {@linkcode BusbarError}: `not-recorded` where a recording does not say, `absent` when the path does not exist (also when it vanishes in the
 * middle of a call), `permission`, or `io`. The methods that change something are for the undo journal alone.
 *
 * @example
 * ```ts
 * import { type Host, openMachine } from "@busbar/busbar";
 * const drivers = (host: Host): string[] => host.list("/sys/bus");
 * console.assert(drivers(openMachine().host).length > 0);
 * ```
 */
export interface Host {
  /** What to call it in messages: `this machine`, `recorded machine saved.dump`. */
  readonly name: string;
  /**
   * True of a recording that does not hold all of its machine: what it was never asked for is the error `not-recorded`,
   * and only what was looked for and not found is `absent`.
   */
  readonly isPartial?: boolean;
  /** The whole file as text, with one trailing line break removed. */
  readText(path: string): string;
  /** Up to `sizeBytes` bytes from `offset`; fewer where the file ends or the kernel stops. */
  readBytes(path: string, offset: number, sizeBytes: number): Uint8Array;
  /** The names in a folder, sorted. */
  list(path: string): string[];
  /** What a symbolic link holds. */
  readLink(path: string): string;
  /** The path with every symbolic link resolved. */
  realPath(path: string): string;
  /** The size of a file in bytes, as stat reports it. */
  sizeBytes(path: string): number;
  /**
   * Answers many questions at once, in their order, each with what its call would have returned or thrown: one message to
   * a machine that is reached by a connection. Throws only when the whole batch fails, as when the connection breaks.
   */
  batch(requests: readonly HostRequest[]): HostAnswer[];
  /** Writes `text` in one call. Only the undo journal may call it. */
  writeText(path: string, text: string): void;
  /** Writes bytes at `offset` in one call. Only the undo journal may call it. */
  writeBytes(path: string, offset: number, bytes: Uint8Array): void;
  /**
   * Writes `text` in one call while the event loop goes on: for writes that the kernel works on for long, such as taking
   * memory offline. Nothing can call it back; the end of the process does. Only the undo journal may call it.
   */
  writeTextSlowly(path: string, text: string): Promise<void>;
  /** Makes a folder whose parent exists. Only the undo journal may call it. */
  makeFolder(path: string): void;
  /** Removes an empty folder. Only the undo journal may call it. */
  removeFolder(path: string): void;
  /**
   * Begins an undo journal that the machine keeps of itself, so that it can put its changes back when it is not reached any
   * more. Absent where journals lie in this machine's files. Only the undo journal may call it.
   */
  openJournal?(command: string): OpenJournal;
}

const DECODER = new TextDecoder();
/** Used for every read: most files hold a few bytes, and a look at a machine reads thousands. */
const CHUNK = new Uint8Array(65_536);

/** This machine. */
class LocalHost implements Host {
  readonly name = "this machine";

  readText(path: string): string {
    return DECODER.decode(this.readBytes(path, 0, MAX_READ_BYTES)).replace(/\n$/, "");
  }

  readBytes(path: string, offset: number, sizeBytes: number): Uint8Array {
    return attempt("read", path, () => {
      using file = Deno.openSync(path, { read: true });
      if (offset > 0) file.seekSync(offset, Deno.SeekMode.Start);
      const chunks: Uint8Array[] = [];
      let left = sizeBytes;
      while (left > 0) {
        const count = file.readSync(left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK);
        if (count === null || count === 0) break;
        chunks.push(CHUNK.slice(0, count));
        left -= count;
      }
      return concatenate(chunks);
    });
  }

  list(path: string): string[] {
    return attempt("list", path, () => Array.from(Deno.readDirSync(path), (entry) => entry.name).sort());
  }

  readLink(path: string): string {
    return attempt("read link", path, () => Deno.readLinkSync(path));
  }

  realPath(path: string): string {
    return attempt("resolve", path, () => Deno.realPathSync(path));
  }

  sizeBytes(path: string): number {
    return attempt("stat", path, () => Deno.statSync(path).size);
  }

  batch(requests: readonly HostRequest[]): HostAnswer[] {
    return answerEach(this, requests, (request) => walkTree(LOCAL_TREE, request));
  }

  writeText(path: string, text: string): void {
    writeOnce(path, { write: true, truncate: true }, 0, new TextEncoder().encode(text));
  }

  writeBytes(path: string, offset: number, bytes: Uint8Array): void {
    writeOnce(path, { write: true }, offset, bytes);
  }

  async writeTextSlowly(path: string, text: string): Promise<void> {
    try {
      using file = await Deno.open(path, { write: true, truncate: true });
      const bytes = new TextEncoder().encode(text);
      checkCount(path, await file.write(bytes), bytes.length);
    } catch (cause) {
      throw systemError(cause, "write", path);
    }
  }

  makeFolder(path: string): void {
    attempt("make folder", path, () => Deno.mkdirSync(path));
  }

  removeFolder(path: string): void {
    // rmdir(2) of a cgroup works although files are in it; those go with it.
    attempt("remove folder", path, () => Deno.removeSync(path));
  }
}

function writeOnce(path: string, how: Deno.OpenOptions, offset: number, bytes: Uint8Array): void {
  attempt("write", path, () => {
    using file = Deno.openSync(path, how);
    if (offset > 0) file.seekSync(offset, Deno.SeekMode.Start);
    checkCount(path, file.writeSync(bytes), bytes.length);
  });
}

function checkCount(path: string, count: number, wanted: number): void {
  if (count === wanted) return;
  throw new BusbarError("io", `${path}: only ${count} of ${wanted} bytes were accepted`, { path });
}

function attempt<T>(operation: string, path: string, body: () => T): T {
  try {
    return body();
  } catch (cause) {
    throw systemError(cause, operation, path);
  }
}

function concatenate(chunks: readonly Uint8Array[]): Uint8Array {
  const only = chunks[0];
  if (chunks.length === 1 && only !== undefined) return only;
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** What `readdir` says of each entry saves a call for each. */
const LOCAL_TREE: TreeSource = {
  entries: (path) =>
    attempt("list", path, () =>
      Array.from(Deno.readDirSync(path), ({ name, isDirectory, isSymlink }) => ({
        name,
        kind: isSymlink ? "link" : isDirectory ? "folder" : "file",
      }))),
  readLink: (path) => thisMachine.readLink(path),
  readFile: (path) => thisMachine.readBytes(path, 0, MAX_READ_BYTES),
};

/** Finds out by trying what each entry of a folder is: for hosts that are asked one question at a time. */
function treeSourceOf(host: Host): TreeSource {
  const fails = (call: () => unknown): boolean => ifReadable(call) === null;
  return {
    entries: (path) =>
      host.list(path).map((name) => {
        const entry = path === "/" ? `/${name}` : `${path}/${name}`;
        if (!fails(() => host.readLink(entry))) return { name, kind: "link" };
        return { name, kind: fails(() => host.list(entry)) ? "file" : "folder" };
      }),
    readLink: (path) => host.readLink(path),
    readFile: (path) => host.readBytes(path, 0, MAX_READ_BYTES),
  };
}

/**
 * The answers to a batch, one call after the other: for implementations of {@linkcode Host} that gain nothing by more.
 *
 * @param tree reads a tree; by default by the host's own calls
 */
export function answerEach(
  host: Host,
  requests: readonly HostRequest[],
  tree: (request: TreeRequest) => HostTree = (request) => walkTree(treeSourceOf(host), request),
): HostAnswer[] {
  return requests.map((request): HostAnswer => {
    try {
      switch (request.call) {
        case "readBytes":
          return host.readBytes(request.path, request.offset, request.sizeBytes);
        case "readTree":
          return tree(request);
        default:
          return host[request.call](request.path);
      }
    } catch (error) {
      if (error instanceof BusbarError) return error;
      throw error;
    }
  });
}

/** This machine. */
export const thisMachine: Host = new LocalHost();

/** What `read` returns, or null when the path does not exist. Any other failure is still an error. */
export function ifPresent<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (isBusbarError(error, "absent")) return null;
    throw error;
  }
}

/**
 * What `read` returns, or null when it cannot be had: absent, no permission, an I/O error.
 * For values that are shown when they are known and that nothing depends on.
 */
export function ifReadable<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof BusbarError) return null;
    throw error;
  }
}

/** What `read` returns, null when the path does not exist, and why it is not known after any other failure. */
export function factOf<T>(read: () => T): Fact<T> {
  try {
    return read();
  } catch (error) {
    if (isBusbarError(error, "absent")) return null;
    if (isBusbarError(error, "not-recorded")) return new Unknown("not recorded");
    if (error instanceof BusbarError) return new Unknown(error.message);
    throw error;
  }
}

/** Whether `path` exists on `host`, where that can be told. */
export function presence(host: Host, path: string): boolean | Unknown {
  const size = factOf(() => host.sizeBytes(path));
  return size instanceof Unknown ? size : size !== null;
}

/** True when `path` exists on `host`. */
export function exists(host: Host, path: string): boolean {
  return ifPresent(() => host.sizeBytes(path)) !== null;
}
