/**
 * Points on a cluster: job arrays of Slurm, each task a chunk of points. What is done is told by the result files alone,
 * because the scheduler may forget, restart, or run a task again after it lost a node.
 * @module
 */

import { waitMs } from "./wait.ts";
import { BusbarError, systemError } from "../core/error.ts";
import type { PointWorker } from "./local.ts";
import type { Point } from "./point.ts";
import type { Results } from "./results.ts";
import type { Batch, BatchState, Scheduler } from "./scheduler.ts";

/** How Slurm is used. */
export interface SlurmOptions {
  /** Where the jobs run. */
  readonly partition: string;
  /** The command that runs a chunk: the chunk file and its number follow. Nodes must see it at the same place. */
  readonly chunkCommand: readonly string[];
  /** Makes the worker that measures one point here, before anything is handed over. */
  readonly openWorker: () => PointWorker;
  /** How long one task should run, in milliseconds. */
  readonly chunkMs: number;
  /** Between two looks at the queue, in milliseconds. */
  readonly pollMs: number;
  /** Called when the number of finished points has changed. */
  readonly onState?: (state: BatchState) => void;
}

/** Points in one task at most. */
const CHUNK_LIMIT = 10_000;
/** MaxArraySize where Slurm does not say: indexes 0 to 1000. */
const DEFAULT_ARRAY = 1001;
/** How long the controller may not answer, as while it is restarted. */
const SILENCE_MS = 600_000;

/** Runs points by `sbatch`. */
export class SlurmScheduler implements Scheduler {
  readonly #options: SlurmOptions;

  /** See {@linkcode SlurmOptions}. */
  constructor(options: SlurmOptions) {
    this.#options = options;
  }

  /**
   * {@inheritDoc Scheduler.start}
   *
   * @throws {BusbarError} as Slurm refuses the job, or is not there
   */
  async start(points: readonly Point[], results: Results): Promise<Batch> {
    const [first, ...rest] = points;
    if (first === undefined) return new SlurmBatch([], [], results, this.#options);
    const arraySize = await maxArraySize();
    const started = performance.now();
    {
      await using worker = this.#options.openWorker();
      const outcome = await worker.run(first, new AbortController().signal);
      if (outcome !== null) results.store(first, outcome);
    }
    const size = chunkSize(rest.length, performance.now() - started, this.#options.chunkMs, arraySize);
    const jobs = rest.length === 0
      ? []
      : await submit(rest, size, arraySize, await Deno.realPath(results.folder), this.#options);
    return new SlurmBatch(points, jobs, results, this.#options);
  }
}

/** Points in one task: as many as take `chunkMs`, and so many that they fit in few arrays. */
export function chunkSize(points: number, pointMs: number, chunkMs: number, arraySize: number): number {
  const byTime = Math.max(1, Math.floor(chunkMs / Math.max(pointMs, 0.01)));
  return Math.min(CHUNK_LIMIT, Math.max(byTime, Math.ceil(points / (4 * arraySize))), Math.max(1, points));
}

async function submit(
  points: readonly Point[],
  size: number,
  arraySize: number,
  folder: string,
  options: SlurmOptions,
): Promise<string[]> {
  const jobs: string[] = [];
  try {
    for (let start = 0; start < points.length; start += size * arraySize) {
      const part = points.slice(start, start + size * arraySize);
      const chunks = Array.from(
        { length: Math.ceil(part.length / size) },
        (_, i) => part.slice(i * size, (i + 1) * size),
      );
      const path = `${folder}/chunks-${crypto.randomUUID()}.json`;
      await Deno.writeTextFile(path, JSON.stringify({ schema: "sweep_chunks/1", folder, chunks }));
      const words = [...options.chunkCommand, path].map(quoted).join(" ");
      const script = `#!/bin/sh\nexec ${words} "$SLURM_ARRAY_TASK_ID"\n`;
      const log = `${folder}/slurm-%A_%a.log`;
      const id = await slurm("sbatch", [
        "--parsable",
        "--partition",
        options.partition,
        "--job-name",
        "busbar-sweep",
        "--array",
        `0-${chunks.length - 1}`,
        "--requeue",
        "--open-mode=append",
        "--ntasks=1",
        "--output",
        log,
      ], script);
      // With several clusters the cluster's name follows.
      const [number = ""] = id.trim().split(";");
      if (!/^\d+$/.test(number)) throw new BusbarError("io", `sbatch answered '${id.trim()}', which is no job`);
      jobs.push(number);
    }
  } catch (error) {
    // What was handed over already would run without anybody who waits for it.
    if (jobs.length > 0) await slurm("scancel", jobs).catch(() => {});
    throw error;
  }
  return jobs;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

async function slurm(program: string, args: readonly string[], input?: string): Promise<string> {
  let output: Deno.CommandOutput;
  try {
    const child = new Deno.Command(program, {
      args: [...args],
      stdin: input === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    if (input !== undefined) {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(input));
      await writer.close();
    }
    output = await child.output();
  } catch (cause) {
    throw systemError(cause, "start", program, "Slurm's programs are in PATH where it is installed");
  }
  if (output.success) return new TextDecoder().decode(output.stdout);
  const [line = `status ${output.code}`] = new TextDecoder().decode(output.stderr).trim().split("\n");
  throw new BusbarError("unreachable", `${program} failed: ${line}`, {
    operation: program,
    path: program,
    hint: "sinfo shows whether the cluster is up, and its partitions",
  });
}

async function maxArraySize(): Promise<number> {
  const text = await slurm("scontrol", ["show", "config"]);
  const [, size = String(DEFAULT_ARRAY)] = /^MaxArraySize\s*=\s*(\d+)/m.exec(text) ?? [];
  return Math.max(1, Number(size) - 1);
}

class SlurmBatch implements Batch {
  readonly #ids: ReadonlySet<string>;
  readonly #jobs: readonly string[];
  readonly #results: Results;
  readonly #options: SlurmOptions;
  #isCancelled = false;

  constructor(points: readonly Point[], jobs: readonly string[], results: Results, options: SlurmOptions) {
    this.#ids = new Set(points.map(({ id }) => id));
    this.#jobs = jobs;
    this.#results = results;
    this.#options = options;
  }

  async state(): Promise<BatchState> {
    const tasks = await this.#tasks();
    return this.#stateOf(tasks.filter((one) => one === "RUNNING" || one === "COMPLETING").length, tasks.length);
  }

  async cancel(): Promise<void> {
    this.#isCancelled = true;
    if (this.#jobs.length > 0) await slurm("scancel", this.#jobs);
    await this.finished();
  }

  async finished(): Promise<BatchState> {
    let lastAnswer = performance.now();
    for (;;) {
      let tasks: readonly string[] | null = null;
      try {
        tasks = await this.#tasks();
        lastAnswer = performance.now();
      } catch (error) {
        // The controller is being restarted: the tasks go on meanwhile.
        if (performance.now() - lastAnswer > SILENCE_MS) throw error;
      }
      if (tasks !== null) {
        const running = tasks.filter((one) => one === "RUNNING" || one === "COMPLETING").length;
        const state = this.#stateOf(running, tasks.length);
        this.#options.onState?.(state);
        if (tasks.length === 0) return state;
      }
      await waitMs(this.#options.pollMs);
    }
  }

  /** The states of the tasks that are not over. */
  async #tasks(): Promise<string[]> {
    if (this.#jobs.length === 0) return [];
    try {
      const text = await slurm("squeue", ["-h", "-r", "-o", "%A|%a|%T|%N", "-j", this.#jobs.join(",")]);
      return text.split("\n").filter((line) => line !== "").map((line) => line.split("|")[2] ?? "");
    } catch (error) {
      // A job that is over for long is not known any more.
      if (error instanceof BusbarError && /Invalid job id/i.test(error.message)) return [];
      throw error;
    }
  }

  #stateOf(runningTasks: number, tasks: number): BatchState {
    const states = this.#results.states();
    let done = 0;
    let failed = 0;
    for (const id of this.#ids) {
      const state = states.get(id);
      if (state === "done") done++;
      else if (state === "failed") failed++;
    }
    const left = this.#ids.size - done - failed;
    const over = tasks === 0;
    return {
      // Points of a task that runs are not told apart: one of each is at work.
      running: over ? 0 : Math.min(runningTasks, left),
      waiting: over ? 0 : Math.max(0, left - runningTasks),
      done,
      failed,
      cancelled: over || this.#isCancelled ? left : 0,
    };
  }
}

/**
 * What a task does: runs the points of a chunk that have no result yet, one after the other.
 *
 * @param openResults opens the folder where they are kept
 * @param onStored called with each point that it ran, after its result is kept
 * @throws {BusbarError} `malformed` for what is no file of chunks
 */
export async function runChunk(
  path: string,
  index: number,
  openResults: (folder: string) => Results,
  openWorker: () => PointWorker,
  signal: AbortSignal,
  onStored: (point: Point) => void = () => {},
): Promise<void> {
  const { folder, points } = await readChunk(path, index);
  using results = openResults(folder);
  await using worker = openWorker();
  for (const point of points) {
    if (signal.aborted) return;
    // A task that is run again after its node was lost has most of them already.
    if (results.load(point.id) !== null) continue;
    const outcome = await worker.run(point, signal);
    if (outcome === null) continue;
    results.store(point, outcome);
    onStored(point);
  }
}

async function readChunk(path: string, index: number): Promise<{ folder: string; points: readonly Point[] }> {
  let file: unknown;
  try {
    file = JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    throw systemError(cause, "read the chunks of", path);
  }
  const { schema, folder, chunks } = (typeof file === "object" && file !== null ? file : {}) as Record<string, unknown>;
  const points: unknown = Array.isArray(chunks) ? chunks[index] : undefined;
  if (schema !== "sweep_chunks/1" || typeof folder !== "string" || !Array.isArray(points)) {
    throw new BusbarError("malformed", `${path}: it holds no chunk ${index} of a sweep`, { path });
  }
  return { folder, points };
}
