/**
 * Register access, whatever is behind it: a mapped BAR, a recorded dump, a test double.
 * @module
 */

import { type Deadline, yieldToEventLoop } from "./deadline.ts";
import { BusbarError } from "./error.ts";
import { hex } from "./units.ts";

/** How many bytes one access moves. */
export type AccessBytes = 1 | 2 | 4 | 8;

/**
 * A region of device registers. Offsets are bytes from its start and multiples of the access width; every method throws
 * {@linkcode BusbarError} `out-of-range` when they are not, `closed` after dispose, and `device-gone` when the device
 * vanished and an access faulted. A device that is gone may also read all ones without a fault.
 *
 * @example
 * ```ts
 * import { type Mmio, openPciDevice } from "@busbar/busbar";
 * const isReady = (bar0: Mmio): boolean => (bar0.read32(0x1c) & 1) !== 0;
 * using device = openPciDevice("soft:nvme");
 * console.assert(!isReady(device.bar(0)));
 * ```
 */
export interface Mmio {
  /** What it is, for messages: `BAR0 of 0000:01:00.0`. */
  readonly name: string;
  /** The first offset that can be accessed: 0, unless only a part of the region was opened. */
  readonly firstOffset: number;
  /** The offset after the last one that can be accessed: the region's length, unless only a part was opened. */
  readonly endOffset: number;
  /** One 8-bit read. */
  read8(offset: number): number;
  /** One 16-bit read. */
  read16(offset: number): number;
  /** One 32-bit read. */
  read32(offset: number): number;
  /** One 64-bit read. */
  read64(offset: number): bigint;
  /** `sizeBytes` bytes, read in ascending single accesses of `accessBytes`. */
  readBlock(offset: number, sizeBytes: number, accessBytes: AccessBytes): Uint8Array<ArrayBuffer>;
  /** As many bytes as `to` holds, into it: for who reads often and does not want a new array each time. Returns `to`. */
  readBlockInto(to: Uint8Array<ArrayBuffer>, offset: number, accessBytes: AccessBytes): Uint8Array<ArrayBuffer>;
  /**
   * Reads a register again and again, for at most `limitMs` (up to 50), until `value & mask` is `wanted`.
   * Waits that may be longer go through {@linkcode pollRegister}.
   */
  pollSlice(offset: number, accessBytes: AccessBytes, mask: bigint, wanted: bigint, limitMs: number): PollResult;
}

/** How a poll of a register ended. */
export interface PollResult {
  /** True when the wanted value was seen. */
  readonly matched: boolean;
  /** The last value that was read. */
  readonly last: bigint;
}

/** What {@linkcode pollRegister} waits for. */
export interface PollOptions {
  /** Byte offset of the register. */
  readonly offset: number;
  /** Its width. */
  readonly accessBytes: AccessBytes;
  /** The bits that matter. */
  readonly mask: bigint;
  /** What they have to be. */
  readonly wanted: bigint;
  /** What is waited for, as the error says it: `CSTS.RDY = 1`. */
  readonly what: string;
  /** When to give up. */
  readonly deadline: Deadline;
  /** Ends the wait early. */
  readonly signal?: AbortSignal | undefined;
  /** Looks at each last value and throws when waiting on is pointless: a fatal status, all ones. */
  readonly inspect?: (last: bigint) => void;
}

/**
 * Polls a register until it has the wanted value, in slices that let signals through.
 *
 * @returns the value that matched
 * @throws {BusbarError} `timeout` with the last value, and what `inspect` throws
 *
 * @example
 * ```ts
 * import { openPciDevice, pollRegister } from "@busbar/busbar";
 * import { Deadline } from "@busbar/busbar/core";
 * using device = openPciDevice("soft:nvme");
 * await pollRegister(device.bar(0), {
 *   ...{ offset: 0x1c, accessBytes: 4, mask: 1n, wanted: 0n },
 *   ...{ what: "CSTS.RDY = 0", deadline: Deadline.after(1000) },
 * });
 * ```
 */
export async function pollRegister(mmio: Mmio, options: PollOptions): Promise<bigint> {
  const { offset, accessBytes, mask, wanted, deadline } = options;
  for (;;) {
    const late = deadline.expired;
    const { matched, last } = mmio.pollSlice(offset, accessBytes, mask, wanted, deadline.sliceMs);
    if (matched) return last;
    options.inspect?.(last);
    if (late) deadline.check(`${options.what} (last ${hex(last, 2 * accessBytes)})`, mmio.name);
    await yieldToEventLoop(options.signal);
  }
}

/** Registers that can be written. */
export interface WritableMmio extends Mmio {
  /** One 8-bit write. */
  write8(offset: number, value: number): void;
  /** One 16-bit write. */
  write16(offset: number, value: number): void;
  /** One 32-bit write. */
  write32(offset: number, value: number): void;
  /** One 64-bit write. */
  write64(offset: number, value: bigint): void;
  /** `bytes`, written in ascending single accesses of `accessBytes`. */
  writeBlock(offset: number, bytes: Uint8Array<ArrayBuffer>, accessBytes: AccessBytes): void;
}

/**
 * Refuses an access that is not aligned or not inside.
 *
 * @throws {BusbarError} `out-of-range` unless `offset` is a multiple of `accessBytes` and the range lies inside
 */
export function checkAccess(mmio: Mmio, offset: number, sizeBytes: number, accessBytes: number): void {
  const whole = Number.isInteger(offset) && Number.isInteger(sizeBytes) && sizeBytes >= 0;
  const aligned = offset % accessBytes === 0 && sizeBytes % accessBytes === 0;
  if (whole && aligned && offset >= mmio.firstOffset && offset + sizeBytes <= mmio.endOffset) return;
  throw accessError(mmio, offset, sizeBytes, accessBytes);
}

/** The error for an access that {@linkcode checkAccess} refuses. */
export function accessError(mmio: Mmio, offset: number, sizeBytes: number, accessBytes: number): BusbarError {
  const inside = offset >= mmio.firstOffset && offset + sizeBytes <= mmio.endOffset && sizeBytes >= 0;
  const at = Number.isInteger(offset) && offset >= 0 ? hex(offset) : String(offset);
  return new BusbarError(
    "out-of-range",
    inside
      ? `${mmio.name}: ${sizeBytes} bytes at ${at} are not aligned to ${accessBytes}`
      : `${mmio.name}: ${sizeBytes} bytes at ${at} lie outside ${hex(mmio.firstOffset)} to ${hex(mmio.endOffset)}`,
    { operation: "access registers", path: mmio.name },
  );
}

/** The error for a device that vanished while it was in use. */
export function goneError(name: string, evidence: string): BusbarError {
  return new BusbarError("device-gone", `${name}: the device is gone (${evidence})`, {
    operation: "access registers",
    path: name,
    hint: "look at the kernel's log (dmesg) for a hot-unplug, a link failure or a reset",
  });
}

/** Registers held in ordinary memory: a recorded dump. Little-endian, as device registers are. */
export class RecordedMmio implements Mmio {
  readonly name: string;
  readonly firstOffset: number = 0;
  readonly endOffset: number;
  readonly #pieces: readonly RecordedPiece[];

  /**
   * A region of which some pieces are known.
   *
   * @param sizeBytes the length of the region that was recorded
   * @param pieces what was recorded of it; reading anything else is an error, not a zero
   */
  constructor(name: string, sizeBytes: number, pieces: readonly RecordedPiece[]) {
    this.name = name;
    this.endOffset = sizeBytes;
    this.#pieces = pieces;
  }

  read8(offset: number): number {
    return Number(this.#read(offset, 1));
  }

  read16(offset: number): number {
    return Number(this.#read(offset, 2));
  }

  read32(offset: number): number {
    return Number(this.#read(offset, 4));
  }

  read64(offset: number): bigint {
    return this.#read(offset, 8);
  }

  readBlock(offset: number, sizeBytes: number, accessBytes: AccessBytes): Uint8Array<ArrayBuffer> {
    checkAccess(this, offset, sizeBytes, accessBytes);
    return this.#bytes(offset, sizeBytes).slice();
  }

  readBlockInto(to: Uint8Array<ArrayBuffer>, offset: number, accessBytes: AccessBytes): Uint8Array<ArrayBuffer> {
    to.set(this.readBlock(offset, to.length, accessBytes));
    return to;
  }

  pollSlice(offset: number, accessBytes: AccessBytes, mask: bigint, wanted: bigint): PollResult {
    const last = this.#read(offset, accessBytes);
    return { matched: (last & mask) === wanted, last };
  }

  #read(offset: number, sizeBytes: AccessBytes): bigint {
    checkAccess(this, offset, sizeBytes, sizeBytes);
    return littleEndian(this.#bytes(offset, sizeBytes));
  }

  #bytes(offset: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
    for (const piece of this.#pieces) {
      const from = offset - piece.offset;
      if (from >= 0 && from + sizeBytes <= piece.bytes.length) return piece.bytes.subarray(from, from + sizeBytes);
    }
    throw new BusbarError("absent", `${this.name}: ${sizeBytes} bytes at ${hex(offset)} were not recorded`, {
      operation: "read recorded registers",
      path: this.name,
      hint: "record them with --range and --save",
    });
  }
}

/** Bytes that were recorded, and where. */
export interface RecordedPiece {
  /** Offset of the first byte in the region. */
  readonly offset: number;
  /** The bytes as they stood. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The unsigned number that bytes hold, lowest byte first. */
export function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  // Four bytes at a time in ordinary numbers: every decoded value comes through here.
  for (let end = bytes.length; end > 0;) {
    const start = Math.max(0, end - 1 & ~3);
    let part = 0;
    for (let i = end - 1; i >= start; i--) part = part * 256 + (bytes[i] ?? 0);
    value = end === bytes.length ? BigInt(part) : value << 32n | BigInt(part);
    end = start;
  }
  return value;
}
