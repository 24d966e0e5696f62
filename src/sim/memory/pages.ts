/**
 * Which node each touched page lies on: an open hash table in typed arrays, at most 32 bytes a page.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Pages that one run may touch. */
const PAGE_LIMIT = 1 << 27;

/** Set in {@linkcode PageTable.node}: the page was moved and not touched since. */
export const MOVED = 0x8000;

/** Set in {@linkcode PageTable.node}: the page was touched twice within the policy's window. */
export const TWICE = 0x4000;

/** Pages by key: page number, and in private mode the host. Entries keep their index; freed ones are used again. */
export class PageTable {
  /** Keys by entry; -1 for one that was freed. */
  key: Float64Array<ArrayBuffer> = new Float64Array(1024);
  /** Node, with {@linkcode MOVED}. */
  node: Uint16Array<ArrayBuffer> = new Uint16Array(1024);
  /** Accesses in the epoch, or since they were last halved. */
  heat: Uint32Array<ArrayBuffer> = new Uint32Array(1024);
  /** Trace time of the last touch in ticks. */
  touched: Float64Array<ArrayBuffer> = new Float64Array(1024);
  /** Entries, with the freed ones. */
  length = 0;
  #index: Int32Array<ArrayBuffer> = new Int32Array(2048).fill(-1);
  #free: number[] = [];

  /** Pages that are placed. */
  get count(): number {
    return this.length - this.#free.length;
  }

  /** The entry of a key, or -1. */
  find(key: number): number {
    const index = this.#index;
    const mask = index.length - 1;
    const keys = this.key;
    for (let at = slot(key) & mask;; at = (at + 1) & mask) {
      const entry = index[at] as number;
      if (entry < 0 || (keys[entry] as number) === key) return entry;
    }
  }

  /** Adds a key that is not there; returns its entry. */
  add(key: number, node: number): number {
    let entry = this.#free.pop();
    if (entry === undefined) {
      if (this.length === this.key.length) this.#grow();
      entry = this.length++;
    }
    this.key[entry] = key;
    this.node[entry] = node;
    this.heat[entry] = 0;
    this.touched[entry] = 0;
    this.#insert(key, entry);
    return entry;
  }

  /** Removes a key; returns its node, or -1 when it was not there. */
  remove(key: number): number {
    const entry = this.find(key);
    if (entry < 0) return -1;
    const node = (this.node[entry] as number) & ~(MOVED | TWICE);
    const index = this.#index;
    const mask = index.length - 1;
    let hole = slot(key) & mask;
    while ((index[hole] as number) !== entry) hole = (hole + 1) & mask;
    // Later entries of the same run move back, so that no search ends too early.
    for (let at = (hole + 1) & mask; (index[at] as number) >= 0; at = (at + 1) & mask) {
      const home = slot(this.key[index[at] as number] as number) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      index[hole] = index[at] as number;
      hole = at;
    }
    index[hole] = -1;
    this.key[entry] = -1;
    this.#free.push(entry);
    return node;
  }

  #insert(key: number, entry: number): void {
    const mask = this.#index.length - 1;
    let at = slot(key) & mask;
    while ((this.#index[at] as number) >= 0) at = (at + 1) & mask;
    this.#index[at] = entry;
  }

  #grow(): void {
    const capacity = this.key.length * 2;
    if (capacity > PAGE_LIMIT) {
      throw new BusbarError("out-of-range", `the trace touches more than ${PAGE_LIMIT} pages`, {
        operation: "place a page",
        hint: "set larger pages",
      });
    }
    const grow = <T extends { set(from: T): void }>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.key = grow(this.key, new Float64Array(capacity));
    this.node = grow(this.node, new Uint16Array(capacity));
    this.heat = grow(this.heat, new Uint32Array(capacity));
    this.touched = grow(this.touched, new Float64Array(capacity));
    this.#index = new Int32Array(capacity * 2).fill(-1);
    for (let entry = 0; entry < this.length; entry++) {
      if ((this.key[entry] as number) >= 0) this.#insert(this.key[entry] as number, entry);
    }
  }
}

/** Spreads keys over an index; the multiplier is 2^32 divided by the golden ratio. */
function slot(key: number): number {
  const mixed = Math.imul((key >>> 0) ^ Math.imul(Math.floor(key / 4294967296), 0x85ebca6b), 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
