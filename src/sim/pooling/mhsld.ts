/**
 * A multi-headed device: one memory with several host ports.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Ports of a device. */
export const HEAD_LIMIT = 32;

/** Latency of an access in ns. */
export const HEAD_NS = 200;

/** Lines whose last use is remembered; the oldest are forgotten. */
const LINE_MEMORY = 65536;

/** What one port counts. */
export interface HeadCounters {
  reads: number;
  writes: number;
  latencyNs: number;
  /** Accesses to a line that another port used last, one of the two writing. */
  conflicts: number;
}

/** A device with heads. */
export class MultiHeadedDevice {
  readonly #heads = new Map<number, HeadCounters>();
  /** By line: the head that used it last and whether it wrote. In order of use. */
  readonly #lines = new Map<number, { head: number; wrote: boolean }>();
  readonly #lineBytes: number;

  /** A device without heads. */
  constructor(lineBytes = 64) {
    this.#lineBytes = lineBytes;
  }

  /**
   * Attaches a head.
   *
   * @throws {BusbarError} `out-of-range` beyond head 31, `busy` when it is attached already
   */
  attach(head: number): void {
    if (!Number.isInteger(head) || head < 0 || head >= HEAD_LIMIT) {
      throw wrong("out-of-range", `head ${head}: a device has heads 0 to ${HEAD_LIMIT - 1}`);
    }
    if (this.#heads.has(head)) throw wrong("busy", `head ${head} is attached already`);
    this.#heads.set(head, { reads: 0, writes: 0, latencyNs: 0, conflicts: 0 });
  }

  /**
   * Detaches a head.
   *
   * @throws {BusbarError} `absent` when it is not attached
   */
  detach(head: number): void {
    if (!this.#heads.delete(head)) throw wrong("absent", `head ${head} is not attached`);
  }

  /**
   * An access through a head.
   *
   * @returns its latency in ns
   * @throws {BusbarError} `absent` when the head is not attached
   */
  access(head: number, address: number, write: boolean): number {
    const counters = this.#heads.get(head);
    if (counters === undefined) throw wrong("absent", `head ${head} is not attached`);
    if (write) counters.writes++;
    else counters.reads++;
    counters.latencyNs += HEAD_NS;
    const line = Math.floor(address / this.#lineBytes);
    const last = this.#lines.get(line);
    if (last !== undefined && last.head !== head && (last.wrote || write)) counters.conflicts++;
    this.#lines.delete(line);
    this.#lines.set(line, { head, wrote: write });
    if (this.#lines.size > LINE_MEMORY) {
      const [oldest] = this.#lines.keys();
      if (oldest !== undefined) this.#lines.delete(oldest);
    }
    return HEAD_NS;
  }

  /** The counters of each attached head, by number. */
  heads(): readonly (readonly [number, Readonly<HeadCounters>])[] {
    return [...this.#heads].sort(([a], [b]) => a - b);
  }
}

function wrong(code: "busy" | "out-of-range" | "absent", message: string): BusbarError {
  return new BusbarError(code, message, { operation: "use a multi-headed device" });
}
