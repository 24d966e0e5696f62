/**
 * Lines by number, in order of use: an open hash table with a list through it, in typed arrays.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Lines that a directory may hold. */
const LINE_LIMIT = 1 << 26;

/** Keys with an entry each; the list begins with the entry used last. */
export class LineTable {
  /** Keys by entry. */
  key: Float64Array<ArrayBuffer> = new Float64Array(1024);
  /** Entries in use. */
  count = 0;
  #newer: Int32Array<ArrayBuffer> = new Int32Array(1024);
  #older: Int32Array<ArrayBuffer> = new Int32Array(1024);
  #index: Int32Array<ArrayBuffer> = new Int32Array(2048).fill(-1);
  #first = -1;
  #last = -1;
  #free = -1;
  #length = 0;

  /** Entries that were ever in use: columns beside the table have to be as long. */
  get capacity(): number {
    return this.key.length;
  }

  /** The entry used longest ago, or -1. */
  get oldest(): number {
    return this.#last;
  }

  /** The entry of a key, or -1. */
  find(key: number): number {
    const mask = this.#index.length - 1;
    for (let at = slot(key) & mask;; at = (at + 1) & mask) {
      const entry = this.#index[at] as number;
      if (entry < 0 || (this.key[entry] as number) === key) return entry;
    }
  }

  /** Adds a key that is not there, as the one used last; returns its entry. */
  add(key: number): number {
    let entry = this.#free;
    if (entry >= 0) this.#free = this.#older[entry] as number;
    else {
      if (this.#length === this.key.length) this.#grow();
      entry = this.#length++;
    }
    this.key[entry] = key;
    this.#insert(key, entry);
    this.#link(entry);
    this.count++;
    return entry;
  }

  /** Makes an entry the one used last. */
  use(entry: number): void {
    if (this.#first === entry) return;
    this.#unlink(entry);
    this.#link(entry);
  }

  /** Removes an entry. */
  remove(entry: number): void {
    const mask = this.#index.length - 1;
    let hole = slot(this.key[entry] as number) & mask;
    while ((this.#index[hole] as number) !== entry) hole = (hole + 1) & mask;
    for (let at = (hole + 1) & mask; (this.#index[at] as number) >= 0; at = (at + 1) & mask) {
      const home = slot(this.key[this.#index[at] as number] as number) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      this.#index[hole] = this.#index[at] as number;
      hole = at;
    }
    this.#index[hole] = -1;
    this.#unlink(entry);
    this.key[entry] = -1;
    this.#older[entry] = this.#free;
    this.#free = entry;
    this.count--;
  }

  #link(entry: number): void {
    this.#newer[entry] = -1;
    this.#older[entry] = this.#first;
    if (this.#first >= 0) this.#newer[this.#first] = entry;
    this.#first = entry;
    if (this.#last < 0) this.#last = entry;
  }

  #unlink(entry: number): void {
    const newer = this.#newer[entry] as number;
    const older = this.#older[entry] as number;
    if (newer >= 0) this.#older[newer] = older;
    else this.#first = older;
    if (older >= 0) this.#newer[older] = newer;
    else this.#last = newer;
  }

  #insert(key: number, entry: number): void {
    const mask = this.#index.length - 1;
    let at = slot(key) & mask;
    while ((this.#index[at] as number) >= 0) at = (at + 1) & mask;
    this.#index[at] = entry;
  }

  #grow(): void {
    const capacity = this.key.length * 2;
    if (capacity > LINE_LIMIT) {
      throw new BusbarError("out-of-range", `the trace touches more than ${LINE_LIMIT} shared lines`, {
        operation: "keep the directory",
        hint: "bound the snoop filter, or use larger lines",
      });
    }
    const grow = <T extends { set(from: T): void }>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.key = grow(this.key, new Float64Array(capacity));
    this.#newer = grow(this.#newer, new Int32Array(capacity));
    this.#older = grow(this.#older, new Int32Array(capacity));
    this.#index = new Int32Array(capacity * 2).fill(-1);
    for (let entry = 0; entry < this.#length; entry++) {
      if ((this.key[entry] as number) >= 0) this.#insert(this.key[entry] as number, entry);
    }
  }
}

function slot(key: number): number {
  const mixed = Math.imul((key >>> 0) ^ Math.imul(Math.floor(key / 4294967296), 0x85ebca6b), 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
