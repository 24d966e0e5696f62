/**
 * The analytic models: delay of an epoch from its counts, without replay.
 * @module
 */

import type { SimConfig } from "../config.ts";
import type { EpochCounts } from "../epochs.ts";
import { nsOf } from "../units.ts";

/** Delays of one epoch or of a run, in ns. */
export interface AnalyticDelay {
  /** Latency beyond local memory. */
  latencyNs: number;
  /** Waits for bandwidth. */
  bandwidthNs: number;
  /** Latency that load adds. */
  loadedNs: number;
}

/** One loaded-latency question: how many accesses came in which time. */
export interface LoadedLatency {
  /** Accesses of the epoch. */
  readonly accesses: number;
  /** 0…1. */
  readonly readShare: number;
  /** Time of its first access. */
  readonly firstNs: number;
  /** Time of its last access. */
  readonly lastNs: number;
  /** All reads, all writes, half of each, in GB/s. */
  readonly peaksGBs: { readonly read: number; readonly write: number; readonly mixed: number };
  /** Bytes of a line. */
  readonly lineBytes: number;
  /** The latency that overload is measured in. */
  readonly baseNs: number;
}

/** Added latency of each access in ns, by the loaded-latency ("MLC") curve. */
export function loadedLatencyNs(load: LoadedLatency, settings: SimConfig["mlc"]): number {
  if (load.accesses === 0) return 0;
  const knee = Math.min(0.95, Math.max(0.1, settings.knee));
  const saturation = Math.min(0.995, Math.max(knee + 0.01, settings.saturation));
  const window = Math.max(load.lastNs - load.firstNs, Math.max(1000, settings.minWindowNs));
  const observed = load.lineBytes * load.accesses / window;
  const peak = peakGBs(load.readShare, load.peaksGBs);
  const u = observed / peak;
  const transfer = load.lineBytes / peak;
  let penalty = transfer * u * settings.alpha;
  if (u > knee) {
    const capped = Math.min(u, saturation);
    penalty += transfer * (capped / (1 - capped)) * ((capped - knee) / (saturation - knee)) ** 2;
  }
  if (u > saturation) penalty += load.baseNs * (u - saturation) / (1 - saturation);
  return Math.min(penalty, Math.max(5000, 10 * load.baseNs));
}

/** The peak bandwidth at a read share, between the three that are known. */
export function peakGBs(readShare: number, { read, write, mixed }: LoadedLatency["peaksGBs"]): number {
  if (readShare >= 0.95) return read;
  if (readShare <= 0.05) return write;
  return readShare >= 0.5
    ? mixed + (read - mixed) * (readShare - 0.5) / 0.5
    : write + (mixed - write) * readShare / 0.5;
}

/** The peak of half reads, half writes where nobody has measured it: the harmonic mean. */
export function mixedPeakGBs(read: number, write: number): number {
  return 2 / (1 / read + 1 / write);
}

/** Sums up epochs. */
export class AnalyticModel {
  /** Sums over all epochs. */
  readonly total: AnalyticDelay = { latencyNs: 0, bandwidthNs: 0, loadedNs: 0 };
  readonly #config: SimConfig;
  readonly #path: Float64Array;
  /** For each endpoint and switch: its nodes, up and down GB/s, and the base of its overload by read and write. */
  readonly #stages: readonly {
    readonly nodes: readonly number[];
    readonly bandwidth: readonly [number, number];
    readonly baseNs: readonly [number, number];
  }[];

  /**
   * Begins without epochs.
   *
   * @param path unloaded latency by route, in ticks
   */
  constructor(config: SimConfig, path: Float64Array) {
    this.#config = config;
    this.#path = path;
    const { topology } = config;
    const endpoints = topology.endpoints.map((endpoint, i) => ({
      nodes: [endpoint.number],
      bandwidth: config.bandwidthGBs[i] as readonly [number, number],
      baseNs: config.latencyNs[i] as readonly [number, number],
    }));
    const switches = topology.switches.map((one) => {
      const bandwidth = one.fabric ? config.fabric.bandwidthGBs : null;
      const base = one.fabric ? config.fabric.latencyNs : config.switch.latencyNs;
      return {
        nodes: topology.endpoints.filter(({ via }) => via.includes(one.number)).map(({ number }) => number),
        bandwidth: bandwidth === null ? config.switch.bandwidthGBs : [bandwidth, bandwidth] as const,
        baseNs: [base, base] as const,
      };
    });
    const local = config.localBandwidthGBs;
    this.#stages = [
      ...local === null ? [] : [{ nodes: [0], bandwidth: local, baseNs: config.dramLatencyNs }],
      ...endpoints,
      ...switches,
    ];
  }

  /**
   * Adds an epoch.
   *
   * @param mlp misses that overlap
   */
  add(epoch: EpochCounts, mlp: number): AnalyticDelay {
    const delay: AnalyticDelay = { latencyNs: 0, bandwidthNs: 0, loadedNs: 0 };
    let added = 0;
    for (let route = 2; route < this.#path.length; route++) {
      const beyond = Math.max(0, (this.#path[route] as number) - (this.#path[route % 2] as number));
      added += (epoch.stalled[route] as number) * beyond;
    }
    delay.latencyNs = nsOf(added) / mlp;
    if (this.#config.bandwidthModel === "mlc") delay.loadedNs = this.#loaded(epoch) / mlp;
    else delay.bandwidthNs = this.#excess(epoch);
    this.total.latencyNs += delay.latencyNs;
    this.total.bandwidthNs += delay.bandwidthNs;
    this.total.loadedNs += delay.loadedNs;
    return delay;
  }

  /** By how much the bottleneck needs longer than the epoch, in ns. */
  #excess(epoch: EpochCounts): number {
    const { lineBytes, halfDuplex, bottleneck } = this.#config;
    const lengthNs = nsOf(epoch.lengthTicks);
    let result = 0;
    for (const { nodes, bandwidth } of this.#stages) {
      const need = [0, 1].map((write) => lines(epoch, nodes, write) * lineBytes / (bandwidth[write] as number));
      const [read = 0, write = 0] = need;
      const excess = Math.max(0, (halfDuplex ? read + write : Math.max(read, write)) - lengthNs);
      result = bottleneck === "sum" ? result + excess : Math.max(result, excess);
    }
    return result;
  }

  /** Loaded latency of all accesses of the epoch, in ns. */
  #loaded(epoch: EpochCounts): number {
    const { mlc, lineBytes } = this.#config;
    let result = 0;
    for (const { nodes, bandwidth, baseNs } of this.#stages) {
      const reads = lines(epoch, nodes, 0);
      const accesses = reads + lines(epoch, nodes, 1);
      if (accesses === 0) continue;
      const readShare = reads / accesses;
      const read = mlc.peaksGBs?.read ?? bandwidth[0];
      const write = mlc.peaksGBs?.write ?? bandwidth[1];
      const penalty = loadedLatencyNs({
        accesses,
        readShare,
        firstNs: nsOf(Math.min(...nodes.map((node) => epoch.nodeFirst[node] as number))),
        lastNs: nsOf(Math.max(...nodes.map((node) => epoch.nodeLast[node] as number))),
        peaksGBs: { read, write, mixed: mlc.peaksGBs?.mixed ?? mixedPeakGBs(read, write) },
        lineBytes,
        baseNs: baseNs[0] * readShare + baseNs[1] * (1 - readShare),
      }, mlc);
      result += penalty * accesses;
    }
    return result;
  }
}

function lines(epoch: EpochCounts, nodes: readonly number[], write: number): number {
  return nodes.reduce((sum, node) => sum + (epoch.moved[node * 2 + write] as number), 0);
}
