/**
 * Accesses that have used a link and go on to their next one.
 * @module
 */

import { SlotQueue } from "./fifo.ts";
import type { Slots } from "./slots.ts";
import type { Tournament } from "./tournament.ts";

/** A queue for each link, whose first access stands in the tournament under the link's number. */
export class LinkOutputs {
  readonly #queues: readonly SlotQueue[];
  readonly #tournament: Tournament;
  readonly #slots: Slots;

  /** Empty queues. */
  constructor(links: number, tournament: Tournament, slots: Slots) {
    this.#queues = Array.from({ length: links }, () => new SlotQueue());
    this.#tournament = tournament;
    this.#slots = slots;
  }

  /** Puts an access behind a link, which it leaves at a time in ticks. */
  put(link: number, slot: number, time: number, order: number): void {
    const queue = this.#queues[link] as SlotQueue;
    queue.push(slot, time);
    if (queue.length === 1) this.#tournament.set(link, time, order);
  }

  /** Takes the first access behind a link. There is one. */
  take(link: number): number {
    const queue = this.#queues[link] as SlotQueue;
    const slot = queue.shift();
    if (queue.length === 0) this.#tournament.set(link, Infinity, 0);
    else {
      const next = queue.slots[queue.head] as number;
      this.#tournament.set(link, queue.times[queue.head] as number, this.#slots.order[next] as number);
    }
    return slot;
  }
}
