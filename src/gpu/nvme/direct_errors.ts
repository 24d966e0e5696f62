/**
 * What is wrong with a job, and with what a kernel left.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { blockMemory } from "../../nvme/tables/identity.ts";
import type { DirectJob } from "./direct_job.ts";
import type { QueueState, UnansweredCommand } from "./kernel_queue.ts";
import { NVME_FAILURES } from "./layout.ts";

const OPERATION = "drive a controller from the GPU";
const MOST_TRANSFER_BLOCKS = 65_536;

/**
 * Checks a job against its namespace.
 *
 * @param name the drive
 * @throws {BusbarError} `unsupported` where blocks have metadata; `out-of-range`
 */
export function checkJob(name: string, { namespace, lba, blocks, transferBlocks }: DirectJob): void {
  const details = { operation: OPERATION, path: name };
  const { dataBytes, metadataBytes } = blockMemory(namespace, false);
  if (metadataBytes !== 0 || dataBytes !== namespace.blockBytes || namespace.protectionType !== 0) {
    const what = `${name}, namespace ${namespace.id}: its blocks have metadata`;
    throw new BusbarError("unsupported", what, { ...details, hint: "nvme_io takes such namespaces" });
  }
  const isInside = lba >= 0n && blocks > 0n && lba + blocks <= namespace.blocks;
  if (isInside && transferBlocks >= 1 && transferBlocks <= MOST_TRANSFER_BLOCKS) return;
  throw new BusbarError(
    "out-of-range",
    `${name}: ${blocks} blocks at ${lba}, ${transferBlocks} at once: namespace ${namespace.id} has ${namespace.blocks}`,
    details,
  );
}

/** The command of an operation, for messages. */
export function commandName(operation: DirectJob["operation"]): string {
  return { read: "Read", write: "Write", flush: "Flush" }[operation];
}

/** What a queue says of a command that did not end, or of a completion that cannot be; the controller was reset. */
export function queueError(
  name: string,
  state: QueueState,
  which: string,
  timeoutMs: number,
  unanswered: readonly UnansweredCommand[],
): BusbarError {
  const common = { operation: OPERATION, path: name };
  if (state.failure === NVME_FAILURES.timeout) {
    const [oldest] = unanswered;
    const what = oldest === undefined ? "a command" : `${which} of ${oldest.blocks} blocks at ${oldest.lba}`;
    return new BusbarError("timeout", `${name}: no completion within ${timeoutMs / 1000} s for ${what}`, {
      ...common,
      hint: `the controller was reset; ${unanswered.length} commands were in flight`,
    });
  }
  const hint = "the controller was reset; what it sent since the last good command is not to be trusted";
  const what = state.failure === NVME_FAILURES.head
    ? `a completion says SQHD ${state.failureDetail}, where nothing was submitted`
    : `a completion for command ${state.failureDetail}, which is not in flight`;
  return new BusbarError("device-failed", `${name}: ${what}`, { ...common, hint });
}

/** A kernel of somebody's own that did not wait for its commands; the controller was reset. */
export function leftInFlight(name: string, count: number): BusbarError {
  return new BusbarError("usage", `${name}: the kernel ended and left ${count} commands in flight`, {
    operation: OPERATION,
    path: name,
    hint: "wait for each ticket (bb_nvme_wait); the controller was reset",
  });
}
