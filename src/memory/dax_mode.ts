/**
 * Changing what a dax device is: memory that programs map (devdax), or memory of the kernel (system RAM).
 *
 * Source: Linux drivers/dax/bus.c (new_id, remove_id, match by type) and drivers/dax/kmem.c; what daxctl does.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { exists, type Host } from "../core/host.ts";
import type { UndoJournal } from "../core/undo/journal.ts";
import type { UndoWrite } from "../core/undo/change.ts";
import {
  blocksInRanges,
  type BlockWait,
  countBlocks,
  holdBackNewMemory,
  offlineBlocks,
  onlineBlocks,
  type OnlineZone,
} from "./blocks.ts";
import { type DaxDevice, daxUses, type MemoryRange, readDaxDevice } from "./devdax.ts";

const DRIVERS = "/sys/bus/dax/drivers";

type DaxDriver = "device_dax" | "kmem";

/** What a change of mode may overrule, and how long it may take. */
export interface DaxModeOptions extends BlockWait {
  /** What the kernel may put into the memory; null leaves it offline. */
  readonly zone?: OnlineZone | null;
  /** The word that allows the loss of persistent contents: one of {@linkcode eraseWords}. */
  readonly erase?: string | undefined;
  /** Take it although programs have it open or mapped. */
  readonly force?: boolean;
}

/** Where a device's memory lies; needs root. */
export function daxRanges(device: DaxDevice): readonly MemoryRange[] {
  if (device.ranges.length > 0) return device.ranges;
  if (device.address !== null) return [{ start: device.address, end: device.address + device.sizeBytes }];
  throw new BusbarError("permission", `${device.name}: this user may not see where its memory lies`, {
    operation: "read a dax device",
    path: device.path,
    hint: "run as root",
  });
}

/**
 * The words that say that persistent contents may be lost: serial numbers of the NVDIMMs behind a device, and the
 * namespace's name. Empty for devices without persistent contents.
 */
export function eraseWords(host: Host, device: DaxDevice): string[] {
  const namespace = device.region?.provider === "nvdimm" ? device.region.source : null;
  return namespace === null ? [] : [...dimmSerials(host, device), namespace];
}

/** The serial numbers of the NVDIMMs that a namespace lies on (Linux drivers/nvdimm/region_devs.c, `mapping0`). */
function dimmSerials(host: Host, device: DaxDevice): string[] {
  const region = /\/(region\d+)\//.exec(device.folder)?.[1];
  const folder = `/sys/bus/nd/devices/${region}`;
  if (region === undefined || !exists(host, folder)) return [];
  const mappings = host.list(folder).filter((name) => /^mapping\d+$/.test(name));
  return mappings.flatMap((name) => {
    const dimm = host.readText(`${folder}/${name}`).split(",")[0] ?? "";
    const path = `/sys/bus/nd/devices/${dimm}/nfit/serial`;
    return exists(host, path) ? [host.readText(path).trim()] : [];
  });
}

/**
 * Refuses when programs use a device, or when it holds persistent contents and nobody said that they may go.
 *
 * @throws {BusbarError} `busy`, or `usage` for missing leave to erase
 */
export function checkDaxFree(
  journal: UndoJournal,
  host: Host,
  device: DaxDevice,
  options: Pick<DaxModeOptions, "erase" | "force">,
): void {
  const [use, ...others] = daxUses(host, device).filter((use) => use.kind === "open" || use.kind === "mapped");
  if (use !== undefined && options.force !== true) {
    const more = others.length > 0 ? ` (and ${others.length} more)` : "";
    journal.refuse(
      new BusbarError("busy", `${device.name}: ${use.text}${more}`, {
        operation: "take a dax device",
        path: device.path,
        hint: "end that process; --force takes it away all the same",
      }),
    );
  }
}

function checkErase(journal: UndoJournal, host: Host, device: DaxDevice, erase: string | undefined): void {
  const words = eraseWords(host, device);
  if (words.length === 0 || (erase !== undefined && words.includes(erase))) return;
  journal.refuse(
    new BusbarError(
      "usage",
      `${device.name}: as system RAM the contents of ${device.region?.source} would be lost`,
      { operation: "take a dax device", path: device.path, hint: `--erase=${words[0]} says that they may go` },
    ),
  );
}

function bindingChange(journal: UndoJournal, device: DaxDevice, driver: DaxDriver, old: DaxDriver | null): void {
  const probe = { kind: "link", path: `${device.folder}/driver` } as const;
  const name = device.name;
  const attach = (one: DaxDriver): UndoWrite[] => [{ path: `${DRIVERS}/${one}/new_id`, text: name }];
  const detach = (one: DaxDriver): UndoWrite[] => [
    { path: `${DRIVERS}/${one}/unbind`, text: name },
    { path: `${DRIVERS}/${one}/remove_id`, text: name },
  ];
  if (old !== null) {
    journal.change({
      what: `driver of ${name}`,
      write: { path: `${DRIVERS}/${old}/unbind`, text: name },
      probe,
      after: null,
      // new_id binds by itself: drivers/dax/bus.c calls driver_attach.
      undo: () => attach(old),
    });
    // Without this the old driver takes the device again. It has no state to read: adding the name again is its undo.
    journal.changeInside(`driver of ${name}`, { path: `${DRIVERS}/${old}/remove_id`, text: name });
  }
  journal.change({
    what: `driver of ${name}`,
    write: { path: `${DRIVERS}/${driver}/new_id`, text: name },
    probe,
    after: driver,
    undo: () => detach(driver),
  });
}

function driverOf(device: DaxDevice): DaxDriver | null {
  return device.driver === null ? null : device.driver === "kmem" ? "kmem" : "device_dax";
}

function checkDriver(journal: UndoJournal, host: Host, driver: DaxDriver): void {
  if (exists(host, `${DRIVERS}/${driver}`)) return;
  journal.refuse(
    new BusbarError("absent", `the driver ${driver} is not loaded`, {
      operation: "take a dax device",
      path: `${DRIVERS}/${driver}`,
      hint: `modprobe ${driver}`,
    }),
  );
}

/**
 * Gives the memory of a device to the kernel, and takes it into use in a zone (movable by default).
 *
 * @throws {BusbarError} `busy` when programs have it, `usage` when persistent contents would be lost
 */
export async function daxToSystemRam(
  journal: UndoJournal,
  host: Host,
  device: DaxDevice,
  options: DaxModeOptions,
): Promise<void> {
  const zone = options.zone === undefined ? "movable" : options.zone;
  checkDaxFree(journal, host, device, options);
  checkErase(journal, host, device, options.erase);
  if (device.driver !== "kmem") {
    checkDriver(journal, host, "kmem");
    if (device.targetNode === null) {
      throw new BusbarError("unsupported", `${device.name}: firmware names no node that its memory could become`, {
        operation: "take a dax device",
        path: device.path,
        hint: "the SRAT or CEDT table must have it; QEMU: -device nvdimm,node=1",
      });
    }
    const putBack = holdBackNewMemory(journal, host);
    bindingChange(journal, device, "kmem", driverOf(device));
    putBack();
  }
  if (zone === null || journal.isDryRun) return;
  await onlineDax(journal, host, device, { ...options, zone });
}

/**
 * True when a driver has the device and, where that is kmem, the kernel has all of its memory blocks. A driver may
 * take a new dax device after the write that made it has returned: when its module is loaded only then.
 */
export function hasSettled(host: Host, device: DaxDevice): boolean {
  if (device.driver !== "kmem") return device.driver !== null;
  const ranges = daxRanges(device);
  return blocksInRanges(host, ranges).length === countBlocks(host, ranges);
}

/** Takes all memory of a device that the kernel has into use. */
export async function onlineDax(
  journal: UndoJournal,
  host: Host,
  device: DaxDevice,
  options: BlockWait & { readonly zone?: OnlineZone | null },
): Promise<void> {
  const blocks = blocksInRanges(host, daxRanges(readDaxDevice(host, device.name)));
  if (blocks.length === 0) {
    throw new BusbarError("absent", `${device.name}: the kernel has no memory blocks of it`, {
      operation: "take memory into use",
      path: device.path,
      hint: device.driver === "kmem"
        ? "the device is smaller than one memory block; look at the kernel's log (dmesg)"
        : `cxl_region system-ram ${device.name} gives it to the kernel first`,
    });
  }
  await onlineBlocks(journal, blocks, options.zone ?? "movable", options);
}

/** Takes all memory of a device out of use. Nothing happens where the kernel does not have it. */
export async function offlineDax(journal: UndoJournal, host: Host, device: DaxDevice, wait: BlockWait): Promise<void> {
  if (device.driver !== "kmem") return;
  await offlineBlocks(journal, blocksInRanges(host, daxRanges(device)), wait);
}

/**
 * Makes a device one that programs map: takes its memory out of use first.
 *
 * @throws {BusbarError} `busy` or `timeout` when memory cannot be taken out of use
 */
export async function daxToDevdax(
  journal: UndoJournal,
  host: Host,
  device: DaxDevice,
  options: DaxModeOptions,
): Promise<void> {
  if (device.driver !== null && device.driver !== "kmem") return;
  checkDriver(journal, host, "device_dax");
  await offlineDax(journal, host, device, options);
  bindingChange(journal, device, "device_dax", driverOf(device));
}

/** Takes the driver of a device away, so that what it is made of can be taken down. Its memory must be out of use. */
export function detachDax(journal: UndoJournal, device: DaxDevice): void {
  const driver = driverOf(device);
  if (driver === null) return;
  const what = `driver of ${device.name}`;
  const isByName = driver === "device_dax";
  journal.change({
    what,
    write: { path: `${DRIVERS}/${driver}/unbind`, text: device.name },
    probe: { kind: "link", path: `${device.folder}/driver` },
    after: null,
    undo: () => [{ path: `${DRIVERS}/${driver}/${isByName ? "new_id" : "bind"}`, text: device.name }],
  });
  // The name stays in the driver's list otherwise, and a later device of that name, meant for the kernel, would be taken by it.
  if (isByName) journal.changeInside(what, { path: `${DRIVERS}/${driver}/remove_id`, text: device.name });
}
