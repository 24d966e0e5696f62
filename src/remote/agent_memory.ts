/**
 * Memory of a machine that an agent reaches, and the loops that measure it there.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type {
  FileMappingOptions,
  HotSet,
  MachineMemory,
  MappedMemory,
  MemoryLoop,
  MemoryLoops,
  MemoryPart,
  Persistence,
  Slice,
  StreamKind,
  UpdateLoop,
} from "../core/memory_loops.ts";
import type { AgentConnection } from "./connection.ts";
import { type Ask, ask, ReplyReader } from "./wire.ts";

/** How long one request measures: long against what a request costs, short against what a person waits. */
const SLICE_US = 100_000;
/** As in csrc/busbar.h. */
const MAP = { writable: 1, sync: 8, "2MiB": 16, "1GiB": 32 } as const;
const STREAMS: Readonly<Record<StreamKind, number>> = { read: 0, write: 1, copy: 2, "write-nt": 3, "copy-nt": 4 };
const PERSISTENCE: Readonly<Record<Persistence, number>> = { "none": 0, "cache flush": 1, "msync": 2 };
/** Words that one request goes through, as `csrc/agent/memory_loops.c` has it. */
const WORDS_AT_ONCE = 2 ** 23;
const PREPARE_MS = 10_000;

class AgentMemory implements MappedMemory {
  readonly name: string;
  readonly sizeBytes: number;
  readonly connection: AgentConnection;
  #handle: number | null;

  constructor(name: string, sizeBytes: number, connection: AgentConnection, handle: number) {
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.connection = connection;
    this.#handle = handle;
  }

  get handle(): number {
    if (this.#handle !== null) return this.#handle;
    throw new BusbarError("closed", `${this.name} was used after it was closed`, { path: this.name });
  }

  bytes(): Uint8Array<ArrayBuffer> {
    throw new BusbarError(
      "unsupported",
      `${this.name}: memory of ${this.connection.name} is not memory of this process`,
      {
        operation: "read memory",
        path: this.name,
      },
    );
  }

  sync(offset: number = 0, sizeBytes: number = this.sizeBytes - offset): void {
    this.checkRange(offset, sizeBytes);
    this.#ask(ask("sync", this.handle, offset, sizeBytes), "msync");
  }

  flush(offset: number = 0, sizeBytes: number = this.sizeBytes - offset): void {
    this.checkRange(offset, sizeBytes);
    this.#ask(ask("flush", this.handle, offset, sizeBytes), "flush");
  }

  bindNode(node: number): void {
    this.#ask(ask("bindNode", this.handle, node), `take memory from node ${node}`);
  }

  checkRange(offset: number, sizeBytes: number): void {
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(sizeBytes);
    if (whole && offset >= 0 && sizeBytes >= 0 && offset + sizeBytes <= this.sizeBytes) return;
    throw new BusbarError(
      "out-of-range",
      `${this.name}: ${sizeBytes} bytes at ${offset} lie outside ${this.sizeBytes}`,
      {
        path: this.name,
      },
    );
  }

  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = null;
    if (handle !== null && !this.connection.isBroken) this.connection.ask([ask("close", handle)]);
  }

  #ask(one: Ask, operation: string): void {
    this.connection.askOne(one, operation, { path: this.name });
  }
}

/** The memory behind a part, its handle, offset and size: what requests begin with. */
function placeOf({ memory, offset, sizeBytes }: MemoryPart): [memory: AgentMemory, args: [number, number, number]] {
  if (!(memory instanceof AgentMemory)) throw new BusbarError("bug", `${memory.name}: not memory of that machine`);
  memory.checkRange(offset, sizeBytes);
  return [memory, [memory.handle, offset, sizeBytes]];
}

function sliceFrom(reader: ReplyReader): Slice {
  const [count, nanoseconds, cpuNanoseconds, systemNanoseconds] = [
    reader.u64(),
    reader.u64(),
    reader.u64(),
    reader.u64(),
  ];
  return {
    count: Number(count),
    nanoseconds: Number(nanoseconds),
    cpuNanoseconds: Number(cpuNanoseconds),
    systemNanoseconds: Number(systemNanoseconds),
  };
}

async function run(memory: AgentMemory, one: Ask, operation: string): Promise<ReplyReader> {
  const { bytes } = await memory.connection.askSlowly(one, operation, { path: memory.name }, PREPARE_MS);
  return new ReplyReader(bytes);
}

async function chase(
  part: MemoryPart,
  strideBytes: number,
  seed: bigint,
  yieldToEventLoop: () => void,
): Promise<MemoryLoop> {
  const [memory, place] = placeOf(part);
  for (let restart = 1;; restart = 0) {
    const one = ask("chasePrepare", ...place, strideBytes, BigInt.asUintN(64, seed), SLICE_US, restart);
    const { status } = await memory.connection.askSlowly(one, "prepare a chase", { path: memory.name }, PREPARE_MS);
    if (status === 1) break;
    yieldToEventLoop();
  }
  return {
    slice: async (cpu) => sliceFrom(await run(memory, ask("chase", memory.handle, cpu, SLICE_US), "follow a chase")),
  };
}

function stream(kind: StreamKind, to: MemoryPart, from: MemoryPart = to): MemoryLoop {
  if (to.sizeBytes !== from.sizeBytes) throw new BusbarError("bug", "a copy needs two parts of equal size");
  let position = 0n;
  return {
    async slice(cpu: number, delay: number = 0): Promise<Slice> {
      const [memory, place] = placeOf(to);
      const [, [source, offset]] = placeOf(from);
      const one = ask("stream", STREAMS[kind], ...place, source, offset, position, delay, cpu, SLICE_US);
      const reader = await run(memory, one, kind);
      position = reader.u64();
      return sliceFrom(reader);
    },
  };
}

function persistentWrites(part: MemoryPart, blockBytes: number, how: Persistence): MemoryLoop {
  let position = 0n;
  return {
    async slice(cpu: number): Promise<Slice> {
      const [memory, place] = placeOf(part);
      const one = ask("persistBlocks", ...place, blockBytes, PERSISTENCE[how], position, cpu, SLICE_US);
      const reader = await run(memory, one, "write and persist");
      position = reader.u64();
      return sliceFrom(reader);
    },
  };
}

function updates(table: MemoryPart, start: bigint, hot: HotSet | null): UpdateLoop {
  let state = BigInt.asUintN(64, start);
  const share = hot === null ? 0 : Math.min(0xffff_ffff, Math.round(hot.share * 2 ** 32));
  return {
    async slice(count: number, cpu: number): Promise<Slice> {
      const [memory, place] = placeOf(table);
      const hotSet = [hot?.startWord ?? 0, hot?.words ?? 0, share] as const;
      const reader = await run(
        memory,
        ask("updates", ...place, ...hotSet, state, count, cpu, SLICE_US),
        "update at random",
      );
      state = reader.u64();
      return sliceFrom(reader);
    },
  };
}

function* partsOf({ sizeBytes }: MemoryPart): Generator<[first: number, words: number]> {
  const words = sizeBytes / 8;
  for (let first = 0; first < words; first += WORDS_AT_ONCE) yield [first, Math.min(WORDS_AT_ONCE, words - first)];
}

async function prepareTable(table: MemoryPart, yieldToEventLoop: () => void = () => {}): Promise<void> {
  const [memory, place] = placeOf(table);
  for (const range of partsOf(table)) {
    await run(memory, ask("tablePrepare", ...place, ...range), "prepare a table");
    yieldToEventLoop();
  }
}

async function tableErrors(table: MemoryPart, yieldToEventLoop: () => void = () => {}): Promise<number> {
  const [memory, place] = placeOf(table);
  let errors = 0;
  for (const range of partsOf(table)) {
    errors += Number((await run(memory, ask("tableErrors", ...place, ...range), "check a table")).u64());
    yieldToEventLoop();
  }
  return errors;
}

const LOOPS: MemoryLoops = { chase, stream, persistentWrites, updates, prepareTable, tableErrors };

/**
 * A machine's memory.
 *
 * @param reader gives the connection that reads
 * @param writer gives the one that may write files and devices
 */
export function agentMemory(reader: () => AgentConnection, writer: () => AgentConnection): MachineMemory {
  const open = (connection: AgentConnection, one: Ask, name: string, sizeBytes: number): AgentMemory => {
    const reply = connection.askOne(one, "map", { path: name }, PREPARE_MS);
    return new AgentMemory(name, sizeBytes, connection, new ReplyReader(reply.bytes).u32());
  };
  return {
    get pageBytes(): number {
      return reader().hello.pageBytes;
    },
    loops: LOOPS,
    mapFile(path: string, sizeBytes: number, { offset = 0n, writable, sync }: FileMappingOptions = {}): MappedMemory {
      const flags = (writable === true ? MAP.writable : 0) | (sync === true ? MAP.sync : 0);
      const connection = writable === true ? writer() : reader();
      return open(connection, ask("mapFile", path, offset, sizeBytes, flags), path, sizeBytes);
    },
    mapAnonymous(sizeBytes: number, pages: "base" | "2MiB" | "1GiB"): MappedMemory {
      const flags = pages === "base" ? 0 : MAP[pages];
      return open(reader(), ask("mapAnonymous", sizeBytes, flags), "anonymous memory", sizeBytes);
    },
  };
}
