/**
 * What a drive is busy with by itself: formatting, sanitizing, testing. Asking changes nothing.
 *
 * Source: NVM Express Base 2.0 §5.16.1 (log pages 06h and 81h), §5.17.2.1 (FPI of Identify Namespace: NVM Command Set 1.0
 * §4.1.5.1).
 * @module
 */

import { Deadline, pause } from "../../core/deadline.ts";
import { isBusbarError } from "../../core/error.ts";
import { decodeTable } from "../../core/decoded.ts";
import type { NvmeController } from "../driver/controller.ts";
import { SANITIZE_LOG, SELF_TEST_LOG } from "../tables/log_health.ts";

/** A sanitize operation. */
export interface SanitizeState {
  /** 0 never, 1 successful, 2 running, 3 failed, 4 successful without deallocation. */
  readonly status: number;
  /** The status in words. */
  readonly text: string;
  /** How much is done, 0 to 1. */
  readonly done: number;
}

/** A self-test. */
export interface SelfTestState {
  /** What runs: 0 nothing, 1 short, 2 extended. */
  readonly running: number;
  /** How much is done of it, 0 to 1. */
  readonly done: number;
  /** Result of the newest entry: 0 passed; null without an entry. */
  readonly lastResult: number | null;
}

const LOG_SANITIZE = 0x81;
const LOG_SELF_TEST = 0x06;
const NO_ENTRY = 0xf;

/** How the newest sanitize operation goes. @throws {BusbarError} `device-failed` where the drive has no such log */
export async function sanitizeState(controller: NvmeController): Promise<SanitizeState> {
  const log = decodeTable(SANITIZE_LOG, await controller.getLog({ id: LOG_SANITIZE, sizeBytes: 512 }));
  const status = Number(log.field("SSTAT", "SOS") ?? 0n);
  const word = log.row("SSTAT").fields.find(({ field }) => field.name === "SOS")?.meaning;
  return { status, text: word ?? `status ${status}`, done: Number(log.uint("SPROG") ?? 0n) / 65536 };
}

/** How the self-test goes. @throws {BusbarError} `device-failed` where the drive has no such log */
export async function selfTestState(controller: NvmeController): Promise<SelfTestState> {
  const bytes = await controller.getLog({ id: LOG_SELF_TEST, sizeBytes: 564 });
  const log = decodeTable(SELF_TEST_LOG, bytes);
  const running = Number(log.field("CDSTO", "OP") ?? 0n);
  // The newest result stands first, behind the 4 bytes of the head.
  const result = (bytes[4] ?? 0xff) & 0xf;
  return {
    running,
    done: Number(log.field("CDSTC", "PC") ?? 0n) / 100,
    lastResult: result === NO_ENTRY ? null : result,
  };
}

/** How much of a format is done, 0 to 1; null where the drive does not tell. */
export async function formatProgress(controller: NvmeController, nsid: number): Promise<number | null> {
  try {
    const page = await controller.identifyPage({ cns: 0, nsid });
    const progress = page[32] ?? 0;
    return (progress & 0x80) === 0 ? null : 1 - (progress & 0x7f) / 100;
  } catch (error) {
    if (isBusbarError(error, "device-failed")) return null;
    throw error;
  }
}

/** How something that a drive does by itself is waited for. */
export interface WatchOptions {
  /** Between two looks, in milliseconds. */
  readonly intervalMs: number;
  /** Milliseconds until the wait is an error; the drive goes on. */
  readonly timeoutMs: number;
  /** Ends the wait; the drive goes on. */
  readonly signal?: AbortSignal;
  /** Called at each look, with how much is done, 0 to 1. */
  readonly onProgress?: (done: number) => void;
}

/**
 * Waits for the end of a sanitize operation.
 *
 * @throws {BusbarError} `timeout` while it still runs
 */
export async function waitForSanitize(controller: NvmeController, options: WatchOptions): Promise<SanitizeState> {
  const deadline = Deadline.after(options.timeoutMs);
  for (;;) {
    const state = await sanitizeState(controller);
    options.onProgress?.(state.done);
    if (state.status !== 2) return state;
    deadline.check("the end of the sanitize operation", controller.name, "it goes on: nvme_admin watch looks again");
    await pause(options.intervalMs, options.signal);
  }
}

/**
 * Waits for the end of a self-test.
 *
 * @throws {BusbarError} `timeout` while it still runs
 */
export async function waitForSelfTest(controller: NvmeController, options: WatchOptions): Promise<SelfTestState> {
  const deadline = Deadline.after(options.timeoutMs);
  for (;;) {
    const state = await selfTestState(controller);
    options.onProgress?.(state.done);
    if (state.running === 0) return state;
    deadline.check("the end of the self-test", controller.name, "it goes on: nvme_admin watch looks again");
    await pause(options.intervalMs, options.signal);
  }
}
