/**
 * The scheduler of this machine: some workers, each with one point at a time.
 * @module
 */

import type { Point } from "./point.ts";
import type { Outcome, Results } from "./results.ts";
import type { Batch, BatchState, Scheduler } from "./scheduler.ts";

/** Runs one point after another. Dispose ends it, and what it runs. */
export interface PointWorker extends AsyncDisposable {
  /**
   * Runs a point.
   *
   * @returns what came of it; null when it was ended before it was known
   */
  run(point: Point, signal: AbortSignal): Promise<Outcome | null>;
}

/** How the local scheduler works. */
export interface LocalOptions {
  /** Points that run at once; 1 or more. */
  readonly workers: number;
  /** Makes a worker. It is called once for each of them. */
  readonly openWorker: () => PointWorker;
  /** Called when a point has ended, with the state after it. */
  readonly onPoint?: ((point: Point, state: BatchState) => void) | undefined;
}

/** Points in worker processes of this machine. */
export class LocalScheduler implements Scheduler {
  readonly #options: LocalOptions;

  /** See {@linkcode LocalOptions}. */
  constructor(options: LocalOptions) {
    this.#options = options;
  }

  /** {@inheritDoc Scheduler.start} */
  start(points: readonly Point[], results: Results): Promise<Batch> {
    return Promise.resolve(new LocalBatch(points, results, this.#options));
  }
}

class LocalBatch implements Batch {
  readonly #queue: Point[];
  readonly #results: Results;
  readonly #options: LocalOptions;
  readonly #abort = new AbortController();
  readonly #ended: Promise<unknown>;
  #state = { waiting: 0, running: 0, done: 0, failed: 0, cancelled: 0 };

  constructor(points: readonly Point[], results: Results, options: LocalOptions) {
    this.#queue = points.toReversed();
    this.#results = results;
    this.#options = options;
    this.#state.waiting = points.length;
    const workers = Math.max(1, Math.min(options.workers, points.length));
    this.#ended = Promise.all(Array.from({ length: workers }, () => this.#work()));
    // Whoever asks is told; until then it is no unhandled rejection.
    this.#ended.catch(() => {});
  }

  state(): Promise<BatchState> {
    return Promise.resolve({ ...this.#state });
  }

  async cancel(): Promise<void> {
    this.#drop();
    await this.#ended;
  }

  async finished(): Promise<BatchState> {
    await this.#ended;
    return { ...this.#state };
  }

  #drop(): void {
    this.#abort.abort();
    this.#state.cancelled += this.#queue.length;
    this.#state.waiting = 0;
    this.#queue.length = 0;
  }

  async #work(): Promise<void> {
    const worker = this.#options.openWorker();
    try {
      for (let point = this.#queue.pop(); point !== undefined; point = this.#queue.pop()) {
        this.#state.waiting--;
        this.#state.running++;
        const outcome = await worker.run(point, this.#abort.signal);
        if (outcome !== null) this.#results.store(point, outcome);
        this.#state.running--;
        this.#state[outcome === null ? "cancelled" : "failure" in outcome ? "failed" : "done"]++;
        this.#options.onPoint?.(point, { ...this.#state });
      }
    } catch (error) {
      // Results cannot be kept, or a worker cannot be started: the others stop too.
      this.#drop();
      throw error;
    } finally {
      await worker[Symbol.asyncDispose]();
    }
  }
}
