/**
 * Which points of a grid are run, and the wait for them.
 * @module
 */

import type { Batch, Point, Results } from "../../src/sweep/mod.ts";
import { interruption } from "../cli/run.ts";

/** The points that have no result yet; with `retry` those too that failed. */
export function pointsToRun(points: readonly Point[], results: Results, retry: boolean): Point[] {
  const states = results.states();
  return points.filter(({ id }) => {
    const state = states.get(id) ?? "missing";
    return state === "missing" || (state === "failed" && retry);
  });
}

/** Waits for the batch; a signal ends it. */
export async function finishBatch(batch: Batch): Promise<void> {
  const cancel = (): void => {
    batch.cancel().catch(() => {});
  };
  interruption.addEventListener("abort", cancel);
  try {
    await batch.finished();
  } finally {
    interruption.removeEventListener("abort", cancel);
  }
}
