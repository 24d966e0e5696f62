/**
 * The directory of device-managed coherence with back-invalidate: state, owner and sharers of each line.
 *
 * Requests of different hosts to one line are served one after another, in trace order: there are no races.
 * @module
 */

import { ticksOf } from "../units.ts";
import { LineTable } from "./line_table.ts";

/** State of a line. */
export const State = { I: 0, S: 1, E: 2, M: 3, O: 4 } as const;
/** Letters of {@linkcode State}. */
export const STATE_LETTERS = "ISEMO";

/** What the directory counts. */
export interface CoherenceCounters {
  /** Messages to other hosts. */
  snoops: number;
  /** Dirty lines that came back. */
  writebacks: number;
  /** Lines that the device took back. */
  backInvalidates: number;
  /** Shared lines that became exclusive. */
  upgrades: number;
  /** Read-modify-writes. */
  atomics: number;
  /** Lines that caches dropped. */
  evictions: number;
  /** Lines that the snoop filter had no room for. */
  filterEvictions: number;
}

/** Message costs in ns. */
export interface LogP {
  /** A snoop and its answer together. */
  readonly L: number;
  /** Send overhead. */
  readonly oS: number;
  /** Receive overhead. */
  readonly oR: number;
  /** Between two sends of one sender. */
  readonly g: number;
}

/** Ticks of a snoop or invalidate to `hosts` hosts, sent one after another, answers gathered. */
export function snoopTicks({ L, oS, oR, g }: LogP, hosts: number): number {
  return hosts === 0 ? 0 : ticksOf(oS + (hosts - 1) * g + L + oR);
}

/** Ticks of a broadcast to `hosts` hosts: a tree of messages. */
export function broadcastTicks(cost: LogP, hosts: number): number {
  return hosts <= 1 ? 0 : Math.ceil(Math.log2(hosts)) * snoopTicks(cost, 1);
}

/** Ticks of a barrier of `hosts` hosts: a broadcast there and back. */
export function barrierTicks(cost: LogP, hosts: number): number {
  return 2 * broadcastTicks(cost, hosts);
}

/** Ticks that hosts competing for a line add to a base: `base · (1/share − 1) · 0.3`, at most five times the base. */
export function contentionTicks(baseTicks: number, share: number): number {
  return Math.round(Math.min(5 * baseTicks, baseTicks * (1 / share - 1) * 0.3));
}

/** Told when a line leaves a host that did not ask for it. */
export interface Holder {
  /** The host drops its copy. */
  drop(host: number, line: number): void;
}

/** The directory. Costs are what a request takes beyond its path. */
export class Directory {
  /** What happened. */
  readonly counters: CoherenceCounters = {
    snoops: 0,
    writebacks: 0,
    backInvalidates: 0,
    upgrades: 0,
    atomics: 0,
    evictions: 0,
    filterEvictions: 0,
  };
  readonly #table = new LineTable();
  #state: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  #owner: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  #sharers: Uint32Array<ArrayBuffer> = new Uint32Array(1024);
  readonly #cost: LogP;
  readonly #moesi: boolean;
  readonly #grantExclusive: boolean;
  readonly #capacity: number;
  readonly #holder: Holder | null;

  /**
   * Begins with no line held.
   *
   * @param capacity lines of the snoop filter; Infinity for any number
   * @param holder told of invalidations; null for nobody
   */
  constructor(cost: LogP, moesi: boolean, grantExclusive: boolean, capacity: number, holder: Holder | null) {
    this.#cost = cost;
    this.#moesi = moesi;
    this.#grantExclusive = grantExclusive;
    this.#capacity = capacity;
    this.#holder = holder;
  }

  /** Lines that somebody holds. */
  get lines(): number {
    return this.#table.count;
  }

  /** State, owner (or -1) and sharers (bits) of a line. */
  look(line: number): { readonly state: number; readonly owner: number; readonly sharers: number } {
    const entry = this.#table.find(line);
    if (entry < 0) return { state: State.I, owner: -1, sharers: 0 };
    const state = this.#state[entry] as number;
    const owner = state === State.S ? -1 : this.#owner[entry] as number;
    return { state, owner, sharers: this.#sharers[entry] as number };
  }

  /** True when a host may store to a line without asking: it holds it in E or M. */
  mayStore(host: number, line: number): boolean {
    const { state, owner } = this.look(line);
    return owner === host && (state === State.E || state === State.M);
  }

  /** A host reads a line. Returns ticks beyond the path. */
  read(host: number, line: number): number {
    const entry = this.#entry(line);
    const state = this.#state[entry] as number;
    const bit = (1 << host) >>> 0;
    if (state === State.I) {
      this.#set(entry, this.#grantExclusive ? State.E : State.S, host, bit);
      return 0;
    }
    if (state === State.S) {
      this.#sharers[entry] = (this.#sharers[entry] as number) | bit;
      return 0;
    }
    const owner = this.#owner[entry] as number;
    if (owner === host || (state === State.O && ((this.#sharers[entry] as number) & bit) !== 0)) return 0;
    this.counters.snoops++;
    const sharers = (this.#sharers[entry] as number) | bit;
    if (this.#moesi && (state === State.M || state === State.O)) this.#set(entry, State.O, owner, sharers);
    else {
      if (state === State.M) this.counters.writebacks++;
      this.#set(entry, State.S, owner, sharers);
    }
    return snoopTicks(this.#cost, 1);
  }

  /** A host writes a line. Returns ticks beyond the path. */
  write(host: number, line: number): number {
    const entry = this.#entry(line);
    const state = this.#state[entry] as number;
    const bit = (1 << host) >>> 0;
    const others = ((this.#sharers[entry] as number) & ~bit) >>> 0;
    const owner = this.#owner[entry] as number;
    if (others === 0) {
      if (state === State.S || state === State.O) this.counters.upgrades++;
      this.#set(entry, State.M, host, bit);
      return 0;
    }
    const count = bits(others);
    this.counters.backInvalidates += count;
    if (state === State.S && ((this.#sharers[entry] as number) & bit) !== 0) this.counters.upgrades++;
    if (owner !== host && (state === State.M || state === State.O)) this.counters.writebacks++;
    this.#dropAll(others, line);
    this.#set(entry, State.M, host, bit);
    return snoopTicks(this.#cost, count);
  }

  /** A host does an atomic on a line. Returns ticks beyond the path. */
  atomic(host: number, line: number): number {
    this.counters.atomics++;
    return this.write(host, line) + ticksOf(this.#cost.oS + this.#cost.oR);
  }

  /** A host drops a line; true when it held it dirty, so that its data goes to memory. */
  evict(host: number, line: number): boolean {
    const entry = this.#table.find(line);
    if (entry < 0) return false;
    const bit = (1 << host) >>> 0;
    const sharers = this.#sharers[entry] as number;
    if ((sharers & bit) === 0) return false;
    this.counters.evictions++;
    const state = this.#state[entry] as number;
    const owns = (this.#owner[entry] as number) === host;
    const dirty = owns && (state === State.M || state === State.O);
    if (dirty) this.counters.writebacks++;
    const rest = (sharers & ~bit) >>> 0;
    if (rest === 0) this.#table.remove(entry);
    else if (owns && state !== State.S) this.#set(entry, State.S, 0, rest);
    else this.#sharers[entry] = rest;
    return dirty;
  }

  /** The entry of a line, the one used last; makes room when the filter is full. */
  #entry(line: number): number {
    let entry = this.#table.find(line);
    if (entry >= 0) {
      this.#table.use(entry);
      return entry;
    }
    if (this.#table.count >= this.#capacity) {
      const oldest = this.#table.oldest;
      const dropped = this.#table.key[oldest] as number;
      this.counters.filterEvictions++;
      this.counters.backInvalidates += bits(this.#sharers[oldest] as number);
      const state = this.#state[oldest] as number;
      if (state === State.M || state === State.O) this.counters.writebacks++;
      this.#dropAll(this.#sharers[oldest] as number, dropped);
      this.#table.remove(oldest);
    }
    entry = this.#table.add(line);
    if (this.#table.capacity > this.#state.length) this.#grow();
    this.#set(entry, State.I, 0, 0);
    return entry;
  }

  #set(entry: number, state: number, owner: number, sharers: number): void {
    this.#state[entry] = state;
    this.#owner[entry] = owner;
    this.#sharers[entry] = sharers;
  }

  #dropAll(hosts: number, line: number): void {
    if (this.#holder === null) return;
    for (let host = 0; host < 32; host++) if (((hosts >>> host) & 1) === 1) this.#holder.drop(host, line);
  }

  #grow(): void {
    const state = new Uint8Array(this.#table.capacity);
    const owner = new Uint8Array(this.#table.capacity);
    const sharers = new Uint32Array(this.#table.capacity);
    state.set(this.#state);
    owner.set(this.#owner);
    sharers.set(this.#sharers);
    this.#state = state;
    this.#owner = owner;
    this.#sharers = sharers;
  }
}

function bits(mask: number): number {
  let count = 0;
  for (let rest = mask >>> 0; rest !== 0; rest = (rest & (rest - 1)) >>> 0) count++;
  return count;
}
