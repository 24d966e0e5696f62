/**
 * The text interfaces of a machine that an agent reaches.
 * @module
 */

import { BusbarError, errnoError } from "../core/error.ts";
import type { Host } from "../core/host.ts";
import type { HostAnswer, HostRequest, HostTree, TreeRequest } from "../core/host_requests.ts";
import { MAX_TREE_BYTES, MAX_TREE_DEPTH, MAX_TREE_ENTRIES } from "../core/host_requests.ts";
import type { OpenJournal } from "../core/undo/open_journal.ts";
import { openAgentJournal } from "./agent_journal.ts";
import type { AgentConnection } from "./connection.ts";
import { type Ask, ask, type Reply, ReplyReader } from "./wire.ts";

/** Files larger than this are cut, as on this machine. */
const MAX_READ_BYTES = 16 << 20;
/** Some files of the kernel take seconds to answer; a tree may have many. */
const TREE_EXTRA_MS = 30_000;
/** Taking memory offline can take minutes. */
const SLOW_WRITE_MS = 600_000;
const EMSGSIZE = 90;

/** A machine's files through an agent. */
export class AgentHost implements Host {
  readonly name: string;
  readonly #reader: () => AgentConnection;
  readonly #writer: () => AgentConnection;

  /**
   * @param reader gives the connection that reads
   * @param writer gives the one that may write; called when something is written for the first time
   */
  constructor(name: string, reader: () => AgentConnection, writer: () => AgentConnection) {
    this.name = name;
    this.#reader = reader;
    this.#writer = writer;
  }

  readText(path: string): string {
    return value(this.#one({ call: "readText", path }));
  }

  readBytes(path: string, offset: number, sizeBytes: number): Uint8Array {
    return value(this.#one({ call: "readBytes", path, offset, sizeBytes }));
  }

  list(path: string): string[] {
    return value(this.#one({ call: "list", path }));
  }

  readLink(path: string): string {
    return value(this.#one({ call: "readLink", path }));
  }

  realPath(path: string): string {
    return value(this.#one({ call: "realPath", path }));
  }

  sizeBytes(path: string): number {
    return value(this.#one({ call: "sizeBytes", path }));
  }

  batch(requests: readonly HostRequest[]): HostAnswer[] {
    if (requests.length === 0) return [];
    const answers: (HostAnswer | null)[] = requests.map(refusal);
    const asks = requests.filter((_, i) => answers[i] === null).map(askFor);
    const trees = requests.some(({ call }) => call === "readTree");
    const replies = asks.length === 0 ? [] : this.#reader().ask(asks, trees ? TREE_EXTRA_MS : 0);
    let next = 0;
    return requests.map((request, i): HostAnswer => answers[i] ?? answerOf(request, replies[next++]));
  }

  writeText(path: string, text: string): void {
    this.#write(ask("writeText", path, text), "write", path);
  }

  writeBytes(path: string, offset: number, bytes: Uint8Array): void {
    this.#write(ask("writeBytes", path, offset, bytes), "write", path);
  }

  async writeTextSlowly(path: string, text: string): Promise<void> {
    await this.#writer().askSlowly(ask("writeText", path, text), "write", { path }, SLOW_WRITE_MS);
  }

  makeFolder(path: string): void {
    this.#write(ask("makeFolder", path), "make folder", path);
  }

  removeFolder(path: string): void {
    this.#write(ask("removeFolder", path), "remove folder", path);
  }

  openJournal(command: string): OpenJournal {
    return openAgentJournal(this.#writer(), command);
  }

  #one(request: HostRequest): HostAnswer {
    const [answer] = this.batch([request]);
    if (answer === undefined) throw new BusbarError("bug", `${this.name}: a batch without an answer`);
    return answer;
  }

  #write(one: Ask, operation: string, path: string): void {
    this.#writer().askOne(one, operation, { path });
  }
}

/** The answer as its call returns it. Which type it has is decided by the request, in {@linkcode answerOf}. */
function value<T extends HostAnswer>(answer: HostAnswer): T {
  if (answer instanceof BusbarError) throw answer;
  return answer as T;
}

/** What is refused without asking. */
function refusal(request: HostRequest): HostAnswer | null {
  const { path } = request;
  if (request.call === "readTree") {
    const { depth } = request;
    if (Number.isInteger(depth) && depth >= 0 && depth <= MAX_TREE_DEPTH) return null;
    return new BusbarError("out-of-range", `${path}: a tree of depth ${depth}; at most ${MAX_TREE_DEPTH} can be read`, {
      operation: "read tree",
      path,
    });
  }
  if (path.includes("\0")) return new BusbarError("usage", "a path cannot hold a NUL character", { path });
  return request.call === "readBytes" && request.sizeBytes > MAX_READ_BYTES
    ? new BusbarError(
      "out-of-range",
      `${path}: ${request.sizeBytes} bytes; at most ${MAX_READ_BYTES} are read at once`,
      {
        operation: "read",
        path,
      },
    )
    : null;
}

function askFor(request: HostRequest): Ask {
  const { path } = request;
  switch (request.call) {
    case "readText":
      return ask("readFile", path, 0, MAX_READ_BYTES);
    case "readBytes":
      return ask("readFile", path, request.offset, request.sizeBytes);
    case "list":
      return ask("list", path);
    case "readLink":
      return ask("readLink", path);
    case "realPath":
      return ask("realPath", path);
    case "sizeBytes":
      return ask("fileSize", path);
    case "readTree": {
      const all = request.files === "all";
      const names = new TextEncoder().encode(
        request.files === "all" ? "" : request.files.map((one) => `${one}\0`).join(""),
      );
      return ask("readTree", path, request.depth, request.followLinks === true ? 1 : 0, all ? 1 : 0, names);
    }
  }
}

const OPERATION: Readonly<Record<HostRequest["call"], string>> = {
  readText: "read",
  readBytes: "read",
  list: "list",
  readLink: "read link",
  realPath: "resolve",
  sizeBytes: "stat",
  readTree: "list",
};

function answerOf(request: HostRequest, reply: Reply | undefined): HostAnswer {
  const { path } = request;
  if (reply === undefined) throw new BusbarError("bug", `${path}: an answer is missing`);
  if (reply.status === -EMSGSIZE && request.call === "readTree") return tooLarge(path);
  if (reply.status < 0) return errnoError(-reply.status, OPERATION[request.call], { path });
  const { bytes } = reply;
  switch (request.call) {
    case "readText":
      return text(bytes).replace(/\n$/, "");
    case "readBytes":
      return bytes.slice(0, request.sizeBytes);
    case "list":
      return namesIn(bytes).sort();
    case "readLink":
    case "realPath":
      return text(bytes);
    case "sizeBytes":
      return Number(new ReplyReader(bytes).u64());
    case "readTree":
      return treeFrom(bytes, request);
  }
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Names with a zero byte behind each. One that could be a path is none. */
function namesIn(bytes: Uint8Array): string[] {
  const names = text(bytes).split("\0");
  names.pop();
  return names.filter((name) => name !== "" && name !== "." && name !== ".." && !name.includes("/"));
}

/** The records of `csrc/agent/tree.c`. */
function treeFrom(bytes: Uint8Array<ArrayBuffer>, request: TreeRequest): HostTree | BusbarError {
  const folders = new Map<string, readonly string[] | BusbarError>();
  const links = new Map<string, string | BusbarError>();
  const files = new Map<string, Uint8Array | BusbarError>();
  const reader = new ReplyReader(bytes);
  let entryCount = 0;
  let byteCount = 0;
  while (!reader.isAtEnd) {
    const kind = String.fromCharCode(reader.u8());
    const status = reader.i32();
    const size = reader.u32();
    const path = reader.text(reader.u16());
    const contents = reader.bytes(size);
    if (path !== request.path && !path.startsWith(`${request.path}/`)) {
      throw new BusbarError("io", `${request.path}: the tree that was sent holds something else`, {
        path: request.path,
      });
    }
    const error = status < 0
      ? errnoError(-status, kind === "l" ? "read link" : kind === "d" ? "list" : "read", { path })
      : null;
    if (kind === "d") {
      const names = namesIn(contents).sort();
      entryCount += names.length;
      folders.set(path, error ?? names);
    } else if (kind === "l") links.set(path, error ?? text(contents));
    else {
      byteCount += size;
      files.set(path, error ?? contents.slice());
    }
    if (entryCount > MAX_TREE_ENTRIES || byteCount > MAX_TREE_BYTES) return tooLarge(request.path);
  }
  return { folders, links, files };
}

function tooLarge(path: string): BusbarError {
  return new BusbarError("out-of-range", `${path}: more lies below it than one answer holds`, {
    operation: "read tree",
    path,
    hint: "ask for fewer levels, or name the files that are wanted",
  });
}
