/**
 * Shared memory without coherence: a host sees another's write only after the writer flushes and the reader invalidates.
 * @module
 */

import { HOST_LIMIT } from "../trace/batch.ts";
import { LineTable } from "./line_table.ts";

/** What is counted. */
export interface IncoherentCounters {
  /** Reads that returned something older than the last write. */
  staleReads: number;
  /** Dirty lines written to memory by a flush or because a cache had no room. */
  writebacks: number;
  /** Copies dropped by an invalidate; of them, with writes that nobody will ever see. */
  invalidates: number;
  /** Writes that another host's write-back covered. */
  lostWrites: number;
}

/**
 * Which write each copy of a line holds. Writes are numbered: memory and every host's copy hold a number, and a read
 * that returns less than the last number is stale.
 */
export class IncoherentMemory {
  /** What happened. */
  readonly counters: IncoherentCounters = { staleReads: 0, writebacks: 0, invalidates: 0, lostWrites: 0 };
  readonly #table = new LineTable();
  /** By entry: the last write, and the write that memory holds. */
  #latest: Float64Array<ArrayBuffer> = new Float64Array(1024);
  #memory: Float64Array<ArrayBuffer> = new Float64Array(1024);
  /** Copies by `line * HOST_LIMIT + host`. */
  readonly #copies = new LineTable();
  #version: Float64Array<ArrayBuffer> = new Float64Array(1024);
  #dirty: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  #writes = 0;

  /** A host reads a line: the number of the write that it sees, 0 for the initial value. */
  read(host: number, line: number): number {
    const entry = this.#entry(line);
    let copy = this.#copies.find(line * HOST_LIMIT + host);
    if (copy < 0) copy = this.#addCopy(line * HOST_LIMIT + host, this.#memory[entry] as number);
    const seen = this.#version[copy] as number;
    if (seen < (this.#latest[entry] as number)) this.counters.staleReads++;
    return seen;
  }

  /** A host writes a line: the number of the write. Others do not see it until it is flushed. */
  write(host: number, line: number): number {
    const entry = this.#entry(line);
    const key = line * HOST_LIMIT + host;
    let copy = this.#copies.find(key);
    if (copy < 0) copy = this.#addCopy(key, 0);
    this.#writes++;
    this.#version[copy] = this.#writes;
    this.#dirty[copy] = 1;
    this.#latest[entry] = this.#writes;
    return this.#writes;
  }

  /** An atomic at the device: it goes past the caches and sees memory. Returns the number of the write. */
  atomic(host: number, line: number): number {
    this.flush(host, line);
    const number = this.write(host, line);
    this.flush(host, line);
    return number;
  }

  /** A host writes its copy back and drops it; true when it was dirty. Also what happens when a cache has no room. */
  flush(host: number, line: number): boolean {
    const copy = this.#copies.find(line * HOST_LIMIT + host);
    if (copy < 0) return false;
    const dirty = (this.#dirty[copy] as number) === 1;
    if (dirty) {
      this.counters.writebacks++;
      this.#memory[this.#entry(line)] = this.#version[copy] as number;
    }
    this.#copies.remove(copy);
    return dirty;
  }

  /** A host drops its copy without writing it back. */
  invalidate(host: number, line: number): void {
    const copy = this.#copies.find(line * HOST_LIMIT + host);
    if (copy < 0) return;
    this.counters.invalidates++;
    if ((this.#dirty[copy] as number) === 1) this.counters.lostWrites++;
    this.#copies.remove(copy);
  }

  #entry(line: number): number {
    let entry = this.#table.find(line);
    if (entry >= 0) return entry;
    entry = this.#table.add(line);
    if (this.#table.capacity > this.#latest.length) {
      this.#latest = longer(this.#latest, this.#table.capacity);
      this.#memory = longer(this.#memory, this.#table.capacity);
    }
    this.#latest[entry] = 0;
    this.#memory[entry] = 0;
    return entry;
  }

  #addCopy(key: number, version: number): number {
    const copy = this.#copies.add(key);
    if (this.#copies.capacity > this.#version.length) {
      this.#version = longer(this.#version, this.#copies.capacity);
      const dirty = new Uint8Array(this.#copies.capacity);
      dirty.set(this.#dirty);
      this.#dirty = dirty;
    }
    this.#version[copy] = version;
    this.#dirty[copy] = 0;
    return copy;
  }
}

function longer(from: Float64Array<ArrayBuffer>, length: number): Float64Array<ArrayBuffer> {
  const to = new Float64Array(length);
  to.set(from);
  return to;
}
