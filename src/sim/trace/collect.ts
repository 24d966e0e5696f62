/**
 * Collects the entries that a reader finds, and checks each: ranges, and that time never goes back in a stream.
 * @module
 */

import { ADDRESS_LIMIT, MAX_TICKS, nsOf, TICKS_PER_NS } from "../units.ts";
import { AccessBatch, HOST_LIMIT, MAX_ACCESS_BYTES, Op, THREAD_LIMIT } from "./batch.ts";
import { LineError } from "./line_error.ts";

/** Takes entries and gives batches. */
export class EntryCollector {
  /** The last time of each stream, in ticks. */
  readonly #times = new Map<number, number>();
  readonly #capacity: number;
  #batch: AccessBatch;
  #full: AccessBatch[] = [];
  #latest = 0;

  /** Batches have `capacity` entries. */
  constructor(capacity: number = 16384) {
    this.#capacity = capacity;
    this.#batch = new AccessBatch(capacity);
  }

  /** The latest time of any stream so far, in ticks. */
  get latestTicks(): number {
    return this.#latest;
  }

  /**
   * Takes an access or event.
   *
   * @param timeNs since the start of the trace
   * @param op {@linkcode Op}, with the dependent bit; not Allocate, Size or Wait
   * @throws {LineError} out of range, or time goes back
   */
  access(timeNs: number, host: number, thread: number, op: number, address: number, bytes: number): void {
    if (bytes > MAX_ACCESS_BYTES) {
      throw new LineError(`an access of ${bytes} bytes`, `one access is at most ${MAX_ACCESS_BYTES} bytes`);
    }
    if (bytes < 1 && op !== Op.Barrier && op !== Op.Free) throw new LineError("an access of 0 bytes");
    this.#append(this.#ticks(timeNs, host, thread), host, thread, op, address, bytes);
  }

  /** Takes an allocation of `bytes` at `address`. */
  allocation(timeNs: number, host: number, thread: number, address: number, bytes: number): void {
    const ticks = this.#ticks(timeNs, host, thread);
    if (this.#batch.count + 2 > this.#capacity) this.#close();
    this.#append(ticks, host, thread, Op.Allocate, address, 0);
    this.#append(ticks, host, thread, Op.Size, bytes, 0);
  }

  /** The batches that are full; they are the caller's now. */
  take(): AccessBatch[] {
    const full = this.#full;
    this.#full = [];
    return full;
  }

  /** All batches, also the last one that is not full. */
  takeAll(): AccessBatch[] {
    if (this.#batch.count > 0) this.#close();
    return this.take();
  }

  #append(ticks: number, host: number, thread: number, op: number, address: number, bytes: number): void {
    if (!(address < ADDRESS_LIMIT)) {
      throw new LineError(`address 0x${address.toString(16)} is not below 2^52`, "give addresses of user memory");
    }
    if (this.#batch.full) this.#close();
    this.#batch.append(ticks, host, thread, op, address, bytes);
  }

  #ticks(timeNs: number, host: number, thread: number): number {
    if (host >= HOST_LIMIT) throw new LineError(`host ${host}`, `hosts are 0 to ${HOST_LIMIT - 1}`);
    if (thread >= THREAD_LIMIT) throw new LineError(`thread ${thread}`, `threads are 0 to ${THREAD_LIMIT - 1}`);
    const ticks = Math.round(timeNs * TICKS_PER_NS);
    if (!(ticks <= MAX_TICKS)) throw new LineError(`time ${timeNs} ns is beyond 2.4 hours`);
    const stream = host * THREAD_LIMIT + thread;
    const before = this.#times.get(stream) ?? 0;
    if (ticks < before) {
      throw new LineError(
        `time goes back for host ${host}${thread === 0 ? "" : ` thread ${thread}`}: ${timeNs} ns after ${
          nsOf(before)
        } ns`,
        "sort the events of each host by time",
      );
    }
    this.#times.set(stream, ticks);
    if (ticks > this.#latest) this.#latest = ticks;
    return ticks;
  }

  #close(): void {
    this.#full.push(this.#batch);
    this.#batch = new AccessBatch(this.#capacity);
  }
}
