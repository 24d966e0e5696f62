/**
 * Before a namespace is written to: what lies on it, and whether that may go.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { hex } from "../../core/units.ts";
import type { NvmeController } from "../driver/controller.ts";
import { findSignatures } from "./signature.ts";

/**
 * Refuses to write to a namespace that carries a known signature, unless the drive's serial number was given.
 *
 * @param erase the serial number that the user gave to say "yes, this drive", or undefined
 * @throws {BusbarError} `busy` when something lies on it, `usage` when the serial number is another drive's
 */
export async function checkErase(
  controller: NvmeController,
  nsid: number,
  erase: string | undefined,
): Promise<void> {
  const { serial } = await controller.identify();
  if (erase !== undefined && erase !== serial) {
    throw new BusbarError(
      "usage",
      `${controller.name}: its serial number is '${serial}', not '${erase}': nothing was written`,
      {
        operation: "write",
        path: controller.name,
        hint: `the right drive? Then --erase='${serial}'`,
      },
    );
  }
  if (erase === serial) return;
  const namespace = controller.namespace(nsid);
  const { blocks, blockBytes, transferBytes, metadataBytes } = await namespace.geometry();
  const capacityBytes = blocks * BigInt(blockBytes);
  const found = await findSignatures(
    async (offset, sizeBytes) => {
      const count = Math.ceil(sizeBytes / blockBytes);
      const raw = new Uint8Array(count * transferBytes);
      await namespace.read(offset / BigInt(blockBytes), raw);
      return transferBytes === blockBytes ? raw : withoutMetadata(raw, blockBytes, metadataBytes);
    },
    capacityBytes,
    blockBytes,
  );
  if (found.length === 0) return;
  const what = found.map(({ name, offset }) => `${name} at ${hex(offset)}`).join(", ");
  throw new BusbarError(
    "busy",
    `${controller.name}: namespace ${nsid} is not empty: ${what}`,
    {
      operation: "write",
      path: controller.name,
      hint: `--erase='${serial}' writes over it`,
    },
  );
}

function withoutMetadata(raw: Uint8Array, blockBytes: number, metadataBytes: number): Uint8Array {
  const blocks = raw.length / (blockBytes + metadataBytes);
  const data = new Uint8Array(blocks * blockBytes);
  for (let i = 0; i < blocks; i++) {
    const at = i * (blockBytes + metadataBytes);
    data.set(raw.subarray(at, at + blockBytes), i * blockBytes);
  }
  return data;
}
