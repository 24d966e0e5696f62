/**
 * A cache of a host: what hits never reaches the links. Write-back, write-allocate.
 * @module
 */

import type { CacheSettings } from "../config.ts";
import { RandomStream } from "../random.ts";

/** Outcome of a lookup. */
export const Lookup = {
  /** Not there. */
  Miss: 0,
  /** There. */
  Hit: 1,
} as const;

/** One level. Entries of a set stand in order: the most recent first (LRU), the youngest first (FIFO). */
export class Cache {
  /** The line that the last fill drove out, or -1. */
  victim: number = -1;
  /** True when that line was dirty. */
  victimDirty = false;
  readonly #lines: Float64Array<ArrayBuffer>;
  readonly #dirty: Uint8Array<ArrayBuffer>;
  readonly #ways: number;
  readonly #setMask: number;
  readonly #replacement: CacheSettings["replacement"];
  readonly #random: RandomStream;

  /** An empty cache of `sets` × `ways` lines. */
  constructor(sets: number, ways: number, replacement: CacheSettings["replacement"], seed: number) {
    this.#ways = ways;
    this.#setMask = sets - 1;
    this.#lines = new Float64Array(sets * ways).fill(-1);
    this.#dirty = new Uint8Array(sets * ways);
    this.#replacement = replacement;
    this.#random = new RandomStream(seed);
  }

  /** True when the line is there; a store makes it dirty. */
  touch(line: number, write: boolean): boolean {
    const first = ((line >>> 0) & this.#setMask) * this.#ways;
    const lines = this.#lines;
    for (let way = first; way < first + this.#ways; way++) {
      if ((lines[way] as number) !== line) continue;
      const dirty = (this.#dirty[way] as number) | (write ? 1 : 0);
      if (this.#replacement !== "lru" || way === first) this.#dirty[way] = dirty;
      else this.#moveToFront(first, way, line, dirty);
      return true;
    }
    return false;
  }

  /** Puts a line in; {@linkcode Cache.victim} says what it drove out. */
  fill(line: number, dirty: boolean): void {
    const first = ((line >>> 0) & this.#setMask) * this.#ways;
    let way = first + this.#ways - 1;
    if (this.#replacement === "random") {
      for (way = first; way < first + this.#ways && (this.#lines[way] as number) >= 0;) way++;
      if (way === first + this.#ways) way = first + this.#random.below(this.#ways);
      this.victim = this.#lines[way] as number;
      this.victimDirty = (this.#dirty[way] as number) === 1;
      this.#lines[way] = line;
      this.#dirty[way] = dirty ? 1 : 0;
      return;
    }
    this.victim = this.#lines[way] as number;
    this.victimDirty = (this.#dirty[way] as number) === 1;
    this.#moveToFront(first, way, line, dirty ? 1 : 0);
  }

  /** Takes a line out: -1 when it was not there, else 1 when it was dirty and 0 when it was clean. */
  remove(line: number): number {
    const first = ((line >>> 0) & this.#setMask) * this.#ways;
    const last = first + this.#ways - 1;
    for (let way = first; way <= last; way++) {
      if ((this.#lines[way] as number) !== line) continue;
      const dirty = this.#dirty[way] as number;
      for (let at = way; at < last; at++) {
        this.#lines[at] = this.#lines[at + 1] as number;
        this.#dirty[at] = this.#dirty[at + 1] as number;
      }
      this.#lines[last] = -1;
      this.#dirty[last] = 0;
      return dirty;
    }
    return -1;
  }

  /** Marks a line clean. */
  clean(line: number): boolean {
    const first = ((line >>> 0) & this.#setMask) * this.#ways;
    for (let way = first; way < first + this.#ways; way++) {
      if ((this.#lines[way] as number) !== line) continue;
      const dirty = (this.#dirty[way] as number) === 1;
      this.#dirty[way] = 0;
      return dirty;
    }
    return false;
  }

  /** Every dirty line, in order of sets. */
  *dirtyLines(): Generator<number> {
    for (let way = 0; way < this.#lines.length; way++) {
      if ((this.#dirty[way] as number) === 1) yield this.#lines[way] as number;
    }
  }

  #moveToFront(first: number, way: number, line: number, dirty: number): void {
    for (let at = way; at > first; at--) {
      this.#lines[at] = this.#lines[at - 1] as number;
      this.#dirty[at] = this.#dirty[at - 1] as number;
    }
    this.#lines[first] = line;
    this.#dirty[first] = dirty;
  }
}

/** The caches of one host: the shared one, and an L1 in front of it when there is one. Inclusive. */
export class HostCache {
  /** Accesses that hit, and that missed. */
  hits = 0;
  /** Accesses that missed. */
  misses = 0;
  /** Dirty lines that were driven out. */
  writebacks = 0;
  readonly #shared: Cache;
  readonly #l1: Cache | null;

  /** Empty caches. */
  constructor(settings: CacheSettings, lineBytes: number, seed: number) {
    const sets = (sizeBytes: number, ways: number): number => sizeBytes / lineBytes / ways;
    this.#shared = new Cache(sets(settings.sizeBytes, settings.ways), settings.ways, settings.replacement, seed);
    const { l1 } = settings;
    this.#l1 = l1 === null ? null : new Cache(sets(l1.sizeBytes, l1.ways), l1.ways, settings.replacement, seed + 1);
  }

  /** The line that the last access drove out of the shared cache, or -1. */
  get victim(): number {
    return this.#shared.victim;
  }

  /** True when that line was dirty. */
  get victimDirty(): boolean {
    return this.#shared.victimDirty;
  }

  /** An access: true when it hits. A miss fills the line; {@linkcode HostCache.victim} says what left. */
  access(line: number, write: boolean): boolean {
    if (this.#l1 !== null && this.#l1.touch(line, write)) {
      this.hits++;
      return true;
    }
    const hit = this.#shared.touch(line, write && this.#l1 === null);
    if (hit) this.hits++;
    else {
      this.misses++;
      this.#shared.fill(line, write && this.#l1 === null);
      const { victim } = this.#shared;
      if (victim >= 0 && this.#l1 !== null && this.#l1.remove(victim) === 1) this.#shared.victimDirty = true;
      if (victim >= 0 && this.#shared.victimDirty) this.writebacks++;
    }
    if (this.#l1 !== null) {
      this.#l1.fill(line, write);
      const { victim, victimDirty } = this.#l1;
      if (victim >= 0 && victimDirty) this.#shared.touch(victim, true);
    }
    return hit;
  }

  /** Takes a line out everywhere: -1 when it was not there, else 1 when it was dirty and 0 when it was clean. */
  remove(line: number): number {
    const inner = this.#l1?.remove(line) ?? -1;
    return Math.max(inner, this.#shared.remove(line));
  }

  /** Marks a line clean everywhere; true when it was dirty. */
  clean(line: number): boolean {
    const inner = this.#l1?.clean(line) ?? false;
    return this.#shared.clean(line) || inner;
  }

  /** Every dirty line. */
  dirtyLines(): number[] {
    return [...new Set([...this.#shared.dirtyLines(), ...this.#l1?.dirtyLines() ?? []])];
  }
}
