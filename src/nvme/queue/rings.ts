/**
 * The rings and doorbells of a queue pair as memory: all that an owner needs to drive it. The driver's `QueuePair` is one
 * owner; a kernel on a GPU, or a loop of a program's own, can be another.
 *
 * An owner keeps three numbers: tail, head and phase, at first 0, 0 and {@linkcode FIRST_PHASE}. It writes commands at the
 * tail and stores the new tail into the tail doorbell, once the commands are in memory. It takes completions from the head
 * on while bit 16 of their fourth dword is the phase, then stores the new head into the head doorbell. Where the head
 * returns to 0, the phase changes. One entry of a submission ring stays free.
 *
 * Source: NVM Express Base 2.0 §3.3.1 (rings), §3.3.3.2 (completions and their phase); NVMe over PCIe Transport 1.0 §3.1.2
 * (doorbells).
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError } from "../../core/error.ts";
import type { MappedMmio } from "../../../ffi/mmio.ts";
import { CQE_BYTES, SQE_BYTES } from "../../../ffi/nvme_queue.ts";
import { DOORBELLS_OFFSET } from "../tables/registers.ts";

/** The phase bit of the first completions in a new ring, whose memory is zeroed. */
export const FIRST_PHASE = 1;

/** A ring of entries. */
export interface QueueRing {
  /** Bytes of an entry: 64 of a command, 16 of a completion. */
  readonly entryBytes: number;
  /** Where the first entry is for the controller. */
  readonly iova: bigint;
  /** The memory for its owner: `bytes` here, `pointer` for loops in C and for registering it with a GPU. */
  readonly memory: DmaBuffer;
  /** True when the memory is the controller's own (CMB): then it is written in whole words, as registers are. */
  readonly isInDevice: boolean;
}

/** A queue pair as memory. */
export interface QueueRings {
  /** Queue identifier, of both: 0 is the admin queue. */
  readonly id: number;
  /** Entries of each ring, 2 to 65536. */
  readonly entries: number;
  /** Commands. */
  readonly submission: QueueRing;
  /** Completions. */
  readonly completion: QueueRing;
  /** BAR0, where the doorbells are. */
  readonly registers: MappedMmio;
  /** Offset in BAR0 of the submission queue's tail doorbell, 4 bytes wide. */
  readonly tailDoorbell: number;
  /** Offset in BAR0 of the completion queue's head doorbell, 4 bytes wide. */
  readonly headDoorbell: number;
  /** Bytes from one doorbell to the next: 4 << CAP.DSTRD. */
  readonly strideBytes: number;
}

/** What rings are made of. */
export interface RingsOptions {
  /** Queue identifier. */
  readonly id: number;
  /** Entries of each ring, 2 to 65536. */
  readonly entries: number;
  /** BAR0. */
  readonly registers: MappedMmio;
  /** Bytes between doorbells. */
  readonly strideBytes: number;
  /** Memory for commands. */
  readonly sq: DmaBuffer;
  /** True when that memory is the controller's own. */
  readonly isSqInDevice?: boolean;
  /** Memory for completions, zeroed. */
  readonly cq: DmaBuffer;
}

/** Bytes of memory that a pair of rings takes. */
export function ringBytes(entries: number): { readonly sq: number; readonly cq: number } {
  return { sq: entries * SQE_BYTES, cq: entries * CQE_BYTES };
}

/**
 * Lays rings over memory. The controller is told of them by whoever makes them.
 *
 * @throws {BusbarError} `out-of-range` for memory that is too small, and for a number of entries that no queue can have
 */
export function makeRings(options: RingsOptions): QueueRings {
  const { id, entries, registers, strideBytes, sq, cq, isSqInDevice = false } = options;
  const needed = ringBytes(entries);
  const fits = Number.isInteger(entries) && entries >= 2 && entries <= 65_536 && sq.sizeBytes >= needed.sq &&
    cq.sizeBytes >= needed.cq;
  if (!fits) {
    throw new BusbarError(
      "out-of-range",
      `queue ${id}: ${entries} entries in ${sq.sizeBytes} and ${cq.sizeBytes} bytes of memory`,
      { operation: "make a queue pair", hint: "2 to 65536 entries, of 64 bytes for commands and 16 for completions" },
    );
  }
  const tailDoorbell = DOORBELLS_OFFSET + 2 * id * strideBytes;
  return {
    id,
    entries,
    submission: { entryBytes: SQE_BYTES, iova: sq.iova, memory: sq, isInDevice: isSqInDevice },
    completion: { entryBytes: CQE_BYTES, iova: cq.iova, memory: cq, isInDevice: false },
    registers,
    tailDoorbell,
    headDoorbell: tailDoorbell + strideBytes,
    strideBytes,
  };
}
