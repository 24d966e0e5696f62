/**
 * Recorded machines as files.
 *
 * The file is text. Configuration space stands in it as `lspci -xxxx` prints it, so `lspci -F FILE` reads it, and what
 * `lspci -xxxx` printed elsewhere reads as a recorded machine. What lspci has no place for are lines that begin with
 * `#`, which lspci skips: files, links, registers. Lines stay below 250 characters because lspci's reader wants that.
 *
 * ```text
 * # busbar recorded machine 1
 * 0000:01:00.0 NVMe controller 1b36:0010
 * 00: 36 1b 10 00 07 05 10 00 02 02 08 01 00 00 00 00
 * #link "/sys/bus/pci/devices/0000:01:00.0" "../../../devices/pci0000:00/0000:00:04.0/0000:01:00.0"
 * #file "/sys/devices/pci0000:00/0000:00:04.0/0000:01:00.0/numa_node" "-1"
 * #region 0000:01:00.0 0 16384
 * #data 0x0 ff07010f20084000…
 * ```
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError, systemError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { linkAt, realPathOf, textOf } from "../core/host_requests.ts";
import type { RecordedPiece } from "../core/mmio.ts";
import { formatPciAddress, isSysfsPciAddress, parsePciAddress } from "../core/pci_address.ts";
import { RecordedHost } from "../core/recorded_host.ts";
import { hex, parseUnsigned } from "../core/units.ts";
import { configUint, EXTENDED_CONFIG_BYTES } from "./config_space.ts";
import { PCI_DEVICES, type PciFunction, summarize } from "./function.ts";
import { type BarRegister, formatResources, type Resource, resourceFlags } from "./resources.ts";

/** Registers that were recorded. */
export interface RecordedRegion {
  /** The function: its address as sysfs writes it. */
  readonly device: string;
  /** 0 to 5. */
  readonly bar: number;
  /** Length of the whole BAR in bytes, recorded or not. */
  readonly sizeBytes: number;
  /** What was recorded of it. */
  readonly pieces: readonly RecordedPiece[];
}

/** A recorded machine. */
export interface RecordedMachine {
  /** Its files and links. */
  readonly host: RecordedHost;
  /** The functions in the file, by address, in its order. */
  readonly devices: readonly string[];
  /** Names that differ from the address: a software device's locator. */
  readonly names: ReadonlyMap<string, string>;
  /** Registers. */
  readonly regions: readonly RecordedRegion[];
}

const FIRST_LINE = "# busbar recorded machine 1";
const LAST_LINE = "# end";
/** Characters of JSON text in a line; what is longer goes on in `#+` lines. */
const CHUNK = 160;
const DATA_BYTES = 64;
/** A recording of a few functions is some tens of kilobytes; of a whole server some megabytes. */
const MAX_FILE_BYTES = 256 << 20;

/** The address under which a software device is recorded: lspci wants one. */
const SOFT_ADDRESS = "0000:00:00.0";

/** The files of a function that are recorded, besides configuration space. */
const DEVICE_FILES: readonly string[] = [
  "resource",
  "numa_node",
  "power_state",
  "enable",
  "current_link_speed",
  "current_link_width",
  "max_link_speed",
  "max_link_width",
  "reset_method",
  "sriov_totalvfs",
  "sriov_numvfs",
  "vendor",
  "device",
  "d3cold_allowed",
  "local_cpulist",
];

/** Its links, of which only the last part means anything on another machine. */
const DEVICE_LINKS: readonly string[] = ["driver", "iommu_group", "physfn"];

/** The files of a machine that explain what its devices do. */
const MACHINE_FILES: readonly string[] = [
  "/proc/sys/kernel/osrelease",
  "/sys/kernel/security/lockdown",
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
    for (const path of MACHINE_FILES) pushFile(lines, host, path);
    pushProcessor(lines, host);
    for (const root of new Set(functions.flatMap((fn) => fn.hostBridge ?? []))) {
      pushFile(lines, host, hardwareIdFile(root));
    }
  }
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

function hardwareIdFile(root: string): string {
  return `/sys/devices/${root}/firmware_node/hid`;
}

/** All that is recorded of a machine, in three batches. */
function fetchAll(machine: Host, functions: readonly PciFunction[]): BatchedReads {
  const reads = new BatchedReads(machine);
  const entries = functions.filter((fn) => fn.address !== null).map((fn) => `${PCI_DEVICES}/${fn.name}`);
  const roots = new Set(functions.flatMap((fn) => fn.hostBridge ?? []));
  reads.fetch([
    ...[...MACHINE_FILES, "/proc/cpuinfo", ...Array.from(roots, hardwareIdFile)].map(textOf),
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
  for (const file of DEVICE_FILES) pushFile(lines, host, `${folder}/${file}`);
  for (const link of DEVICE_LINKS) {
    const text = ifReadable(() => host.readLink(`${folder}/${link}`));
    if (text !== null) pushQuoted(lines, "#link", [`${folder}/${link}`, text]);
  }
  const group = groupOf(host, folder);
  if (group !== undefined) pushFile(lines, host, groupTypeFile(group));
}

function pushFile(lines: string[], host: Host, path: string): void {
  const text = ifReadable(() => host.readText(path));
  if (text !== null) pushQuoted(lines, "#file", [path, text]);
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
  let text: string;
  try {
    const size = Deno.statSync(path).size;
    if (size > MAX_FILE_BYTES) {
      throw new BusbarError("malformed", `${path}: ${size} bytes are no recorded machine`, { operation: "read", path });
    }
    text = new TextDecoder().decode(Deno.readFileSync(path));
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
  return parseMachine(text, path);
}

/**
 * Reads the text of a recorded machine, or what `lspci -xxx` or `-xxxx` printed (with `-v`, `-D`, `-nn` as you like: from
 * `-vv` come IOMMU groups, NUMA nodes, drivers and the sizes of BARs too).
 *
 * @param path what to call it in messages
 * @throws {BusbarError} `malformed`, with the number of the line that is wrong
 */
export function parseMachine(text: string, path: string): RecordedMachine {
  const parser = new Parser(path);
  for (const [index, line] of text.split("\n").entries()) parser.line(index + 1, line.replace(/\r$/, ""));
  return parser.end(text);
}

interface PendingRegion {
  readonly device: string;
  readonly bar: number;
  readonly sizeBytes: number;
  readonly pieces: { offset: number; bytes: Uint8Array<ArrayBuffer> }[];
}

/** What `lspci -v` says of a function besides its bytes. */
interface PrintedAttributes {
  readonly files: Map<string, string>;
  readonly links: Map<string, string>;
  readonly regions: Resource[];
  /** Printed with -vv, which shows every BAR: one that is not there does not exist. */
  isWhole: boolean;
}

/** `Region 0: Memory at fe000000 (64-bit, non-prefetchable) [size=16K]`, with -vv; with -v the first words are missing. */
function printedRegion(line: string): Resource | null {
  const match =
    /^Region (\d): (?:Memory at (\S+) \((32|64)-bit, (non-)?prefetchable\)|I\/O ports at (\S+)).*\[size=(\d+)([KMGT]?)\]/
      .exec(line);
  if (match === null) return null;
  const [, index = "0", memory, width, non, ports, size = "0", unit = ""] = match;
  const address = memory ?? ports ?? "";
  const isKnown = /^[0-9a-f]{1,16}$/.test(address);
  const is64Bit = width === "64";
  const prefetchable = memory !== undefined && non === undefined;
  const register: BarRegister = {
    index: Number(index),
    space: memory === undefined ? "I/O" : "memory",
    address: isKnown ? BigInt(`0x${address}`) : 0n,
    is64Bit,
    prefetchable,
  };
  return {
    ...register,
    role: "BAR",
    start: register.address,
    sizeBytes: BigInt(size) << BigInt(10 * " KMGT".indexOf(unit === "" ? " " : unit)),
    assigned: isKnown && register.address !== 0n,
    flags: resourceFlags(register),
  };
}

class Parser {
  readonly #path: string;
  readonly #files = new Map<string, Uint8Array>();
  readonly #links = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #configs = new Map<string, number[]>();
  readonly #regions: PendingRegion[] = [];
  readonly #printed = new Map<string, PrintedAttributes>();
  #device: string | null = null;
  #quoted: { keyword: string; text: string; line: number } | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  line(number: number, line: string): void {
    if (line.startsWith("#+")) {
      if (this.#quoted === null) throw this.#malformed(number, "a continued line with nothing before it");
      this.#quoted.text += line.slice(2);
      return;
    }
    this.#endQuoted();
    const header = /^((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?:\s|$)/i.exec(line);
    if (header?.[1] !== undefined) this.#startDevice(number, header[1]);
    else if (/^[0-9a-f]{2,3}: /i.test(line)) this.#config(number, line);
    else if (line.startsWith("#")) this.#directive(number, line);
    else if (/^\t\S/.test(line)) this.#verbose(line.trim());
    else if (line.trim() === "") this.#device = null;
  }

  end(text: string): RecordedMachine {
    this.#endQuoted();
    if (this.#configs.size === 0) {
      throw new BusbarError("malformed", `${this.#path}: no PCI function in it`, {
        operation: "read recorded machine",
        path: this.#path,
        hint: "a recorded machine is what --save writes, or what lspci -xxxx prints",
      });
    }
    if (text.startsWith(FIRST_LINE) && !text.trimEnd().endsWith(`\n${LAST_LINE}`)) {
      throw this.#malformed(text.trimEnd().split("\n").length, "the file is cut short: its last line is missing");
    }
    const configs = Array.from(this.#configs, ([device, bytes]) => [device, Uint8Array.from(bytes)] as const);
    const bridges = bridgesBySecondaryBus(configs);
    for (const [device, config] of configs) this.#addFunction(device, config, bridges);
    const host = new RecordedHost(`recorded machine ${this.#path}`, { files: this.#files, links: this.#links });
    return { host, devices: [...this.#configs.keys()], names: this.#names, regions: this.#regions };
  }

  #startDevice(number: number, address: string): void {
    this.#device = formatPciAddress(parsePciAddress(address));
    if (this.#configs.has(this.#device)) throw this.#malformed(number, `${this.#device} stands there twice`);
    this.#configs.set(this.#device, []);
  }

  #config(number: number, line: string): void {
    const config = this.#device === null ? undefined : this.#configs.get(this.#device);
    if (config === undefined) return;
    const match = /^([0-9a-f]{2,3}): ((?:[0-9a-f]{2} ?){1,16})\s*$/i.exec(line);
    if (match === null) throw this.#malformed(number, `'${line.slice(0, 60)}' is no line of hexadecimal bytes`);
    const offset = parseInt(match[1] ?? "", 16);
    if (offset !== config.length || offset >= EXTENDED_CONFIG_BYTES) {
      throw this.#malformed(number, `offset ${hex(offset)} where ${hex(config.length)} belongs`);
    }
    for (const byte of (match[2] ?? "").trim().split(/\s+/)) config.push(parseInt(byte, 16));
  }

  /** What `lspci -v` prints between a function's first line and its bytes, where that is a fact that sysfs would have. */
  #verbose(line: string): void {
    if (this.#device === null) return;
    const printed: PrintedAttributes = this.#printed.get(this.#device) ??
      { files: new Map(), links: new Map(), regions: [], isWhole: false };
    this.#printed.set(this.#device, printed);
    if (line.startsWith("Control: ")) printed.isWhole = true;
    const group = /^IOMMU group: (\d+)$/.exec(line)?.[1];
    const node = /^(?:Flags:.*, )?NUMA node:? (\d+)/.exec(line)?.[1];
    const driver = /^Kernel driver in use: (\S+)$/.exec(line)?.[1];
    if (group !== undefined) printed.links.set("iommu_group", `../../../kernel/iommu_groups/${group}`);
    if (node !== undefined) printed.files.set("numa_node", node);
    if (driver !== undefined) printed.links.set("driver", `../../../bus/pci/drivers/${driver}`);
    const region = printedRegion(line);
    if (region !== null) printed.regions.push(region);
  }

  #directive(number: number, line: string): void {
    const [keyword = "", ...rest] = line.split(" ");
    switch (keyword) {
      case "#file":
      case "#link":
      case "#name":
        this.#quoted = { keyword, text: rest.join(" "), line: number };
        return;
      case "#region":
        this.#region(number, rest);
        return;
      case "#data":
        this.#data(number, rest);
    }
  }

  #endQuoted(): void {
    const quoted = this.#quoted;
    if (quoted === null) return;
    this.#quoted = null;
    let texts: unknown;
    try {
      texts = JSON.parse(`[${quoted.text.replace(/^("(?:[^"\\]|\\.)*") "/, '$1,"')}]`);
    } catch {
      throw this.#malformed(quoted.line, `${quoted.keyword} is not followed by quoted text`);
    }
    const [first, second] = Array.isArray(texts) ? texts : [];
    const wanted = quoted.keyword === "#name" ? 1 : 2;
    if (!Array.isArray(texts) || texts.length !== wanted || typeof first !== "string") {
      throw this.#malformed(quoted.line, `${quoted.keyword} takes ${wanted} quoted texts`);
    }
    if (quoted.keyword === "#name") {
      if (this.#device !== null) this.#names.set(this.#device, first);
    } else if (!first.startsWith("/") || typeof second !== "string") {
      throw this.#malformed(quoted.line, `${quoted.keyword} takes an absolute path and a text`);
    } else if (quoted.keyword === "#file") {
      this.#files.set(first, new TextEncoder().encode(second));
    } else {
      this.#links.set(first, second);
    }
  }

  #region(number: number, [device = "", bar = "", size = ""]: readonly string[]): void {
    const sizeBytes = Number(size);
    if (!isSysfsPciAddress(device) || !/^[0-5]$/.test(bar) || !Number.isSafeInteger(sizeBytes) || sizeBytes <= 0) {
      throw this.#malformed(number, "#region takes an address, a BAR and a size");
    }
    this.#regions.push({ device, bar: Number(bar), sizeBytes, pieces: [] });
  }

  #data(number: number, [offset = "", digits = ""]: readonly string[]): void {
    const region = this.#regions.at(-1);
    if (region === undefined) throw this.#malformed(number, "#data with no #region before it");
    let bytes: Uint8Array<ArrayBuffer>;
    let at: number;
    try {
      bytes = Uint8Array.fromHex(digits);
      at = Number(parseUnsigned(offset, "offset"));
    } catch {
      throw this.#malformed(number, "#data takes an offset and hexadecimal digits");
    }
    if (bytes.length === 0 || at + bytes.length > region.sizeBytes) {
      throw this.#malformed(number, "#data lies outside its region");
    }
    const last = region.pieces.at(-1);
    if (last === undefined || last.offset + last.bytes.length !== at) {
      region.pieces.push({ offset: at, bytes });
    } else {
      const joined = new Uint8Array(last.bytes.length + bytes.length);
      joined.set(last.bytes);
      joined.set(bytes, last.bytes.length);
      last.bytes = joined;
    }
  }

  /** Puts a function where sysfs has it. Text from lspci says nothing of folders: the bus numbers tell the path. */
  #addFunction(device: string, config: Uint8Array, bridges: ReadonlyMap<string, string>): void {
    if (config.length !== 64 && config.length !== 256 && config.length !== EXTENDED_CONFIG_BYTES) {
      throw new BusbarError("malformed", `${this.#path}: ${config.length} bytes of configuration space for ${device}`, {
        operation: "read recorded machine",
        path: this.#path,
        hint: "64, 256 and 4096 bytes are whole: record it with lspci -xxxx as root",
      });
    }
    const entry = `${PCI_DEVICES}/${device}`;
    if (!this.#links.has(entry)) this.#links.set(entry, folderByBusNumbers(device, bridges));
    const folder = this.#links.get(entry) ?? entry;
    this.#files.set(`${folder}/config`, config);
    // What a recording says in its own lines is exact; what lspci printed fills the gaps.
    const printed = this.#printed.get(device);
    if (printed === undefined || this.#files.has(`${folder}/resource`)) return;
    for (const [name, text] of printed.files) this.#files.set(`${folder}/${name}`, new TextEncoder().encode(text));
    for (const [name, target] of printed.links) this.#links.set(`${folder}/${name}`, target);
    if (printed.isWhole) {
      this.#files.set(`${folder}/resource`, new TextEncoder().encode(formatResources(printed.regions)));
    }
  }

  #malformed(line: number, what: string): BusbarError {
    return new BusbarError("malformed", `${this.#path}, line ${line}: ${what}`, {
      operation: "read recorded machine",
      path: this.#path,
      hint: "a recorded machine is what --save writes, or what lspci -xxxx prints",
    });
  }
}

function busName(domain: number, bus: number): string {
  return `${domain.toString(16).padStart(4, "0")}:${bus.toString(16).padStart(2, "0")}`;
}

/** The bridge that leads to each bus. */
function bridgesBySecondaryBus(configs: readonly (readonly [string, Uint8Array])[]): Map<string, string> {
  const bridges = new Map<string, string>();
  for (const [device, config] of configs) {
    const secondary = configUint(config, 0x19, 1);
    if ((configUint(config, 0x0e, 1) & 0x7f) === 1 && secondary !== 0) {
      bridges.set(busName(parsePciAddress(device).domain, secondary), device);
    }
  }
  return bridges;
}

/** The folder that sysfs would have: the bridges on the way, below the root bus. Bus numbers that loop end the way. */
function folderByBusNumbers(device: string, bridges: ReadonlyMap<string, string>): string {
  const path = [device];
  let { domain, bus } = parsePciAddress(device);
  for (;;) {
    const bridge = bridges.get(busName(domain, bus));
    if (bridge === undefined || path.includes(bridge)) {
      return `/sys/devices/pci${busName(domain, bus)}/${path.join("/")}`;
    }
    path.unshift(bridge);
    ({ domain, bus } = parsePciAddress(bridge));
  }
}
