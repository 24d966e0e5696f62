/**
 * CXL memory as a whole: windows, devices and regions, and what their dax devices are used for.
 * @module
 */

import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { blocksInRanges, type MemoryBlock } from "../memory/blocks.ts";
import { daxRanges } from "../memory/dax_mode.ts";
import { type DaxDevice, listDaxDevices, readDaxDevice } from "../memory/devdax.ts";
import { type CxlRegion, type CxlTopology, readCxl, readRegion } from "./topology.ts";

/** A dax device and the memory blocks that the kernel has of it. */
export interface DaxDeviceMemory {
  /** The device. */
  readonly device: DaxDevice;
  /** Its memory blocks, by address; none unless it is system RAM, or where this user may not see where it lies. */
  readonly blocks: readonly MemoryBlock[];
}

/** Everything that `cxl_region list` shows. */
export interface CxlOverview {
  /** The CXL bus; null on a machine that has none. */
  readonly topology: CxlTopology | null;
  /** Every dax device, also those of NVDIMMs. */
  readonly dax: readonly DaxDeviceMemory[];
}

/**
 * Reads the windows, devices and regions of CXL, and every dax device.
 *
 * @throws {BusbarError} `absent` when the machine has neither
 */
export function readCxlOverview(host: Host): CxlOverview {
  const dax = listDaxDevices(host).map((device) => ({ device, blocks: blocksOf(host, device) }));
  try {
    return { topology: readCxl(host), dax };
  } catch (error) {
    if (!isBusbarError(error, "absent") || dax.length === 0) throw error;
    return { topology: null, dax };
  }
}

function blocksOf(host: Host, device: DaxDevice): MemoryBlock[] {
  if (device.mode !== "system-ram") return [];
  return ifReadable(() => blocksInRanges(host, daxRanges(device))) ?? [];
}

/**
 * A region by name.
 *
 * @throws {BusbarError} `absent`, with the regions that there are
 */
export function findRegion(topology: CxlTopology, name: string): CxlRegion {
  const found = topology.regions.find((region) => region.name === name);
  if (found !== undefined) return found;
  const names = topology.regions.map((region) => region.name).join(", ");
  throw new BusbarError("absent", `${name}: no such region`, {
    operation: "find a region",
    path: name,
    hint: names === "" ? "there is none; cxl_region create makes one" : `there are ${names}`,
  });
}

/**
 * The dax devices that a name stands for: `dax0.0`, `/dev/dax0.0`, or those of a region.
 *
 * @throws {BusbarError} `absent` when there is none
 */
export function daxDevicesNamed(host: Host, name: string): DaxDevice[] {
  if (!/^region\d+$/.test(name)) return [readDaxDevice(host, name)];
  const region = readRegion(host, findRegion(readCxl(host), name).name);
  const devices = region.daxDevices.map((dax) => readDaxDevice(host, dax));
  if (devices.length > 0) return devices;
  throw new BusbarError("absent", `${name} has no dax device`, {
    operation: "find a dax device",
    path: name,
    hint: region.type === "pmem"
      ? `persistent memory becomes one as a namespace: ndctl create-namespace -r ${name} -m devdax`
      : "it is not enabled: cxl enable-region, or destroy it and create it again",
  });
}
