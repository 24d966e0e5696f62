/**
 * Giving a function to user space, and back to the kernel: with every check before the first write, and the undo journal
 * behind every write.
 *
 * Source: Linux Documentation/ABI/testing/sysfs-bus-pci (driver_override, drivers_probe, unbind).
 * @module
 */

import { type BlockUse, blockUses } from "../core/block_users.ts";
import { BusbarError, isBusbarError } from "../core/error.ts";
import { exists, type Host, ifReadable } from "../core/host.ts";
import type { UndoJournal } from "../core/undo/journal.ts";
import { Descriptor } from "../../ffi/fd.ts";
import { type PciFunction, readPciFunction } from "./function.ts";
import { membersInTheWay, VFIO_DRIVER } from "./vfio.ts";

const DRIVERS = "/sys/bus/pci/drivers";
const PROBE = "/sys/bus/pci/drivers_probe";

/** Something that speaks against taking a function away from the kernel. */
export interface BindObstacle {
  /** What kind of thing it is; `--force` overrides `in use` only. */
  readonly kind: "in use" | "impossible";
  /** One sentence. */
  readonly text: string;
  /** What to do about it. */
  readonly hint: string;
}

/** The name under which the changes of {@linkcode bindVfio} are kept. */
export function bindingName(fn: PciFunction): string {
  return `bind-${fn.name}`;
}

/** The block devices that hang on a function: namespaces of an NVMe controller, also behind native multipath. */
export function blockDevicesOf(host: Host, fn: PciFunction): string[] {
  const names = ifReadable(() => host.list("/sys/class/block")) ?? [];
  const subsystems = subsystemsOf(host, fn);
  return names.filter((name) => {
    const path = ifReadable(() => host.realPath(`/sys/class/block/${name}`)) ?? "";
    const isPartition = ifReadable(() => host.readText(`${path}/partition`)) !== null;
    return !isPartition &&
      (path.includes(`/${fn.name}/`) || subsystems.some((subsystem) => path.startsWith(`${subsystem}/`)));
  });
}

/** The NVMe subsystems that a controller of this function belongs to, as sysfs folders. */
function subsystemsOf(host: Host, fn: PciFunction): string[] {
  const folder = "/sys/class/nvme-subsystem";
  return (ifReadable(() => host.list(folder)) ?? []).flatMap((name) => {
    const real = ifReadable(() => host.realPath(`${folder}/${name}`)) ?? `${folder}/${name}`;
    const controllers = (ifReadable(() => host.list(real)) ?? []).filter((entry) => /^nvme\d+$/.test(entry));
    const ours = controllers.some((entry) =>
      (ifReadable(() => host.realPath(`${real}/${entry}`)) ?? "").includes(`/${fn.name}/`)
    );
    return ours ? [real] : [];
  });
}

/** True when the kernel refuses to open a block device exclusively: something in it holds the whole device. */
export function isClaimedByKernel(device: string): boolean {
  try {
    Descriptor.openExclusive(`/dev/${device}`)[Symbol.dispose]();
    return false;
  } catch (error) {
    return isBusbarError(error, "busy");
  }
}

/** Who uses the block devices of a function. */
export function functionUses(
  host: Host,
  fn: PciFunction,
  isClaimed: (device: string) => boolean = isClaimedByKernel,
): BlockUse[] {
  return blockUses(host, blockDevicesOf(host, fn), isClaimed);
}

/** Everything that speaks against giving a function to user space; empty when nothing does. */
export function vfioObstacles(
  host: Host,
  fn: PciFunction,
  isClaimed: (device: string) => boolean = isClaimedByKernel,
): BindObstacle[] {
  const obstacles: BindObstacle[] = [];
  const impossible = (text: string, hint: string): void => void obstacles.push({ kind: "impossible", text, hint });
  if ((fn.config[0x0e] ?? 0) & 0x7f) impossible(`${fn.name} is a bridge`, "only devices can be given to user space");
  if (!exists(host, `${DRIVERS}/${VFIO_DRIVER}`)) {
    impossible(`the driver ${VFIO_DRIVER} is not loaded`, `modprobe ${VFIO_DRIVER}`);
  }
  if (fn.iommuGroup === null) {
    impossible(
      `${fn.name} is in no IOMMU group`,
      "turn the IOMMU on: in the firmware, and with intel_iommu=on or amd_iommu=on",
    );
  }
  const inTheWay = membersInTheWay(host, fn).filter((member) => !member.startsWith(fn.name));
  if (inTheWay.length > 0) {
    impossible(
      `IOMMU group ${fn.iommuGroup} also holds ${inTheWay.join(", ")}`,
      "unbind those too, or move the device to a slot with a group of its own",
    );
  }
  for (const use of functionUses(host, fn, isClaimed)) {
    obstacles.push({ kind: "in use", text: use.text, hint: USE_HINTS[use.kind] });
  }
  return obstacles;
}

const USE_HINTS: Readonly<Record<BlockUse["kind"], string>> = {
  mount: "unmount it",
  swap: "swapoff it",
  holder: "stop what is stacked on it (vgchange -an, mdadm --stop, dmsetup remove)",
  open: "end that process",
  claimed: "export the pool (zpool export), or stop what holds it",
};

function refuse(fn: PciFunction, obstacle: BindObstacle, others: number): BusbarError {
  const more = others === 0 ? "" : ` (and ${others} more)`;
  const force = obstacle.kind === "in use" ? "; --force takes it away all the same" : "";
  return new BusbarError(obstacle.kind === "in use" ? "busy" : "unsupported", `${fn.name}: ${obstacle.text}${more}`, {
    operation: `bind to ${VFIO_DRIVER}`,
    path: fn.name,
    hint: obstacle.hint + force,
  });
}

/** How a function is bound. */
export interface BindOptions {
  /** Take it away although it is in use. */
  readonly force?: boolean;
  /** Tells whether the kernel holds a block device; a test passes its own. */
  readonly isClaimed?: (device: string) => boolean;
}

/**
 * Gives a function to user space: unbinds its driver and binds vfio-pci. The journal puts it back.
 *
 * @throws {BusbarError} `busy` when it is in use, `unsupported` when the machine cannot do it; nothing was changed then
 */
export function bindVfio(journal: UndoJournal, host: Host, fn: PciFunction, options: BindOptions = {}): void {
  if (fn.driver === VFIO_DRIVER) return;
  const check = (): void => {
    const obstacles = vfioObstacles(host, fn, options.isClaimed)
      .filter((obstacle) => options.force !== true || obstacle.kind === "impossible");
    const [first, ...others] = obstacles;
    if (first === undefined) return;
    if (!journal.isDryRun) throw refuse(fn, first, others.length);
    for (const obstacle of obstacles) journal.refuse(refuse(fn, obstacle, 0));
  };
  check();
  const probe = { kind: "link", path: `${fn.folder}/driver` } as const;
  if (fn.driver !== null) {
    // Asked again right before: a file system may have been mounted since.
    if (!journal.isDryRun) check();
    journal.change({
      what: `driver of ${fn.name}`,
      write: { path: `${DRIVERS}/${fn.driver}/unbind`, text: fn.name },
      probe,
      after: null,
      undo: () => [{ path: PROBE, text: fn.name }],
    });
  }
  journal.change({
    what: `driver_override of ${fn.name}`,
    write: { path: `${fn.folder}/driver_override`, text: VFIO_DRIVER },
    undo: () => [{ path: `${fn.folder}/driver_override`, text: "\n" }],
  });
  journal.change({
    what: `driver of ${fn.name}`,
    write: { path: PROBE, text: fn.name },
    probe,
    after: VFIO_DRIVER,
    undo: () => [{ path: `${DRIVERS}/${VFIO_DRIVER}/unbind`, text: fn.name }],
  });
  if (journal.isDryRun) return;
  const now = readPciFunction(host, fn.name);
  if (now.driver === VFIO_DRIVER) return;
  throw new BusbarError("io", `${fn.name}: ${VFIO_DRIVER} did not take it (${now.driver ?? "no driver"})`, {
    operation: `bind to ${VFIO_DRIVER}`,
    path: fn.name,
    hint: "look at the kernel's log (dmesg)",
  });
}
