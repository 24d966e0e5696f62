/**
 * What memory is worth: latency, bandwidth, latency under load, random updates, durable writes, and the processor time that
 * each costs, for any backend. The loops are in C (csrc/membench.c); this plans them and reports.
 *
 * Definitions: pointer chase over one random cycle; streams as in STREAM, a copied byte counted once; RandomAccess of the
 * HPC Challenge.
 * @module
 */

import { STREAM_KINDS } from "../../ffi/membench.ts";
import { BusbarError } from "../core/error.ts";
import type { HotSet, MemoryLoop, MemoryLoops, MemoryPart, Slice, StreamKind } from "../core/memory_loops.ts";
import type { MemoryBackend } from "./backend.ts";
import { startOfStream } from "./random_stream.ts";
import { median, settled } from "./samples.ts";

/** What can be measured. */
export const BENCHMARKS = ["latency", "bandwidth", "durable", "gups", "loaded"] as const;

/** Something that can be measured. */
export type Benchmark = typeof BENCHMARKS[number];

/** How it is measured. */
export interface BenchOptions {
  /** What is measured. */
  readonly benchmarks: readonly Benchmark[];
  /** Milliseconds for each number. */
  readonly durationMs: number;
  /** Bytes from one slot of the pointer chase to the next, a multiple of 8. */
  readonly strideBytes: number;
  /** Threads of streams and random updates. */
  readonly threads: number;
  /** Processors that threads are pinned to in turn; none means anywhere. */
  readonly cpus: readonly number[];
  /** Bytes of a durable write: a multiple of 64, and of the page size where msync makes it permanent. */
  readonly blockBytes: number;
  /** The hot set of the second run of random updates, as shares of the table and of the updates; null leaves it out. */
  readonly hot: { readonly tableShare: number; readonly updateShare: number } | null;
  /** Ends the run early. */
  readonly signal?: AbortSignal;
  /** Called when a measurement begins. */
  readonly onStep?: (what: string) => void;
}

/** A rate and what it cost. */
export interface Rate {
  /** Steps in a second: bytes, blocks or updates. The median of the samples. */
  readonly perSecond: number;
  /** The best sample. */
  readonly best: number;
  /** Share of one processor that was busy, 0 to 1 for each thread. */
  readonly cpuShare: number;
  /** The kernel's part of that. */
  readonly systemShare: number;
  /** How many samples. */
  readonly samples: number;
}

/** Nanoseconds of a load that depends on the one before. */
export interface LatencyPoint {
  /** Bytes that the chase covers. */
  readonly workingSetBytes: number;
  /** The median of the samples. */
  readonly medianNs: number;
  /** The best sample. */
  readonly bestNs: number;
  /** The worst sample. */
  readonly worstNs: number;
  /** Share of its processor that the thread had: below 1 other programs ran, and the times are too long. */
  readonly cpuShare: number;
}

/** Latency while other threads read. */
export interface LoadedPoint {
  /** How much the readers hold back. */
  readonly delay: number;
  /** Bytes in a second that they read. */
  readonly bytesPerSecond: number;
  /** The median latency meanwhile. */
  readonly medianNs: number;
  /** The best sample of it. */
  readonly bestNs: number;
  /** The worst sample of it. */
  readonly worstNs: number;
}

/** Random updates. */
export interface UpdatesResult extends Rate {
  /** Updates that were made. */
  readonly updates: number;
  /** Words that were wrong after the same updates were made again; threads may lose some, at most 1 % are allowed. */
  readonly errors: number;
  /** Words of the table. */
  readonly words: number;
}

/** What was measured of one backend; null for what was not. */
export interface BenchResult {
  /** Its name. */
  readonly name: string;
  /** What it is. */
  readonly kind: MemoryBackend["kind"];
  /** Bytes that were used. */
  readonly sizeBytes: number;
  /** How stores become permanent. */
  readonly persistence: MemoryBackend["persistence"];
  /** Latency by working set, smallest first. */
  readonly latency: readonly LatencyPoint[] | null;
  /** Bytes in a second by kind. */
  readonly bandwidth: Readonly<Record<StreamKind, Rate>> | null;
  /** Blocks in a second, each permanent before the next. */
  readonly durable: Rate | null;
  /** Random updates in a second. */
  readonly gups: UpdatesResult | null;
  /** The same with a hot set. */
  readonly hotGups: UpdatesResult | null;
  /** Latency under load. */
  readonly loaded: readonly LoadedPoint[] | null;
}

/** Smallest memory that can be measured: two parts of it are copied between. */
export const SMALLEST_BYTES: number = 64 * 1024;

/**
 * Measures a backend. Its contents are lost.
 *
 * @throws {BusbarError} `usage` for options that do not fit; `out-of-range` for less than {@linkcode SMALLEST_BYTES};
 * `mismatch` when random updates were lost
 */
export async function benchMemory(backend: MemoryBackend, options: BenchOptions): Promise<BenchResult> {
  return await new Bench(backend, options).run();
}

/**
 * The smallest share of its processor that a thread of these measurements had. They wait for nothing but memory, so less
 * than 1 means that other programs ran meanwhile, and that the numbers are worse than the memory.
 */
export function smallestCpuShare(results: readonly BenchResult[], threads: number): number {
  const shares = results.flatMap(({ latency, bandwidth }) => [
    ...(latency ?? []).map(({ cpuShare }) => cpuShare),
    ...Object.values(bandwidth ?? {}).map(({ cpuShare }) => cpuShare / threads),
  ]);
  return Math.min(1, ...shares);
}

/** How often {@linkcode BenchOptions.onStep} is called for one backend. */
export function countSteps(sizeBytes: number, options: BenchOptions): number {
  const steps: Readonly<Record<Benchmark, number>> = {
    latency: workingSets(sizeBytes, options.strideBytes).length,
    bandwidth: Object.keys(STREAM_KINDS).length,
    durable: 1,
    gups: options.hot === null ? 2 : 4,
    loaded: DELAYS.length,
  };
  return options.benchmarks.reduce((sum, benchmark) => sum + steps[benchmark], 1);
}

/** Pauses of the readers under load, from none to nearly no load. */
const DELAYS = [0, 10, 30, 100, 300, 1000, 5000] as const;

class Bench {
  readonly #backend: MemoryBackend;
  readonly #options: BenchOptions;
  readonly #whole: MemoryPart;
  readonly #loops: MemoryLoops;

  constructor(backend: MemoryBackend, options: BenchOptions) {
    this.#backend = backend;
    this.#options = options;
    this.#loops = backend.machineMemory.loops;
    const page = backend.machineMemory.pageBytes;
    const sizeBytes = backend.sizeBytes - backend.sizeBytes % (2 * page);
    if (sizeBytes < SMALLEST_BYTES) {
      throw new BusbarError("out-of-range", `${backend.name}: ${backend.sizeBytes} bytes are too few to measure`, {
        operation: "measure memory",
        path: backend.name,
        hint: `at least ${SMALLEST_BYTES} bytes`,
      });
    }
    this.#whole = { memory: backend.memory, offset: 0, sizeBytes };
    checkOptions(options, backend, sizeBytes, page);
  }

  async run(): Promise<BenchResult> {
    const { name, kind, persistence } = this.#backend;
    const wants = (what: Benchmark): boolean => this.#options.benchmarks.includes(what);
    // Pages are brought in before anything is measured.
    this.#step("first touch");
    await this.#touch();
    return {
      name,
      kind,
      sizeBytes: this.#whole.sizeBytes,
      persistence,
      latency: wants("latency") ? await this.#latency() : null,
      bandwidth: wants("bandwidth") ? await this.#bandwidth() : null,
      durable: wants("durable") ? await this.#durable() : null,
      gups: wants("gups") ? await this.#updates(null) : null,
      hotGups: wants("gups") && this.#options.hot !== null ? await this.#updates(this.#options.hot) : null,
      loaded: wants("loaded") ? await this.#loaded() : null,
    };
  }

  #step(what: string): void {
    this.#options.signal?.throwIfAborted();
    this.#options.onStep?.(`${this.#backend.name}: ${what}`);
  }

  #cpu(thread: number): number {
    const { cpus } = this.#options;
    return cpus.length === 0 ? -1 : cpus[thread % cpus.length] ?? -1;
  }

  async #touch(): Promise<void> {
    const stream = this.#loops.stream("write", this.#whole);
    for (let done = 0; done < this.#whole.sizeBytes;) {
      done += (await stream.slice(this.#cpu(0))).count;
      this.#options.signal?.throwIfAborted();
    }
  }

  /** Slices of one loop until the time is over, at least three. */
  async #samples(slice: () => Promise<Slice>): Promise<Slice[]> {
    const samples: Slice[] = [];
    const end = performance.now() + this.#options.durationMs;
    while (samples.length < 3 || performance.now() < end) {
      samples.push(await slice());
      this.#options.signal?.throwIfAborted();
    }
    return samples;
  }

  async #chase(part: MemoryPart): Promise<MemoryLoop> {
    const { strideBytes, signal } = this.#options;
    return await this.#loops.chase(part, strideBytes, 1n, () => signal?.throwIfAborted());
  }

  async #latency(): Promise<LatencyPoint[]> {
    const points: LatencyPoint[] = [];
    for (const workingSetBytes of workingSets(this.#whole.sizeBytes, this.#options.strideBytes)) {
      this.#step(`latency, ${workingSetBytes / 1024} KiB`);
      const chase = await this.#chase({ ...this.#whole, sizeBytes: workingSetBytes });
      const samples = await this.#samples(() => chase.slice(this.#cpu(0)));
      const times = samples.map((sample) => sample.nanoseconds / sample.count);
      const { cpuShare } = rateOf(samples);
      points.push({ workingSetBytes, ...spreadOf(times), cpuShare });
    }
    return points;
  }

  async #bandwidth(): Promise<Record<StreamKind, Rate>> {
    const rates: Partial<Record<StreamKind, Rate>> = {};
    for (const kind of Object.keys(STREAM_KINDS) as StreamKind[]) {
      this.#step(kind);
      const isCopy = kind === "copy" || kind === "copy-nt";
      rates[kind] = await this.#together((thread, threads) => {
        const [to, from] = this.#parts(isCopy ? 2 * threads : threads, thread, threads);
        const stream = this.#loops.stream(kind, to, isCopy ? from : to);
        return () => stream.slice(this.#cpu(thread));
      });
    }
    return rates as Record<StreamKind, Rate>;
  }

  /** The thread's own part, and the one that lies `threads` parts further. */
  #parts(count: number, thread: number, threads: number): [MemoryPart, MemoryPart] {
    const sizeBytes = Math.floor(this.#whole.sizeBytes / count / 64) * 64;
    const part = (index: number): MemoryPart => ({ ...this.#whole, offset: index * sizeBytes, sizeBytes });
    return [part(thread), part(Math.min(count - 1, thread + threads))];
  }

  /** The same loop on every thread at once; rates add up. */
  async #together(start: (thread: number, threads: number) => () => Promise<Slice>): Promise<Rate> {
    const { threads } = this.#options;
    const loops = Array.from({ length: threads }, (_, thread) => start(thread, threads));
    const results = await settled(loops.map((slice) => this.#samples(slice)));
    return addRates(results.map(rateOf));
  }

  async #durable(): Promise<Rate> {
    this.#step("durable writes");
    const { blockBytes } = this.#options;
    const sizeBytes = this.#whole.sizeBytes - this.#whole.sizeBytes % blockBytes;
    const writer = this.#loops.persistentWrites(
      { ...this.#whole, sizeBytes },
      blockBytes,
      this.#backend.persistence,
    );
    return rateOf(await this.#samples(() => writer.slice(this.#cpu(0))));
  }

  async #updates(hotShares: BenchOptions["hot"]): Promise<UpdatesResult> {
    this.#step(hotShares === null ? "random updates" : "random updates with a hot set");
    const words = 2 ** Math.floor(Math.log2(this.#whole.sizeBytes / 8));
    const table: MemoryPart = { ...this.#whole, sizeBytes: 8 * words };
    const hot: HotSet | null = hotShares === null ? null : {
      startWord: 0,
      words: 2 ** Math.max(0, Math.round(Math.log2(words * hotShares.tableShare))),
      share: hotShares.updateShare,
    };
    const { threads, durationMs, signal } = this.#options;
    const yieldToEventLoop = (): void => signal?.throwIfAborted();
    await this.#loops.prepareTable(table, yieldToEventLoop);
    // The rule of RandomAccess: four updates for each word, at most, dealt out to the threads.
    const quota = Math.ceil(4 * words / threads);
    const starts = Array.from({ length: threads }, (_, thread) => startOfStream(BigInt(thread * quota)));
    const end = performance.now() + durationMs;
    const runs = await settled(starts.map(async (start, thread) => {
      const stream = this.#loops.updates(table, start, hot);
      const samples: Slice[] = [];
      let made = 0;
      while (made < quota && (samples.length === 0 || performance.now() < end)) {
        const slice = await stream.slice(quota - made, this.#cpu(thread));
        made += slice.count;
        samples.push(slice);
        signal?.throwIfAborted();
      }
      return { samples, made };
    }));
    this.#step("checking the table");
    await this.#undo(table, starts, runs.map(({ made }) => made), hot);
    const errors = await this.#loops.tableErrors(table, yieldToEventLoop);
    // Threads do not wait for each other, so some updates of theirs are lost: the rule allows 1 %.
    if (errors > words / 100 || (threads === 1 && errors > 0)) {
      throw new BusbarError(
        "mismatch",
        `${this.#backend.name}: ${errors} of ${words} words are wrong after random updates`,
        {
          operation: "measure memory",
          path: this.#backend.name,
          hint: "another program writes to this memory, or it does not keep what is written",
        },
      );
    }
    const updates = runs.reduce((sum, { made }) => sum + made, 0);
    return { ...addRates(runs.map(({ samples }) => rateOf(samples))), updates, errors, words };
  }

  /** The same updates again, one stream after another: each undoes what it did. */
  async #undo(
    table: MemoryPart,
    starts: readonly bigint[],
    counts: readonly number[],
    hot: HotSet | null,
  ): Promise<void> {
    for (const [thread, start] of starts.entries()) {
      const stream = this.#loops.updates(table, start, hot);
      for (let left = counts[thread] ?? 0; left > 0;) {
        left -= (await stream.slice(left, this.#cpu(thread))).count;
        this.#options.signal?.throwIfAborted();
      }
    }
  }

  async #loaded(): Promise<LoadedPoint[]> {
    const points: LoadedPoint[] = [];
    const half = Math.floor(this.#whole.sizeBytes / 2 / 64) * 64;
    const chase = await this.#chase({ ...this.#whole, sizeBytes: half });
    const readers = Math.max(1, this.#options.threads - 1);
    for (const delay of DELAYS) {
      this.#step(`latency under load, pause ${delay}`);
      const loads = Array.from({ length: readers }, (_, reader) => {
        const sizeBytes = Math.floor(half / readers / 64) * 64;
        const stream = this.#loops.stream("read", { ...this.#whole, offset: half + reader * sizeBytes, sizeBytes });
        return () => stream.slice(this.#cpu(reader + 1), delay);
      });
      const [times = [], ...rates] = await settled([
        this.#samples(() => chase.slice(this.#cpu(0))),
        ...loads.map((slice) => this.#samples(slice)),
      ]);
      points.push({
        delay,
        bytesPerSecond: addRates(rates.map(rateOf)).perSecond,
        ...spreadOf(times.map((sample) => sample.nanoseconds / sample.count)),
      });
    }
    return points;
  }
}

/** What the C loops would refuse with no more than EINVAL. */
function checkOptions(options: BenchOptions, backend: MemoryBackend, sizeBytes: number, page: number): void {
  const { strideBytes, blockBytes, threads } = options;
  const refuse = (text: string): never => {
    throw new BusbarError("usage", text, { operation: "measure memory", path: backend.name });
  };
  if (strideBytes % 8 !== 0 || strideBytes > SMALLEST_BYTES / 4) {
    refuse(`a stride of ${strideBytes} bytes: it is a multiple of 8, at most ${SMALLEST_BYTES / 4}`);
  }
  const unit = backend.persistence === "msync" ? page : 64;
  if (blockBytes % unit !== 0 || blockBytes > sizeBytes) {
    refuse(`blocks of ${blockBytes} bytes: on ${backend.name} they are multiples of ${unit}, at most ${sizeBytes}`);
  }
  const most = Math.floor(sizeBytes / 128 / 64);
  if (threads > most) refuse(`${threads} threads: ${sizeBytes} bytes are enough for ${most}`);
}

/** From 16 KiB in steps of four to all of it. */
function workingSets(sizeBytes: number, strideBytes: number): number[] {
  const sets: number[] = [];
  for (let set = 16 * 1024; set < sizeBytes; set *= 4) if (set >= 2 * strideBytes) sets.push(set);
  return [...sets, sizeBytes];
}

function spreadOf(times: readonly number[]): Pick<LatencyPoint, "medianNs" | "bestNs" | "worstNs"> {
  return { medianNs: median(times), bestNs: Math.min(...times), worstNs: Math.max(...times) };
}

function rateOf(samples: readonly Slice[]): Rate {
  const rates = samples.map(({ count, nanoseconds }) => count / nanoseconds * 1e9);
  const sum = (of: (slice: Slice) => number): number => samples.reduce((total, slice) => total + of(slice), 0);
  const wall = sum(({ nanoseconds }) => nanoseconds);
  return {
    perSecond: median(rates),
    best: Math.max(...rates),
    cpuShare: sum(({ cpuNanoseconds }) => cpuNanoseconds) / wall,
    systemShare: sum(({ systemNanoseconds }) => systemNanoseconds) / wall,
    samples: samples.length,
  };
}

function addRates(rates: readonly Rate[]): Rate {
  const sum = (of: (rate: Rate) => number): number => rates.reduce((total, rate) => total + of(rate), 0);
  return {
    perSecond: sum(({ perSecond }) => perSecond),
    best: sum(({ best }) => best),
    cpuShare: sum(({ cpuShare }) => cpuShare),
    systemShare: sum(({ systemShare }) => systemShare),
    samples: Math.min(...rates.map(({ samples }) => samples)),
  };
}
