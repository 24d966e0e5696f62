/**
 * Which blocks a job goes over, and in what pieces.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
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

/**
 * Plans transfers over a range.
 *
 * @param blocks how many blocks; to the end of the namespace when not given
 * @param transferBytes how much at once; less where the controller takes less, at least one block
 * @throws {BusbarError} `out-of-range` when the range is not in the namespace
 */
export async function planTransfers(
  controller: NvmeController,
  nsid: number,
  lba: bigint,
  blocks: bigint | undefined,
  transferBytes: number,
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
  const most = Math.min(transferBytes, await controller.maxTransferBytes());
  const memoryBytes = blockMemory(namespace).dataBytes;
  return { namespace, lba, blocks: count, memoryBytes, transferBlocks: Math.max(1, Math.floor(most / memoryBytes)) };
}
