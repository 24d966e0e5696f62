/**
 * The operations of the agent: one table, from which the C dispatch (`csrc/agent/operations.h`), this side's requests, the
 * page about the protocol and the fuzz test are made.
 * @module
 */

/**
 * How an argument is sent. `path`: 16 bits of length and the bytes. `u32`, `u64`: little-endian. `bytes`: 32 bits of length
 * and the bytes.
 */
export type ArgumentType = "path" | "u32" | "u64" | "bytes";

/** An argument of an operation. */
export interface Argument {
  /** What it is called. */
  readonly name: string;
  /** How it is sent. */
  readonly type: ArgumentType;
}

/** What an agent has to be started with so that it does an operation: nothing, `--write`, `--accelerator`. */
export type Right = "read" | "write" | "accelerator";

/** An operation. */
export interface Operation {
  /** Its number in a request; never used for another one. */
  readonly number: number;
  /** What the agent must be allowed to do. */
  readonly right: Right;
  /** What it takes, in this order. */
  readonly arguments: readonly Argument[];
  /** What it does, and what its answer holds. */
  readonly title: string;
}

const path: Argument = { name: "path", type: "path" };
const handle: Argument = { name: "handle", type: "u32" };
const offset: Argument = { name: "offset", type: "u64" };
const u32 = (name: string): Argument => ({ name, type: "u32" });
const u64 = (name: string): Argument => ({ name, type: "u64" });
const bytes = (name: string): Argument => ({ name, type: "bytes" });

/** A part of mapped memory. */
const part: readonly Argument[] = [handle, offset, u64("size")];

/** The version of the protocol. Raised whenever a row changes that an agent may have been built with. */
export const PROTOCOL_VERSION = 2;

/** The name of an operation. */
export type OperationName =
  | "hello"
  | "readFile"
  | "list"
  | "readLink"
  | "realPath"
  | "fileSize"
  | "readTree"
  | "status"
  | "tryOpen"
  | "isDax"
  | "writeText"
  | "writeBytes"
  | "makeFolder"
  | "removeFolder"
  | "journalOpen"
  | "journalAppend"
  | "journalEnd"
  | "journalList"
  | "journalRestore"
  | "journalUndone"
  | "mapRegisters"
  | "close"
  | "readRegister"
  | "writeRegister"
  | "readBlock"
  | "writeBlock"
  | "pollRegister"
  | "openNvme"
  | "nvmeAdmin"
  | "mapFile"
  | "mapAnonymous"
  | "bindNode"
  | "flush"
  | "sync"
  | "chasePrepare"
  | "chase"
  | "stream"
  | "persistBlocks"
  | "updates"
  | "tablePrepare"
  | "tableErrors"
  | "openOradax"
  | "oradaxAllocate"
  | "oradaxRead"
  | "oradaxWrite"
  | "oradaxSubmit"
  | "oradaxWait"
  | "oradaxCompletion"
  | "oradaxInfo"
  | "oradaxKill"
  | "oradaxDequeue";

/** The table. */
export const OPERATIONS: Readonly<Record<OperationName, Operation>> = {
  hello: {
    number: 1,
    right: "read",
    arguments: [],
    title: "The version, rights, user, process, page size of the agent, and the boot that it runs in.",
  },
  readFile: {
    number: 2,
    right: "read",
    arguments: [path, offset, u32("size")],
    title: "Up to size bytes of a regular file.",
  },
  list: { number: 3, right: "read", arguments: [path], title: "The names in a folder, each ended by a zero byte." },
  readLink: { number: 4, right: "read", arguments: [path], title: "What a symbolic link holds." },
  realPath: { number: 5, right: "read", arguments: [path], title: "The path without links." },
  fileSize: { number: 6, right: "read", arguments: [path], title: "The size of a file: 64 bits." },
  readTree: {
    number: 7,
    right: "read",
    arguments: [path, u32("depth"), u32("followLinks"), u32("allFiles"), bytes("names")],
    title: "A folder with what lies below it: records of a kind, a status, a path and contents.",
  },
  status: {
    number: 8,
    right: "read",
    arguments: [path],
    title: "What stat says: kind, mode, owner, size, device numbers.",
  },
  tryOpen: {
    number: 9,
    right: "read",
    arguments: [path, u32("writable")],
    title: "Opens and closes a file; without the right to write, writing is only asked about (access).",
  },
  isDax: { number: 10, right: "read", arguments: [path], title: "1 when a file is accessed without the page cache." },
  writeText: {
    number: 11,
    right: "write",
    arguments: [path, bytes("text")],
    title: "Writes a text in place of the old one.",
  },
  writeBytes: {
    number: 12,
    right: "write",
    arguments: [path, offset, bytes("bytes")],
    title: "Writes bytes at an offset.",
  },
  makeFolder: { number: 13, right: "write", arguments: [path], title: "Makes a folder." },
  removeFolder: { number: 14, right: "write", arguments: [path], title: "Removes an empty folder." },
  journalOpen: {
    number: 15,
    right: "write",
    arguments: [bytes("command")],
    title:
      "Begins an undo journal in the user's folder there: its number and path. What it lists is put back when the connection ends.",
  },
  journalAppend: {
    number: 16,
    right: "write",
    arguments: [u32("journal"), bytes("line")],
    title: "Adds a change or its result to the journal and returns when it is on disk.",
  },
  journalEnd: {
    number: 17,
    right: "write",
    arguments: [u32("journal"), bytes("name")],
    title: "Ends the journal: removes it, or keeps it under a name until somebody restores it.",
  },
  journalList: {
    number: 18,
    right: "read",
    arguments: [],
    title: "The user's journals there: path, state, each with a zero byte behind it, and contents.",
  },
  journalRestore: {
    number: 19,
    right: "write",
    arguments: [path],
    title: "Puts back what a journal of a dead process lists; a line of JSON for each entry.",
  },
  journalUndone: {
    number: 29,
    right: "write",
    arguments: [u32("journal"), u64("change")],
    title: "Notes in the journal that a change is not there any more.",
  },
  mapRegisters: {
    number: 20,
    right: "read",
    arguments: [path, offset, u64("size"), u32("writable")],
    title: "Maps registers that a file resource0 to resource5 shows. A handle; the first offset.",
  },
  close: { number: 21, right: "read", arguments: [handle], title: "Lets go of what a handle stands for." },
  readRegister: {
    number: 22,
    right: "read",
    arguments: [handle, offset, u32("width")],
    title: "One read of 1, 2, 4 or 8 bytes: 64 bits.",
  },
  writeRegister: {
    number: 23,
    right: "write",
    arguments: [handle, offset, u32("width"), u64("value")],
    title: "One write of 1, 2, 4 or 8 bytes.",
  },
  readBlock: {
    number: 24,
    right: "read",
    arguments: [handle, offset, u32("size"), u32("width")],
    title: "Bytes, by ascending single reads.",
  },
  writeBlock: {
    number: 25,
    right: "write",
    arguments: [handle, offset, u32("width"), bytes("bytes")],
    title: "Bytes, by ascending single writes.",
  },
  pollRegister: {
    number: 26,
    right: "read",
    arguments: [handle, offset, u32("width"), u64("mask"), u64("wanted"), u32("limitUs")],
    title: "Reads a register until it has a value, at most 50 ms. 1 when it has; the last value.",
  },
  openNvme: { number: 27, right: "read", arguments: [path], title: "Opens a character device /dev/nvmeN. A handle." },
  nvmeAdmin: {
    number: 28,
    right: "read",
    arguments: [
      handle,
      bytes("words"),
      bytes("data"),
      u32("dataSize"),
      bytes("metadata"),
      u32("metadataSize"),
      u32("timeoutMs"),
    ],
    title:
      "An admin command. Without the right to write only identify, get log page and get features. Status; dword 0; data.",
  },
  mapFile: {
    number: 30,
    right: "read",
    arguments: [path, offset, u64("size"), u32("flags")],
    title: "Maps a dax device or a regular file; writable only with the right to write. A handle.",
  },
  mapAnonymous: {
    number: 31,
    right: "read",
    arguments: [u64("size"), u32("flags")],
    title: "Maps zeroed memory. A handle.",
  },
  bindNode: {
    number: 32,
    right: "read",
    arguments: [handle, u32("node")],
    title: "Takes pages of memory from one node only.",
  },
  flush: { number: 33, right: "read", arguments: part, title: "Writes cache lines back to memory." },
  sync: { number: 34, right: "write", arguments: part, title: "Writes pages of a file back to it." },
  chasePrepare: {
    number: 35,
    right: "read",
    arguments: [...part, u32("stride"), u64("seed"), u32("limitUs"), u32("restart")],
    title: "Makes a random cycle, for a part of a second. 1 when it is done.",
  },
  chase: {
    number: 36,
    right: "read",
    arguments: [handle, u32("cpu"), u32("limitUs")],
    title: "Follows the cycle. Four counts.",
  },
  stream: {
    number: 37,
    right: "read",
    arguments: [
      u32("kind"),
      ...part,
      u32("fromHandle"),
      u64("fromOffset"),
      u64("position"),
      u32("delay"),
      u32("cpu"),
      u32("limitUs"),
    ],
    title: "Reads, writes or copies. The position to go on from; four counts.",
  },
  persistBlocks: {
    number: 38,
    right: "read",
    arguments: [...part, u32("block"), u32("how"), u64("position"), u32("cpu"), u32("limitUs")],
    title: "Writes blocks, each made permanent. The position to go on from; four counts.",
  },
  updates: {
    number: 39,
    right: "read",
    arguments: [
      ...part,
      u64("hotStart"),
      u64("hotWords"),
      u32("hotShare"),
      u64("state"),
      u64("updates"),
      u32("cpu"),
      u32("limitUs"),
    ],
    title: "Random updates. The state to go on from; four counts.",
  },
  tablePrepare: {
    number: 40,
    right: "read",
    arguments: [...part, u64("first"), u64("words")],
    title: "Sets each word to its own index.",
  },
  tableErrors: {
    number: 41,
    right: "read",
    arguments: [...part, u64("first"), u64("words")],
    title: "How many words are not their own index: 64 bits.",
  },
  openOradax: { number: 50, right: "accelerator", arguments: [path], title: "Opens /dev/oradax1 or 2. A handle." },
  oradaxAllocate: {
    number: 51,
    right: "accelerator",
    arguments: [handle, u64("size"), u64("page")],
    title: "Memory for streams. A handle, an address, the size of a page.",
  },
  oradaxRead: {
    number: 52,
    right: "accelerator",
    arguments: [handle, offset, u32("size")],
    title: "Bytes of such memory.",
  },
  oradaxWrite: {
    number: 53,
    right: "accelerator",
    arguments: [handle, offset, bytes("bytes")],
    title: "Changes such memory.",
  },
  oradaxSubmit: {
    number: 54,
    right: "accelerator",
    arguments: [handle, u32("area"), bytes("ccbs")],
    title: "Hands over command blocks. Bytes taken; a status; data.",
  },
  oradaxWait: {
    number: 55,
    right: "accelerator",
    arguments: [handle, u32("area"), u32("limitUs")],
    title: "Waits at most 50 ms.",
  },
  oradaxCompletion: {
    number: 56,
    right: "accelerator",
    arguments: [handle, u32("area")],
    title: "A completion area: 128 bytes.",
  },
  oradaxInfo: {
    number: 57,
    right: "accelerator",
    arguments: [handle, u32("area")],
    title: "State, unit, queue, position.",
  },
  oradaxKill: { number: 58, right: "accelerator", arguments: [handle, u32("area")], title: "Ends a command block." },
  oradaxDequeue: { number: 59, right: "accelerator", arguments: [handle], title: "Lets go of what has completed." },
};

const LETTERS: Readonly<Record<ArgumentType, string>> = { path: "p", u32: "w", u64: "q", bytes: "b" };

/** The table as C sees it: the text of `csrc/agent/operations.h`. */
export function operationsHeader(): string {
  const rows = Object.entries(OPERATIONS).map(([name, { number, right, arguments: args }]: [string, Operation]) =>
    `  OPERATION(${number}, ${snakeCase(name)}, RIGHT_${right.toUpperCase()}, "${
      args.map(({ type }) => LETTERS[type]).join("")
    }")`
  );
  return `/* Written by deno task docs from src/remote/operations.ts. p: path, w: 32 bits, q: 64 bits, b: bytes. */
#ifndef BUSBAR_AGENT_OPERATIONS_H
#define BUSBAR_AGENT_OPERATIONS_H

#define AGENT_PROTOCOL_VERSION ${PROTOCOL_VERSION}

#define AGENT_OPERATIONS(OPERATION) \\
${rows.join(" \\\n")}

#endif
`;
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
