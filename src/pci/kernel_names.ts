/**
 * Kernel names of devices (`nvme0`, `eth0`, `mem0`, `card1`, `dax0.0`), and the PCI functions that they belong to.
 *
 * Sources: Linux Documentation/ABI/testing/sysfs-class-net, sysfs-bus-cxl, sysfs-bus-dax, sysfs-bus-nd (folders);
 * drivers/nvme/host/multipath.c (names of the paths of a shared namespace).
 * @module
 */

import type { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError } from "../core/error.ts";
import { type Fact, Unknown, valueOf } from "../core/fact.ts";
import { factOf, type Host, ifReadable } from "../core/host.ts";
import { namesIn, realPathOf } from "../core/host_requests.ts";
import type { Locator } from "../core/locator.ts";
import { isSysfsPciAddress, parsePciAddress } from "../core/pci_address.ts";

/** A folder of sysfs that lists devices by their kernel names. */
export interface NameClass {
  /** What is listed in it. */
  readonly kind: "nvme" | "block" | "net" | "drm" | "infiniband" | "cxl" | "dax" | "namespace" | "hwmon";
  /** The folder. */
  readonly folder: string;
  /** Which of its names are devices. */
  readonly names: RegExp;
}

/** The classes that are looked into. */
export const NAME_CLASSES: readonly NameClass[] = [
  { kind: "nvme", folder: "/sys/class/nvme", names: /^nvme\d+$/ },
  { kind: "block", folder: "/sys/class/block", names: /^(?:[hsv]d[a-z]+|xvd[a-z]+|mmcblk\d+|sr\d+)$/ },
  { kind: "net", folder: "/sys/class/net", names: /^(?!bonding_masters$).+$/ },
  { kind: "drm", folder: "/sys/class/drm", names: /^(?:card|renderD)\d+$/ },
  { kind: "infiniband", folder: "/sys/class/infiniband", names: /^.+$/ },
  { kind: "cxl", folder: "/sys/bus/cxl/devices", names: /^mem\d+$/ },
  { kind: "dax", folder: "/sys/bus/dax/devices", names: /^dax\d+\.\d+$/ },
  { kind: "namespace", folder: "/sys/bus/nd/devices", names: /^namespace\d+\.\d+$/ },
  { kind: "hwmon", folder: "/sys/class/hwmon", names: /^hwmon\d+$/ },
];

/** A device by its kernel name. */
export interface NamedDevice {
  /** What lists it. */
  readonly kind: NameClass["kind"];
  /** Its name: `nvme0`. */
  readonly name: string;
  /** Its folder in sysfs, without symbolic links. */
  readonly folder: string;
  /** The PCI function that it hangs below, as sysfs writes the address; null for none. */
  readonly pciAddress: string | null;
}

/**
 * The named devices of a machine, in two batches.
 *
 * @returns for each class its devices; empty where the machine has no such class, and why it is not known
 */
export function readNamedDevices(
  reads: BatchedReads,
): ReadonlyMap<NameClass["kind"], readonly NamedDevice[] | Unknown> {
  reads.fetch(NAME_CLASSES.map(({ folder }) => namesIn(folder)));
  const listed = NAME_CLASSES.map((one): { one: NameClass; names: Fact<string[]> } => ({
    one,
    names: factOf(() => reads.list(one.folder).filter((name) => one.names.test(name)).sort(byNumbers)),
  }));
  reads.fetch(
    listed.flatMap(({ one, names }) => (valueOf(names) ?? []).map((name) => realPathOf(`${one.folder}/${name}`))),
  );
  return new Map(listed.map(({ one, names }) => [
    one.kind,
    names instanceof Unknown ? names : (names ?? []).flatMap((name) => {
      // What vanishes between the two batches is not there.
      const folder = ifReadable(() => reads.realPath(`${one.folder}/${name}`));
      return folder === null ? [] : [{ kind: one.kind, name, folder, pciAddress: pciAddressIn(folder) }];
    }),
  ]));
}

/** The innermost PCI function on a path of sysfs; null where there is none. */
export function pciAddressIn(path: string): string | null {
  return path.split("/").findLast(isSysfsPciAddress) ?? null;
}

/** Orders `nvme10` after `nvme9`. */
export function byNumbers(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

/**
 * The names of a controller's namespaces among the entries of its folder, as their block devices are called: a path of
 * a shared namespace (`nvme0c1n1`) is the device `nvme0n1`.
 */
export function namespaceNames(entries: readonly string[]): string[] {
  const names = entries.flatMap((entry) => {
    const [, subsystem, namespace] = /^nvme(\d+)(?:c\d+)?n(\d+)$/.exec(entry) ?? [];
    return subsystem === undefined || namespace === undefined ? [] : [`nvme${subsystem}n${namespace}`];
  });
  return [...new Set(names)].sort(byNumbers);
}

/**
 * The locator of the PCI function that a kernel name belongs to: `nvme0`, `/dev/nvme0n1p2` and `mem0` name functions
 * too. All other locators are returned as they are.
 *
 * @throws {BusbarError} `absent` where there is no such device; `usage` where it belongs to no PCI function, or to several
 */
export function pciLocatorOf(locator: Locator, host: Host, operation: string): Locator {
  if (locator.kind !== "node") return locator;
  const place = placeOfNode(locator.path);
  if (place === null) return locator;
  const addresses = functionsOf(host, locator.path, place, operation);
  const [address, ...others] = addresses;
  if (address === undefined) {
    throw new BusbarError("usage", `${locator.path} belongs to no PCI function`, { operation, path: locator.path });
  }
  if (others.length > 0) {
    throw new BusbarError("usage", `${locator.path} is reached by ${addresses.join(", ")}: which?`, {
      operation,
      path: locator.path,
      hint: `name one of them, as in ${address}`,
    });
  }
  return { kind: "pci", text: locator.text, host: locator.host, address: parsePciAddress(address) };
}

/** Where sysfs shows a device node; null for nodes that have no PCI function. */
function placeOfNode(path: string): string | null {
  const name = path.slice("/dev/".length);
  if (!path.startsWith("/dev/")) return null;
  if (/^nvme\d+$/.test(name)) return `/sys/class/nvme/${name}`;
  const namespace = /^(nvme\d+n\d+)(?:p\d+)?$/.exec(name)?.[1];
  if (namespace !== undefined) return `/sys/class/block/${namespace}`;
  if (/^cxl\/mem\d+$/.test(name)) return `/sys/bus/cxl/devices/${name.slice("cxl/".length)}`;
  if (/^dri\/(?:card|renderD)\d+$/.test(name)) return `/sys/class/drm/${name.slice("dri/".length)}`;
  return null;
}

function functionsOf(host: Host, node: string, place: string, operation: string): string[] {
  const real = ifReadable(() => host.realPath(place));
  if (real === null) {
    const isUnsaid = host.isPartial === true;
    throw new BusbarError(
      isUnsaid ? "not-recorded" : "absent",
      `${node}: ${isUnsaid ? "not recorded" : "no such device"}`,
      {
        operation,
        path: node,
        hint: "busbar list shows the devices and their names",
      },
    );
  }
  const direct = pciAddressIn(real);
  if (direct !== null) return [direct];
  // A shared namespace hangs below its subsystem, beside the controllers that lead to it.
  return [
    ...new Set(
      controllersOf(host, node).flatMap((name) =>
        pciAddressIn(ifReadable(() => host.realPath(`/sys/class/nvme/${name}`)) ?? "") ?? []
      ),
    ),
  ];
}

/** The kernel's controllers that a namespace's block device is reached by: `nvme0` for `/dev/nvme0n1`, or several. */
export function controllersOf(host: Host, node: string): string[] {
  const wanted = /^\/dev\/(nvme\d+n\d+)(?:p\d+)?$/.exec(node)?.[1];
  if (wanted === undefined) return [];
  const names = (ifReadable(() => host.list("/sys/class/nvme")) ?? []).filter((name) => /^nvme\d+$/.test(name));
  return names.filter((name) =>
    namespaceNames(ifReadable(() => host.list(`/sys/class/nvme/${name}`)) ?? []).includes(wanted)
  );
}

/** Kinds whose names people type: temperature sensors and render nodes are left out. */
const CALLED: readonly NameClass["kind"][] = ["nvme", "block", "net", "infiniband", "drm", "cxl"];

/** The kernel's names for PCI functions, by address as sysfs writes it. Empty where the machine does not tell. */
export function namesOfFunctions(reads: BatchedReads): Map<string, readonly string[]> {
  const named = readNamedDevices(reads);
  const found = CALLED.flatMap((kind) => {
    const devices = named.get(kind);
    return devices === undefined || devices instanceof Unknown ? [] : devices;
  }).filter(({ name }) => !name.startsWith("renderD"));
  const byFunction = Map.groupBy(
    found.filter(({ pciAddress }) => pciAddress !== null),
    ({ pciAddress }) => pciAddress ?? "",
  );
  return new Map(Array.from(byFunction, ([address, devices]) => [address, devices.map(({ name }) => name)]));
}
