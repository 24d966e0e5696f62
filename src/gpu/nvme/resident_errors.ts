/**
 * What a completion of a kernel that stays says, as an error.
 * @module
 */

import { BusbarError, type ErrorCode } from "../../core/error.ts";
import { statusError } from "../../nvme/tables/status.ts";
import { RESIDENT_OUTCOMES } from "./resident_layout.ts";
import type { ResidentCompletion } from "./resident_ring.ts";

const OUTCOMES: Readonly<Record<number, readonly [code: ErrorCode, text: string]>> = {
  [RESIDENT_OUTCOMES.operation]: ["usage", "there is no such operation"],
  [RESIDENT_OUTCOMES.range]: ["out-of-range", "the namespace does not have these blocks"],
  [RESIDENT_OUTCOMES.size]: ["out-of-range", "more bytes than its memory or one command takes, or none"],
  [RESIDENT_OUTCOMES.memory]: ["usage", "the memory that it names is not in the kernel's table"],
  [RESIDENT_OUTCOMES.segment]: ["usage", "the drive cannot write to the place that a segment names"],
  [RESIDENT_OUTCOMES.read_only]: ["permission", "this kernel takes no writes"],
};

const HINTS: Readonly<Record<number, string>> = {
  [RESIDENT_OUTCOMES.size]: "dataBytes says how much one request moves",
  [RESIDENT_OUTCOMES.read_only]: "mayWrite lets it write",
};

/**
 * The error of a request, or null for success.
 *
 * @param path drive and namespace
 * @param what the request, as `Read of 8 blocks at 0`
 */
export function requestError(path: string, what: string, completion: ResidentCompletion): BusbarError | null {
  const { outcome, status, failedBlocks, failedLba } = completion;
  if (outcome === RESIDENT_OUTCOMES.good) return null;
  if (outcome === RESIDENT_OUTCOMES.status) {
    const operation = failedBlocks === 0 ? what : `${what.split(" ")[0]} of ${failedBlocks} blocks at ${failedLba}`;
    return statusError(status, { operation, path });
  }
  const [code, text] = OUTCOMES[outcome] ?? (["bug", `outcome ${outcome}`] as const);
  return new BusbarError(code, `${path}: ${what}: ${text}`, {
    operation: "ask a resident kernel",
    path,
    hint: HINTS[outcome],
  });
}
