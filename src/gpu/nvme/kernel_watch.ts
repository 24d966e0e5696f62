/**
 * Waiting for a kernel that drives a controller: the host looks at two words and at CSTS, and tells it when to end.
 * @module
 */

import { setImmediate } from "node:timers";

import { pause } from "../../core/deadline.ts";
import { BusbarError } from "../../core/error.ts";
import type { DirectDriver, DirectJob } from "./direct_job.ts";
import { BlockView, CONTROL_BLOCK, NVME_STOPS } from "./layout.ts";

/** A kernel that does not end this long after it was told to is lost. */
const END_MS = 5_000;
/** Without progress for this long beyond the limit of a command, a kernel is told to end. */
const SILENCE_MS = 5_000;
/** A kernel of a few commands ends within this time: until then the host looks as often as the event loop turns. */
const SPIN_MS = 1;

/** A kernel on its stream, and what it drives. */
export interface WatchedKernel {
  /** The controller. */
  readonly driver: Pick<DirectDriver, "name" | "checkAlive">;
  /** The GPU's name. */
  readonly gpuName: string;
  /** The stream that it runs on. */
  readonly stream: { readonly isDone: boolean };
  /** The control block, which kernel and host share. */
  readonly control: Uint8Array<ArrayBuffer>;
}

/** What ends a kernel early, and who hears of its progress. */
export interface WatchOptions extends Pick<DirectJob, "signal" | "durationMs" | "onProgress"> {
  /** Ends it at once: commands in flight are not waited for, so the controller is reset. */
  readonly endNow?: AbortSignal | undefined;
}

/**
 * Waits for a kernel.
 *
 * @param timeoutMs how long a command may take, in milliseconds
 * @param before transfers that ended before this launch, for `onProgress`
 * @returns why the kernel was told to end, or null
 * @throws {BusbarError} `timeout` for a kernel that does not end when it is told to: it is lost
 */
export async function watchKernel(
  { driver, gpuName, stream, control: bytes }: WatchedKernel,
  job: WatchOptions,
  timeoutMs: number,
  before: number,
): Promise<unknown> {
  const control = new BlockView(CONTROL_BLOCK, bytes);
  const ask = (stop: number): void => control.set({ stop });
  const started = performance.now();
  const endMs = started + (job.durationMs ?? Infinity);
  let stopped: unknown = null, askedNow = Infinity, movedAt = started, done = 0n;
  while (!stream.isDone) {
    const now = performance.now();
    const seen = control.get("done");
    if (seen !== done) [done, movedAt] = [seen, now];
    if (now > askedNow + END_MS) {
      throw new BusbarError("timeout", `${gpuName}: the kernel did not end when it was told to`, {
        operation: "drive a controller from the GPU",
        path: gpuName,
        hint: "closing the GPU ends it; the controller was reset",
      });
    }
    if (stopped === null && job.signal?.aborted === true) {
      stopped = job.signal.reason;
      ask(NVME_STOPS.drain);
    }
    if (job.endNow?.aborted === true && askedNow === Infinity) {
      stopped = job.endNow.reason;
      askedNow = now;
      ask(NVME_STOPS.now);
    }
    if (now > endMs && stopped === null && askedNow === Infinity) ask(NVME_STOPS.drain);
    if (now > movedAt + timeoutMs + SILENCE_MS && askedNow === Infinity) {
      ask(NVME_STOPS.now);
      askedNow = now;
      stopped ??= new BusbarError("timeout", `${driver.name}: the kernel makes no progress`, {
        operation: "drive a controller from the GPU",
        path: driver.name,
      });
    }
    if (askedNow === Infinity) {
      try {
        driver.checkAlive();
      } catch (error) {
        stopped = error;
        askedNow = now;
        ask(NVME_STOPS.now);
      }
    }
    job.onProgress?.(before + Number(done));
    if (now < started + SPIN_MS) await new Promise<void>((resolve) => setImmediate(resolve));
    else await pause(1);
  }
  return stopped;
}
