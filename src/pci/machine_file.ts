/**
 * Recorded machines as files.
 *
 * The file is text. Configuration space stands in it as `lspci -xxxx` prints it, so `lspci -F FILE` reads it, and what
 * `lspci -xxxx` printed elsewhere reads as a recorded machine. What lspci has no place for are lines that begin with
 * `#`, which lspci skips: files, links, what was looked for and not found, registers. Lines stay below 250 characters because lspci's reader wants that.
 *
 * ```text
 * # busbar recorded machine 2
 * 0000:01:00.0 NVMe controller 1b36:0010
 * 00: 36 1b 10 00 07 05 10 00 02 02 08 01 00 00 00 00
 * #link "/sys/bus/pci/devices/0000:01:00.0" "../../../devices/pci0000:00/0000:00:04.0/0000:01:00.0"
 * #file "/sys/devices/pci0000:00/0000:00:04.0/0000:01:00.0/numa_node" "-1"
 * #absent "/sys/devices/pci0000:00/0000:00:04.0/0000:01:00.0" "driver physfn"
 * #region 0000:01:00.0 0 16384
 * #data 0x0 ff07010f20084000…
 * ```
 * @module
 */

import { readInputText } from "../core/input.ts";
import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { linkAt, realPathOf, textOf } from "../core/host_requests.ts";
import type { RecordedPiece } from "../core/mmio.ts";
import { hex } from "../core/units.ts";
import { LOCKDOWN_FILE, SECURITY_MODULES_FILE } from "./accessibility.ts";
import type { PciDevice } from "./device.ts";
import { PCI_DEVICES, type PciFunction, readAncestors, summarize } from "./function.ts";
import { numaFiles } from "./numa_nodes.ts";
import {
  DEVICE_FILES,
  DEVICE_LINKS,
  FIRST_LINE,
  LAST_LINE,
  parseMachine,
  type RecordedMachine,
  type RecordedRegion,
} from "./recorded_machine.ts";
import { formatResources } from "./resources.ts";

export { parseMachine, type RecordedMachine, type RecordedRegion } from "./recorded_machine.ts";

/** Characters of JSON text in a line; what is longer goes on in `#+` lines. */
const CHUNK = 160;
const DATA_BYTES = 64;
/** A recording of a few functions is some tens of kilobytes; of a whole server some megabytes. */
const MAX_FILE_BYTES = 64 << 20;

/** The address under which a software device is recorded: lspci wants one. */
const SOFT_ADDRESS = "0000:00:00.0";

/** The files of a machine that explain what its devices do. */
const MACHINE_FILES: readonly string[] = [
  "/proc/sys/kernel/osrelease",
  LOCKDOWN_FILE,
  SECURITY_MODULES_FILE,
  "/sys/class/dmi/id/sys_vendor",
  "/sys/class/dmi/id/product_name",
];

/**
 * Writes functions of a machine, and registers that were read from them, as a recorded machine.
 *
 * @param functions what to record; their bridges are recorded with them when `machine` has them
 */
export function formatMachine(
  machine: Host | null,
  functions: readonly PciFunction[],
  regions: readonly RecordedRegion[],
): string {
  const lines = [FIRST_LINE];
  const host = machine === null ? null : fetchAll(machine, functions);
  if (host !== null) {
    for (const path of MACHINE_FILES) {
      const slash = path.lastIndexOf("/");
      if (pushFile(lines, host, path) === "absent") {
        pushQuoted(lines, "#absent", [path.slice(0, slash), path.slice(slash + 1)]);
      }
    }
    pushProcessor(lines, host);
    for (const root of new Set(functions.flatMap((fn) => fn.hostBridge ?? []))) {
      pushFile(lines, host, hardwareIdFile(root));
    }
  }
  if (host !== null) { for (const path of numaFiles(functions).flat()) pushFile(lines, host, path); }
  for (const fn of functions) {
    const address = fn.address === null ? SOFT_ADDRESS : fn.name;
    lines.push("", `${address} ${summarize(fn)}`);
    for (let at = 0; at < fn.config.length; at += 16) {
      const bytes = Array.from(fn.config.subarray(at, at + 16), (byte) => byte.toString(16).padStart(2, "0"));
      lines.push(`${at.toString(16).padStart(2, "0")}: ${bytes.join(" ")}`);
    }
    if (fn.address === null) pushSoftDevice(lines, fn);
    else if (host !== null) pushDevice(lines, host, fn.name);
    for (const region of regions.filter((region) => region.device === fn.name)) pushRegion(lines, address, region);
  }
  lines.push("", LAST_LINE);
  return lines.join("\n") + "\n";
}

/**
 * Writes one function as a recorded machine, with bytes of one BAR and with the bridges above it.
 *
 * @param bar the BAR's number
 * @param barBytes the length of the whole BAR; null where it is not known: as far as the bytes reach
 */
export function formatDevice(
  device: PciDevice,
  bar: number,
  barBytes: number | null,
  pieces: readonly RecordedPiece[],
): string {
  const fn = { ...device.function, config: device.readConfig() };
  const sizeBytes = barBytes ?? Math.max(...pieces.map((piece) => piece.offset + piece.bytes.length));
  const bridges = device.host === null ? [] : readAncestors(device.host, fn);
  return formatMachine(device.host, [...bridges, fn], [{ device: fn.name, bar, sizeBytes, pieces }]);
}

function hardwareIdFile(root: string): string {
  return `/sys/devices/${root}/firmware_node/hid`;
}

/** All that is recorded of a machine, in three batches. */
function fetchAll(machine: Host, functions: readonly PciFunction[]): BatchedReads {
  const reads = new BatchedReads(machine);
  const entries = functions.filter((fn) => fn.address !== null).map((fn) => `${PCI_DEVICES}/${fn.name}`);
  const roots = new Set(functions.flatMap((fn) => fn.hostBridge ?? []));
  reads.fetch([
    ...[...MACHINE_FILES, "/proc/cpuinfo", ...Array.from(roots, hardwareIdFile), ...numaFiles(functions).flat()].map(
      textOf,
    ),
    ...entries.map(realPathOf),
  ]);
  const folders = entries.flatMap((entry) => ifReadable(() => reads.realPath(entry)) ?? []);
  reads.fetch(folders.flatMap((folder) => [
    ...DEVICE_FILES.map((file) => textOf(`${folder}/${file}`)),
    ...DEVICE_LINKS.map((link) => linkAt(`${folder}/${link}`)),
  ]));
  reads.fetchNew(folders.flatMap((folder) => {
    const group = groupOf(reads, folder);
    return group === undefined ? [] : [textOf(groupTypeFile(group))];
  }));
  return reads;
}

function groupOf(host: Host, folder: string): string | undefined {
  return ifReadable(() => host.readLink(`${folder}/iommu_group`))?.split("/").at(-1);
}

function groupTypeFile(group: string): string {
  return `/sys/kernel/iommu_groups/${group}/type`;
}

function pushSoftDevice(lines: string[], fn: PciFunction): void {
  const folder = `/sys/devices/pci${SOFT_ADDRESS.slice(0, 7)}/${SOFT_ADDRESS}`;
  pushQuoted(lines, "#name", [fn.name]);
  pushQuoted(lines, "#link", [`${PCI_DEVICES}/${SOFT_ADDRESS}`, folder]);
  pushQuoted(lines, "#file", [`${folder}/resource`, formatResources(fn.resources ?? [])]);
}

function pushDevice(lines: string[], host: Host, name: string): void {
  const entry = `${PCI_DEVICES}/${name}`;
  const folder = host.realPath(entry);
  if (folder !== entry) pushQuoted(lines, "#link", [entry, folder]);
  const absent = DEVICE_FILES.filter((file) => pushFile(lines, host, `${folder}/${file}`) === "absent");
  for (const link of DEVICE_LINKS) {
    const text = readOrWhy(() => host.readLink(`${folder}/${link}`));
    if (typeof text === "string") pushQuoted(lines, "#link", [`${folder}/${link}`, text]);
    else if (isBusbarError(text, "absent")) absent.push(link);
  }
  if (absent.length > 0) pushQuoted(lines, "#absent", [folder, absent.join(" ")]);
  const group = groupOf(host, folder);
  if (group !== undefined) pushFile(lines, host, groupTypeFile(group));
}

function pushFile(lines: string[], host: Host, path: string): "written" | "absent" | "unknown" {
  const text = readOrWhy(() => host.readText(path));
  if (typeof text !== "string") return text.code === "absent" ? "absent" : "unknown";
  pushQuoted(lines, "#file", [path, text]);
  return "written";
}

function readOrWhy(read: () => string): string | BusbarError {
  try {
    return read();
  } catch (error) {
    if (error instanceof BusbarError) return error;
    throw error;
  }
}

/** The lines of /proc/cpuinfo that say which processor it is; the rest is long and changes from look to look. */
const PROCESSOR_LINES = /^(?:vendor_id|cpu family|model|model name|stepping|CPU implementer|CPU part)\s*:/;

function pushProcessor(lines: string[], host: Host): void {
  const text = ifReadable(() => host.readText("/proc/cpuinfo"));
  const processor = text?.split("\n\n")[0]?.split("\n") ?? [];
  const first = processor.filter((line) => PROCESSOR_LINES.test(line));
  // Of the many flags, the one that says that this is a virtual machine.
  if (processor.some((line) => /^flags\b.* hypervisor\b/.test(line))) first.push("flags\t\t: hypervisor");
  if (first.length > 0) pushQuoted(lines, "#file", ["/proc/cpuinfo", first.join("\n")]);
}

function pushQuoted(lines: string[], keyword: string, texts: readonly string[]): void {
  const joined = texts.map((text) => JSON.stringify(text)).join(" ");
  for (let at = 0; at < joined.length || at === 0; at += CHUNK) {
    lines.push(at === 0 ? `${keyword} ${joined.slice(0, CHUNK)}` : `#+${joined.slice(at, at + CHUNK)}`);
  }
}

function pushRegion(lines: string[], address: string, region: RecordedRegion): void {
  lines.push(`#region ${address} ${region.bar} ${region.sizeBytes}`);
  for (const piece of region.pieces) {
    for (let at = 0; at < piece.bytes.length; at += DATA_BYTES) {
      lines.push(`#data ${hex(piece.offset + at)} ${piece.bytes.subarray(at, at + DATA_BYTES).toHex()}`);
    }
  }
}

/**
 * Reads a recorded machine from a file.
 *
 * @throws {BusbarError} `absent` or `permission` as opening fails, `malformed` with the line that is wrong
 */
export function readMachineFile(path: string): RecordedMachine {
  return parseMachine(
    readInputText(path, { limitBytes: MAX_FILE_BYTES, what: "a recorded machine", operation: "read" }),
    path,
  );
}
