/**
 * A job as its kernel finds it in memory.
 * @module
 */

import type { DirectJob } from "./direct_job.ts";
import { BlockView, JOB_BLOCK } from "./layout.ts";

/** How long a command may take where nobody says, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** Opcodes of the NVM command set. Source: NVM Command Set Specification 1.0, §3.2. */
const OPCODES = { flush: 0, write: 1, read: 2 } as const;
/** More transfers than a duration has room for. */
const UNLIMITED = 1n << 63n;

/** What a kernel is given besides the job. */
export interface JobPlaces {
  /** Device address of the array of `bb_nvme_queue`. */
  readonly queues: bigint;
  /** How many there are. */
  readonly queueCount: number;
  /** Device address of the array of `bb_nvme_piece`. */
  readonly pieces: bigint;
  /** Device address of `bb_nvme_control`. */
  readonly control: bigint;
  /** Commands that a warp, or the thread, keeps in flight. */
  readonly lanes: number;
  /** The controller's page size in bytes. */
  readonly pageBytes: number;
  /** Each transfer has a piece of its own, and all are done once, in order. */
  readonly isLinear: boolean;
}

/** Transfers of a job's range; the last one may be shorter. */
export function transfersOf({ blocks, transferBlocks }: Pick<DirectJob, "blocks" | "transferBlocks">): bigint {
  return (blocks + BigInt(transferBlocks) - 1n) / BigInt(transferBlocks);
}

/** The bytes of `bb_nvme_job`. */
export function jobBlock(job: DirectJob, places: JobPlaces): Uint8Array<ArrayBuffer> {
  const { namespace, pattern, timeoutMs = DEFAULT_TIMEOUT_MS } = job;
  const { isLinear, queueCount, pageBytes, ...rest } = places;
  const chunks = transfersOf(job);
  const most = job.transfers ?? (job.durationMs === undefined ? chunks : UNLIMITED);
  const block = new Uint8Array(JOB_BLOCK.sizeBytes);
  new BlockView(JOB_BLOCK, block).set({
    ...rest,
    first_lba: job.lba,
    blocks: job.blocks,
    chunks,
    transfers: isLinear ? chunks : most,
    random_seed: isLinear ? 0 : job.randomSeed ?? 0,
    timeout_ns: BigInt(Math.round(timeoutMs * 1e6)),
    queue_count: queueCount,
    namespace_id: namespace.id,
    opcode: OPCODES[job.operation],
    transfer_blocks: job.transferBlocks,
    block_bytes: namespace.blockBytes,
    has_pattern: pattern !== undefined,
    pattern_seed: pattern?.seed ?? 0,
    is_linear: isLinear,
    page_bytes: pageBytes,
    is_timed: true,
  });
  return block;
}
