/**
 * A recorded machine: the files and links of another machine, or of this one at another time, held in memory.
 * @module
 */

import { BusbarError, errnoError } from "./error.ts";
import { answerEach, type Host } from "./host.ts";
import type { HostAnswer, HostRequest } from "./host_requests.ts";
import { type TreeSource, walkTree } from "./host_tree.ts";

/** What was recorded: absolute paths without symbolic links in them, and the links. */
export interface Recording {
  /** Contents by path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Link texts by path; relative ones count from the folder that holds the link, as on a file system. */
  readonly links: ReadonlyMap<string, string>;
  /**
   * Paths that were looked for and not found. Where it is given, all else that is missing was not recorded; where it is
   * not, what is missing is absent.
   */
  readonly absent?: ReadonlySet<string>;
}

/** As many links as Linux follows in one path. */
const MAX_LINKS = 40;

/** What Linux says to a call that reads a link where there is none, and a file where there is a folder. */
const EINVAL = 22;
const EISDIR = 21;

/** A {@linkcode Host} that answers from a {@linkcode Recording}. Nothing can be written. */
export class RecordedHost implements Host {
  readonly name: string;
  /** What it does not hold may be on the machine. */
  readonly isPartial: boolean;
  readonly #recording: Recording;
  readonly #folders = new Map<string, Set<string>>();

  /**
   * A machine that has what the recording has, and nothing else.
   *
   * @param name for messages: `recorded machine saved.dump`
   */
  constructor(name: string, recording: Recording) {
    this.name = name;
    this.isPartial = recording.absent !== undefined;
    this.#recording = recording;
    for (const path of [...recording.files.keys(), ...recording.links.keys()]) this.#addToFolders(path);
  }

  readText(path: string): string {
    return new TextDecoder().decode(this.#file(path)).replace(/\n$/, "");
  }

  readBytes(path: string, offset: number, sizeBytes: number): Uint8Array {
    return this.#file(path).slice(offset, offset + sizeBytes);
  }

  list(path: string): string[] {
    const names = this.#folders.get(this.#resolve(path));
    if (names === undefined) throw this.#absent(path);
    return [...names].sort();
  }

  readLink(path: string): string {
    const { folder, name } = split(path);
    const link = this.#recording.links.get(`${this.#resolve(folder)}/${name}`);
    if (link !== undefined) return link;
    throw this.#isThere(path) ? errnoError(EINVAL, "read link", { path }) : this.#absent(path);
  }

  realPath(path: string): string {
    const resolved = this.#resolve(path);
    if (!this.#recording.files.has(resolved) && !this.#folders.has(resolved)) throw this.#absent(path);
    return resolved;
  }

  sizeBytes(path: string): number {
    const resolved = this.realPath(path);
    return this.#recording.files.get(resolved)?.length ?? 0;
  }

  batch(requests: readonly HostRequest[]): HostAnswer[] {
    return answerEach(this, requests, (request) => walkTree(this.#treeSource, request));
  }

  writeText(path: string): void {
    throw this.#readOnly(path);
  }

  writeBytes(path: string): void {
    throw this.#readOnly(path);
  }

  writeTextSlowly(path: string): Promise<void> {
    return Promise.reject(this.#readOnly(path));
  }

  makeFolder(path: string): void {
    throw this.#readOnly(path);
  }

  removeFolder(path: string): void {
    throw this.#readOnly(path);
  }

  readonly #treeSource: TreeSource = {
    entries: (path) => {
      const folder = this.#resolve(path);
      return this.list(path).map((name) => {
        const entry = `${folder}/${name}`;
        const kind = this.#recording.links.has(entry) ? "link" : this.#folders.has(entry) ? "folder" : "file";
        return { name, kind };
      });
    },
    readLink: (path) => this.readLink(path),
    readFile: (path) => this.#file(path),
  };

  #addToFolders(path: string): void {
    for (let rest = path; rest !== "";) {
      const { folder, name } = split(rest);
      const names = this.#folders.get(folder) ?? new Set();
      this.#folders.set(folder, names.add(name));
      rest = folder;
    }
  }

  #file(path: string): Uint8Array {
    const bytes = this.#recording.files.get(this.#resolve(path));
    if (bytes !== undefined) return bytes;
    throw this.#isThere(path) ? errnoError(EISDIR, "read", { path }) : this.#absent(path);
  }

  #isThere(path: string): boolean {
    const resolved = this.#resolve(path);
    return this.#recording.files.has(resolved) || this.#folders.has(resolved);
  }

  /** The path without symbolic links, `.` and `..`. Whether anything is there is another question. */
  #resolve(path: string): string {
    let pending = path.split("/").filter((part) => part !== "");
    let resolved = "";
    let links = 0;
    while (pending.length > 0) {
      const [part = "", ...rest] = pending;
      pending = rest;
      if (part === ".") continue;
      if (part === "..") {
        resolved = split(resolved).folder;
        continue;
      }
      const link = this.#recording.links.get(`${resolved}/${part}`);
      if (link === undefined) {
        resolved = `${resolved}/${part}`;
        continue;
      }
      if (++links > MAX_LINKS) {
        throw new BusbarError("io", `${path}: too many symbolic links in ${this.name}`, { operation: "resolve", path });
      }
      if (link.startsWith("/")) resolved = "";
      pending = [...link.split("/").filter((part) => part !== ""), ...rest];
    }
    return resolved;
  }

  #absent(path: string): BusbarError {
    if (this.isPartial && this.#recording.absent?.has(this.#resolve(path)) !== true) {
      return new BusbarError("not-recorded", `${path}: not recorded in ${this.name}`, { operation: "read", path });
    }
    return new BusbarError("absent", `${path}: not in ${this.name}`, { operation: "read", path });
  }

  #readOnly(path: string): BusbarError {
    return new BusbarError("unsupported", `${path}: ${this.name} cannot be changed`, { operation: "write", path });
  }
}

function split(path: string): { folder: string; name: string } {
  const slash = path.lastIndexOf("/");
  return { folder: path.slice(0, Math.max(0, slash)), name: path.slice(slash + 1) };
}
