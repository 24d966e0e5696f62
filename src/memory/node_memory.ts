/**
 * Memory of one NUMA node of this machine, for the matrix.
 * @module
 */

import { Chase, MIXED_PIECE_BYTES, MixedStream } from "../../ffi/membench.ts";
import { Mapping } from "../../ffi/memory.ts";
import { BusbarError } from "../core/error.ts";
import type { MemoryLoop } from "../core/memory_loops.ts";
import { MemoryBackend } from "./backend.ts";
import type { NodeMemory } from "./matrix.ts";

/**
 * Takes memory that may come from one node only. No page of it is there before it is touched.
 *
 * @param sizeBytes a multiple of 1 KiB
 * @throws {BusbarError} as {@linkcode MemoryBackend.open} for memory of a node
 */
export function openNodeMemory(node: number, sizeBytes: number): NodeMemory {
  const backend = MemoryBackend.open({ backend: "numa", node, sizeBytes: BigInt(sizeBytes) });
  const { memory } = backend;
  if (!(memory instanceof Mapping)) throw new BusbarError("bug", `${memory.name}: not memory of this process`);
  return {
    pageNodes: () => memory.pageNodes(),
    chase: (strideBytes, yieldToEventLoop) =>
      Chase.prepare({ memory, offset: 0, sizeBytes }, strideBytes, 1n, yieldToEventLoop),
    mixed: (thread, threads, readsPercent): MemoryLoop => {
      const part = Math.floor(sizeBytes / threads / MIXED_PIECE_BYTES) * MIXED_PIECE_BYTES;
      return new MixedStream({ memory, offset: thread * part, sizeBytes: part }, readsPercent);
    },
    [Symbol.dispose]: () => backend[Symbol.dispose](),
  };
}
