/**
 * Ways to a Type 2 GPU: registers that trap, or the same registers in memory that both sides share.
 * @module
 */

import type { Deadline } from "../core/deadline.ts";

/** A command as it is handed over. */
export interface Submission {
  /** What goes to CMD. */
  readonly code: number;
  /** PARAM0 upwards; those that are left out keep what they held. */
  readonly params: readonly bigint[];
  /** The session that it belongs to; 0 is the guest's own. */
  readonly session: number;
  /** Goes to DATA before; null leaves it. */
  readonly data: Uint8Array<ArrayBuffer> | null;
  /** Bytes of DATA that are read after, or 0. */
  readonly readBytes: number;
}

/** What came back. */
export interface Completion {
  /** CMD_RESULT: 0, or a number of `RESULTS`. */
  readonly result: number;
  /** RESULT0 to RESULT3. */
  readonly results: readonly bigint[];
  /** What was read of DATA. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** A way to a device. One command at a time, whoever shares the device: `submit` takes the lock around all of it. */
export interface Type2Transport extends Disposable {
  /** The locator, for messages. */
  readonly name: string;
  /** How commands are handed over, in words. */
  readonly kind: "trapped registers" | "shared memory" | "in this process";
  /** Bytes of BAR2, as far as they are known. */
  readonly windowBytes: number;
  /** BAR4 as bytes; null where it cannot be mapped. */
  readonly bar4: Uint8Array<ArrayBuffer> | null;
  /** Reads a 32-bit register by one access. */
  read32(offset: number): number;
  /** Reads a 64-bit register by one access. */
  read64(offset: number): bigint;
  /**
   * Runs one command.
   *
   * @throws {BusbarError} `timeout`; `device-gone` when the device stopped or was started anew
   */
  submit(submission: Submission, deadline: Deadline, signal?: AbortSignal): Promise<Completion>;
}
