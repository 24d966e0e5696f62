/**
 * A command made ready: its 64 bytes, memory for its data that the device can reach, and PRPs or an SGL that name it.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { SQE_WORDS } from "../../../ffi/nvme_queue.ts";
import type { NvmeCommand } from "./command.ts";
import type { DmaPool, PooledBuffer } from "./dma_pool.ts";
import { type DmaSegment, prpEntries, type PrpListPage, prpListPages, writePrps } from "./prp.ts";
import { writeSgl } from "./sgl.ts";

const PSDT_SGL = 1;
const TWO_TO_32 = 2 ** 32;

/** How data is described. */
export interface StagingOptions {
  /** Where memory comes from and goes back to. */
  readonly pool: DmaPool;
  /** The controller's memory page in bytes. */
  readonly pageBytes: number;
  /** By an SGL in place of PRPs. Admin commands on PCIe take PRPs only: NVMe over PCIe Transport 1.0. */
  readonly bySgl: boolean;
}

/** Makes the 64 bytes of a command in `words`, and finds memory for its data. */
export function stageCommand(
  command: NvmeCommand,
  options: StagingOptions,
  words: Uint32Array<ArrayBuffer> = new Uint32Array(SQE_WORDS),
): StagedCommand {
  words[0] = command.opcode;
  words[1] = command.nsid ?? 0;
  words[2] = command.cdw2 ?? 0;
  words[3] = command.cdw3 ?? 0;
  for (let at = 4; at < 10; at++) words[at] = 0;
  words[10] = command.cdw10 ?? 0;
  words[11] = command.cdw11 ?? 0;
  words[12] = command.cdw12 ?? 0;
  words[13] = command.cdw13 ?? 0;
  words[14] = command.cdw14 ?? 0;
  words[15] = command.cdw15 ?? 0;
  const toController = (command.opcode & 1) !== 0;
  const toHost = (command.opcode & 2) !== 0;
  const staged = new StagedCommand(words, options.pool);
  try {
    if (command.data !== undefined) {
      const segment = staged.place(command.data, toController, toHost);
      if (options.bySgl) describeBySgl(words, segment);
      else describeByPrps(words, segment, staged, options.pageBytes);
    }
    if (command.metadata !== undefined) {
      const segment = staged.place(command.metadata, toController, toHost);
      setAddress(words, 4, segment.iova);
    }
  } catch (error) {
    staged.release();
    throw error;
  }
  return staged;
}

function describeBySgl(words: Uint32Array, segment: DmaSegment): void {
  const [address, rest] = writeSgl([segment], null);
  words[0] = (words[0] ?? 0) | PSDT_SGL << 14;
  setAddress(words, 6, address);
  setAddress(words, 8, rest);
}

function describeByPrps(words: Uint32Array, segment: DmaSegment, staged: StagedCommand, pageBytes: number): void {
  if (describeByTwoPages(words, segment, pageBytes)) return;
  const entries = prpEntries([segment], pageBytes);
  const listPages = prpListPages(entries.length, pageBytes);
  const lists: PrpListPage[] = listPages === 0 ? [] : staged.listPages(listPages, pageBytes);
  const { prp1, prp2 } = writePrps(entries, lists, pageBytes);
  setAddress(words, 6, prp1);
  setAddress(words, 8, prp2);
}

/** Most commands need no list: then ordinary numbers do. False, and nothing written, for what {@linkcode prpEntries} has to look at. */
function describeByTwoPages(words: Uint32Array, { iova, sizeBytes }: DmaSegment, pageBytes: number): boolean {
  const first = Number(iova);
  const isPlain = first > 0 && first % 4 === 0 && sizeBytes > 0 && first + sizeBytes <= Number.MAX_SAFE_INTEGER;
  if (!isPlain) return false;
  const inFirst = pageBytes - first % pageBytes;
  if (sizeBytes > inFirst + pageBytes) return false;
  setPlainAddress(words, 6, first);
  setPlainAddress(words, 8, sizeBytes > inFirst ? first + inFirst : 0);
  return true;
}

function setPlainAddress(words: Uint32Array, at: number, value: number): void {
  words[at] = value % TWO_TO_32;
  words[at + 1] = value / TWO_TO_32;
}

function setAddress(words: Uint32Array, at: number, value: bigint): void {
  words[at] = Number(value & 0xffff_ffffn);
  words[at + 1] = Number(value >> 32n);
}

/** A command with its memory: what was taken from the pool goes back when it is done. */
export class StagedCommand {
  /** The command, but for its identifier. */
  readonly words: Uint32Array<ArrayBuffer>;
  readonly #pool: DmaPool;
  // Most commands take one buffer or none: lists are made for the others only.
  #taken: PooledBuffer | null = null;
  #furtherTaken: PooledBuffer[] | null = null;
  #copies: { readonly to: Uint8Array<ArrayBuffer>; readonly from: Uint8Array<ArrayBuffer> }[] | null = null;

  /** Takes memory from a pool. */
  constructor(words: Uint32Array<ArrayBuffer>, pool: DmaPool) {
    this.words = words;
    this.#pool = pool;
  }

  /** Where data lies for the device. Ordinary memory is copied: before the command, after it, or both. */
  place(data: NonNullable<NvmeCommand["data"]>, toController: boolean, toHost: boolean): DmaSegment {
    if (!(data instanceof Uint8Array)) {
      const { buffer, offset = 0, sizeBytes = buffer.sizeBytes - offset } = data;
      if (!Number.isInteger(offset) || offset < 0 || sizeBytes <= 0 || offset + sizeBytes > buffer.sizeBytes) {
        throw new BusbarError(
          "out-of-range",
          `${sizeBytes} bytes at ${offset} lie outside a buffer of ${buffer.sizeBytes}`,
        );
      }
      return { iova: buffer.iova + BigInt(offset), sizeBytes };
    }
    if (data.length === 0) throw new BusbarError("usage", "a command with data of no length");
    const { buffer, bytes: whole } = this.#take(data.length);
    const bytes = whole.length === data.length ? whole : whole.subarray(0, data.length);
    if (toController) bytes.set(data);
    else bytes.fill(0);
    if (toHost) (this.#copies ??= []).push({ to: data, from: bytes });
    return { iova: buffer.iova, sizeBytes: data.length };
  }

  /** Pages for PRP lists. */
  listPages(count: number, pageBytes: number): PrpListPage[] {
    const { buffer, bytes } = this.#take(count * pageBytes);
    return Array.from({ length: count }, (_, i) => ({
      iova: buffer.iova + BigInt(i * pageBytes),
      entries: new BigUint64Array(bytes.buffer, bytes.byteOffset + i * pageBytes, pageBytes / 8),
    }));
  }

  #take(sizeBytes: number): PooledBuffer {
    const pooled = this.#pool.take(sizeBytes);
    if (this.#taken === null) this.#taken = pooled;
    else (this.#furtherTaken ??= []).push(pooled);
    return pooled;
  }

  /** Copies what the device sent into the memory of whoever asked. */
  copyOut(): void {
    if (this.#copies === null) return;
    for (const { to, from } of this.#copies) to.set(from);
  }

  /** Gives the memory back. The device must be done with it. */
  release(): void {
    if (this.#taken !== null) this.#pool.give(this.#taken);
    for (const pooled of this.#furtherTaken ?? []) this.#pool.give(pooled);
    this.#taken = null;
    this.#furtherTaken = null;
  }
}
