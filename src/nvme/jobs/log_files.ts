/**
 * Logs that go to files: telemetry and persistent events, in pieces, of whatever length the drive says.
 *
 * Source: NVM Express Base 2.0 §5.16.1.8, §5.16.1.9 (telemetry), §5.16.1.14 (persistent event log), §8.13, §8.24.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { decodeTable } from "../../core/decoded.ts";
import { littleEndian } from "../../core/mmio.ts";
import type { NvmeController } from "../driver/controller.ts";
import { PERSISTENT_EVENT_HEADER_BYTES, TELEMETRY_BLOCK_BYTES, TELEMETRY_HEADER } from "../tables/log_events.ts";

/** Takes the bytes of a log, in order. */
export type LogSink = (bytes: Uint8Array) => void;

/** Who made a telemetry log. */
export type TelemetrySource = "host" | "controller";

const LOG_TELEMETRY = { host: 0x07, controller: 0x08 } as const;
const LOG_PERSISTENT_EVENTS = 0x0d;
/** Create Telemetry Host-Initiated Data. */
const CREATE = 1;
const PIECE_BYTES = 64 << 10;
/** A log that says that it is longer is taken for one that lies. */
const MAX_LOG_BYTES = 4n << 30n;

/** What was read of a log. */
export interface SavedLog {
  /** Bytes in all. */
  readonly sizeBytes: number;
  /** What the drive's numbers say of it, a line each. */
  readonly notes: readonly string[];
}

/**
 * Reads a telemetry log to its end: the header, then the blocks of the data areas up to `area`.
 *
 * @param source `host`: made now, by asking for it; `controller`: what the drive kept when something happened
 * @param area 1 to 4
 * @param onProgress called with bytes done and in all
 * @throws {BusbarError} `no` where the controller has nothing kept; `device-failed` with the NVMe status, or where the log
 * changed while it was read
 */
export async function readTelemetry(
  controller: NvmeController,
  source: TelemetrySource,
  area: 1 | 2 | 3 | 4,
  sink: LogSink,
  onProgress: (done: number, total: number) => void = () => {},
  signal?: AbortSignal,
): Promise<SavedLog> {
  const id = LOG_TELEMETRY[source];
  const read = (offset: bigint, sizeBytes: number, specificField = 0): Promise<Uint8Array<ArrayBuffer>> =>
    controller.getLog({ id, sizeBytes, offset, specificField });
  const head = await read(0n, TELEMETRY_BLOCK_BYTES, source === "host" ? CREATE : 0);
  const header = decodeTable(TELEMETRY_HEADER, head);
  if (source === "controller" && header.uint("TCDA") === 0n) {
    throw new BusbarError("no", `${controller.name}: the controller has no telemetry of its own kept`, {
      operation: "read telemetry",
      path: controller.name,
      hint: "--source host makes one now",
    });
  }
  const last = header.uint(`DA${area}LB`) ?? 0n;
  const totalBytes = checkedLength((last + 1n) * BigInt(TELEMETRY_BLOCK_BYTES), controller.name);
  sink(head);
  for (let at = TELEMETRY_BLOCK_BYTES; at < totalBytes; at += PIECE_BYTES) {
    signal?.throwIfAborted();
    onProgress(at, totalBytes);
    sink(await read(BigInt(at), Math.min(PIECE_BYTES, totalBytes - at)));
  }
  const again = decodeTable(TELEMETRY_HEADER, await read(0n, TELEMETRY_BLOCK_BYTES));
  if (source === "controller" && again.uint("TCDGN") !== header.uint("TCDGN")) {
    throw new BusbarError("device-failed", `${controller.name}: the telemetry changed while it was read`, {
      operation: "read telemetry",
      path: controller.name,
      hint: "read it again",
    });
  }
  return { sizeBytes: totalBytes, notes: [`data areas 1 to ${area}: ${last} blocks behind the header`] };
}

/**
 * Reads the persistent event log: makes a context, reads it whole, lets go of it, also after an error.
 *
 * @throws {BusbarError} `device-failed` with the NVMe status
 */
export async function readPersistentEvents(
  controller: NvmeController,
  sink: LogSink,
  onProgress: (done: number, total: number) => void = () => {},
  signal?: AbortSignal,
): Promise<SavedLog> {
  const ESTABLISH = 1, RELEASE = 2;
  const read = (offset: bigint, sizeBytes: number, action = 0): Promise<Uint8Array<ArrayBuffer>> =>
    controller.getLog({ id: LOG_PERSISTENT_EVENTS, sizeBytes, offset, specificField: action });
  const head = await read(0n, PERSISTENT_EVENT_HEADER_BYTES, ESTABLISH);
  try {
    const totalBytes = checkedLength(littleEndian(head.subarray(8, 16)), controller.name);
    const events = littleEndian(head.subarray(4, 8));
    sink(head);
    for (let at = PERSISTENT_EVENT_HEADER_BYTES; at < totalBytes; at += PIECE_BYTES) {
      signal?.throwIfAborted();
      onProgress(at, totalBytes);
      const wanted = Math.min(PIECE_BYTES, totalBytes - at);
      // Logs are read in dwords; what is read beyond the end is not written.
      sink((await read(BigInt(at), Math.ceil(wanted / 4) * 4)).subarray(0, wanted));
    }
    return { sizeBytes: totalBytes, notes: [`${events} events`] };
  } finally {
    // A context that is kept makes the drive keep what it would overwrite. Its failure hides no other.
    await controller.admin({
      opcode: 0x02,
      nsid: 0xffff_ffff,
      cdw10: (LOG_PERSISTENT_EVENTS | RELEASE << 8 | 1 << 15) >>> 0,
      data: new Uint8Array(4),
    }).catch(() => null);
  }
}

function checkedLength(sizeBytes: bigint, name: string): number {
  if (sizeBytes >= 512n && sizeBytes <= MAX_LOG_BYTES) return Number(sizeBytes);
  throw new BusbarError("device-failed", `${name}: the log says that it has ${sizeBytes} bytes`, {
    operation: "read a log",
    path: name,
  });
}
