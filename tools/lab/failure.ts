/**
 * What a failed guest leaves on standard error.
 * @module
 */

import { BusbarError, type ErrorCode } from "../../src/core/error.ts";
import { KernelLog } from "../../src/lab/guest.ts";
import { note } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";

/** The command did not end in time. */
export const TIME_LIMIT = 124;

/** The lab failed, not the command in it. */
export const LAB_FAILED = 125;

/** Mistakes on the command line or in a description, and bugs, end a tool as they do everywhere. */
const OWN_STATUS: readonly ErrorCode[] = ["usage", "malformed", "out-of-range", "bug", "closed"];

/**
 * Reports an error of the lab itself and sets exit status {@linkcode LAB_FAILED}, which no command is likely to use.
 * A wrong command line or description, an interruption and a bug are thrown again: they have statuses of their own.
 */
export function reportLabFailure(error: unknown, tool: string): void {
  if (interruption.aborted || !(error instanceof BusbarError) || OWN_STATUS.includes(error.code)) throw error;
  if (error.cause instanceof KernelLog) {
    for (const line of error.cause.lines) note(`  ${line}`);
    note(`${tool}: the whole log is ${error.cause.path}`);
  }
  note(`${tool}: ${error.message}`);
  if (error.hint !== null) note(`  hint: ${error.hint}`);
  Deno.exitCode = LAB_FAILED;
}
