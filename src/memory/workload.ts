/**
 * Workloads of experiments with memory tiers, from the loops of the memory benchmark: random updates of a table of any size,
 * and a hog that holds memory. Each runs in a process of its own, so that it can be bound, put into a cgroup and counted.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type { MemoryLoops, MemoryPart } from "../core/memory_loops.ts";
import { localMachine } from "../../ffi/machine.ts";
import { Mapping } from "../../ffi/memory.ts";
import { startOfStream } from "./random_stream.ts";

/** The smallest table: a page for each part of it. */
const SMALLEST_TABLE_BYTES = 1 << 20;

/** Updates of a part in one turn, as a share of its words: parts take turns, so that the whole table is in use all the time. */
const TURN_SHARE = 1 / 16;

const LOOPS: MemoryLoops = localMachine.memory.loops;

/** Memory as `malloc` gives it. @throws {BusbarError} `io` when there is not so much */
function mapPrivate(sizeBytes: number): Mapping {
  return Mapping.anonymous(sizeBytes, { private: true });
}

/** What random updates came to. */
export interface UpdatesDone {
  /** Bytes of the table that is updated: the size asked for, cut to whole MiB. */
  readonly tableBytes: number;
  /** Updates that were made. */
  readonly updates: number;
  /** How long they took, without the first touch. */
  readonly seconds: number;
}

/** How random updates are made. */
export interface UpdatesOptions {
  /** Updates for each word of 8 bytes; RandomAccess makes 4. */
  readonly perWord: number;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

/**
 * Touches a table and updates its words at random. RandomAccess has tables of a power of two; one of another size is several
 * such tables, the largest first, which are updated in turns by their shares.
 *
 * @throws {BusbarError} `usage` for less than 1 MiB; `io` when there is not so much memory
 */
export async function updateAtRandom(sizeBytes: bigint, options: UpdatesOptions): Promise<UpdatesDone> {
  const tableBytes = Number(sizeBytes - sizeBytes % BigInt(SMALLEST_TABLE_BYTES));
  if (tableBytes < SMALLEST_TABLE_BYTES) throw tooSmall(sizeBytes);
  using memory = mapPrivate(tableBytes);
  await touch(memory, options.signal);
  const tables = powersOfTwo(tableBytes).map(({ offset, sizeBytes }) => {
    const part: MemoryPart = { memory, offset, sizeBytes };
    const words = sizeBytes / 8;
    const wanted = Math.ceil(words * options.perWord);
    return { loop: LOOPS.updates(part, startOfStream(BigInt(offset)), null), words, wanted, left: wanted };
  });
  const started = performance.now();
  while (tables.some(({ left }) => left > 0)) {
    for (const table of tables) {
      const { count } = await table.loop.slice(Math.min(table.left, Math.ceil(table.words * TURN_SHARE)), -1);
      table.left -= count;
      options.signal?.throwIfAborted();
    }
  }
  const updates = tables.reduce((sum, { wanted }) => sum + wanted, 0);
  return { tableBytes, updates, seconds: (performance.now() - started) / 1000 };
}

/** A size as powers of two, the largest first, each at a multiple of itself. */
function powersOfTwo(sizeBytes: number): { readonly offset: number; readonly sizeBytes: number }[] {
  const parts: { offset: number; sizeBytes: number }[] = [];
  for (let offset = 0; offset < sizeBytes;) {
    const part = 2 ** Math.floor(Math.log2(sizeBytes - offset));
    parts.push({ offset, sizeBytes: part });
    offset += part;
  }
  return parts;
}

/** Writes every byte once, so that the memory is there. */
async function touch(memory: Mapping, signal: AbortSignal | undefined): Promise<void> {
  const { sizeBytes } = memory;
  const stream = LOOPS.stream("write", { memory, offset: 0, sizeBytes: sizeBytes - sizeBytes % 64 });
  for (let done = 0; done < sizeBytes;) {
    done += (await stream.slice(-1)).count;
    signal?.throwIfAborted();
  }
}

/**
 * Touches memory and holds it until the signal.
 *
 * @param onReady called once every page was touched
 * @throws {BusbarError} `usage` for less than 1 MiB; `io` when there is not so much memory
 */
export async function holdMemory(sizeBytes: bigint, onReady: () => void, signal: AbortSignal): Promise<void> {
  using _memory = await holdingMemory(sizeBytes, signal);
  onReady();
  // A timer keeps the process alive; the signal ends it.
  const timer = setInterval(() => {}, 1000);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  clearInterval(timer);
}

/**
 * Touches memory. Dispose gives it back.
 *
 * @throws {BusbarError} `usage` for less than 1 MiB; `io` when there is not so much memory
 */
export async function holdingMemory(sizeBytes: bigint, signal: AbortSignal): Promise<Disposable> {
  if (sizeBytes < BigInt(SMALLEST_TABLE_BYTES)) throw tooSmall(sizeBytes);
  const memory = mapPrivate(Number(sizeBytes));
  try {
    await touch(memory, signal);
    return memory;
  } catch (error) {
    memory[Symbol.dispose]();
    throw error;
  }
}

function tooSmall(sizeBytes: bigint): BusbarError {
  return new BusbarError("usage", `${sizeBytes} bytes are too few: 1 MiB is the least`, {
    operation: "run a workload",
    hint: "write a size, as in 1GiB",
  });
}
