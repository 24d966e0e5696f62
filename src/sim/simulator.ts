/**
 * A run: accesses in, a result out.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { type Coherence, sharedMemory } from "./coherence/coherence.ts";
import type { SimConfig } from "./config.ts";
import { buildNetwork, everythingLocal, type Network } from "./engine/network.ts";
import { Recurrence } from "./engine/recurrence.ts";
import { END } from "./engine/replay_counts.ts";
import { Replay } from "./engine/replay.ts";
import { RequestBatch } from "./engine/request.ts";
import { EpochRows } from "./epoch_rows.ts";
import { type EpochCounts, Epochs } from "./epochs.ts";
import { FrontEnd } from "./frontend.ts";
import { HostCache } from "./memory/cache.ts";
import { PageMap } from "./memory/page_map.ts";
import { HeatSamples } from "./heat_samples.ts";
import { AnalyticModel } from "./models/analytic.ts";
import { Curve, CurveControl } from "./models/curve.ts";
import { Overlap } from "./models/overlap.ts";
import type { RunState } from "./run_state.ts";
import { AccessBatch, HOST_LIMIT } from "./trace/batch.ts";
import { copyEntry } from "./trace/order.ts";
import { nsOf, ticksOf } from "./units.ts";

/** Hosts among so many first accesses begin together. */
const FIRST_ACCESSES = 4096;

/** Simulates one trace. */
export class Simulator {
  readonly #config: SimConfig;
  readonly #network: Network;
  readonly #batch = new RequestBatch();
  readonly #pages: PageMap;
  readonly #epochs: Epochs;
  readonly #rows: EpochRows;
  readonly #heat: HeatSamples = new HeatSamples();
  readonly #caches: readonly HostCache[] | null;
  readonly #coherence: Coherence | null;
  readonly #frontEnd: FrontEnd;
  readonly #analytic: AnalyticModel | null;
  readonly #overlap: Overlap | null;
  readonly #localPath: Float64Array<ArrayBuffer>;
  readonly #first: AccessBatch = new AccessBatch(FIRST_ACCESSES);
  /** Trace time and op of the first and last access. */
  readonly #span: Float64Array<ArrayBuffer> = Float64Array.of(-1, 0, 0);
  #begun = false;
  #explained: "no request" | null = null;
  #replay: Replay | null = null;
  #localReplay: Replay | null = null;
  #curve: { curve: Curve; control: CurveControl } | null = null;
  #recurrences: readonly [Recurrence, Float64Array, "localExtra" | "coherentExtra" | "extra"][] = [];

  /**
   * Builds the parts that the settings ask for.
   *
   * @param explain the number, from 1, of the access to take apart; 0 for none
   */
  constructor(config: SimConfig, explain = 0) {
    this.#config = config;
    this.#network = buildNetwork(config.topology, {
      ...config,
      localLatencyNs: config.dramLatencyNs,
      // A curve says what a loaded device takes: its own link would count the load twice.
      serviceNs: config.bandwidthModel === "curve" ? 0 : config.serviceNs,
    });
    const { path, nodes } = this.#network;
    const pathNs = Array.from(
      { length: nodes },
      (_, node) => [nsOf(path[node * 2] as number), nsOf(path[node * 2 + 1] as number)] as const,
    );
    this.#localPath = path.map((_, route) => path[route % 2] as number);
    this.#pages = new PageMap(config, pathNs);
    const { cache } = config;
    this.#caches = cache === null
      ? null
      : Array.from({ length: HOST_LIMIT }, (_, host) => new HostCache(cache, config.lineBytes, config.seed + host));
    this.#coherence = sharedMemory(config, this.#caches);
    const analytic = config.bandwidthModel === "epoch" || config.bandwidthModel === "mlc";
    this.#analytic = analytic ? new AnalyticModel(config, path) : null;
    this.#overlap = analytic && config.mlp === "trace" ? new Overlap(path, config.window) : null;
    this.#epochs = new Epochs(
      nodes,
      ticksOf(config.epochNs),
      config.bandwidthModel === "mlc",
      (epoch) => this.#close(epoch),
    );
    this.#rows = new EpochRows(nodes);
    const parts = { pages: this.#pages, epochs: this.#epochs, caches: this.#caches, coherence: this.#coherence };
    this.#frontEnd = new FrontEnd(config, parts, this.#batch, () => this.#run());
    this.#frontEnd.explain = explain;
    this.#frontEnd.onExplained = (order) => {
      this.#explained = order < 0 ? "no request" : null;
      if (this.#replay !== null) this.#replay.events.explainOrder = order;
    };
  }

  /** Accesses taken so far. */
  get accesses(): number {
    return this.#frontEnd.counts.accesses + (this.#begun ? 0 : this.#first.count);
  }

  /**
   * Takes accesses in trace order.
   *
   * @throws {BusbarError} `malformed` when there is a host that the settings do not have
   */
  feed(batch: AccessBatch): void {
    let from = 0;
    if (!this.#begun) {
      while (from < batch.count && !this.#first.full) copyEntry(batch, from++, this.#first);
      if (!this.#first.full) return;
      this.#begin();
    }
    if (from === 0) this.#take(batch);
    else if (from < batch.count) {
      const rest = new AccessBatch(batch.count - from);
      for (; from < batch.count; from++) copyEntry(batch, from, rest);
      this.#take(rest);
    }
  }

  /** Ends the run. */
  finish(): RunState {
    if (!this.#begun) this.#begin();
    this.#frontEnd.finish();
    this.#replay?.finish();
    this.#localReplay?.finish();
    const [base, path, coherence = path, moves = coherence] = this.#recurrences.map(([recurrence]) => recurrence.end);
    const baseline = this.#localReplay === null ? base ?? 0 : this.#localReplay.events.counts.totals[END] as number;
    const [first = 0, last = 0, route = 0] = this.#span;
    const nativeTicks = first < 0 ? 0 : last - first + (this.#network.path[route] as number);
    return {
      config: this.#config,
      network: this.#network,
      frontEnd: this.#frontEnd,
      pages: this.#pages,
      epochs: this.#epochs,
      rows: this.#rows,
      heat: this.#heat,
      caches: this.#caches,
      coherence: this.#coherence,
      replay: this.#replay,
      ends: { baseline, path: path ?? 0, coherence: coherence ?? 0, moves: moves ?? 0 },
      analytic: this.#analytic,
      curve: this.#curve,
      mlp: this.#mlp,
      nativeNs: nsOf(nativeTicks),
      explained: this.#replay?.events.explained ?? this.#explained,
      seed: this.#config.seed,
    };
  }

  get #mlp(): number {
    return this.#overlap?.mlp ?? (this.#config.mlp === "trace" ? 1 : this.#config.mlp);
  }

  #begin(): void {
    this.#begun = true;
    const { config } = this;
    const first = this.#first;
    const startTicks = first.count === 0 ? 0 : first.time[0] as number;
    let hosts = 1;
    for (let i = 0; i < first.count; i++) hosts = Math.max(hosts, (first.host[i] as number) + 1);
    const together = (config.hosts ?? hosts) > 1;
    if (this.#analytic === null) {
      const window = config.replay === "open" ? 1 : config.window;
      const epochTicks = ticksOf(config.epochNs);
      this.#replay = new Replay(this.#network, window, startTicks, epochTicks, together);
      if (config.bandwidthModel === "curve") this.#followCurve(this.#replay);
      if (config.replay === "closed") {
        const one = (path: Float64Array, extra: "localExtra" | "coherentExtra" | "extra") =>
          [new Recurrence(window, startTicks), path, extra] as const;
        const extras = this.#coherence !== null || config.tlb !== null || this.#pages.needsTime;
        this.#recurrences = [
          one(this.#localPath, "localExtra"),
          one(this.#network.path, "localExtra"),
          ...extras ? [one(this.#network.path, "coherentExtra"), one(this.#network.path, "extra")] : [],
        ].map(([recurrence, path, extra]) => [recurrence, path, extra]);
        if (config.localBandwidthGBs !== null) {
          this.#localReplay = new Replay(everythingLocal(this.#network), window, startTicks, epochTicks, together);
        }
      }
    }
    this.#take(first);
  }

  /** The settings of the run. */
  get config(): SimConfig {
    return this.#config;
  }

  #followCurve(replay: Replay): void {
    const curve = new Curve(this.#config.curve ?? []);
    const { path } = replay.events;
    const control = new CurveControl(curve, path, this.#network.deviceTicks, this.#config.lineBytes);
    replay.events.observer = control;
    this.#curve = { curve, control };
  }

  #take(batch: AccessBatch): void {
    if (batch.count === 0) return;
    const { hosts } = this.#config;
    if (hosts !== null) {
      const wrong = batch.host.subarray(0, batch.count).find((host) => host >= hosts);
      if (wrong !== undefined) {
        throw new BusbarError("malformed", `the trace has host ${wrong}, but there are ${hosts} hosts`, {
          operation: "simulate",
          hint: `--hosts ${wrong + 1}`,
        });
      }
    }
    this.#heat.add(batch);
    this.#note(batch);
    this.#frontEnd.feed(batch);
  }

  /** Remembers when the trace begins and ends, and which access is the last. */
  #note(batch: AccessBatch): void {
    if ((this.#span[0] as number) < 0) this.#span[0] = batch.time[0] as number;
    for (let i = batch.count - 1; i >= 0; i--) {
      const op = (batch.op[i] as number) & 0x7f;
      if (op > 3) continue;
      this.#span[1] = batch.time[i] as number;
      this.#span[2] = op === 1 || op === 2 ? 1 : 0;
      break;
    }
  }

  #close(epoch: EpochCounts): void {
    const delay = this.#analytic?.add(epoch, this.#mlp) ?? null;
    this.#rows.add(epoch, delay, this.#pages);
  }

  #run(): void {
    const batch = this.#batch;
    this.#overlap?.add(batch);
    if (this.#replay !== null) {
      if (this.#config.replay === "open") open(batch);
      this.#replay.run(batch);
      const [one, two, ...others] = this.#recurrences;
      if (one !== undefined && two !== undefined && one[2] === two[2]) {
        Recurrence.runBoth(one[0], two[0], batch, one[1], two[1], batch[one[2]]);
        for (const [recurrence, path, extra] of others) recurrence.run(batch, path, batch[extra]);
      } else for (const [recurrence, path, extra] of this.#recurrences) recurrence.run(batch, path, batch[extra]);
      if (this.#localReplay !== null) {
        batch.extra.set(batch.localExtra);
        this.#localReplay.run(batch);
      }
    }
    batch.clear();
  }
}

/** Open replay: time stamps are arrivals, so nobody waits for a place or a load, and streams do not matter. */
function open(batch: RequestBatch): void {
  for (let i = 0; i < batch.count; i++) batch.flags[i] = (batch.flags[i] as number) & ~7;
  batch.stream.fill(0, 0, batch.count);
}
