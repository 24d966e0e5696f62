/**
 * Latency and bandwidth from the processors of each NUMA node to the memory of each: who may measure what, and the
 * measuring. Memory counts as a node's only where the kernel says so of every page of it, before and after.
 *
 * Latency is a chase of one thread; bandwidth is that of a thread on each processor, pieces of 1 KiB read and written in a
 * given share.
 * @module
 */

import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import type { MemoryLoop, Slice } from "../core/memory_loops.ts";
import { median, settled } from "./samples.ts";
import { type NumaNode, parseList } from "./tiers.ts";

/** Shares of reads that are measured when nobody says otherwise, in percent. */
export const READ_PERCENTS: readonly number[] = [100, 67, 50, 0];

/** Bytes of memory of a node that are needed for each thread. */
export const BYTES_PER_THREAD: number = 64 * 1024;

/** A node whose processors measure. */
export interface ProcessorNode {
  /** Its number. */
  readonly node: number;
  /** Those of its processors that this process may use, at least one. */
  readonly cpus: readonly number[];
}

/** A node whose memory is measured. */
export interface MemoryNode {
  /** Its number. */
  readonly node: number;
  /** Bytes of memory. */
  readonly totalBytes: bigint;
  /** Of these, free. */
  readonly freeBytes: bigint;
}

/** The rows and columns of a matrix, and what of the machine is in neither. */
export interface MatrixNodes {
  /** The rows. */
  readonly processors: readonly ProcessorNode[];
  /** The columns. */
  readonly memories: readonly MemoryNode[];
  /** Nodes that are no row or no column, and why. */
  readonly leftOut: readonly { readonly node: number; readonly reason: string }[];
}

/** What this process may use. Null is not known, and then all of it is tried. */
export interface Allowed {
  /** Processors. */
  readonly cpus: readonly number[] | null;
  /** Nodes whose memory it may take. */
  readonly memories: readonly number[] | null;
}

/** What the kernel lets this process use: affinity and cpuset. */
export function allowedOf(host: Host): Allowed {
  const status = ifReadable(() => host.readText("/proc/self/status"));
  const list = (name: string): number[] | null => {
    const text = new RegExp(`^${name}:\\s*(\\S+)$`, "m").exec(status ?? "")?.[1];
    return text === undefined ? null : parseList(text);
  };
  return { cpus: list("Cpus_allowed_list"), memories: list("Mems_allowed_list") };
}

/**
 * Which nodes are rows and columns.
 *
 * @throws {BusbarError} `unsupported` where the kernel shows no nodes, or none with processors or memory for this process
 */
export function matrixNodes(nodes: readonly NumaNode[], allowed: Allowed): MatrixNodes {
  const processors: ProcessorNode[] = [];
  const memories: MemoryNode[] = [];
  const leftOut: { node: number; reason: string }[] = [];
  for (const { id: node, cpus: list, totalBytes, freeBytes } of nodes) {
    const all = parseList(list);
    const cpus = all.filter((cpu) => allowed.cpus === null || allowed.cpus.includes(cpu));
    if (cpus.length > 0) processors.push({ node, cpus });
    else leftOut.push({ node, reason: all.length === 0 ? "no processors" : `this process may not use its ${list}` });
    const mayUse = allowed.memories === null || allowed.memories.includes(node);
    if (totalBytes > 0n && mayUse) memories.push({ node, totalBytes, freeBytes });
    else leftOut.push({ node, reason: totalBytes === 0n ? "no memory" : "this process may not use its memory" });
  }
  if (processors.length === 0 || memories.length === 0) {
    throw new BusbarError(
      "unsupported",
      nodes.length === 0 ? "this kernel shows no NUMA nodes" : "no node has processors and none memory to measure",
      {
        operation: "measure nodes",
        path: "/sys/devices/system/node",
        hint: "membench anonymous measures memory wherever it lies",
      },
    );
  }
  return { processors, memories, leftOut };
}

/** How it is measured. */
export interface MatrixOptions {
  /** Bytes of each node's memory, a multiple of 1 KiB for each thread. */
  readonly sizeBytes: number;
  /** Milliseconds for each number. */
  readonly durationMs: number;
  /** Bytes from one slot of the pointer chase to the next, a multiple of 8; null leaves latency out. */
  readonly strideBytes: number | null;
  /** At most so many threads, each on a processor of its own. */
  readonly threads: number;
  /** Shares of reads, 0 to 100. */
  readonly readPercents: readonly number[];
  /** Ends it early. */
  readonly signal?: AbortSignal;
  /** Called when a measurement begins. */
  readonly onStep?: (what: string) => void;
}

/** Samples of one number: slices of 100 ms. */
export interface Spread {
  /** The middle one. */
  readonly median: number;
  /** The smallest. */
  readonly min: number;
  /** The largest. */
  readonly max: number;
  /** How many. */
  readonly samples: number;
}

/** What was measured from the processors of one node to the memory of one. */
export interface MatrixCell {
  /** The node of the processors. */
  readonly processorNode: number;
  /** The node of the memory. */
  readonly memoryNode: number;
  /** Threads that read and wrote at once. */
  readonly threads: number;
  /** Nanoseconds of a load that depends on the one before; null when not measured. */
  readonly latencyNs: Spread | null;
  /** Bytes in a second, in the order of the shares of reads; null when not measured. */
  readonly bandwidth: readonly Spread[] | null;
  /** The smallest share of its processor that a thread had; below 1 other programs ran. Null when not measured. */
  readonly cpuShare: number | null;
  /** Why it is not known; null when it is. */
  readonly reason: string | null;
}

/** Memory of one node, to be measured. */
export interface NodeMemory extends Disposable {
  /** How many of its pages lie on each node; under null those of which the kernel says nothing. */
  pageNodes(): Promise<ReadonlyMap<number | null, number>>;
  /** A chase over all of it. */
  chase(strideBytes: number, yieldToEventLoop: () => void): Promise<MemoryLoop>;
  /** A mixed stream over the part of one of several threads. */
  mixed(thread: number, threads: number, readsPercent: number): MemoryLoop;
}

/** Takes memory from one node. */
export type OpenNodeMemory = (node: number, sizeBytes: number) => NodeMemory;

/** How often {@linkcode MatrixOptions.onStep} is called. */
export function countMatrixSteps(nodes: MatrixNodes, options: MatrixOptions): number {
  const each = options.readPercents.length + (options.strideBytes === null ? 0 : 1);
  return nodes.memories.length * (1 + nodes.processors.length * each);
}

/**
 * Measures every cell, one memory after the other. What cannot be measured of one memory is a reason in its cells.
 *
 * @throws {BusbarError} `usage` for options that do not fit; what ended it early
 */
export async function measureMatrix(
  nodes: MatrixNodes,
  open: OpenNodeMemory,
  options: MatrixOptions,
): Promise<MatrixCell[]> {
  checkOptions(nodes, options);
  const cells: MatrixCell[] = [];
  for (const { node } of nodes.memories) {
    try {
      cells.push(...await measureMemory(nodes.processors, node, open, options));
    } catch (error) {
      // Too little of it, or the kernel does not give it: this memory is not known, the others may be.
      if (!isBusbarError(error, "out-of-range", "unsupported", "absent", "io", "permission")) throw error;
      const reason = error.message;
      cells.push(...nodes.processors.map((row) => unknownCell(row, node, options, reason)));
    }
  }
  return cells;
}

function threadsOf({ cpus }: ProcessorNode, { threads }: MatrixOptions): number {
  return Math.min(threads, cpus.length);
}

function unknownCell(row: ProcessorNode, memoryNode: number, options: MatrixOptions, reason: string): MatrixCell {
  const known = { processorNode: row.node, memoryNode, threads: threadsOf(row, options) };
  return { ...known, latencyNs: null, bandwidth: null, cpuShare: null, reason };
}

async function measureMemory(
  rows: readonly ProcessorNode[],
  node: number,
  open: OpenNodeMemory,
  options: MatrixOptions,
): Promise<MatrixCell[]> {
  const step = (what: string): void => {
    options.signal?.throwIfAborted();
    options.onStep?.(`memory of node ${node}: ${what}`);
  };
  using memory = open(node, options.sizeBytes);
  step("first touch");
  const writer = memory.mixed(0, 1, 0);
  for (let done = 0; done < options.sizeBytes;) {
    done += (await writer.slice(rows[0]?.cpus[0] ?? -1)).count;
    options.signal?.throwIfAborted();
  }
  const before = misplaced(node, await memory.pageNodes());
  if (before !== null) return rows.map((row) => unknownCell(row, node, options, before));
  const latencies = new Map<ProcessorNode, Measured>();
  if (options.strideBytes !== null) {
    const chase = await memory.chase(options.strideBytes, () => options.signal?.throwIfAborted());
    for (const row of rows) {
      step(`latency from node ${row.node}`);
      latencies.set(row, await samples([() => chase.slice(row.cpus[0] ?? -1)], LATENCY, options));
    }
  }
  const cells: MatrixCell[] = [];
  for (const row of rows) {
    const threads = threadsOf(row, options);
    const rates: Measured[] = [];
    for (const percent of options.readPercents) {
      step(`${percent} % reads from node ${row.node}`);
      const loops = row.cpus.slice(0, threads).map((cpu, thread) => {
        const stream = memory.mixed(thread, threads, percent);
        return () => stream.slice(cpu);
      });
      rates.push(await samples(loops, RATE, options));
    }
    const latency = latencies.get(row) ?? null;
    cells.push({
      processorNode: row.node,
      memoryNode: node,
      threads,
      latencyNs: latency?.spread ?? null,
      bandwidth: rates.map(({ spread }) => spread),
      cpuShare: Math.min(1, ...[...latency === null ? [] : [latency], ...rates].map(({ cpuShare }) => cpuShare)),
      reason: null,
    });
  }
  // Balancing and demotion may move pages meanwhile: then nobody knows which memory was measured.
  const after = misplaced(node, await memory.pageNodes());
  return after === null ? cells : rows.map((row) => unknownCell(row, node, options, after));
}

/** Why memory does not count as a node's; null when all of it lies there. */
function misplaced(node: number, pages: ReadonlyMap<number | null, number>): string | null {
  const elsewhere = [...pages].filter(([where]) => where !== node);
  if (elsewhere.length === 0) return null;
  const total = [...pages.values()].reduce((sum, count) => sum + count, 0);
  const places = elsewhere.map(([where, count]) => `${count} ${where === null ? "somewhere" : `on node ${where}`}`);
  return `of ${total} pages ${places.join(", ")}: not known to be memory of node ${node}`;
}

interface Measured {
  readonly spread: Spread;
  readonly cpuShare: number;
}

const LATENCY = (slices: readonly Slice[]): number =>
  Math.max(...slices.map(({ count, nanoseconds }) => nanoseconds / count));
const RATE = (slices: readonly Slice[]): number =>
  slices.reduce((sum, { count, nanoseconds }) => sum + count / nanoseconds * 1e9, 0);

/** Rounds of one slice of every loop at once, until the time is over, at least three. */
async function samples(
  loops: readonly (() => Promise<Slice>)[],
  value: (round: readonly Slice[]) => number,
  { durationMs, signal }: MatrixOptions,
): Promise<Measured> {
  const values: number[] = [];
  let cpuShare = 1;
  const end = performance.now() + durationMs;
  while (values.length < 3 || performance.now() < end) {
    const round = await settled(loops.map((slice) => slice()));
    signal?.throwIfAborted();
    values.push(value(round));
    for (const { cpuNanoseconds, nanoseconds } of round) cpuShare = Math.min(cpuShare, cpuNanoseconds / nanoseconds);
  }
  return {
    spread: {
      median: median(values),
      min: Math.min(...values),
      max: Math.max(...values),
      samples: values.length,
    },
    cpuShare,
  };
}

/** What the loops would refuse with no more than EINVAL. */
function checkOptions({ processors }: MatrixNodes, options: MatrixOptions): void {
  const { sizeBytes, strideBytes, readPercents } = options;
  const refuse = (text: string): never => {
    throw new BusbarError("usage", text, { operation: "measure nodes" });
  };
  const threads = Math.max(...processors.map((row) => threadsOf(row, options)));
  if (!(threads > 0)) refuse("no threads: at least one");
  if (sizeBytes < threads * BYTES_PER_THREAD) {
    refuse(`${sizeBytes} bytes for ${threads} threads: at least ${BYTES_PER_THREAD} bytes for each`);
  }
  if (strideBytes !== null && (strideBytes < 8 || strideBytes % 8 !== 0 || strideBytes > sizeBytes / 4)) {
    refuse(`a stride of ${strideBytes} bytes: it is a multiple of 8, at most ${Math.floor(sizeBytes / 4)}`);
  }
  const wrong = readPercents.find((percent) => !Number.isInteger(percent) || percent < 0 || percent > 100);
  if (readPercents.length === 0 || wrong !== undefined) refuse(`${wrong ?? "no share"} of reads: 0 to 100 percent`);
}
