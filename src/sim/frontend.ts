/**
 * From accesses to requests: lines, pages, caches, walks, prefetches, coherence. State moves on in trace order.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type { SimConfig } from "./config.ts";
import { Flag, type RequestBatch } from "./engine/request.ts";
import { type FrontEndCounts, type FrontEndParts, noCounts } from "./frontend_parts.ts";
import type { HostCache } from "./memory/cache.ts";
import { Prefetcher } from "./memory/prefetcher.ts";
import { Tlb, walkTicks } from "./memory/tlb.ts";
import { PlainAccesses } from "./plain_accesses.ts";
import { StreamFacts } from "./stream_facts.ts";
import { type AccessBatch, DEPENDENT, HOST_LIMIT, Op, OP_MASK, THREAD_LIMIT } from "./trace/batch.ts";
import { ticksOf } from "./units.ts";

/** Turns accesses into requests in a batch; `run` is called when that is full. */
export class FrontEnd {
  /** What it counted. */
  readonly counts: FrontEndCounts = noCounts();
  /** TLBs by host. */
  readonly tlbs: readonly Tlb[];
  /** Prefetchers by stream. */
  readonly prefetchers: Prefetcher[] = [];
  /** Called with the order of the first request of the access to explain, and again with -1 when it made none. */
  onExplained: (order: number) => void = () => {};
  /** The number, from 1, of the access to explain. */
  explain = 0;

  readonly #config: SimConfig;
  readonly #parts: FrontEndParts;
  readonly #batch: RequestBatch;
  readonly #run: () => void;
  readonly #walkLocal: number;
  readonly #walkHere: number;
  readonly #streams: StreamFacts;
  readonly #plain: PlainAccesses;
  readonly #simple: boolean;

  /**
   * Begins before the first access.
   *
   * @param run replays the requests of `batch` and clears it
   */
  constructor(config: SimConfig, parts: FrontEndParts, batch: RequestBatch, run: () => void) {
    this.#config = config;
    this.#parts = parts;
    this.#batch = batch;
    this.#run = run;
    this.tlbs = config.tlb === null ? [] : Array.from({ length: HOST_LIMIT }, () => new Tlb(config.pageBytes));
    [this.#walkLocal, this.#walkHere] = [walkTicks("local"), walkTicks(config.tlb?.tables ?? "local")];
    const measuredTicks = config.gaps === "measured"
      ? Math.round(ticksOf(config.dramLatencyNs[0]) / config.window)
      : -1;
    this.#streams = new StreamFacts(measuredTicks);
    const storeFlags = Flag.Program | (config.writesStall ? Flag.Place : 0);
    this.#plain = new PlainAccesses(config.lineBytes, storeFlags, parts, this.#streams, this.counts, batch, run);
    this.#simple = parts.caches === null && parts.coherence === null && config.tlb === null && !config.prefetch &&
      measuredTicks < 0 && !parts.pages.needsTime && !parts.epochs.timed;
  }

  /** Takes accesses in trace order. */
  feed(accesses: AccessBatch): void {
    const { time, address, bytes, op, host, thread } = accesses;
    const { epochs } = this.#parts;
    for (let i = 0; i < accesses.count; i++) {
      if (this.#simple && this.counts.accesses >= this.explain) {
        i = this.#plain.take(accesses, i);
        if (i === accesses.count) break;
      }
      const now = time[i] as number;
      const code = (op[i] as number) & OP_MASK;
      if (now >= epochs.end) this.#endEpoch(now, false);
      epochs.see(now);
      const id = (host[i] as number) * THREAD_LIMIT + (thread[i] as number);
      let stream = this.#streams.numbers[id] as number;
      if (stream < 0) stream = this.#addStream(id, now);
      if (code > Op.Prefetch) {
        i = this.#event(accesses, i, stream, code, now);
        continue;
      }
      this.counts.accesses++;
      const explained = this.counts.accesses === this.explain;
      const from = this.#batch.firstOrder + this.#batch.count;
      if (explained) this.onExplained(from);
      const touched = Math.max(1, bytes[i] as number);
      this.#access(now, stream, host[i] as number, op[i] as number, address[i] as number, touched);
      if (explained && this.#batch.firstOrder + this.#batch.count === from) this.onExplained(-1);
    }
  }

  /** The trace has ended. */
  finish(): void {
    const { epochs, caches } = this.#parts;
    if (caches !== null && this.#config.cache?.flushAtEnd === true) {
      for (const [host, cache] of caches.entries()) {
        for (const line of cache.dirtyLines()) this.#writeBack(epochs.last, 0, host, line);
      }
    }
    this.#endEpoch(epochs.last, true);
    if (this.#batch.count > 0) this.#run();
  }

  /** Streams in the order they were first seen: `host * THREAD_LIMIT + thread`. */
  get streams(): readonly number[] {
    return this.#streams.ids;
  }

  #addStream(id: number, now: number): number {
    const stream = this.#streams.add(id, now);
    if (this.#config.prefetch) this.prefetchers[stream] = new Prefetcher(this.#config.lineBytes);
    return stream;
  }

  #send(
    time: number,
    stream: number,
    route: number,
    flags: number,
    extra: number,
    local: number,
    coherence: number,
    lines: number,
  ): void {
    const { epochs } = this.#parts;
    epochs.moved[route] = (epochs.moved[route] as number) + lines;
    if ((flags & Flag.Place) !== 0) epochs.stalled[route] = (epochs.stalled[route] as number) + 1;
    if (epochs.timed) epochs.touch(route >> 1, time);
    this.#batch.add(time, stream, route, flags, extra, local, local + coherence, lines);
    if (this.#batch.full) this.#run();
  }

  #access(time: number, stream: number, host: number, op: number, address: number, bytes: number): void {
    const { lineBytes } = this.#config;
    const now = this.#streams.adjusted(stream, time);
    const code = op & OP_MASK;
    if (code === Op.Read) this.counts.reads++;
    else if (code === Op.Write) this.counts.writes++;
    else if (code === Op.Atomic) this.counts.atomics++;
    else this.counts.prefetches++;
    const first = Math.floor(address / lineBytes);
    const last = Math.floor((address + bytes - 1) / lineBytes);
    let depends = (op & DEPENDENT) !== 0 && this.#streams.freeLoad[stream] !== true;
    for (let line = first; line <= last; line++) {
      this.counts.lines++;
      this.#line(now, stream, host, code, line, depends);
      depends = false;
    }
  }

  #line(now: number, stream: number, host: number, code: number, line: number, depends: boolean): void {
    const { lineBytes } = this.#config;
    const { pages, caches, coherence } = this.#parts;
    const address = line * lineBytes;
    const isRead = code === Op.Read || code === Op.Prefetch;
    const node = pages.nodeOf(address, host, now);
    if (node < 0) return;
    const tlb = this.tlbs[host];
    if (tlb !== undefined) {
      this.#streams.walkShare[stream] = (this.#streams.walkShare[stream] as number) + tlb.access(pages.pageOf(address));
    }
    const shared = coherence !== null && node > 0;
    let upgrade = false;
    let victim = -1;
    let dirty = false;
    if (caches !== null) {
      const cache = caches[host] as HostCache;
      const hit = cache.access(line, !isRead);
      if (hit) {
        upgrade = shared && !isRead && coherence.needsUpgrade(host, line);
        if (!upgrade) {
          if (shared) coherence.hit(host, line, code);
          if (!this.#joinPrefetch(now, stream, code, line, depends)) {
            this.#streams.freeLoad[stream] = isRead && !depends;
          }
          return;
        }
      } else {
        victim = cache.victim;
        dirty = cache.victimDirty;
      }
    }
    if (this.#joinPrefetch(now, stream, code, line, depends)) {
      if (victim >= 0) this.#drive(now, stream, host, victim, dirty);
      return;
    }
    let ticks = 0;
    if (shared) ticks = coherence.request(host, line, code);
    // A store that misses a cache fills its line by a read; one that hits a shared line only asks for it.
    const route = node * 2 + (isRead || (caches !== null && !upgrade) ? 0 : 1);
    let flags: number = code === Op.Prefetch ? 0 : Flag.Program;
    if (code === Op.Read || code === Op.Atomic) flags |= Flag.Place | Flag.Load;
    else if (code === Op.Write && this.#config.writesStall) flags |= Flag.Place;
    if (depends) flags |= Flag.Depends;
    const walk = this.#streams.walkShare[stream] as number;
    this.#streams.walkShare[stream] = 0;
    const walkHere = Math.round(walk * this.#walkHere);
    this.counts.walkTicks += walkHere;
    const extra = walkHere + ticks + pages.takeMoveTicks();
    if (code !== Op.Prefetch) this.#streams.freeLoad[stream] = false;
    this.#send(now, stream, route, flags, extra, Math.round(walk * this.#walkLocal), ticks, 1);
    if (victim >= 0) this.#drive(now, stream, host, victim, dirty);
    if (code !== Op.Prefetch && this.#config.prefetch) this.#prefetch(now, stream, host, line);
  }

  /** A demand access meets a prefetch of its line: it waits for the rest of that. */
  #joinPrefetch(now: number, stream: number, code: number, line: number, depends: boolean): boolean {
    const prefetcher = this.prefetchers[stream];
    if (prefetcher === undefined || code === Op.Prefetch) return false;
    const number = prefetcher.take(line, this.counts.prefetchesIssued);
    if (number < 0) return false;
    let flags = Flag.Program | Flag.Join;
    if (code !== Op.Write || this.#config.writesStall) flags |= Flag.Place;
    if (code !== Op.Write) flags |= Flag.Load;
    if (depends) flags |= Flag.Depends;
    this.#streams.freeLoad[stream] = false;
    this.#batch.add(now, stream, 0, flags, number, 0, 0, 1);
    if (this.#batch.full) this.#run();
    this.#prefetch(now, stream, this.#streams.hostOf(stream), line);
    return true;
  }

  #prefetch(now: number, stream: number, host: number, line: number): void {
    const { pages, caches } = this.#parts;
    const prefetcher = this.prefetchers[stream] as Prefetcher;
    prefetcher.learn(line);
    for (const ahead of prefetcher.lines) {
      const node = pages.nodeOf(ahead * this.#config.lineBytes, host, now);
      if (node < 0) continue;
      const cache = caches?.[host];
      if (cache?.access(ahead, false) === true) continue;
      const number = this.counts.prefetchesIssued++;
      prefetcher.remember(ahead, number);
      this.#send(now, stream, node * 2, Flag.Prefetch, number, 0, 0, 1);
      if (cache !== undefined && cache.victim >= 0) this.#drive(now, stream, host, cache.victim, cache.victimDirty);
    }
  }

  /** What a cache drove out: the directory hears of it, and a dirty line is written back. */
  #drive(now: number, stream: number, host: number, line: number, dirty: boolean): void {
    this.#parts.coherence?.evict(host, line, dirty);
    if (dirty) this.#writeBack(now, stream, host, line);
  }

  /** A posted write of a line to its owner at this moment. */
  #writeBack(now: number, stream: number, host: number, line: number): void {
    const { pages } = this.#parts;
    const node = pages.nodeOf(line * this.#config.lineBytes, host, now);
    if (node >= 0) this.#send(now, stream, node * 2 + 1, 0, 0, 0, 0, 1);
  }

  #event(accesses: AccessBatch, i: number, stream: number, code: number, now: number): number {
    const { pages, caches, coherence } = this.#parts;
    const address = accesses.address[i] as number;
    const host = accesses.host[i] as number;
    const line = Math.floor(address / this.#config.lineBytes);
    if (code === Op.Flush || code === Op.Invalidate) {
      let dirty = false;
      const removed = caches?.[host]?.remove(line) ?? -1;
      if (code === Op.Flush) {
        this.counts.flushes++;
        const held = coherence?.flush(host, line) ?? false;
        dirty = removed === 1 || (caches === null && held);
      } else {
        this.counts.invalidates++;
        coherence?.invalidate(host, line);
      }
      if (dirty) this.#writeBack(now, stream, host, line);
    } else if (code === Op.Barrier) {
      this.counts.barriers++;
      this.#endEpoch(now, false, now);
    } else if (code === Op.Allocate) {
      if (i + 1 >= accesses.count || ((accesses.op[i + 1] as number) & OP_MASK) !== Op.Size) {
        throw new BusbarError("malformed", "an allocation without its size", { operation: "read a trace" });
      }
      pages.allocate(address, accesses.address[i + 1] as number, host);
      return i + 1;
    } else if (code === Op.Free) pages.free(address, host);
    return i;
  }

  #endEpoch(now: number, last: boolean, start = -1): void {
    const { epochs, pages } = this.#parts;
    // Policies run where an epoch ends and another begins: after the last one nobody would see what they move.
    if (epochs.close(now, last) && !last) {
      const end = start < 0 ? epochs.startOf(now) : start;
      pages.endEpoch(end, (from, to, lines) => {
        this.#send(end, 0, from * 2, 0, 0, 0, 0, lines);
        this.#send(end, 0, to * 2 + 1, 0, 0, 0, 0, lines);
      });
    }
    if (!last) epochs.begin(now, start);
  }
}
