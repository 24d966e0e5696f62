/**
 * What several launches of one job come to.
 * @module
 */

import { Histogram } from "../../core/histogram.ts";
import type { Mismatch } from "../../nvme/jobs/pattern.ts";
import type { DirectJob, DirectResult } from "./direct_job.ts";
import type { KernelQueue, QueueState } from "./kernel_queue.ts";

/** Adds up launches. */
export class DirectRun {
  /** Wall time of the kernels so far, in milliseconds. */
  elapsedMs = 0;
  /** Transfers that ended well so far. */
  transfers = 0;
  /** The first block that was not as the pattern says. */
  mismatch: Mismatch | null = null;
  #bytes = 0;
  #submitted = 0;
  #tailRings = 0;
  #headRings = 0;

  /** Adds a launch: what of it ended well, and the state of a queue before and after. */
  add(job: DirectJob, transfers: number, queues: readonly (readonly [before: QueueState, after: QueueState])[]): void {
    const transferBytes = job.transferBlocks * job.namespace.blockBytes;
    const range = Number(job.blocks) * job.namespace.blockBytes;
    this.transfers += transfers;
    // Only the last transfer of a range is shorter, and it is the last to begin unless places are random.
    const whole = transfers * transferBytes;
    const isOnce = job.durationMs === undefined && job.randomSeed === undefined && job.transfers === undefined;
    if (job.operation !== "flush") this.#bytes += isOnce ? Math.min(whole, range) : whole;
    for (const [before, after] of queues) {
      this.#submitted += after.submitted - before.submitted >>> 0;
      this.#tailRings += after.tailRings - before.tailRings >>> 0;
      this.#headRings += after.headRings - before.headRings >>> 0;
    }
  }

  /** The whole. */
  async result(queues: readonly KernelQueue[]): Promise<DirectResult> {
    const times = { build: new Histogram(), ring: new Histogram(), wait: new Histogram() };
    for (const queue of queues) {
      for (const { buildNs, ringNs, waitNs } of await queue.times()) {
        times.build.add(buildNs);
        times.ring.add(ringNs);
        times.wait.add(waitNs);
      }
      queue.clearTimes();
    }
    return {
      transfers: this.transfers,
      bytes: this.#bytes,
      elapsedMs: this.elapsedMs,
      times,
      submitted: this.#submitted,
      tailRings: this.#tailRings,
      headRings: this.#headRings,
      mismatch: this.mismatch,
    };
  }
}
