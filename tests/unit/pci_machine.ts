/**
 * Made-up PCI machines from short descriptions: configuration space and sysfs files, as text that `file:` reads.
 *
 * Register layouts: PCI Local Bus 3.0 §6.1, PCI-to-PCI Bridge 1.2 §3.2, PCI Express Base 6.0 §7.
 * @module
 */

import { isSysfsPciAddress, parsePciAddress } from "../../src/core/pci_address.ts";
import { parseMachine, type RecordedMachine } from "../../src/pci/machine_file.ts";
import { formatResources, type Resource } from "../../src/pci/resources.ts";

/** A BAR. */
export interface BarSpec {
  /** 0 to 5. */
  readonly bar: number;
  /** Hexadecimal address; 0 is unassigned. */
  readonly address: number;
  /** Bytes. */
  readonly size: number;
  /** `mem64` by default. */
  readonly type?: "mem32" | "mem64" | "mem64-prefetchable" | "io";
}

/** A function. What is not given is as on a common device: awake, decoding, bus master on. */
export interface FunctionSpec {
  /** `00:01.0`, or with a domain. */
  readonly at: string;
  /** Vendor and device, as in `8086:09a2`. */
  readonly id: string;
  /** Class, six hexadecimal digits; that of the kind by default. */
  readonly class?: string;
  /** What it is; `endpoint` by default. */
  readonly kind?:
    | "root-port"
    | "upstream"
    | "downstream"
    | "pcie-pci-bridge"
    | "pci-bridge"
    | "host-bridge"
    | "integrated"
    | "conventional"
    | "endpoint";
  /** Buses below a bridge: first and last. */
  readonly buses?: readonly [number, number];
  /** Link: current speed code and width, then their maxima. */
  readonly link?: readonly [number, number, number, number];
  /** ACS services that are on, of those that lspci names; all are capable. */
  readonly acs?: readonly string[];
  /** BARs. */
  readonly bars?: readonly BarSpec[];
  /** Resizable BAR: which, its size code, and the size codes that it can have. */
  readonly resizable?: { readonly bar: number; readonly size: number; readonly sizes: readonly number[] };
  /** Power state. */
  readonly power?: "D0" | "D3hot" | "D3cold";
  /** COMMAND register; 6 (memory, bus master) by default. */
  readonly command?: number;
  /** IOMMU group. */
  readonly group?: number;
  /** NUMA node. */
  readonly node?: number;
  /** Kernel driver. */
  readonly driver?: string;
  /** IDs of CXL DVSECs. */
  readonly cxl?: readonly number[];
  /** Bytes of configuration space that could be read: 64 without privilege. */
  readonly readable?: 64 | 256 | 4096;
  /** Folders above the root bus's own, for a domain behind a device. */
  readonly behind?: string;
  /** Its configuration space reads all ones. */
  readonly gone?: boolean;
}

/** A machine. */
export interface PciMachineSpec {
  /** Functions in any order. */
  readonly functions: readonly FunctionSpec[];
  /** Type of each IOMMU group's domain; `DMA-FQ` by default. */
  readonly groups?: Readonly<Record<string, string>>;
  /** Lines of /proc/cpuinfo. */
  readonly cpu?: Readonly<Record<string, string | number>>;
  /** Root buses that the firmware calls CXL host bridges, as in `pci0000:80`. */
  readonly cxlHostBridges?: readonly string[];
  /** NUMA nodes: processors, and memory in KiB. */
  readonly nodes?: readonly (readonly [cpus: string, memoryKib: number])[];
  /** False: only what `lspci -xxxx` prints is known. */
  readonly sysfs?: boolean;
}

const DEFAULT_CLASS: Readonly<Record<string, string>> = {
  "root-port": "060400",
  "upstream": "060400",
  "downstream": "060400",
  "pcie-pci-bridge": "060400",
  "pci-bridge": "060400",
  "host-bridge": "060000",
};

const PORT_TYPE: Readonly<Record<string, number>> = {
  "root-port": 4,
  "upstream": 5,
  "downstream": 6,
  "pcie-pci-bridge": 7,
  "integrated": 9,
  "endpoint": 0,
};

const ACS_BIT: Readonly<Record<string, number>> = {
  SrcValid: 1,
  TransBlk: 2,
  ReqRedir: 4,
  CmpltRedir: 8,
  UpstreamFwd: 16,
  EgressCtrl: 32,
  DirectTrans: 64,
};

/** The machine of a description, read as `file:` reads it. */
export function pciMachine(spec: PciMachineSpec): RecordedMachine {
  return parseMachine(pciMachineText(spec), "made-up.txt");
}

/** The text of a description: what `--save` writes, or what `lspci -xxxx` prints. */
export function pciMachineText(spec: PciMachineSpec): string {
  const lines: string[] = [];
  const quoted = (keyword: string, ...texts: string[]): void => {
    lines.push(`${keyword} ${texts.map((text) => JSON.stringify(text)).join(" ")}`);
  };
  if (spec.sysfs !== false) {
    const cpu = Object.entries(spec.cpu ?? {}).map(([key, value]) => `${key}\t: ${value}`);
    if (cpu.length > 0) quoted("#file", "/proc/cpuinfo", cpu.join("\n"));
    for (const [id, [cpus, memoryKib]] of (spec.nodes ?? []).entries()) {
      quoted("#file", `/sys/devices/system/node/node${id}/cpulist`, `${cpus}\n`);
      quoted("#file", `/sys/devices/system/node/node${id}/meminfo`, `Node ${id} MemTotal:       ${memoryKib} kB\n`);
    }
    for (const root of spec.cxlHostBridges ?? []) {
      quoted("#file", `/sys/devices/${root}/firmware_node/hid`, "ACPI0016");
    }
  }
  for (const fn of spec.functions) {
    const name = fullName(fn.at);
    const config = configOf(fn, spec.functions);
    lines.push("", `${name} made up`);
    for (let at = 0; at < config.length; at += 16) {
      const bytes = Array.from(config.subarray(at, at + 16), (byte) => byte.toString(16).padStart(2, "0"));
      lines.push(`${at.toString(16).padStart(2, "0")}: ${bytes.join(" ")}`);
    }
    if (spec.sysfs === false) continue;
    const folder = folderOf(fn, spec.functions);
    quoted("#link", `/sys/bus/pci/devices/${name}`, folder);
    quoted("#file", `${folder}/resource`, formatResources((fn.bars ?? []).map(resourceOf)));
    quoted("#file", `${folder}/numa_node`, String(fn.node ?? -1));
    quoted("#file", `${folder}/power_state`, fn.power ?? "D0");
    if (fn.driver !== undefined) quoted("#link", `${folder}/driver`, `../../../bus/pci/drivers/${fn.driver}`);
    if (fn.group !== undefined) {
      quoted("#link", `${folder}/iommu_group`, `../../../kernel/iommu_groups/${fn.group}`);
      quoted("#file", `/sys/kernel/iommu_groups/${fn.group}/type`, spec.groups?.[fn.group] ?? "DMA-FQ");
    }
  }
  return lines.join("\n") + "\n";
}

function fullName(at: string): string {
  return isSysfsPciAddress(at) ? at : `0000:${at}`;
}

/** The folder that sysfs would have, by the bus numbers of the bridges. */
function folderOf(fn: FunctionSpec, all: readonly FunctionSpec[]): string {
  const { domain, bus } = parsePciAddress(fn.at);
  const above = all.find((other) =>
    other !== fn && other.buses?.[0] === bus && parsePciAddress(other.at).domain === domain
  );
  if (above !== undefined) return `${folderOf(above, all)}/${fullName(fn.at)}`;
  const root = `pci${domain.toString(16).padStart(4, "0")}:${bus.toString(16).padStart(2, "0")}`;
  const behind = all.find((other) => fn.behind !== undefined && other.at === fn.behind);
  return `${behind === undefined ? "/sys/devices" : folderOf(behind, all)}/${root}/${fullName(fn.at)}`;
}

function resourceOf(bar: BarSpec): Resource {
  const isIo = bar.type === "io";
  const is64Bit = !isIo && bar.type !== "mem32";
  const prefetchable = bar.type === "mem64-prefetchable";
  const flags = isIo ? 0x40101n : 0x40200n | (is64Bit ? 0x100004n : 0n) | (prefetchable ? 0x2008n : 0n);
  return {
    index: bar.bar,
    role: "BAR",
    space: isIo ? "I/O" : "memory",
    start: BigInt(bar.address),
    sizeBytes: BigInt(bar.size),
    is64Bit,
    prefetchable,
    assigned: bar.address !== 0,
    flags,
  };
}

function configOf(fn: FunctionSpec, all: readonly FunctionSpec[]): Uint8Array {
  const size = fn.readable ?? (fn.kind === "conventional" || fn.kind === "pci-bridge" ? 256 : 4096);
  const config = new Uint8Array(4096);
  const view = new DataView(config.buffer);
  const kind = fn.kind ?? "endpoint";
  const [vendor = 0, device = 0] = fn.id.split(":").map((digits) => parseInt(digits, 16));
  view.setUint16(0, vendor, true);
  view.setUint16(2, device, true);
  view.setUint16(4, fn.command ?? 6, true);
  view.setUint16(6, 0x10, true);
  view.setUint32(8, parseInt(fn.class ?? DEFAULT_CLASS[kind] ?? "ff0000", 16) << 8 >>> 0, true);
  if (fn.buses !== undefined) bridgeHeader(view, fn, all);
  for (const bar of fn.bars ?? []) barRegister(view, bar);
  config[0x34] = 0x40;
  // PM: PMCSR says D3hot where the description does.
  config.set([0x01, 0x50, 0x03, 0x00, fn.power === "D3hot" ? 3 : 0], 0x40);
  if (PORT_TYPE[kind] === undefined) config[0x41] = 0;
  else pcieCapability(view, fn, PORT_TYPE[kind] ?? 0);
  extendedCapabilities(view, fn);
  if (fn.gone) config.fill(0xff);
  return config.subarray(0, size);
}

function bridgeHeader(view: DataView, fn: FunctionSpec, all: readonly FunctionSpec[]): void {
  const [first = 0, last = 0] = fn.buses ?? [];
  const { domain, bus } = parsePciAddress(fn.at);
  view.setUint8(0x0e, 1);
  view.setUint8(0x18, bus);
  view.setUint8(0x19, first);
  view.setUint8(0x1a, last);
  view.setUint16(0x1c, 0x00f0, true);
  // Closed windows, then as wide as the BARs below need.
  view.setUint16(0x20, 0xfff0, true);
  view.setUint16(0x22, 0, true);
  view.setUint32(0x24, 0x0001fff1, true);
  const below = all.filter((other) => {
    const address = parsePciAddress(other.at);
    return address.domain === domain && address.bus >= first && address.bus <= last;
  }).flatMap((other) => other.bars ?? []).filter((bar) => bar.address !== 0 && bar.type !== "io");
  for (const prefetchable of [false, true]) {
    const bars = below.filter((bar) => (bar.type === "mem64-prefetchable") === prefetchable);
    if (bars.length === 0) continue;
    const base = Math.min(...bars.map((bar) => bar.address));
    const limit = Math.max(...bars.map((bar) => bar.address + bar.size - 1));
    const at = prefetchable ? 0x24 : 0x20;
    view.setUint16(at, Math.floor(base / 0x10_0000) % 0x1000 * 16 + (prefetchable ? 1 : 0), true);
    view.setUint16(at + 2, Math.floor(limit / 0x10_0000) % 0x1000 * 16 + (prefetchable ? 1 : 0), true);
    if (!prefetchable) continue;
    view.setUint32(0x28, Math.floor(base / 2 ** 32), true);
    view.setUint32(0x2c, Math.floor(limit / 2 ** 32), true);
  }
}

function barRegister(view: DataView, bar: BarSpec): void {
  const at = 0x10 + 4 * bar.bar;
  const low = { "io": 1, "mem32": 0, "mem64": 4, "mem64-prefetchable": 12 }[bar.type ?? "mem64"];
  view.setUint32(at, bar.address % 2 ** 32 + low, true);
  if (low >= 4) view.setUint32(at + 4, Math.floor(bar.address / 2 ** 32), true);
}

function pcieCapability(view: DataView, fn: FunctionSpec, type: number): void {
  const at = 0x50;
  const [speed = 0, width = 0, maxSpeed = speed, maxWidth = width] = fn.link ?? [];
  view.setUint16(at, 0x0010, true);
  view.setUint16(at + 2, type << 4 | 2, true);
  view.setUint32(at + 0x0c, maxWidth << 4 | maxSpeed, true);
  view.setUint16(at + 0x12, width << 4 | speed, true);
  view.setUint32(at + 0x2c, (1 << maxSpeed) - 1 << 1, true);
  view.setUint16(at + 0x30, maxSpeed, true);
}

function extendedCapabilities(view: DataView, fn: FunctionSpec): void {
  const entries: { id: number; words: readonly number[] }[] = [];
  if (fn.acs !== undefined) {
    const enabled = fn.acs.reduce((sum, name) => sum | (ACS_BIT[name] ?? 0), 0);
    entries.push({ id: 0x0d, words: [(enabled << 16 | 0x5f) >>> 0] });
  }
  if (fn.resizable !== undefined) {
    const { bar, size, sizes } = fn.resizable;
    const vector = sizes.reduce((sum, code) => sum | 1 << code + 4, 0) >>> 0;
    entries.push({ id: 0x15, words: [vector, size << 8 | 1 << 5 | bar] });
  }
  for (const id of fn.cxl ?? []) entries.push({ id: 0x23, words: [0x1e98 | 0x38 << 20, id] });
  entries.forEach(({ id, words }, i) => {
    const at = 0x100 + 0x40 * i;
    const next = i + 1 < entries.length ? at + 0x40 : 0;
    view.setUint32(at, (next << 20 | 1 << 16 | id) >>> 0, true);
    words.forEach((word, k) => view.setUint32(at + 4 + 4 * k, word, true));
  });
}
