/**
 * Turning a function's memory decoding on for a while, through the kernel and the undo journal.
 *
 * Source: Linux drivers/pci/pci-sysfs.c (enable_store), drivers/pci/pci.c (pci_enable_device_flags): writing 1 to
 * `enable` raises the count, and on the first time sets COMMAND's decode bits, also in the bridges above. Writing 0
 * lowers the count but leaves the decode bits as they are, so those are put back separately.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type { UndoJournal } from "../core/undo/journal.ts";
import { hex } from "../core/units.ts";
import { configUint, PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from "./config_space.ts";
import type { PciDevice } from "./device.ts";
import { type PciFunction, readAncestors, readPciFunction } from "./function.ts";
import { checkAnswers, decodesMemory } from "./accessibility.ts";

/**
 * Turns memory decoding on. Nothing happens when it is on already. The journal puts it back.
 *
 * @throws {BusbarError} `busy` when a driver holds the function, `unsupported` when the kernel already counts it as
 * enabled and would do nothing, `permission` without privilege
 */
export function enableMemory(journal: UndoJournal, device: Pick<PciDevice, "function" | "host">): void {
  const { function: fn, host } = device;
  if (host === null || decodesMemory(fn)) return;
  checkAnswers(fn);
  const details = { operation: "enable memory decoding", path: fn.name };
  if (fn.driver !== null) {
    journal.refuse(
      new BusbarError("busy", `${fn.name}: the driver ${fn.driver} holds it and has memory decoding off`, {
        ...details,
        hint: `unbind it first: echo ${fn.name} > ${fn.folder}/driver/unbind`,
      }),
    );
  }
  if ((fn.enableCount ?? 0) > 0) {
    journal.refuse(
      new BusbarError(
        "unsupported",
        `${fn.name}: the kernel counts it as enabled (${fn.enableCount}), so enabling it again would change nothing`,
        { ...details, hint: `setpci -s ${fn.name} COMMAND=2:2 sets the bit itself` },
      ),
    );
  }
  for (const bridge of readAncestors(host, fn)) recordBridge(journal, bridge);
  recordCommand(journal, fn, decodeBits(fn), PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
  journal.change({
    what: `PCI enable count of ${fn.name}`,
    write: { path: `${fn.folder}/enable`, text: "1" },
  });
  if (journal.isDryRun) return;
  const after = readPciFunction(host, fn.name);
  if (!decodesMemory(after)) {
    throw new BusbarError("unreachable", `${fn.name}: memory decoding stayed off (COMMAND ${commandText(after)})`, {
      ...details,
      hint: "look at the kernel's log (dmesg): a BAR without an address keeps it off",
    });
  }
}

/** A bridge that is off comes on with the first function below it, and stays on. */
function recordBridge(journal: UndoJournal, bridge: PciFunction): void {
  if (bridge.enableCount !== 0) return;
  const bits = decodeBits(bridge) | PCI_COMMAND_MASTER;
  recordCommand(journal, bridge, bits, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  journal.change({
    what: `PCI enable count of the bridge ${bridge.name}`,
    probe: { kind: "text", path: `${bridge.folder}/enable` },
    after: "1",
  });
}

function recordCommand(journal: UndoJournal, fn: PciFunction, setBits: number, mask: number): void {
  const old = configUint(fn.config, PCI_COMMAND, 2);
  journal.change({
    what: `COMMAND of ${fn.name}`,
    probe: { kind: "bytes", path: `${fn.folder}/config`, offset: PCI_COMMAND, mask: littleEndianHex(mask) },
    after: littleEndianHex((old | setBits) & mask),
  });
}

/** The decode bits that the kernel sets: for each kind of range that has an address. */
function decodeBits(fn: PciFunction): number {
  const assigned = (fn.resources ?? []).filter((resource) => resource.assigned && resource.role !== "VF BAR");
  const memory = assigned.some((resource) => resource.space === "memory" && resource.role !== "ROM");
  const io = assigned.some((resource) => resource.space === "I/O");
  return (memory ? PCI_COMMAND_MEMORY : 0) | (io ? PCI_COMMAND_IO : 0);
}

function littleEndianHex(value: number): string {
  return Uint8Array.of(value & 0xff, value >> 8 & 0xff).toHex();
}

function commandText(fn: PciFunction): string {
  return hex(configUint(fn.config, PCI_COMMAND, 2), 4);
}
