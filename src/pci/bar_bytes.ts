/**
 * Bytes of a BAR, read with care: a register may change something when it is read.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type { AccessBytes, RecordedPiece } from "../core/mmio.ts";
import { hex } from "../core/units.ts";
import type { PciDevice } from "./device.ts";

/** A run of bytes in a BAR. */
export interface ByteRun {
  /** First byte. */
  readonly offset: number;
  /** How many. */
  readonly sizeBytes: number;
}

/** How bytes are read. */
export interface ReadBarOptions {
  /** Width of one access. Offsets and sizes must be multiples of it. */
  readonly accessBytes: AccessBytes;
  /** Reading below this offset is known to change nothing; 0 by default. */
  readonly safeEnd?: number;
  /** Read although a driver holds the device, or where reading is not defined. */
  readonly force?: boolean;
}

/**
 * Reads runs of bytes from a BAR, in single accesses of the chosen width. Maps only the pages that hold them.
 *
 * @throws {BusbarError} `busy` where a kernel driver holds the device and `force` is not set; `out-of-range`; and as
 * {@linkcode PciDevice.bar} fails
 */
export function readBarBytes(
  device: PciDevice,
  bar: number,
  runs: readonly ByteRun[],
  options: ReadBarOptions,
): RecordedPiece[] {
  const { accessBytes, safeEnd = 0, force = false } = options;
  const { driver, name } = device.function;
  const unsafe = runs.find((run) => run.offset + run.sizeBytes > safeEnd);
  if (driver !== null && device.kind === "sysfs" && unsafe !== undefined && !force) {
    throw new BusbarError(
      "busy",
      `${name}: the driver ${driver} holds it, and a read at ${hex(unsafe.offset)} may disturb it`,
      { operation: `read BAR${bar}`, path: name, hint: "--force reads all the same" },
    );
  }
  const offset = Math.min(...runs.map((run) => run.offset));
  const end = Math.max(...runs.map((run) => run.offset + run.sizeBytes));
  const mmio = device.bar(bar, { offset, sizeBytes: end - offset });
  return runs.map((run) => ({ offset: run.offset, bytes: mmio.readBlock(run.offset, run.sizeBytes, accessBytes) }));
}

/** One image from the first byte of the pieces to the last; what lies between them is zero. */
export function imageOf(pieces: readonly RecordedPiece[]): Uint8Array<ArrayBuffer> {
  const start = Math.min(...pieces.map((piece) => piece.offset));
  const end = Math.max(...pieces.map((piece) => piece.offset + piece.bytes.length));
  const image = new Uint8Array(end - start);
  for (const piece of pieces) image.set(piece.bytes, piece.offset - start);
  return image;
}
