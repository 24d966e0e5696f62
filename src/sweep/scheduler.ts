/**
 * What runs points: worker processes of this machine, or a cluster. Completion is told by the result files.
 * @module
 */

import type { Point } from "./point.ts";
import type { Results } from "./results.ts";

/** How far a batch has got. */
export interface BatchState {
  /** Not started. */
  readonly waiting: number;
  /** Started, not ended. */
  readonly running: number;
  /** Ended well. */
  readonly done: number;
  /** Ended with an error, which is kept. */
  readonly failed: number;
  /** Taken back before they ended: without a result, so they run again. */
  readonly cancelled: number;
}

/** Points that were handed over. */
export interface Batch {
  /** How far it has got. */
  state(): Promise<BatchState>;
  /** Ends what runs and drops what waits. Resolves when nothing of it runs any more. */
  cancel(): Promise<void>;
  /** Resolves when every point has a result or was cancelled. */
  finished(): Promise<BatchState>;
}

/** Runs points and keeps their results. */
export interface Scheduler {
  /** Hands points over. Each is run once. */
  start(points: readonly Point[], results: Results): Promise<Batch>;
}
