/**
 * What the front end asks of shared memory, with and without coherence.
 * @module
 */

import type { SimConfig } from "../config.ts";
import type { HostCache } from "../memory/cache.ts";
import { Op } from "../trace/batch.ts";
import { ticksOf } from "../units.ts";
import { type CoherenceCounters, Directory } from "./directory.ts";
import { type IncoherentCounters, IncoherentMemory } from "./incoherent.ts";

/** Shared memory, as the accesses of hosts see it. */
export interface Coherence {
  /** Ticks that all requests took beyond their paths. */
  readonly ticks: number;
  /** Counters of the directory; null without one. */
  readonly directory: CoherenceCounters | null;
  /** Counters of memory without coherence; null with a directory. */
  readonly incoherent: IncoherentCounters | null;
  /** An access that reaches the device: ticks beyond its path. */
  request(host: number, line: number, op: number): number;
  /** An access that hits the host's cache. */
  hit(host: number, line: number, op: number): void;
  /** True when a store that hits the host's cache has to ask the device. */
  needsUpgrade(host: number, line: number): boolean;
  /** A line left the host's cache. */
  evict(host: number, line: number, dirty: boolean): void;
  /** The host flushes a line; true when it was dirty. */
  flush(host: number, line: number): boolean;
  /** The host invalidates a line. */
  invalidate(host: number, line: number): void;
}

/**
 * Shared memory as the settings want it; null when hosts share none.
 *
 * @param caches by host: lines that the directory takes back leave them
 */
export function sharedMemory(config: SimConfig, caches: readonly HostCache[] | null): Coherence | null {
  const { mode, grantExclusive, filterLines } = config.coherence;
  if (mode === "private") return null;
  if (mode === "none") return new Incoherent(config.coherence.oS + config.coherence.oR);
  const holder = caches === null ? null : { drop: (host: number, line: number) => void caches[host]?.remove(line) };
  const moesi = mode === "moesi";
  return new Coherent(new Directory(config.coherence, moesi, grantExclusive, filterLines ?? Infinity, holder));
}

class Coherent implements Coherence {
  ticks = 0;
  readonly incoherent: null = null;
  readonly #directory: Directory;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  get directory(): CoherenceCounters {
    return this.#directory.counters;
  }

  request(host: number, line: number, op: number): number {
    const ticks = op === Op.Write
      ? this.#directory.write(host, line)
      : op === Op.Atomic
      ? this.#directory.atomic(host, line)
      : this.#directory.read(host, line);
    this.ticks += ticks;
    return ticks;
  }

  hit(host: number, line: number, op: number): void {
    // A store to a line in E or M stays silent; that the line is dirty now is learnt when it leaves.
    if (op === Op.Write || op === Op.Atomic) this.#directory.write(host, line);
  }

  needsUpgrade(host: number, line: number): boolean {
    return !this.#directory.mayStore(host, line);
  }

  evict(host: number, line: number): void {
    this.#directory.evict(host, line);
  }

  flush(host: number, line: number): boolean {
    return this.#directory.evict(host, line);
  }

  invalidate(host: number, line: number): void {
    this.#directory.evict(host, line);
  }
}

class Incoherent implements Coherence {
  ticks = 0;
  readonly directory: null = null;
  readonly #memory = new IncoherentMemory();
  readonly #atomicTicks: number;

  constructor(atomicNs: number) {
    this.#atomicTicks = ticksOf(atomicNs);
  }

  get incoherent(): IncoherentCounters {
    return this.#memory.counters;
  }

  request(host: number, line: number, op: number): number {
    if (op === Op.Write) this.#memory.write(host, line);
    else if (op === Op.Read || op === Op.Prefetch) this.#memory.read(host, line);
    else {
      this.#memory.atomic(host, line);
      this.ticks += this.#atomicTicks;
      return this.#atomicTicks;
    }
    return 0;
  }

  hit(host: number, line: number, op: number): void {
    this.request(host, line, op);
  }

  needsUpgrade(): boolean {
    return false;
  }

  evict(host: number, line: number): void {
    this.#memory.flush(host, line);
  }

  flush(host: number, line: number): boolean {
    return this.#memory.flush(host, line);
  }

  invalidate(host: number, line: number): void {
    this.#memory.invalidate(host, line);
  }
}
