/**
 * Firmware: sending an image, and choosing what runs.
 *
 * Source: NVM Express Base 2.0 §5.11 (Firmware Commit), §5.12 (Firmware Image Download), §3.11 (update process).
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { decodeTable } from "../../core/decoded.ts";
import type { NvmeController } from "../driver/controller.ts";
import { FIRMWARE_LOG } from "../tables/log_support.ts";
import { statusError } from "../tables/status.ts";

const FIRMWARE_COMMIT = 0x10;
const FIRMWARE_DOWNLOAD = 0x11;
const LOG_FIRMWARE = 0x03;

/** Identify Controller: FWUG, FRMW. */
const FWUG_OFFSET = 319;
const FRMW_OFFSET = 260;
const GRANULARITY_UNIT = 4096;
/** Where the controller gives no granularity, and for one that gives a larger one than a transfer holds. */
const DEFAULT_PIECE_BYTES = 4096;
/** No drive's image is larger. */
const MAX_IMAGE_BYTES = 256 << 20;

/** What happens with an image: replaced only, also activated at the next reset, an old one activated, activated at once. */
export const COMMIT_ACTIONS = {
  "replace": 0,
  "replace-and-activate": 1,
  "activate": 2,
  "activate-now": 3,
} as const;

/** A firmware slot. */
export interface FirmwareSlot {
  /** 1 to 7. */
  readonly slot: number;
  /** Its revision; empty where it holds none. */
  readonly revision: string;
  /** It runs now. */
  readonly isActive: boolean;
  /** It runs after the next reset. */
  readonly isNext: boolean;
  /** It cannot be replaced. */
  readonly isReadOnly: boolean;
}

/** The slots that a controller has. */
export async function firmwareSlots(controller: NvmeController): Promise<FirmwareSlot[]> {
  const { page } = await controller.identify();
  const frmw = page[FRMW_OFFSET] ?? 0;
  const log = decodeTable(FIRMWARE_LOG, await controller.getLog({ id: LOG_FIRMWARE, sizeBytes: 512 }));
  const active = Number(log.field("AFI", "CAFSL") ?? 0n);
  const next = Number(log.field("AFI", "NCAFSL") ?? 0n);
  const count = Math.max(1, frmw >>> 1 & 7);
  return Array.from({ length: count }, (_, i) => ({
    slot: i + 1,
    revision: log.text(`FRS${i + 1}`) ?? "",
    isActive: active === i + 1,
    isNext: next === i + 1,
    isReadOnly: i === 0 && (frmw & 1) === 1,
  }));
}

/**
 * Sends an image. What runs does not change.
 *
 * @param image a multiple of 4 bytes
 * @param onProgress called with the bytes sent so far
 * @throws {BusbarError} `usage` for an image of a size that no drive takes; `device-failed` with the NVMe status
 */
export async function downloadFirmware(
  controller: NvmeController,
  image: Uint8Array,
  onProgress: (bytes: number) => void = () => {},
  signal?: AbortSignal,
): Promise<void> {
  if (image.length === 0 || image.length % 4 !== 0 || image.length > MAX_IMAGE_BYTES) {
    throw new BusbarError("usage", `${image.length} bytes are no firmware image`, {
      operation: "download firmware",
      path: controller.name,
      hint: `an image has a multiple of 4 bytes, at most ${MAX_IMAGE_BYTES}`,
    });
  }
  const piece = await pieceBytes(controller);
  for (let at = 0; at < image.length; at += piece) {
    // Between two pieces nothing is lost: a new download begins at 0.
    signal?.throwIfAborted();
    const data = image.slice(at, at + piece);
    const { status } = await controller.admin({
      opcode: FIRMWARE_DOWNLOAD,
      cdw10: data.length / 4 - 1,
      cdw11: at / 4,
      data,
    });
    if (status !== 0) throw statusError(status, { operation: "Firmware Image Download", path: controller.name });
    onProgress(at + data.length);
  }
}

async function pieceBytes(controller: NvmeController): Promise<number> {
  const { page } = await controller.identify();
  const fwug = page[FWUG_OFFSET] ?? 0;
  const wanted = fwug === 0 || fwug === 0xff ? DEFAULT_PIECE_BYTES : fwug * GRANULARITY_UNIT;
  return Math.min(wanted, await controller.maxTransferBytes());
}

/** What a commit needs before the image runs; null where it runs. */
export type ActivationNeed = "conventional reset" | "NVM subsystem reset" | "controller level reset" | null;

/** Command specific status codes of Firmware Commit that say that the commit was done, and what is still needed. */
const NEEDS: Readonly<Record<number, Exclude<ActivationNeed, null>>> = {
  0x0b: "conventional reset",
  0x10: "NVM subsystem reset",
  0x11: "controller level reset",
};

/**
 * Puts the image that was sent into a slot, or chooses a slot that runs.
 *
 * @param slot 1 to 7; 0 leaves the choice to the controller
 * @throws {BusbarError} `device-failed` with the NVMe status
 */
export async function commitFirmware(
  controller: NvmeController,
  action: keyof typeof COMMIT_ACTIONS,
  slot: number,
): Promise<ActivationNeed> {
  const { status } = await controller.admin(
    { opcode: FIRMWARE_COMMIT, cdw10: slot | COMMIT_ACTIONS[action] << 3 },
    { timeoutMs: 120_000 },
  );
  if (status === 0) return action === "replace-and-activate" || action === "activate" ? "controller level reset" : null;
  const need = (status >>> 8 & 7) === 1 ? NEEDS[status & 0xff] : undefined;
  if (need !== undefined) return need;
  throw statusError(status, { operation: "Firmware Commit", path: controller.name });
}
