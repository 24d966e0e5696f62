/**
 * An I/O queue pair that the controller knows and that somebody else drives.
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError } from "../../core/error.ts";
import type { QueueRings } from "../queue/rings.ts";

/** How a queue pair is lent. */
export interface LendOptions {
  /** Entries of each ring, 2 to 65536 and no more than CAP.MQES allows; 256 by default, or fewer where that is so. */
  readonly entries?: number;
  /**
   * Memory for the rings, which the controller can reach, each from the start of a memory page; the lender's own by
   * default. It stays the caller's, and must stay as long as the queue.
   */
  readonly memory?: { readonly sq: DmaBuffer; readonly cq: DmaBuffer };
}

/** What the driver does for a lent queue. */
export interface Lender {
  /** Tells the controller of the rings. */
  announce(rings: QueueRings): Promise<void>;
  /** Takes the queues away from the controller. */
  remove(rings: QueueRings): Promise<void>;
  /** Frees what was the lender's of the memory. The controller no longer reaches it. */
  release(queue: LentQueue): void;
}

/**
 * A queue pair for another owner. It is polled: it has no interrupt. Dispose deletes it in the controller; by then its
 * owner must have stopped.
 */
export class LentQueue implements AsyncDisposable {
  /** Its memory and doorbells. */
  readonly rings: QueueRings;
  readonly #lender: Lender;
  readonly #device: string;
  #isLive = false;
  #isClosed = false;

  /** Wraps rings; `NvmeDriver.lendQueue` makes them. */
  constructor(lender: Lender, device: string, rings: QueueRings) {
    this.#lender = lender;
    this.#device = device;
    this.rings = rings;
  }

  /** False once the controller was reset, which deletes all queues, and after dispose. */
  get isLive(): boolean {
    return this.#isLive;
  }

  /**
   * Makes it anew after the controller was reset: both rings are empty, and the phase is the first one again. Does nothing
   * while it is live.
   *
   * @throws {BusbarError} `closed` after dispose; `device-failed` when the controller refuses it
   */
  async renew(): Promise<void> {
    if (this.#isClosed) {
      throw new BusbarError("closed", `queue ${this.rings.id} of ${this.#device}: used after it was given back`, {
        path: this.#device,
      });
    }
    if (this.#isLive) return;
    this.rings.completion.memory.bytes.fill(0);
    await this.#lender.announce(this.rings);
    this.#isLive = true;
  }

  /** The controller has forgotten it. */
  lose(): void {
    this.#isLive = false;
  }

  /** Deletes it in the controller. Calling it again does nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#isLive) await this.#lender.remove(this.rings);
    this.#isLive = false;
    this.#lender.release(this);
  }
}
