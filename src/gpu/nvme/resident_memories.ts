/**
 * The table of memories that a kernel that stays brings lists of segments to: a row for each arena in use.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { Gpu } from "../gpu.ts";
import type { PinnedBuffer } from "../memory.ts";
import type { Arena } from "./arena.ts";
import { BlockView } from "./layout.ts";
import { MEMORY_BLOCK } from "./resident_layout.ts";

/** Rows of the table. The first one is not used: it stands for the data area of a request's place. */
export const MEMORIES = 17;

/** Rows for arenas, in pinned host memory. */
export class ResidentMemories implements Disposable {
  readonly #table: PinnedBuffer;
  readonly #name: string;
  /** By row, the unused first one left out. */
  readonly #users: { arena: Arena; users: number }[] = [];

  private constructor(table: PinnedBuffer, name: string) {
    this.#table = table;
    this.#name = name;
  }

  /** An empty table. @param name the drive's, for messages */
  static allocate(gpu: Gpu, name: string): ResidentMemories {
    const table = gpu.allocatePinned(MEMORIES * MEMORY_BLOCK.sizeBytes);
    table.bytes.fill(0);
    return new ResidentMemories(table, name);
  }

  /** The table's first byte: device address. */
  get address(): bigint {
    return this.#table.address;
  }

  /** The row of an arena, which it keeps until {@linkcode leave}. @throws {BusbarError} `busy` when all rows are in use */
  use(arena: Arena): number {
    let index = this.#users.findIndex((one) => one.users > 0 && one.arena === arena);
    if (index < 0) {
      index = this.#users.findIndex(({ users }) => users === 0);
      if (index < 0) index = this.#users.length;
      if (index + 1 >= MEMORIES) {
        throw new BusbarError("busy", `${this.#name}: ${index} arenas are being read into`, {
          operation: "read into an arena",
          path: this.#name,
          hint: "wait for one of them",
        });
      }
      this.#users[index] = { arena, users: 0 };
      // A request that names the row is posted after this, with what orders it.
      this.#set(index + 1, arena.address, arena.iova, arena.list, arena.sizeBytes);
    }
    const one = this.#users[index];
    if (one !== undefined) one.users++;
    return index + 1;
  }

  /** Nothing is on its way to a row any more for one who used it. */
  leave(row: number): void {
    const one = this.#users[row - 1];
    if (one === undefined || --one.users > 0) return;
    this.#set(row, 0n, 0n, 0n, 0);
  }

  #set(row: number, address: bigint, iova: bigint, list: bigint, sizeBytes: number): void {
    if (this.#table.bytes.length === 0) return;
    const block = new BlockView(MEMORY_BLOCK, this.#table.bytes, row * MEMORY_BLOCK.sizeBytes);
    block.set({ address, iova, list, bytes: sizeBytes });
  }

  /** Frees the table. */
  [Symbol.dispose](): void {
    this.#table[Symbol.dispose]();
  }
}
