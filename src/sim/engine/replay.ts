/**
 * Event-driven replay: an access waits for its compute gap, its place in the window, what it depends on, and its links.
 * @module
 */

import { Events } from "./events.ts";
import type { Network } from "./network.ts";
import { CLOCK, END, WAITS } from "./replay_counts.ts";
import { BATCH_REQUESTS, Flag, type RequestBatch, UNKNOWN } from "./request.ts";

/** The replay of one run over one network. Requests go in by trace order. */
export class Replay {
  /** What happens, and what is counted. */
  readonly events: Events;
  /** True when several streams take turns; false while there is one, whose requests are issued as they are given. */
  #queued: boolean;
  /** Latencies of one batch, counted after it. */
  readonly #finished: Float64Array<ArrayBuffer> = new Float64Array(BATCH_REQUESTS);

  /**
   * Begins without requests.
   *
   * @param window outstanding misses of each stream, 1 or more
   * @param startTicks trace time that is time 0 of the run
   * @param epochTicks the time over which a link's peak utilisation is taken
   * @param holds hosts that have not been seen yet may begin at any time; false: a stream begins when it is first seen
   */
  constructor(network: Network, window: number, startTicks: number, epochTicks: number, holds: boolean) {
    this.events = new Events(network, window, startTicks, epochTicks, holds);
    this.#queued = holds;
  }

  /** Replays requests. Those of several streams may wait for later ones that come before them. */
  run(batch: RequestBatch): void {
    const first = this.#queued ? 0 : this.#direct(batch);
    if (first === batch.count) return;
    this.#queued = true;
    const { streams } = this.events;
    for (let i = first; i < batch.count; i++) {
      streams.push(
        batch.stream[i] as number,
        batch.time[i] as number,
        batch.firstOrder + i,
        batch.extra[i] as number,
        (batch.route[i] as number) << 8 | (batch.flags[i] as number),
        batch.lines[i] as number,
        this.events.counts.totals[CLOCK] as number,
      );
    }
    this.events.advance(batch.time[batch.count - 1] as number);
  }

  /** Ends the replay: everything that was given completes. */
  finish(): void {
    this.events.advance(Infinity);
    this.events.links.close(this.events.counts.totals[END] as number);
  }

  /**
   * The requests of the only stream, in one loop without calls: events are made only of accesses that cannot go
   * straight through. What it does is what {@linkcode Events} does, and tests hold the two against each other.
   *
   * @returns the first request that it did not take, because it is of another stream
   */
  #direct(batch: RequestBatch): number {
    const { events } = this;
    const { streams, tournament, links, counts } = events;
    streams.reserve(1);
    const { hopStart, hopLink, hopService, soonest } = events.network;
    const { path } = events;
    const { routeCount, routeLatency } = counts;
    const { time, extra, stream, route, flags, lines } = batch;
    const { free, waits, longestWait, epochEnd, epochBusy } = links;
    const { ring, lastLoad, lastLoadOrder } = streams;
    const { window } = streams;
    const finished = this.#finished;
    const explained = events.explainOrder - batch.firstOrder;
    const plain = links.anyCredits || events.observer !== null;
    let issued = streams.issued[0] as number;
    let traceTime = streams.traceTime[0] as number;
    let ringAt = streams.ringAt[0] as number;
    let next = tournament.first;
    let count = 0;
    let end = counts.totals[END] as number;
    let clock = counts.totals[CLOCK] as number;
    let waitTicks = 0;
    let i = 0;
    for (; i < batch.count; i++) {
      if ((stream[i] as number) !== 0) break;
      const flag = flags[i] as number;
      const now = time[i] as number;
      const order = batch.firstOrder + i;
      let issue = issued + now - traceTime;
      let place = UNKNOWN;
      if ((flag & Flag.Place) !== 0) {
        while ((ring[ringAt] as number) < 0) events.step();
        issue = Math.max(issue, ring[ringAt] as number);
        place = ringAt;
        ringAt = ringAt + 1 === window ? 0 : ringAt + 1;
      }
      if ((flag & Flag.Depends) !== 0) {
        while ((lastLoad[0] as number) < 0) events.step();
        issue = Math.max(issue, lastLoad[0] as number);
      }
      next = tournament.first;
      while (next <= issue) {
        events.step();
        next = tournament.first;
      }
      issued = issue;
      traceTime = now;
      const way = route[i] as number;
      const last = hopStart[way + 1] as number;
      let hop = hopStart[way] as number;
      let at = issue;
      let spent = 0;
      if (hop < last) clock = issue;
      if (plain || (flag & (Flag.Join | Flag.Prefetch)) !== 0 || i === explained) {
        if (place >= 0) ring[place] = UNKNOWN;
        if ((flag & Flag.Load) !== 0) {
          lastLoad[0] = UNKNOWN;
          lastLoadOrder[0] = order;
        }
        events.issue(0, issue, place, order, extra[i] as number, way, flag, lines[i] as number);
        continue;
      }
      for (; hop < last; hop++) {
        const link = hopLink[hop] as number;
        // A link is used ahead of time when nothing on the way, and nothing issued later, can reach it before.
        if (at > issue && (at > issue + (soonest[link] as number) || at >= next)) break;
        const service = (hopService[hop] as number) * (lines[i] as number);
        const start = Math.max(at, free[link] as number);
        if (start > at) {
          const wait = start - at;
          waits[link] = (waits[link] as number) + wait;
          if (wait > (longestWait[link] as number)) longestWait[link] = wait;
        }
        free[link] = at = start + service;
        spent += service;
        if (start >= (epochEnd[link] as number)) links.nextEpoch(link, start);
        epochBusy[link] = (epochBusy[link] as number) + service;
      }
      const wait = at - issue - spent;
      if (hop < last) {
        if (place >= 0) ring[place] = UNKNOWN;
        if ((flag & Flag.Load) !== 0) {
          lastLoad[0] = UNKNOWN;
          lastLoadOrder[0] = order;
        }
        events.sendOn(issue, wait, at, order, extra[i] as number, way, hop, place, flag, lines[i] as number);
        continue;
      }
      waitTicks += wait;
      const latency = (path[way] as number) + wait + (extra[i] as number);
      if ((flag & Flag.Program) === 0) continue;
      routeCount[way] = (routeCount[way] as number) + 1;
      routeLatency[way] = (routeLatency[way] as number) + latency;
      finished[count++] = latency;
      const completion = issue + latency;
      end = Math.max(end, completion);
      if (place >= 0) ring[place] = completion;
      if ((flag & Flag.Load) !== 0) {
        lastLoad[0] = completion;
        lastLoadOrder[0] = order;
      }
    }
    streams.issued[0] = issued;
    streams.traceTime[0] = traceTime;
    streams.ringAt[0] = ringAt;
    counts.totals[WAITS] = (counts.totals[WAITS] as number) + waitTicks;
    counts.totals[END] = Math.max(counts.totals[END] as number, end);
    counts.totals[CLOCK] = Math.max(counts.totals[CLOCK] as number, clock);
    counts.latencies.addAll(finished, count);
    return i;
  }
}
