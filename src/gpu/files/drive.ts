/**
 * A namespace whose bytes the CPU reads, to look for file systems and files on it.
 * @module
 */

import type { NvmeController } from "../../nvme/driver/controller.ts";
import { bytesOver } from "./bytes.ts";
import type { DriveBytes } from "./find_file.ts";

/**
 * The bytes of a namespace.
 *
 * @throws {BusbarError} `absent` when it is not active
 */
export async function driveBytes(controller: NvmeController, nsid: number): Promise<DriveBytes> {
  const namespace = controller.namespace(nsid);
  const { blockBytes, blocks } = await namespace.geometry();
  const capacityBytes = Number(blocks) * blockBytes;
  const read = bytesOver(
    async (offset, sizeBytes) => {
      const bytes = new Uint8Array(sizeBytes);
      await namespace.read(offset / BigInt(blockBytes), bytes);
      return bytes;
    },
    blockBytes,
    capacityBytes,
    controller.name,
  );
  return { name: controller.name, read, capacityBytes, blockBytes };
}
