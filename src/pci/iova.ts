/**
 * Addresses that a device uses behind an IOMMU.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type { AddressRange } from "../../ffi/vfio.ts";

/** Above 4 GiB, so that an address cut to 32 bits hits nothing. */
const PREFERRED_START = 0x1_0000_0000n;

/**
 * Where the kernel does not tell what it can map: below 2^39, the smallest address width of an IOMMU, and outside the
 * window of the interrupt messages (0xfee00000 on x86).
 */
const ASSUMED: readonly AddressRange[] = [{ first: PREFERRED_START, last: (1n << 39n) - 1n }];

/** Gives out addresses; between two pieces lies a page that belongs to neither, so running over an end is a fault. */
export class IovaSpace {
  readonly #ranges: readonly AddressRange[];
  readonly #pageBytes: bigint;
  /** Pieces given out, by first address: first and last address including the page behind. */
  readonly #used: AddressRange[] = [];

  /**
   * An address space of which nothing is used yet.
   *
   * @param ranges what the IOMMU can map; empty where it is not known
   */
  constructor(ranges: readonly AddressRange[], pageBytes: number) {
    const known = ranges.length === 0 ? ASSUMED : ranges;
    const high = known.flatMap(({ first, last }) => {
      const from = first < PREFERRED_START ? PREFERRED_START : first;
      return from <= last ? [{ first: from, last }] : [];
    });
    // Low addresses only where there is nothing else, and never address 0.
    const low = known.map(({ first, last }) => ({ first: first === 0n ? BigInt(pageBytes) : first, last }));
    this.#ranges = [...high, ...low];
    this.#pageBytes = BigInt(pageBytes);
  }

  /**
   * A free piece of `sizeBytes`, rounded up to whole pages; the address is a multiple of the page size.
   *
   * @throws {BusbarError} `io` when no piece is large enough
   */
  allocate(sizeBytes: bigint): bigint {
    const page = this.#pageBytes;
    const need = (sizeBytes + page - 1n) / page * page + page;
    for (const range of this.#ranges) {
      let at = (range.first + page - 1n) / page * page;
      for (const piece of this.#used) {
        if (piece.last < at || piece.first > range.last) continue;
        if (at + need - 1n < piece.first) break;
        at = piece.last + 1n;
      }
      if (at + need - 1n > range.last) continue;
      this.#insert({ first: at, last: at + need - 1n });
      return at;
    }
    throw new BusbarError("io", `no ${sizeBytes} bytes of addresses are left for the device`, {
      operation: "allocate device addresses",
      hint: "free buffers that are not used any more",
    });
  }

  /** Gives a piece back. */
  free(iova: bigint): void {
    const index = this.#used.findIndex((piece) => piece.first === iova);
    if (index < 0) throw new BusbarError("bug", `0x${iova.toString(16)} was not given out`);
    this.#used.splice(index, 1);
  }

  #insert(piece: AddressRange): void {
    const index = this.#used.findIndex((other) => other.first > piece.first);
    this.#used.splice(index < 0 ? this.#used.length : index, 0, piece);
  }
}
