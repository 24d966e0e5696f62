/**
 * Weights of weighted interleave: how many pages in a row each node gets (MPOL_WEIGHTED_INTERLEAVE, Linux 6.9). They are
 * made of bandwidths as the kernel makes its own: mm/mempolicy.c, reduce_interleave_weights, Linux 6.16.
 * @module
 */

import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Host, ifPresent } from "../core/host.ts";
import type { UndoJournal } from "../core/undo/journal.ts";

const FOLDER = "/sys/kernel/mm/mempolicy/weighted_interleave";

/**
 * The file of the automatic mode, Linux 6.16. Kernels in which `auto` is a macro of the compiler's word made a file of that
 * name: seen on Linux 6.18.
 */
const AUTO_NAMES = ["auto", "__auto_type"] as const;

/** The kernel's weights add up to about so much before what they have in common is taken out. */
export const WEIGHT_SUM = 32;

/** The name under which applied weights are kept. */
export const WEIGHTS_KEPT = "tiering-weights";

/** Bandwidth of a node's memory, from the processors that reach it fastest. */
export interface NodeBandwidth {
  /** The node. */
  readonly node: number;
  /** The node of those processors. */
  readonly fromNode: number;
  /** Bytes in a second that they read. */
  readonly readBytesPerSecond: number;
  /** Bytes in a second that they write. */
  readonly writeBytesPerSecond: number;
}

/** A node's weight, and how well it stands for the bandwidth. */
export interface NodeWeight extends NodeBandwidth {
  /** The smaller of both bandwidths: what it is weighted by. */
  readonly bytesPerSecond: number;
  /** 1 to 255. */
  readonly weight: number;
  /** The share of the pages that it gets, 0 to 1. */
  readonly share: number;
  /** The share that its bandwidth would be, 0 to 1. */
  readonly wantedShare: number;
}

/** A cell of a matrix, as far as weights need it. */
export interface BandwidthCell {
  /** The node of the processors. */
  readonly processorNode: number;
  /** The node of the memory. */
  readonly memoryNode: number;
  /** Bytes in a second by percent of reads; null when not known. */
  readonly byReadPercent: ReadonlyMap<number, number> | null;
  /** Why it is not known. */
  readonly reason: string | null;
}

/**
 * The bandwidth of each node: the smaller of reads alone and writes alone, from the processors for which that is largest.
 *
 * @throws {BusbarError} `usage` where reads or writes alone were not measured; `absent` for a node of which nothing is known
 */
export function nodeBandwidths(cells: readonly BandwidthCell[], nodes: readonly number[]): NodeBandwidth[] {
  return nodes.map((node) => {
    const column = cells.filter((cell) => cell.memoryNode === node);
    const known = column.flatMap(({ processorNode, byReadPercent }): NodeBandwidth[] => {
      if (byReadPercent === null) return [];
      const [read, write] = [byReadPercent.get(100), byReadPercent.get(0)];
      if (read === undefined || write === undefined) {
        throw new BusbarError("usage", "the matrix has no bandwidth of reads alone and of writes alone", {
          operation: "make weights",
          hint: "membench matrix --reads 100,0 --json >matrix.json",
        });
      }
      return [{ node, fromNode: processorNode, readBytesPerSecond: read, writeBytesPerSecond: write }];
    });
    const [best] = known.toSorted((a, b) => smaller(b) - smaller(a));
    if (best !== undefined) return best;
    const reason = column.find((cell) => cell.reason !== null)?.reason ?? "it was not measured";
    throw new BusbarError("absent", `the bandwidth of node ${node} is not known: ${reason}`, {
      operation: "make weights",
      hint: "weights are shares of all nodes with memory: membench matrix says what it could measure",
    });
  });
}

function smaller({ readBytesPerSecond, writeBytesPerSecond }: NodeBandwidth): number {
  return Math.min(readBytesPerSecond, writeBytesPerSecond);
}

/** Weights of bandwidths: 32 times the share, rounded down, at least 1; then divided by what all have in common. */
export function weightsOf(bandwidths: readonly NodeBandwidth[]): NodeWeight[] {
  const sum = bandwidths.reduce((total, one) => total + smaller(one), 0);
  const scaled = bandwidths.map((one) => Math.max(1, Math.floor(WEIGHT_SUM * smaller(one) / sum)));
  const common = scaled.reduce(greatestCommonDivisor, 0);
  const weights = scaled.map((one) => one / common);
  const all = weights.reduce((total, one) => total + one, 0);
  return bandwidths.map((one, i) => {
    const weight = weights[i] ?? 1;
    const bytesPerSecond = smaller(one);
    return { ...one, bytesPerSecond, weight, share: weight / all, wantedShare: bytesPerSecond / sum };
  });
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** What the kernel interleaves by now. */
export interface InterleaveState {
  /** Each node's weight, as the kernel shows it; empty where it has none. */
  readonly weights: ReadonlyMap<number, string>;
  /** Whether it makes them itself, as it shows it: `true`; null where it cannot. */
  readonly auto: { readonly path: string; readonly value: string } | null;
  /** Why there are none; null where there are. */
  readonly reason: string | null;
}

/** Reads the weights of the kernel. @throws {BusbarError} as reading fails, but for what is not there */
export function readInterleave(host: Host): InterleaveState {
  const names = ifPresent(() => host.list(FOLDER));
  if (names === null) {
    return { weights: new Map(), auto: null, reason: `this kernel has no ${FOLDER} (Linux 6.9)` };
  }
  const weights = names.flatMap((name): [number, string][] => {
    const node = /^node(\d{1,4})$/.exec(name)?.[1];
    return node === undefined ? [] : [[Number(node), host.readText(`${FOLDER}/${name}`).trim()]];
  });
  const auto = AUTO_NAMES.find((name) => names.includes(name));
  const path = `${FOLDER}/${auto}`;
  return {
    weights: new Map(weights.sort(([a], [b]) => a - b)),
    auto: auto === undefined ? null : { path, value: host.readText(path).trim() },
    reason: null,
  };
}

/**
 * Sets weights. Those that are so already are left alone. Where the kernel makes them itself, it stops; putting back lets it go on.
 *
 * @param nodes the nodes with memory: all of them have to have a weight
 * @param canStayManual true where it does not matter that the kernel cannot go back to making them
 * @returns the nodes whose weight was changed
 * @throws {BusbarError} `absent` where the kernel has no weights; `usage` where nodes lack one; `unsupported` where the kernel
 * could not go back to making them. Then nothing was changed
 */
export function applyWeights(
  journal: UndoJournal,
  host: Host,
  weights: ReadonlyMap<number, number>,
  nodes: readonly number[],
  canStayManual: boolean,
): number[] {
  const state = readInterleave(host);
  const missing = [...weights.keys()].filter((node) => !state.weights.has(node));
  if (state.reason !== null || missing.length > 0) {
    const why = state.reason ?? `this kernel has no weight for node ${missing.join(", ")}`;
    journal.refuse(
      new BusbarError("absent", `weights cannot be set: ${why}`, {
        operation: "set weights",
        path: FOLDER,
        hint: "before Linux 6.9 numactl --interleave gives every node as many pages",
      }),
    );
    return [];
  }
  const left = nodes.filter((node) => !weights.has(node));
  if (left.length > 0) {
    journal.refuse(
      new BusbarError("usage", `there is no weight for node ${left.join(", ")}, which has memory`, {
        operation: "set weights",
        path: FOLDER,
        hint: "the matrix is of another machine, or memory came since: measure it again",
      }),
    );
  }
  const different = [...weights].filter(([node, weight]) => state.weights.get(node) !== String(weight));
  const { auto } = state;
  if (different.length > 0 && auto?.value === "true") stopAuto(journal, auto.path, canStayManual);
  for (const [node, weight] of different) {
    const path = `${FOLDER}/node${node}`;
    journal.change({ what: `interleave weight of node ${node}`, write: { path, text: String(weight) } });
  }
  return different.map(([node]) => node);
}

const AUTO_WHAT = "automatic interleave weights";

/** Stops the kernel from making weights, if it could go on: it makes them of what firmware says of the bandwidth. */
function stopAuto(journal: UndoJournal, path: string, canStayManual: boolean): void {
  // Making them again changes nothing, and fails where putting back would.
  if (!journal.isDryRun) {
    try {
      journal.change({ what: AUTO_WHAT, write: { path, text: "true" } });
    } catch (error) {
      if (!isBusbarError(error, "absent")) throw error;
      if (canStayManual) return;
      throw new BusbarError(
        "unsupported",
        "the kernel knows no bandwidths, so it could not be put back into automatic mode",
        {
          operation: "set weights",
          path,
          hint:
            "--force sets them; tiering restore then puts the weights back, and automatic mode stays off until the next boot",
          cause: error,
        },
      );
    }
  }
  journal.change({ what: AUTO_WHAT, write: { path, text: "false" } });
}
