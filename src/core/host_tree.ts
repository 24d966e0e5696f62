/**
 * Walking a tree of folders, for whoever has files to answer a {@linkcode TreeRequest} from.
 * @module
 */

import { BusbarError } from "./error.ts";
import { type HostTree, MAX_TREE_BYTES, MAX_TREE_DEPTH, MAX_TREE_ENTRIES, type TreeRequest } from "./host_requests.ts";

/** What a tree is made of. Every function throws BusbarError. */
export interface TreeSource {
  /** The entries of a folder. What is neither folder nor link is a file. */
  entries(path: string): readonly { readonly name: string; readonly kind: "folder" | "link" | "file" }[];
  /** What a link holds. */
  readLink(path: string): string;
  /** A whole file. */
  readFile(path: string): Uint8Array;
}

/**
 * Looks at a folder and what lies below it.
 *
 * @throws {BusbarError} as looking into the folder itself does; `out-of-range` for a tree that is too deep or too large
 */
export function walkTree(source: TreeSource, request: TreeRequest): HostTree {
  const { path: root, depth, files: wanted } = request;
  if (!Number.isInteger(depth) || depth < 0 || depth > MAX_TREE_DEPTH) {
    throw new BusbarError("out-of-range", `${root}: a tree of depth ${depth}; at most ${MAX_TREE_DEPTH} can be read`, {
      operation: "read tree",
      path: root,
    });
  }
  const folders = new Map<string, readonly string[] | BusbarError>();
  const links = new Map<string, string | BusbarError>();
  const files = new Map<string, Uint8Array | BusbarError>();
  let entryCount = 0;
  let byteCount = 0;
  const walk = (folder: string, left: number): void => {
    const entries = source.entries(folder);
    entryCount += entries.length;
    if (entryCount > MAX_TREE_ENTRIES) throw tooLarge(root, `${MAX_TREE_ENTRIES} entries`);
    folders.set(folder, entries.map(({ name }) => name).sort());
    for (const { name, kind } of entries) {
      const path = folder === "/" ? `/${name}` : `${folder}/${name}`;
      if (kind === "link") links.set(path, orError(() => source.readLink(path)));
      const leadsOn = kind === "folder" || kind === "link" && request.followLinks === true && folder === root;
      if (leadsOn && left > 0) {
        const error = orError(() => walk(path, left - 1));
        // A link to a file, or to nothing, is no folder.
        if (error instanceof BusbarError && error.code === "out-of-range") throw error;
        if (error instanceof BusbarError && (kind === "folder" || error.code !== "absent")) folders.set(path, error);
      } else if (kind === "file" && (wanted === "all" || wanted.includes(name))) {
        const bytes = orError(() => source.readFile(path));
        files.set(path, bytes);
        byteCount += bytes instanceof BusbarError ? 0 : bytes.length;
        if (byteCount > MAX_TREE_BYTES) throw tooLarge(root, `${MAX_TREE_BYTES} bytes`);
      }
    }
  };
  walk(root, depth);
  return { folders, links, files };
}

function orError<T>(body: () => T): T | BusbarError {
  try {
    return body();
  } catch (error) {
    if (error instanceof BusbarError) return error;
    throw error;
  }
}

function tooLarge(root: string, limit: string): BusbarError {
  return new BusbarError("out-of-range", `${root}: more than ${limit} lie below it`, {
    operation: "read tree",
    path: root,
    hint: "ask for fewer levels, or name the files that are wanted",
  });
}
