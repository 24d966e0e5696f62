/**
 * Dynamic capacity: extents of a device that are given to hosts and taken back.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Extents that a device may have at once. */
const EXTENT_LIMIT = 65536;

/** A piece of a device that a host has. */
export interface Extent {
  readonly baseAddress: number;
  readonly sizeBytes: number;
  /** The host's own name for it. */
  readonly tag: string;
  readonly host: number;
}

/** How much of a device is given away. */
export interface CapacityState {
  readonly totalBytes: number;
  readonly allocatedBytes: number;
  readonly freeBytes: number;
  readonly extents: number;
}

/** A device whose capacity is dynamic. */
export class DynamicCapacity {
  readonly #totalBytes: number;
  readonly #granularityBytes: number;
  /** By base address. */
  #extents: Extent[] = [];

  /**
   * @param granularityBytes extents begin and end on multiples of it: a power of two
   * @throws {BusbarError} `usage` when the sizes make no sense
   */
  constructor(totalBytes: number, granularityBytes: number) {
    const power = Number.isInteger(Math.log2(granularityBytes)) && granularityBytes >= 1;
    if (!power || !Number.isSafeInteger(totalBytes) || totalBytes <= 0 || totalBytes % granularityBytes !== 0) {
      throw new BusbarError("usage", `a device of ${totalBytes} bytes in pieces of ${granularityBytes}`, {
        operation: "make a dynamic capacity device",
        hint: "the granularity is a power of two, and the size a multiple of it",
      });
    }
    this.#totalBytes = totalBytes;
    this.#granularityBytes = granularityBytes;
  }

  /**
   * Gives an extent to a host.
   *
   * @param baseAddress where, or null for the first place where it fits
   * @throws {BusbarError} `usage` off the granularity, `busy` when it overlaps, `out-of-range` when there is no room
   */
  add(baseAddress: number | null, sizeBytes: number, host: number, tag = ""): Extent {
    this.#check(sizeBytes, "size");
    if (sizeBytes === 0) throw this.#wrong("usage", "an extent of 0 bytes");
    if (this.#extents.length >= EXTENT_LIMIT) {
      throw this.#wrong("out-of-range", `there are ${EXTENT_LIMIT} extents already`);
    }
    const base = baseAddress ?? this.#firstFit(sizeBytes);
    if (base === null) {
      throw this.#wrong("out-of-range", `no room for ${sizeBytes} bytes: ${this.state().freeBytes} are free`);
    }
    this.#check(base, "base");
    if (base + sizeBytes > this.#totalBytes) {
      throw this.#wrong("out-of-range", `${hex(base)} + ${sizeBytes} lies past the end`);
    }
    const other = this.#extents.find((one) =>
      base < one.baseAddress + one.sizeBytes && one.baseAddress < base + sizeBytes
    );
    if (other !== undefined) {
      throw this.#wrong(
        "busy",
        `${hex(base)} + ${sizeBytes} overlaps the extent of host ${other.host} at ${hex(other.baseAddress)}`,
      );
    }
    const extent = { baseAddress: base, sizeBytes, host, tag };
    this.#extents = [...this.#extents, extent].sort((a, b) => a.baseAddress - b.baseAddress);
    return extent;
  }

  /**
   * Takes an extent back.
   *
   * @throws {BusbarError} `absent` when no extent of this host begins there and has this size
   */
  release(baseAddress: number, sizeBytes: number, host: number): void {
    const at = this.#extents.findIndex((one) =>
      one.baseAddress === baseAddress && one.sizeBytes === sizeBytes && one.host === host
    );
    if (at < 0) throw this.#wrong("absent", `host ${host} has no extent of ${sizeBytes} bytes at ${hex(baseAddress)}`);
    this.#extents = this.#extents.filter((_, i) => i !== at);
  }

  /** How much is given away. */
  state(): CapacityState {
    const allocatedBytes = this.#extents.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return {
      totalBytes: this.#totalBytes,
      allocatedBytes,
      freeBytes: this.#totalBytes - allocatedBytes,
      extents: this.#extents.length,
    };
  }

  /** The extents, by base address. */
  extents(): readonly Extent[] {
    return this.#extents;
  }

  #firstFit(sizeBytes: number): number | null {
    let from = 0;
    for (const { baseAddress, sizeBytes: taken } of this.#extents) {
      if (baseAddress - from >= sizeBytes) return from;
      from = baseAddress + taken;
    }
    return this.#totalBytes - from >= sizeBytes ? from : null;
  }

  #check(value: number, what: string): void {
    if (Number.isSafeInteger(value) && value >= 0 && value % this.#granularityBytes === 0) return;
    throw this.#wrong("usage", `a ${what} of ${value} is no multiple of ${this.#granularityBytes}`);
  }

  #wrong(code: "usage" | "busy" | "out-of-range" | "absent", message: string): BusbarError {
    return new BusbarError(code, message, { operation: "change dynamic capacity" });
  }
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
