/**
 * The Type 2 GPUs of this machine: functions of PCI, by their identity and what their registers hold.
 * @module
 */

import { isBusbarError } from "../core/error.ts";
import type { Host } from "../core/host.ts";
import { hex } from "../core/units.ts";
import { openType2 } from "./open.ts";
import { IVSHMEM_PCI_ID, TYPE2_PCI_ID } from "./registers.ts";

/** A function that may be a Type 2 GPU. */
export interface Type2Candidate {
  /** Its PCI address. */
  readonly address: string;
  /** The function itself, or an ivshmem function whose memory may be one. */
  readonly kind: "cxl-type2" | "ivshmem";
}

const FOLDER = "/sys/bus/pci/devices";

/**
 * Functions with the identity of the device, or of QEMU's shared memory.
 *
 * @throws {BusbarError} when sysfs cannot be read
 */
export function findCandidates(host: Host): Type2Candidate[] {
  return [...host.list(FOLDER)].sort().flatMap((address): Type2Candidate[] => {
    const read = (name: string): string => host.readText(`${FOLDER}/${address}/${name}`).trim();
    const id = `${read("vendor")} ${read("device")}`;
    const is = ({ vendor, device }: { vendor: number; device: number }): boolean =>
      id === `${hex(vendor, 4)} ${hex(device, 4)}`;
    if (is(TYPE2_PCI_ID)) return [{ address, kind: "cxl-type2" }];
    return is(IVSHMEM_PCI_ID) ? [{ address, kind: "ivshmem" }] : [];
  });
}

/** What a candidate turned out to be. */
export interface ListedType2 extends Type2Candidate {
  /** DEV_NAME; null where the device could not be asked. */
  readonly name: string | null;
  /** Its generation, as {@linkcode Type2Gpu.generation} has it; null likewise. */
  readonly generation: string | null;
  /** Why it could not be asked, or is none; null when it could. */
  readonly reason: string | null;
}

/** Opens each candidate, to see what it is. Nothing is run on it. */
export function listType2(host: Host): ListedType2[] {
  return findCandidates(host).map((candidate) => {
    try {
      using gpu = openType2(candidate.address);
      return { ...candidate, name: gpu.info().name, generation: gpu.generation.profile.name, reason: null };
    } catch (error) {
      if (!isBusbarError(error)) throw error;
      return { ...candidate, name: null, generation: null, reason: error.message };
    }
  });
}
