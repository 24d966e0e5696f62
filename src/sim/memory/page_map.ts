/**
 * Where every address lies: windows, fixed ranges, allocations, pages, and the moves of pages.
 * @module
 */

import type { SimConfig } from "../config.ts";
import { decodeAddress } from "../topology/interleave.ts";
import { HOST_LIMIT } from "../trace/batch.ts";
import { ticksOf } from "../units.ts";
import { Migration } from "./migration.ts";
import { NodeCache } from "./node_cache.ts";
import { MOVED, PageTable, TWICE } from "./pages.ts";
import { NO_ROOM, Placement } from "./placement.ts";

/** Counters by the kernel's names, so that a run compares with a real machine. */
export const KERNEL_COUNTERS = [
  "numa_hit",
  "numa_miss",
  "numa_foreign",
  "numa_interleave",
  "numa_local",
  "numa_other",
  "pgpromote_success",
  "pgpromote_candidate",
  "pgdemote_kswapd",
  "pgdemote_direct",
  "pgfault",
  "pgmigrate_success",
  "pgmigrate_fail",
] as const;

/** The first page that found no room. */
export interface NoRoom {
  /** Its address. */
  readonly address: number;
  /** Bytes used and there, by node, at that moment. */
  readonly usedBytes: readonly number[];
  /** By node. */
  readonly capacityBytes: readonly number[];
}

/** Pages and where they lie. */
export class PageMap {
  /** Counted by the kernel's names. */
  readonly counters: Record<typeof KERNEL_COUNTERS[number], number> = Object.fromEntries(
    KERNEL_COUNTERS.map((name) => [name, 0]),
  ) as Record<typeof KERNEL_COUNTERS[number], number>;
  /** Room by node. */
  readonly placement: Placement;
  /** Accesses to pages that found no room, and the first such page. */
  refused = 0;
  /** The first access whose page had no room. */
  noRoom: NoRoom | null = null;
  /** Pages placed and moved by node: in, out. */
  readonly movedIn: Float64Array<ArrayBuffer>;
  /** Pages that left in this epoch, by node. */
  readonly movedOut: Float64Array<ArrayBuffer>;
  /** Ticks of page moves that accesses met. */
  moveTicks = 0;
  /** True when every touch is counted, with its time. */
  readonly needsTime: boolean;

  readonly #config: SimConfig;
  readonly #table = new PageTable();
  readonly #migration: Migration;
  readonly #shared: boolean;
  readonly #pageBytes: number;
  /** Exact: a page is a power of two. */
  readonly #pagesPerByte: number;
  readonly #nearest: readonly number[];
  readonly #twiceTicks: number;
  readonly #special: boolean;
  readonly #allocations: { base: number; end: number; host: number; node: number }[] = [];
  readonly #cache: NodeCache = new NodeCache(HOST_LIMIT);
  #pendingMove = 0;
  /** Ticks that the next access waits for, by entry of a page that was moved and not touched since. */
  readonly #moveTicksOf: Map<number, number> = new Map();

  /**
   * Begins without pages.
   *
   * @param pathNs read and write latency by node, with switches and lengths
   */
  constructor(config: SimConfig, pathNs: readonly (readonly [number, number])[]) {
    this.#config = config;
    this.#shared = config.coherence.mode !== "private";
    this.placement = new Placement(config, pathNs, this.#shared);
    this.#migration = new Migration(config.migration);
    this.needsTime = this.#migration.active;
    this.#pageBytes = config.pageBytes;
    this.#pagesPerByte = 1 / config.pageBytes;
    this.#twiceTicks = this.#migration.scaled(config.migration.windowNs);
    this.#special = config.windows.length > 0;
    this.movedIn = new Float64Array(config.capacityBytes.length);
    this.movedOut = new Float64Array(config.capacityBytes.length);
    this.#nearest = pathNs.map((_, node) => node).sort((a, b) =>
      (pathNs[a]?.[0] ?? 0) - (pathNs[b]?.[0] ?? 0) || a - b
    );
  }

  /** Pages that are placed. */
  get pages(): number {
    return this.#table.count;
  }

  /** The node of an address that a host touches; the page is placed at its first touch. -1 when it has no room. */
  nodeOf(address: number, host: number, now = 0): number {
    if (this.#special) {
      for (const window of this.#config.windows) {
        if (address >= window.baseAddress && address < window.baseAddress + window.sizeBytes) {
          return window.targets[decodeAddress(window, address).position] as number;
        }
      }
    }
    const page = Math.floor(address * this.#pagesPerByte);
    const owner = this.#shared ? 0 : host;
    if (this.needsTime) return this.#touch(page * HOST_LIMIT + owner, address, host, now);
    const known = this.#cache.find(page, owner);
    if (known >= 0) return known;
    const key = page * HOST_LIMIT + owner;
    const entry = this.#table.find(key);
    const node = entry >= 0 ? this.#table.node[entry] as number : this.#placePage(key, address, host);
    if (node >= 0) this.#cache.set(page, owner, node);
    return node;
  }

  #touch(key: number, address: number, host: number, now: number): number {
    const table = this.#table;
    let entry = table.find(key);
    if (entry < 0) {
      if (this.#placePage(key, address, host) < 0) return NO_ROOM;
      entry = table.find(key);
    } else if (now - (table.touched[entry] as number) <= this.#twiceTicks) {
      table.node[entry] = (table.node[entry] as number) | TWICE;
    }
    table.heat[entry] = (table.heat[entry] as number) + 1;
    table.touched[entry] = now;
    const node = table.node[entry] as number;
    if ((node & MOVED) !== 0) {
      table.node[entry] = node & ~MOVED;
      this.#pendingMove = this.#moveTicksOf.get(entry) ?? 0;
      this.#moveTicksOf.delete(entry);
    }
    return node & ~(MOVED | TWICE);
  }

  #placePage(key: number, address: number, host: number): number {
    const bytes = this.#pageBytes;
    let node = this.#wanted(address, host);
    let missed = false;
    if (node < 0 || !this.placement.placeOn(node, bytes)) {
      if (node < 0) node = this.placement.preferred;
      const wanted = node;
      node = this.placement.place(bytes);
      missed = wanted >= 0 && node !== wanted;
    }
    if (node < 0) {
      this.refused++;
      this.noRoom ??= {
        address,
        usedBytes: [...this.placement.used],
        capacityBytes: [...this.placement.capacity],
      };
      return NO_ROOM;
    }
    this.#countPlaced(node, missed);
    this.#table.add(key, node);
    return node;
  }

  /** As the kernel's zone_statistics() counts a page: hit or miss by the node that was wanted, local or other by the one it got. */
  #countPlaced(node: number, missed: boolean): void {
    const { counters } = this;
    counters.pgfault++;
    if (missed) {
      counters.numa_miss++;
      counters.numa_foreign++;
    } else counters.numa_hit++;
    if (!missed && this.placement.interleaves) counters.numa_interleave++;
    if (node === 0) counters.numa_local++;
    else counters.numa_other++;
  }

  /** The node that a fixed range or an allocation says, or -1. */
  #wanted(address: number, host: number): number {
    for (const { baseAddress, sizeBytes, node } of this.#config.fixed) {
      if (address >= baseAddress && address < baseAddress + sizeBytes) return node;
    }
    if (!this.#config.byAllocation) return -1;
    for (let i = this.#allocations.length - 1; i >= 0; i--) {
      const one = this.#allocations[i];
      if (one !== undefined && one.host === host && address >= one.base && address < one.end) return one.node;
    }
    return -1;
  }

  /** The page of an address, by number. */
  pageOf(address: number): number {
    return Math.floor(address / this.#pageBytes);
  }

  /** Ticks that the access looked up last waits because its page was moved. */
  takeMoveTicks(): number {
    const ticks = this.#pendingMove;
    this.#pendingMove = 0;
    this.moveTicks += ticks;
    return ticks;
  }

  /** An allocation: with `byAllocation` its pages go to one node, the policy's choice for all of it. */
  allocate(base: number, sizeBytes: number, host: number): void {
    let node = -1;
    if (this.#config.byAllocation) {
      node = this.placement.place(sizeBytes);
      if (node >= 0) this.placement.release(node, sizeBytes);
    }
    this.#allocations.push({ base, end: base + sizeBytes, host, node });
  }

  /** A free: pages that lie wholly in the allocation give their room back. */
  free(base: number, host: number): void {
    const at = this.#allocations.findLastIndex((one) => one.base === base && one.host === host);
    const one = this.#allocations[at];
    if (one === undefined) return;
    this.#allocations.splice(at, 1);
    this.#cache.clear();
    const first = Math.ceil(one.base / this.#pageBytes);
    const last = Math.floor(one.end / this.#pageBytes);
    for (let page = first; page < last; page++) {
      const key = page * HOST_LIMIT + (this.#shared ? 0 : host);
      this.#moveTicksOf.delete(this.#table.find(key));
      const node = this.#table.remove(key);
      if (node < 0) continue;
      this.placement.release(node, this.#pageBytes);
    }
  }

  /**
   * Runs the migration policies.
   *
   * @param traffic told of each move: lines read at one node and written to another
   */
  endEpoch(now: number, traffic: (from: number, to: number, lines: number) => void): void {
    if (!this.needsTime) return;
    const pageBytes = this.#pageBytes;
    const view = { pages: this.#table, placement: this.placement, pageBytes, nearest: this.#nearest };
    this.#migration.run(view, now, (entry, to, kind) => {
      const table = this.#table;
      const from = (table.node[entry] as number) & ~(MOVED | TWICE);
      // The kernel counts what DAMON moves as migrated alone.
      const counted = kind === "damon" ? null : to === 0 ? "promote" : kind;
      if (counted === "promote") this.counters.pgpromote_candidate++;
      if (from === to) return false;
      if (!this.placement.placeOn(to, pageBytes)) {
        this.counters.pgmigrate_fail++;
        return false;
      }
      this.placement.release(from, pageBytes);
      table.node[entry] = to | MOVED | ((table.node[entry] as number) & TWICE);
      this.counters.pgmigrate_success++;
      if (counted === "promote") this.counters.pgpromote_success++;
      else if (counted === "demote") this.counters.pgdemote_kswapd++;
      this.#moveTicksOf.set(entry, (this.#moveTicksOf.get(entry) ?? 0) + this.#moveCost(from, to));
      this.movedOut[from] = (this.movedOut[from] as number) + 1;
      this.movedIn[to] = (this.movedIn[to] as number) + 1;
      traffic(from, to, pageBytes / this.#config.lineBytes);
      return true;
    });
  }

  /** Ticks of one page's move: its bytes over the slower side, and the kernel's work. */
  #moveCost(from: number, to: number): number {
    const { bandwidthGBs, localBandwidthGBs, migration, pageBytes } = this.#config;
    const of = (node: number, write: 0 | 1): number =>
      node === 0 ? localBandwidthGBs?.[write] ?? Infinity : bandwidthGBs[node - 1]?.[write] ?? Infinity;
    const slower = Math.min(of(from, 0), of(to, 1));
    return ticksOf(pageBytes / slower + migration.kernelNsPerPage * Math.max(1, pageBytes / 4096));
  }

  /** Every page: key's page number, host, and node; in the order of their first touch. */
  *entries(): Generator<{ readonly page: number; readonly host: number; readonly node: number }> {
    const table = this.#table;
    for (let entry = 0; entry < table.length; entry++) {
      const key = table.key[entry] as number;
      if (key < 0) continue;
      const node = (table.node[entry] as number) & ~(MOVED | TWICE);
      yield { page: Math.floor(key / HOST_LIMIT), host: key % HOST_LIMIT, node };
    }
  }
}
