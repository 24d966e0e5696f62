/**
 * Placement: the node of a page when it is first touched. Capacity is counted in bytes, by node.
 * @module
 */

import type { SimConfig } from "../config.ts";

/** Nothing has room. */
export const NO_ROOM: number = -1;

/** Bytes used and free by node, and the policy's choice. */
export class Placement {
  /** Bytes used, by node. */
  readonly used: Float64Array<ArrayBuffer>;
  /** Bytes there are, by node. */
  readonly capacity: Float64Array<ArrayBuffer>;
  readonly #config: SimConfig;
  readonly #weights: readonly number[];
  readonly #latencyOrder: readonly number[];
  readonly #score: readonly number[];
  readonly #allEndpoints: boolean;
  #turn = 0;
  #inTurn = 0;

  /**
   * Begins with every node empty.
   *
   * @param pathNs read and write latency by node, with switches and lengths
   * @param shared memory is shared by hosts: node 0, which is one host's own, takes none
   */
  constructor(config: SimConfig, pathNs: readonly (readonly [number, number])[], shared: boolean) {
    this.#config = config;
    this.used = new Float64Array(config.capacityBytes.length);
    this.capacity = Float64Array.from(config.capacityBytes);
    this.#allEndpoints = shared;
    const reads = pathNs.map(([read]) => read);
    this.#latencyOrder = reads.map((_, node) => node).sort((a, b) => (reads[a] ?? 0) - (reads[b] ?? 0) || a - b);
    this.#weights = placementWeights(config, pathNs);
    this.#score = pathNs.map(([read, write]) => 1 / (0.7 * read + 0.3 * write));
  }

  /** Weights by node of the policies that interleave. */
  get weights(): readonly number[] {
    return this.#weights;
  }

  /** The node that a policy wants first, where it wants one; {@linkcode NO_ROOM} where it chooses among all. */
  get preferred(): number {
    const { placement, node } = this.#config;
    if (placement === "local-first") return this.#allEndpoints || this.capacity[0] === 0 ? NO_ROOM : 0;
    return placement === "bind" || placement === "preferred" ? node : NO_ROOM;
  }

  /** True for the policies that spread pages by weight. */
  get interleaves(): boolean {
    return ["interleave", "latency-weighted", "bandwidth-weighted"].includes(this.#config.placement);
  }

  /** True when a node has room for so many bytes more. */
  hasRoom(node: number, bytes: number): boolean {
    return (this.used[node] as number) + bytes <= (this.capacity[node] as number) &&
      !(node === 0 && this.#allEndpoints);
  }

  /** The node of a new page, which is counted there; {@linkcode NO_ROOM} when there is none. */
  place(bytes: number): number {
    const node = this.#choose(bytes);
    if (node >= 0) this.used[node] = (this.used[node] as number) + bytes;
    return node;
  }

  /** Counts a page on a node that was chosen otherwise; false when it has no room. */
  placeOn(node: number, bytes: number): boolean {
    if (!this.hasRoom(node, bytes)) return false;
    this.used[node] = (this.used[node] as number) + bytes;
    return true;
  }

  /** Gives bytes of a node back. */
  release(node: number, bytes: number): void {
    this.used[node] = (this.used[node] as number) - bytes;
  }

  #choose(bytes: number): number {
    const { placement, node } = this.#config;
    switch (placement) {
      case "local-first":
        return this.#localFirst(bytes);
      case "bind":
        return this.hasRoom(node, bytes) ? node : NO_ROOM;
      case "preferred":
        return this.hasRoom(node, bytes) ? node : this.#firstOf(this.#latencyOrder, bytes);
      case "numa-score":
        return this.#bestScore(bytes);
      default:
        return this.#nextByWeight(bytes);
    }
  }

  #localFirst(bytes: number): number {
    const limit = (this.capacity[0] as number) * this.#config.localFillShare;
    if ((this.used[0] as number) < limit && this.hasRoom(0, bytes)) return 0;
    for (let node = 1; node < this.used.length; node++) if (this.hasRoom(node, bytes)) return node;
    return this.hasRoom(0, bytes) ? 0 : NO_ROOM;
  }

  #firstOf(order: readonly number[], bytes: number): number {
    return order.find((node) => this.hasRoom(node, bytes)) ?? NO_ROOM;
  }

  #bestScore(bytes: number): number {
    let best = NO_ROOM;
    let bestScore = -1;
    for (let node = 0; node < this.used.length; node++) {
      if (!this.hasRoom(node, bytes)) continue;
      const score = (this.#score[node] ?? 0) * (1 - (this.used[node] as number) / (this.capacity[node] as number));
      if (score > bestScore) [best, bestScore] = [node, score];
    }
    return best;
  }

  /** Weighted round robin in whole steps: weights 3,1 give A A A B. A full node is passed over. */
  #nextByWeight(bytes: number): number {
    const nodes = this.#weights.length;
    for (let tries = 0; tries <= nodes; tries++) {
      const node = this.#turn;
      if (this.#inTurn < (this.#weights[node] ?? 0) && this.hasRoom(node, bytes)) {
        this.#inTurn++;
        return node;
      }
      this.#turn = (this.#turn + 1) % nodes;
      this.#inTurn = 0;
    }
    // Nodes of weight 0 are the last resort.
    return this.#firstOf(this.#latencyOrder, bytes);
  }
}

/** Weights of the policies that interleave, by node; a node without capacity has 0. */
export function placementWeights(config: SimConfig, pathNs: readonly (readonly [number, number])[]): number[] {
  const usable = config.capacityBytes.map((bytes) => bytes > 0);
  if (config.placement === "latency-weighted") {
    const reads = pathNs.map(([read]) => read);
    const least = Math.min(...reads.filter((_, node) => usable[node]));
    return reads.map((read, node) => usable[node] ? Math.max(1, Math.round(255 * least / read)) : 0);
  }
  if (config.placement === "bandwidth-weighted") {
    // Local memory without a limit of its own counts as much as the fastest endpoint.
    const endpoints = config.bandwidthGBs.map(([read]) => read);
    const bandwidth = [config.localBandwidthGBs?.[0] ?? Math.max(...endpoints), ...endpoints];
    return bandwidthWeights(bandwidth.map((GBs, node) => usable[node] ? GBs : 0));
  }
  return config.capacityBytes.map((_, node) => config.weights[node] ?? 1);
}

/** Weights by bandwidth, as the kernel's weighted interleave finds them: of 32 in all, without common divisor. */
export function bandwidthWeights(bandwidthGBs: readonly number[]): number[] {
  const total = bandwidthGBs.reduce((sum, GBs) => sum + GBs, 0);
  const weights = bandwidthGBs.map((GBs) => GBs === 0 ? 0 : Math.max(1, Math.floor(32 * GBs / total)));
  const divisor = weights.reduce(commonDivisor, 0);
  return weights.map((weight) => weight / Math.max(1, divisor));
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
