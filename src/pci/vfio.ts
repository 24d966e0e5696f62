/**
 * Functions held through VFIO: behind an IOMMU, with interrupts, by whoever may open the group's node.
 *
 * Source: Linux include/uapi/linux/vfio.h, Documentation/driver-api/vfio.rst. Two ways lead to a device: the character
 * device with iommufd (Linux 6.6), and the older group in a container. The first is taken where the machine has it;
 * `BUSBAR_VFIO=group` or `iommufd` chooses.
 * @module
 */

import type { DmaBuffer, DmaMapping } from "../core/dma.ts";
import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Fact, valueOf } from "../core/fact.ts";
import { exists, factOf, type Host, ifReadable } from "../core/host.ts";
import { findProcessUses } from "../core/process_uses.ts";
import { Descriptor } from "../../ffi/fd.ts";
import { Mapping, pageSizeBytes } from "../../ffi/memory.ts";
import { MappedMmio } from "../../ffi/mmio.ts";
import {
  containerMapper,
  type DmaMapper,
  ioasMapper,
  iommufdAttach,
  iommufdDestroy,
  vfioApiVersion,
  vfioAttachGroup,
  vfioDevice,
  vfioDeviceInfo,
  vfioGroupFlags,
  vfioHasExtension,
  vfioIrqCount,
  vfioRegion,
  vfioReset,
  vfioSetIommu,
  vfioSetIrqs,
} from "../../ffi/vfio.ts";
import {
  configUint,
  EXTENDED_CONFIG_BYTES,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from "./config_space.ts";
import { PCI_DEVICES, type PciFunction } from "./function.ts";
import type { ClaimedPciDevice, PciInterrupts } from "./claimed_device.ts";
import { IovaSpace } from "./iova.ts";

/** The driver that gives a function to user space. */
export const VFIO_DRIVER = "vfio-pci";

const API_VERSION = 0;
const TYPE1V2_IOMMU = 3;
const GROUP_VIABLE = 1;
const DEVICE_RESET = 1;
const REGION_CONFIG = 7;
const IRQ_MSIX = 2;
/** linux/vfio.h, VFIO_PCI_REQ_IRQ_INDEX: the kernel wants the device back. */
const IRQ_REQUEST = 4;
const MOST_VECTORS = 64;

/** A device's descriptor, what gives it memory, and what is closed after it, in order. */
interface Connection {
  readonly device: Descriptor;
  readonly mapper: DmaMapper;
  readonly close: readonly (() => void)[];
}

/**
 * Holds a function that is bound to vfio-pci.
 *
 * @throws {BusbarError} `absent` when it is not bound to vfio-pci, `busy` when somebody else holds its group or other
 * functions of the group are in the way, `permission`
 */
export function openVfio(host: Host, fn: PciFunction): ClaimedPciDevice {
  if (fn.driver !== VFIO_DRIVER) {
    throw new BusbarError("absent", `${fn.name}: is not bound to ${VFIO_DRIVER} (${fn.driver ?? "no driver"})`, {
      operation: "open VFIO device",
      path: fn.name,
      hint: `busbar bind vfio ${fn.name}`,
    });
  }
  const connection = usesIommufd(host, fn) ? connectIommufd(host, fn) : connectGroup(host, fn);
  try {
    return new VfioPciDevice(host, fn, connection);
  } catch (error) {
    for (const close of connection.close) close();
    throw error;
  }
}

function usesIommufd(host: Host, fn: PciFunction): boolean {
  const choice = Deno.env.get("BUSBAR_VFIO");
  if (choice === "group" || choice === "iommufd") return choice === "iommufd";
  return exists(host, "/dev/iommu") && characterDevice(host, fn) !== null;
}

function characterDevice(host: Host, fn: PciFunction): string | null {
  return ifReadable(() => host.list(`${fn.folder}/vfio-dev`))?.find((name) => /^vfio\d+$/.test(name)) ?? null;
}

function connectIommufd(host: Host, fn: PciFunction): Connection {
  const name = characterDevice(host, fn);
  if (name === null) {
    throw new BusbarError("unsupported", `${fn.name}: this kernel has no VFIO character devices`, {
      operation: "open VFIO device",
      path: fn.name,
      hint: "it needs CONFIG_VFIO_DEVICE_CDEV (Linux 6.6); without BUSBAR_VFIO=iommufd the group is used",
    });
  }
  const opened: Descriptor[] = [];
  try {
    const device = Descriptor.open(`/dev/vfio/devices/${name}`, true, accessHint(`/dev/vfio/devices/${name}`));
    opened.push(device);
    const iommufd = Descriptor.open("/dev/iommu", true, accessHint("/dev/iommu"));
    opened.push(iommufd);
    const ioas = iommufdAttach(device, iommufd, { path: fn.name, hint: membersHint(host, fn) });
    // Closing the device detaches it; only then can its address space go.
    const close = [
      (): void => device[Symbol.dispose](),
      () => iommufdDestroy(iommufd, ioas),
      () => iommufd[Symbol.dispose](),
    ];
    return { device, mapper: ioasMapper(iommufd, ioas), close };
  } catch (error) {
    for (const descriptor of opened) descriptor[Symbol.dispose]();
    throw error;
  }
}

function connectGroup(host: Host, fn: PciFunction): Connection {
  const node = `/dev/vfio/${fn.iommuGroup}`;
  const opened: Descriptor[] = [];
  try {
    const container = Descriptor.open("/dev/vfio/vfio", true, accessHint("/dev/vfio/vfio"));
    opened.push(container);
    if (vfioApiVersion(container) !== API_VERSION || !vfioHasExtension(container, TYPE1V2_IOMMU)) {
      throw new BusbarError("unsupported", "/dev/vfio/vfio: the kernel has no type 1 IOMMU backend", {
        operation: "open VFIO container",
        hint: "modprobe vfio_iommu_type1, and boot with the IOMMU on (intel_iommu=on or amd_iommu=on)",
      });
    }
    const group = openGroup(host, fn, node);
    opened.unshift(group);
    if ((vfioGroupFlags(group) & GROUP_VIABLE) === 0) throw notViable(host, fn);
    const details = { path: fn.name, hint: membersHint(host, fn) };
    vfioAttachGroup(group, container, details);
    vfioSetIommu(container, TYPE1V2_IOMMU, {
      path: fn.name,
      hint: "without interrupt remapping the kernel refuses: turn it on in the firmware, or see vfio_iommu_type1's " +
        "allow_unsafe_interrupts",
    });
    const device = vfioDevice(group, fn.name, details);
    opened.unshift(device);
    const close = [device, group, container].map((descriptor) => (): void => descriptor[Symbol.dispose]());
    return { device, mapper: containerMapper(container), close };
  } catch (error) {
    for (const descriptor of opened) descriptor[Symbol.dispose]();
    throw error;
  }
}

function openGroup(host: Host, fn: PciFunction, node: string): Descriptor {
  try {
    return Descriptor.open(node, true, accessHint(node));
  } catch (error) {
    if (!isBusbarError(error, "busy")) throw error;
    const [holder] = findProcessUses(host, (path) => path === node);
    const who = holder === undefined ? "another process" : `${holder.command} (process ${holder.pid})`;
    throw new BusbarError("busy", `${fn.name}: ${who} holds its IOMMU group ${fn.iommuGroup}`, {
      operation: "open VFIO group",
      path: node,
      hint: "a group has one user at a time: wait for it to end, or stop it",
      cause: error,
    });
  }
}

function accessHint(node: string): string {
  return `run as root, or give the node to this user: chown $USER ${node}`;
}

/** The functions of an IOMMU group and the drivers that hold them. */
export function groupMembers(host: Host, group: string): { readonly name: string; readonly driver: Fact<string> }[] {
  const names = ifReadable(() => host.list(`/sys/kernel/iommu_groups/${group}/devices`)) ?? [];
  return names.map((name) => ({
    name,
    driver: factOf(() => host.readLink(`${PCI_DEVICES}/${name}/driver`).split("/").at(-1) ?? ""),
  }));
}

/** Drivers that do not stand in the way of a group: the kernel lets them stay beside user space. */
const HARMLESS_DRIVERS: readonly string[] = [VFIO_DRIVER, "pcieport", "pci-stub"];

/** The members of a function's group that keep it from user space, in words; empty when there is none. */
export function membersInTheWay(host: Host, fn: PciFunction): string[] {
  const group = valueOf(fn.iommuGroup);
  if (group === null) return [];
  // A member of which nobody can say who has it is in the way too.
  return groupMembers(host, group)
    .filter(({ driver }) => driver !== null && !HARMLESS_DRIVERS.includes(`${driver}`))
    .map(({ name, driver }) => `${name} (${driver})`);
}

function membersHint(host: Host, fn: PciFunction): string {
  const inTheWay = membersInTheWay(host, fn);
  return inTheWay.length === 0
    ? "look at the kernel's log (dmesg)"
    : `these share IOMMU group ${fn.iommuGroup} and have to be unbound: ${inTheWay.join(", ")}`;
}

function notViable(host: Host, fn: PciFunction): BusbarError {
  return new BusbarError(
    "busy",
    `${fn.name}: its IOMMU group ${fn.iommuGroup} is not free: ${membersInTheWay(host, fn).join(", ")}`,
    {
      operation: "open VFIO group",
      path: fn.name,
      hint: "unbind those functions from their drivers, or move the device to a slot with a group of its own",
    },
  );
}

class VfioPciDevice implements ClaimedPciDevice {
  readonly how = "vfio";
  readonly function: PciFunction;
  readonly interruptVectors: number;
  readonly #host: Host;
  readonly #connection: Connection;
  readonly #config: { readonly offset: bigint };
  readonly #bars = new Map<number, MappedMmio>();
  readonly #buffers = new Set<VfioDmaBuffer>();
  readonly #mappings = new Set<DmaMapping>();
  readonly #iova: IovaSpace;
  readonly #request: Descriptor;
  #interrupts: VfioInterrupts | null = null;
  #requested = false;
  #closed = false;

  constructor(host: Host, fn: PciFunction, connection: Connection) {
    this.#host = host;
    this.function = fn;
    this.#connection = connection;
    this.#config = vfioRegion(connection.device, REGION_CONFIG);
    this.#iova = new IovaSpace(connection.mapper.ranges(), pageSizeBytes());
    this.interruptVectors = Math.min(MOST_VECTORS, vfioIrqCount(connection.device, IRQ_MSIX));
    this.#request = Descriptor.eventCounter(`request for ${fn.name}`);
    if (vfioIrqCount(connection.device, IRQ_REQUEST) > 0) vfioSetIrqs(connection.device, IRQ_REQUEST, [this.#request]);
  }

  isRequestedBack(): boolean {
    this.#requested ||= this.#request.waitEvent(0);
    return this.#requested;
  }

  readConfig(): Uint8Array {
    return this.#connection.device.read(this.#config.offset, EXTENDED_CONFIG_BYTES);
  }

  isPresent(): boolean {
    return ifReadable(() => this.#host.sizeBytes(`${this.function.folder}/config`)) !== null &&
      configUint(this.#connection.device.read(this.#config.offset, 2), 0, 2) !== 0xffff;
  }

  setBusMaster(on: boolean): void {
    const at = this.#config.offset + BigInt(PCI_COMMAND);
    const old = configUint(this.#connection.device.read(at, 2), 0, 2);
    const command = on ? old | PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY : old & ~PCI_COMMAND_MASTER;
    this.#connection.device.write(at, Uint8Array.of(command & 0xff, command >> 8));
  }

  registers(index: number): MappedMmio {
    const known = this.#bars.get(index);
    if (known !== undefined) return known;
    const region = vfioRegion(this.#connection.device, index);
    const name = `BAR${index} of ${this.function.name}`;
    if (region.sizeBytes === 0n || (region.flags & 4) === 0) {
      throw new BusbarError("absent", `${name}: cannot be mapped`, {
        operation: `open BAR${index}`,
        path: this.function.name,
      });
    }
    const mapping = Mapping.descriptor(name, this.#connection.device, region.offset, Number(region.sizeBytes));
    const mmio = new MappedMmio(name, mapping.registers, mapping.sizeBytes, () => mapping[Symbol.dispose]());
    this.#bars.set(index, mmio);
    return mmio;
  }

  allocDma(sizeBytes: number): DmaBuffer {
    const memory = Mapping.anonymous(sizeBytes, { populate: true });
    const size = BigInt(Math.ceil(sizeBytes / pageSizeBytes()) * pageSizeBytes());
    const iova = this.#iova.allocate(size);
    try {
      this.#connection.mapper.map(memory.pointer, iova, size);
    } catch (error) {
      this.#iova.free(iova);
      memory[Symbol.dispose]();
      throw error;
    }
    const buffer = new VfioDmaBuffer(memory, iova, () => {
      this.#buffers.delete(buffer);
      this.#connection.mapper.unmap(iova, size);
      this.#iova.free(iova);
    });
    this.#buffers.add(buffer);
    return buffer;
  }

  mapDma(memory: Deno.PointerObject, sizeBytes: number): DmaMapping {
    const size = BigInt(sizeBytes);
    const iova = this.#iova.allocate(size);
    try {
      this.#connection.mapper.map(memory, iova, size);
    } catch (error) {
      this.#iova.free(iova);
      throw error;
    }
    const mapping: DmaMapping = {
      iova,
      [Symbol.dispose]: () => {
        if (!this.#mappings.delete(mapping)) return;
        this.#connection.mapper.unmap(iova, size);
        this.#iova.free(iova);
      },
    };
    this.#mappings.add(mapping);
    return mapping;
  }

  enableInterrupts(count: number): PciInterrupts {
    if (this.#interrupts !== null) throw new BusbarError("bug", `${this.function.name}: interrupts are on already`);
    if (!Number.isInteger(count) || count < 1 || count > this.interruptVectors) {
      throw new BusbarError(
        "out-of-range",
        `${this.function.name}: ${count} interrupt vectors of ${this.interruptVectors}`,
      );
    }
    const interrupts = new VfioInterrupts(this.#connection.device, count, () => this.#interrupts = null);
    this.#interrupts = interrupts;
    return interrupts;
  }

  reset(): void {
    const details = { path: this.function.name, hint: "look at the kernel's log (dmesg)" };
    if ((vfioDeviceInfo(this.#connection.device).flags & DEVICE_RESET) === 0) {
      throw new BusbarError("unsupported", `${this.function.name}: has no reset that the kernel knows`, details);
    }
    vfioReset(this.#connection.device, details);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // Each step is tried even when one before it failed: the device may be gone, its memory and descriptors are ours.
    const steps: (() => void)[] = [
      () => this.setBusMaster(false),
      () => this.#interrupts?.[Symbol.dispose](),
      ...[...this.#buffers, ...this.#mappings].map((one) => () => one[Symbol.dispose]()),
      ...[...this.#bars.values()].map((bar) => () => bar[Symbol.dispose]()),
      ...this.#connection.close,
      () => this.#request[Symbol.dispose](),
    ];
    let first: unknown = null;
    for (const step of steps) {
      try {
        step();
      } catch (error) {
        first ??= error;
      }
    }
    // A function that was pulled out cannot be told to stop, and need not be.
    if (first !== null && ifReadable(() => this.#host.sizeBytes(`${this.function.folder}/config`)) !== null) {
      throw first;
    }
  }
}

class VfioDmaBuffer implements DmaBuffer {
  readonly sizeBytes: number;
  readonly iova: bigint;
  readonly #memory: Mapping;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #unmap: () => void;
  #closed = false;

  constructor(memory: Mapping, iova: bigint, unmap: () => void) {
    this.#memory = memory;
    this.sizeBytes = memory.sizeBytes;
    this.iova = iova;
    this.#bytes = memory.bytes();
    this.#unmap = unmap;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#closed) throw new BusbarError("closed", "a DMA buffer was used after it was freed");
    return this.#bytes;
  }

  get pointer(): Deno.PointerObject {
    return this.#memory.pointer;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unmap();
    this.#memory[Symbol.dispose]();
  }
}

class VfioInterrupts implements PciInterrupts {
  readonly vectors: number;
  readonly #device: Descriptor;
  readonly #counters: Descriptor[];
  readonly #release: () => void;
  #closed = false;

  constructor(device: Descriptor, count: number, release: () => void) {
    this.vectors = count;
    this.#device = device;
    this.#release = release;
    this.#counters = Array.from({ length: count }, (_, i) => Descriptor.eventCounter(`vector ${i} of ${device.name}`));
    try {
      vfioSetIrqs(device, IRQ_MSIX, this.#counters);
    } catch (error) {
      for (const counter of this.#counters) counter[Symbol.dispose]();
      throw error;
    }
  }

  wait(vector: number, limitMs: number): boolean {
    return this.#counter(vector).waitEvent(limitMs);
  }

  counter(vector: number): number {
    return this.#counter(vector).number;
  }

  #counter(vector: number): Descriptor {
    const counter = this.#counters[vector];
    if (counter !== undefined) return counter;
    throw new BusbarError("out-of-range", `${this.#device.name}: no interrupt vector ${vector}`);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#release();
    try {
      vfioSetIrqs(this.#device, IRQ_MSIX, []);
    } finally {
      for (const counter of this.#counters) counter[Symbol.dispose]();
    }
  }
}
