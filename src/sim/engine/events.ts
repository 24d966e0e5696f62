/**
 * The events of a replay: issues, arrivals at links, credits that come back, completions.
 *
 * Streams and links are each in order by themselves, so the next event is the winner of a {@linkcode Tournament}.
 * Events of equal time go by the number of the request, which is trace order.
 * @module
 */

import type { SlotQueue } from "./fifo.ts";
import { LinkOutputs } from "./link_outputs.ts";
import { LinkStates } from "./link_states.ts";
import type { LoadObserver } from "./load_observer.ts";
import type { Network } from "./network.ts";
import { PrefetchTable } from "./prefetch_table.ts";
import { type Explained, type ExplainedHop, Flag, UNKNOWN } from "./request.ts";
import { CLOCK, END, ReplayCounts, WAITS } from "./replay_counts.ts";
import { Slots } from "./slots.ts";
import { Streams } from "./streams.ts";
import { Tournament } from "./tournament.ts";

/** The state of a replay over one network, and what happens to it. */
export class Events {
  /** What is counted. */
  readonly counts: ReplayCounts;
  /** Links: busy time, waits, queues. */
  readonly links: LinkStates;
  /** Path of each route: a model may change it while time goes on. */
  readonly path: Float64Array<ArrayBuffer>;
  /** Called for whatever used a route; null for nobody. */
  observer: LoadObserver | null = null;
  /** The request to take apart, or -1. */
  explainOrder: number = UNKNOWN;
  /** That request, when it has completed. */
  explained: Explained | null = null;

  /** Links and routes. */
  readonly network: Network;
  /** Whose turn is next. */
  readonly tournament: Tournament;
  readonly #outputs: LinkOutputs;
  readonly #slots: Slots = new Slots();
  readonly #releases: number;
  /** First source of the tournament that is a stream. */
  readonly firstStream: number;
  /** The streams. */
  readonly streams: Streams;
  readonly #prefetches: PrefetchTable = new PrefetchTable();
  #hops: ExplainedHop[] = [];

  /**
   * Begins without requests.
   *
   * @param window outstanding misses of each stream, 1 or more
   * @param startTicks trace time that is time 0 of the run
   * @param epochTicks the time over which a link's peak utilisation is taken
   * @param holds hosts that have not been seen yet may begin at any time; false: a stream begins when it is first seen
   */
  constructor(network: Network, window: number, startTicks: number, epochTicks: number, holds: boolean) {
    this.network = network;
    this.path = network.path.slice();
    this.links = new LinkStates(network.links, epochTicks);
    this.#releases = network.links.length;
    this.firstStream = network.links.length + 1;
    this.tournament = new Tournament(this.firstStream + 1);
    this.#outputs = new LinkOutputs(network.links.length, this.tournament, this.#slots);
    this.streams = new Streams(this.tournament, this.firstStream, window, startTicks, holds);
    this.counts = new ReplayCounts(network.nodes * 2);
  }

  /**
   * Lets everything happen that no later request can come before.
   *
   * @param traceTicks no later request has a smaller trace time; Infinity at the end of the trace
   */
  advance(traceTicks: number): void {
    const { streams, tournament } = this;
    let bound = streams.bound(traceTicks);
    for (;;) {
      const time = tournament.first;
      if (time > bound || time === Infinity) return;
      const stream = this.step();
      if (stream >= 0 && streams.empty(stream)) bound = Math.min(bound, streams.earliest(stream, traceTicks));
    }
  }

  /** Lets the next event happen; returns the stream that issued a request, or -1. */
  step(): number {
    const tournament = this.tournament;
    const source = tournament.winner;
    const time = tournament.first;
    const stream = source - this.firstStream;
    if (stream >= 0) {
      const streams = this.streams;
      const place = streams.take(stream, time);
      // The next request of the stream may be the first event from now on.
      const { taken } = streams;
      const order = taken[0] as number;
      const extra = taken[1] as number;
      const lines = taken[2] as number;
      const word = taken[3] as number;
      streams.look(stream);
      this.issue(stream, time, place, order, extra, word >> 8, word & 0xff, lines);
      streams.lookAgain(stream);
      return stream;
    }
    if (source === this.#releases) this.#release(time);
    else {
      // The first access in a link's output goes on to its next link.
      this.counts.totals[CLOCK] = time;
      this.#arrive(this.#outputs.take(source), time);
    }
    return UNKNOWN;
  }

  /** Sends a request onto its way. */
  issue(
    stream: number,
    issue: number,
    place: number,
    order: number,
    extra: number,
    route: number,
    flags: number,
    lines: number,
  ): void {
    if ((flags & Flag.Join) !== 0) {
      const done = this.#prefetches.completion(extra);
      this.counts.joins++;
      if (done >= 0) this.#join(stream, place, order, flags, issue, done);
      else this.#prefetches.wait(extra, this.#slots.take(issue, extra, order, stream, route, 0, place, flags, lines));
      return;
    }
    if ((flags & Flag.Prefetch) !== 0) this.#prefetches.begin(extra);
    const { hopStart, hopLink, hopService, soonest } = this.network;
    const links = this.links;
    const end = hopStart[route + 1] as number;
    let hop = hopStart[route] as number;
    let at = issue;
    let wait = 0;
    if (hop < end) this.counts.totals[CLOCK] = issue;
    for (; hop < end; hop++) {
      const link = hopLink[hop] as number;
      // A link may be used ahead of time when nothing on the way and nothing issued later can reach it before.
      const ahead = at <= issue || (at <= issue + (soonest[link] as number) && at < this.tournament.first);
      if (!ahead || (links.credits[link] as number) > 0) {
        const slot = this.#slots.take(issue, extra, order, stream, route, hop, place, flags, lines);
        this.#slots.wait[slot] = wait;
        if (at <= issue) this.#arrive(slot, at);
        else this.#outputs.put(hopLink[hop - 1] as number, slot, at, order);
        return;
      }
      const service = (hopService[hop] as number) * lines;
      const waited = links.carry(link, at, service);
      if (order === this.explainOrder) this.#note(link, at, at + waited, service);
      wait += waited;
      at += waited + service;
    }
    this.#complete(stream, place, order, flags, route, issue, extra, wait, lines);
  }

  /** An access that may not use its next link yet: it becomes an event. */
  sendOn(
    issue: number,
    wait: number,
    at: number,
    order: number,
    extra: number,
    route: number,
    hop: number,
    place: number,
    flags: number,
    lines: number,
  ): void {
    const slot = this.#slots.take(issue, extra, order, 0, route, hop, place, flags, lines);
    this.#slots.wait[slot] = wait;
    this.#outputs.put(this.network.hopLink[hop - 1] as number, slot, at, order);
  }

  /** A slot's access reaches its next link. */
  #arrive(slot: number, time: number): void {
    const link = this.network.hopLink[this.#slots.hop[slot] as number] as number;
    if ((this.links.credits[link] as number) > 0 && !this.links.enter(link, slot, time)) return;
    this.#carry(slot, link, time, time);
  }

  #carry(slot: number, link: number, arrival: number, entry: number): void {
    const slots = this.#slots;
    const hop = slots.hop[slot] as number;
    const lines = slots.lines[slot] as number;
    const service = (this.network.hopService[hop] as number) * lines;
    const wait = entry - arrival + this.links.carry(link, entry, service);
    if (entry > arrival) this.links.waitedForCredit(link, entry - arrival);
    slots.wait[slot] = (slots.wait[slot] as number) + wait;
    const order = slots.order[slot] as number;
    if (order === this.explainOrder) this.#note(link, arrival, arrival + wait, service);
    const route = slots.route[slot] as number;
    if (hop + 1 < (this.network.hopStart[route + 1] as number)) {
      slots.hop[slot] = hop + 1;
      this.#outputs.put(link, slot, arrival + wait + service, order);
      return;
    }
    slots.give(slot);
    const stream = slots.stream[slot] as number;
    const place = slots.place[slot] as number;
    const flags = slots.flags[slot] as number;
    const issue = slots.issue[slot] as number;
    const extra = slots.extra[slot] as number;
    const completion = this.#complete(
      stream,
      place,
      order,
      flags,
      route,
      issue,
      extra,
      slots.wait[slot] as number,
      lines,
    );
    if (this.links.anyCredits) {
      const first = this.network.hopStart[route] as number;
      for (let at = first; at <= hop; at++) this.links.releaseAt(this.network.hopLink[at] as number, completion);
      this.tournament.set(this.#releases, this.links.nextRelease, UNKNOWN);
    }
    this.streams.lookAgain(stream);
  }

  /** A credit comes back: the first access that waits for it enters. */
  #release(time: number): void {
    const link = this.links.takeRelease();
    this.tournament.set(this.#releases, this.links.nextRelease, UNKNOWN);
    const waiting = this.links.waiting[link] as SlotQueue;
    if (waiting.length === 0) return;
    const arrival = waiting.times[waiting.head] as number;
    const slot = waiting.shift();
    this.links.useCredit(link);
    this.#carry(slot, link, arrival, time);
  }

  #complete(
    stream: number,
    place: number,
    order: number,
    flags: number,
    route: number,
    issue: number,
    extra: number,
    wait: number,
    lines: number,
  ): number {
    const prefetch = (flags & Flag.Prefetch) !== 0;
    const path = this.path[route] as number;
    const completion = issue + path + wait + (prefetch ? 0 : extra);
    if (this.observer !== null) this.observer.used(route, lines, issue, order, wait, completion);
    this.counts.totals[WAITS] = (this.counts.totals[WAITS] as number) + wait;
    if (order === this.explainOrder) {
      const hops = this.#hops;
      const extraTicks = prefetch ? 0 : extra;
      this.explained = { route, issueTicks: issue, pathTicks: path, extraTicks, hops, completionTicks: completion };
    }
    if (prefetch) {
      const waiter = this.#prefetches.complete(extra, completion);
      if (waiter >= 0) this.#finishJoin(waiter, completion);
    }
    if ((flags & Flag.Program) === 0) return completion;
    this.counts.routeCount[route] = (this.counts.routeCount[route] as number) + 1;
    this.counts.routeLatency[route] = (this.counts.routeLatency[route] as number) + completion - issue;
    this.#finish(stream, place, order, flags, issue, completion);
    return completion;
  }

  #finishJoin(slot: number, done: number): void {
    const slots = this.#slots;
    slots.give(slot);
    const stream = slots.stream[slot] as number;
    const [place, order, flags] = [
      slots.place[slot] as number,
      slots.order[slot] as number,
      slots.flags[slot] as number,
    ];
    this.#join(stream, place, order, flags, slots.issue[slot] as number, done);
    this.streams.lookAgain(stream);
  }

  #join(stream: number, place: number, order: number, flags: number, issue: number, done: number): void {
    if (done > issue) this.counts.lateJoins++;
    this.#finish(stream, place, order, flags, issue, Math.max(issue, done));
  }

  #finish(stream: number, place: number, order: number, flags: number, issue: number, completion: number): void {
    this.counts.latencies.add(completion - issue);
    if (completion > (this.counts.totals[END] as number)) this.counts.totals[END] = completion;
    this.streams.completed(stream, place, order, flags, completion);
  }

  #note(link: number, arrivalTicks: number, startTicks: number, serviceTicks: number): void {
    this.#hops.push({ link, arrivalTicks, startTicks, serviceTicks });
  }
}
