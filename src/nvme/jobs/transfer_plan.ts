/**
 * Which blocks a job goes over, and in what pieces.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { formatBytes } from "../../core/units.ts";
import type { NvmeController } from "../driver/controller.ts";
import { blockMemory, type NamespaceGeometry } from "../tables/identity.ts";

/** A range of a namespace, cut into transfers. */
export interface TransferPlan {
  /** The namespace. */
  readonly namespace: NamespaceGeometry;
  /** First block. */
  readonly lba: bigint;
  /** How many. */
  readonly blocks: bigint;
  /** Blocks of one transfer; the last one may be shorter. */
  readonly transferBlocks: number;
  /** Bytes of memory that a block takes: metadata that is not protection information comes with it. */
  readonly memoryBytes: number;
}

/** How much a transfer moves. */
export interface TransferSize {
  /** Bytes of data. */
  readonly sizeBytes: number;
  /** Somebody asked for just this: it is refused where the controller cannot do it. Otherwise it is lowered. */
  readonly isExact: boolean;
}

/**
 * Plans transfers over a range. A range that is shorter than a transfer becomes one of its own size.
 *
 * @param blocks how many blocks; to the end of the namespace when not given
 * @throws {BusbarError} `out-of-range` when the range is not in the namespace, `usage` for an exact size that is no whole
 * number of blocks or more than the controller takes
 */
export async function planTransfers(
  controller: NvmeController,
  nsid: number,
  lba: bigint,
  blocks: bigint | undefined,
  transfer: TransferSize,
): Promise<TransferPlan> {
  const namespace = await controller.namespace(nsid).geometry();
  const left = namespace.blocks - lba;
  const count = blocks ?? left;
  if (lba < 0n || count <= 0n || count > left) {
    throw new BusbarError(
      "out-of-range",
      `${controller.name}: ${count} blocks at ${lba}: namespace ${nsid} has ${namespace.blocks}`,
      {
        operation: "plan transfers",
        path: controller.name,
      },
    );
  }
  const memoryBytes = blockMemory(namespace).dataBytes;
  const mostBlocks = Math.max(1, Math.floor(await controller.maxTransferBytes() / memoryBytes));
  if (transfer.isExact) checkSize(controller.name, transfer.sizeBytes, namespace.blockBytes, mostBlocks);
  const wanted = Math.max(1, Math.min(Math.floor(transfer.sizeBytes / namespace.blockBytes), mostBlocks));
  return { namespace, lba, blocks: count, memoryBytes, transferBlocks: Math.min(wanted, Number(count)) };
}

function checkSize(device: string, sizeBytes: number, blockBytes: number, mostBlocks: number): void {
  const refuse = (message: string, hint: string): never => {
    throw new BusbarError("usage", `${device}: ${message}`, { operation: "plan transfers", path: device, hint });
  };
  if (sizeBytes === 0 || sizeBytes % blockBytes !== 0) {
    const least = Math.max(1, Math.floor(sizeBytes / blockBytes)) * blockBytes;
    refuse(
      `transfers of ${sizeBytes} bytes: the namespace has blocks of ${blockBytes} bytes`,
      `a whole number of blocks: ${least}`,
    );
  }
  if (sizeBytes > mostBlocks * blockBytes) {
    refuse(
      `transfers of ${formatBytes(sizeBytes)}: it takes at most ${formatBytes(mostBlocks * blockBytes)} at once`,
      `at most ${mostBlocks * blockBytes}`,
    );
  }
}

/** How a job shares its transfers out. */
export interface QueuePlan {
  /** I/O queue pairs. */
  readonly queues: number;
  /** Transfers in flight, over all of them. */
  readonly depth: number;
}

/** Transfers in flight where nobody says how many, unless there are more queues. */
export const USUAL_DEPTH = 32;

/**
 * How many transfers a driver's queues can have in flight.
 *
 * @param queues queue pairs that were asked for
 * @param depth what was asked for; without it what is usual, or what there is room for
 * @throws {BusbarError} `usage` when the controller has fewer queues, or no room for so many
 */
export function planQueues(
  driver: { readonly name: string; readonly ioQueues: readonly { readonly depth: number }[] },
  queues: number,
  depth: number | undefined,
): QueuePlan {
  const refuse = (message: string): never => {
    throw new BusbarError("usage", `${driver.name}: ${message}`, { operation: "plan transfers", path: driver.name });
  };
  const granted = driver.ioQueues.length;
  if (granted < queues) {
    refuse(`${queues} queues were asked for, and the controller has ${granted === 0 ? "none" : granted}`);
  }
  const room = queues * Math.min(...driver.ioQueues.slice(0, queues).map((queue) => queue.depth));
  const wanted = depth ?? Math.min(Math.max(USUAL_DEPTH, queues), room);
  if (wanted < queues) refuse(`${wanted} transfers in flight on ${queues} queues: each takes at least one`);
  if (wanted > room) {
    refuse(
      `${wanted} transfers in flight: its ${queues === 1 ? "queue takes" : `${queues} queues take`} at most ${room}`,
    );
  }
  return { queues, depth: wanted };
}
