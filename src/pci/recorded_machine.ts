/**
 * A recorded machine, read from text: what `--save` wrote, or what lspci printed.
 *
 * Whatever can be used is used. What is damaged, cut short or contradicts itself is left out and named, and what the text
 * does not say is not recorded: it is never taken for absent on the machine.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { plainLine } from "../core/hex_text.ts";
import type { RecordedPiece } from "../core/mmio.ts";
import { isSysfsPciAddress, parsePciAddress } from "../core/pci_address.ts";
import { RecordedHost } from "../core/recorded_host.ts";
import { hex, parseUnsigned } from "../core/units.ts";
import { findCapability, listCapabilities } from "./capabilities.ts";
import { CONFIG_BYTES, configUint, EXTENDED_CONFIG_BYTES, HEADER_BYTES, headerType } from "./config_space.ts";
import { PCI_DEVICES } from "./function.ts";
import {
  type ByteLine,
  byteLine,
  hasSizes,
  headerAddress,
  noAttributes,
  type PrintedAttributes,
  printedResources,
  readAttribute,
  startsAttribute,
  wrappedBytes,
} from "./lspci_text.ts";
import { barRegisters, formatResources } from "./resources.ts";

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
  /** What of the file could not be used, each in one sentence with its line. */
  readonly problems: readonly string[];
}

/** The first line that `--save` writes. In version 1, what was not found has no line. */
export const FIRST_LINE = "# busbar recorded machine 2";
const FIRST_LINE_1 = "# busbar recorded machine 1";
/** The last one: a file without it is cut short. */
export const LAST_LINE = "# end";

/** The files of a function that are recorded, besides configuration space. */
export const DEVICE_FILES: readonly string[] = [
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
export const DEVICE_LINKS: readonly string[] = ["driver", "iommu_group", "physfn"];

const HINT = "a recorded machine is what --save writes, or what lspci -xxxx prints";
/** Of a file of nonsense, this many lines are named. */
const MAX_PROBLEMS = 50;

/**
 * Reads the text of a recorded machine, or what `lspci -x`, `-xxx` or `-xxxx` printed (with `-v`, `-D`, `-nn` as you like:
 * from `-v` come IOMMU groups, NUMA nodes, drivers and the sizes of BARs too), also out of a mail: quoted, wrapped, with
 * spaces for tabs, cut short.
 *
 * @param path what to call it in messages
 * @throws {BusbarError} `malformed` when nothing in it can be used, with the first line and what was expected
 */
export function parseMachine(text: string, path: string): RecordedMachine {
  const parser = new Parser(path);
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) parser.line(index + 1, plainLine(line));
  return parser.end(lines);
}

/** What stands below one line that names a function. */
interface Section {
  readonly device: string;
  /** The line that names it. */
  readonly line: number;
  readonly bytes: number[];
  /** Why the bytes end where they end; null while nothing is wrong. */
  damage: string | null;
}

interface PendingRegion extends RecordedRegion {
  readonly pieces: { offset: number; bytes: Uint8Array<ArrayBuffer> }[];
}

class Parser {
  readonly #path: string;
  readonly #files = new Map<string, Uint8Array>();
  readonly #links = new Map<string, string>();
  readonly #absent = new Set<string>();
  readonly #names = new Map<string, string>();
  readonly #sections: Section[] = [];
  readonly #regions: PendingRegion[] = [];
  readonly #printed = new Map<string, PrintedAttributes>();
  readonly #problems: string[] = [];
  #problemCount = 0;
  #section: Section | null = null;
  #isAfterBlank = false;
  /** A line of attributes, which the next one may go on with. */
  #attribute: string | null = null;
  #region: PendingRegion | null = null;
  #quoted: { keyword: string; text: string; line: number } | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  line(number: number, line: string): void {
    if (line.startsWith("#+")) {
      if (this.#quoted === null) this.#problem(number, "a continued line with nothing before it");
      else this.#quoted.text += line.slice(2);
      return;
    }
    this.#endQuoted();
    const address = headerAddress(line);
    if (address !== null) this.#startSection(number, address);
    else if (line.startsWith("#")) this.#directive(number, line);
    else if (line.trim() === "") this.#isAfterBlank = true;
    else this.#sectionLine(number, line);
    if (address !== null || line.startsWith("#") || line.trim() === "") this.#endAttribute();
  }

  end(lines: readonly string[]): RecordedMachine {
    this.#endQuoted();
    this.#endAttribute();
    const first = plainLine(lines[0] ?? "").trim();
    const isOurs = first === FIRST_LINE || first === FIRST_LINE_1;
    const last = lines.findLastIndex((line) => line.trim() !== "");
    const isCut = isOurs && plainLine(lines[last] ?? "").trim() !== LAST_LINE;
    if (isCut) this.#problem(last + 1, "the file is cut short: its last line is missing");
    const configs = this.#configs();
    if (configs.length === 0) throw this.#useless(lines);
    const tree = busTree(configs);
    const sizesAreKnown = [...this.#printed.values()].some(hasSizes);
    for (const [device, config] of configs) this.#addFunction(device, config, tree, sizesAreKnown);
    if (first !== FIRST_LINE) this.#fillAbsent(configs.map(([device]) => device), isCut);
    const host = new RecordedHost(`recorded machine ${this.#path}`, {
      files: this.#files,
      links: this.#links,
      absent: this.#absent,
    });
    const devices = configs.map(([device]) => device);
    const more = this.#problemCount - this.#problems.length;
    const problems = more > 0 ? [...this.#problems, `${this.#path}: and ${more} more problems`] : this.#problems;
    return { host, devices, names: this.#names, regions: this.#regions, problems };
  }

  #startSection(number: number, device: string): void {
    this.#section = { device, line: number, bytes: [], damage: null };
    this.#sections.push(this.#section);
    this.#isAfterBlank = false;
  }

  /** A line of bytes, of attributes, or the rest of a line that was wrapped. */
  #sectionLine(number: number, line: string): void {
    const section = this.#section;
    const bytes = byteLine(line);
    if (section === null) {
      if (bytes?.offset === 0) this.#unnamed(number);
      return;
    }
    const wrapped = section.bytes.length % 16 === 0 ? null : wrappedBytes(line);
    if (bytes !== null) {
      this.#endAttribute();
      this.#config(number, section, bytes, line);
    } else if (wrapped !== null && wrapped.length <= 16 - section.bytes.length % 16 && section.damage === null) {
      section.bytes.push(...wrapped);
    } else if (/^\s/.test(line) || startsAttribute(line)) {
      // Behind an empty line it is not the function's any more.
      this.#endAttribute();
      if (!this.#isAfterBlank) this.#attribute = line.trim();
    } else if (this.#attribute !== null) {
      this.#attribute += ` ${line.trim()}`;
    }
  }

  #config(number: number, section: Section, { offset, bytes, rest }: ByteLine, line: string): void {
    const at = section.bytes.length;
    // Bytes behind an empty line may belong to a function whose name was lost.
    if (this.#isAfterBlank && (offset !== at || at === 0)) {
      if (offset === 0) this.#unnamed(number);
      return;
    }
    if (section.damage !== null) return;
    this.#isAfterBlank = false;
    if (offset !== at || offset + bytes.length > EXTENDED_CONFIG_BYTES) {
      section.damage = `line ${number}: offset ${hex(offset)} where ${hex(at)} belongs`;
      return;
    }
    section.bytes.push(...bytes);
    if (rest !== "" || bytes.length === 0) {
      section.damage = `line ${number}: '${line.trim().slice(0, 60)}' is no line of hexadecimal bytes`;
    }
  }

  #unnamed(number: number): void {
    this.#problem(number, "bytes of a function that no line above them names are left out");
  }

  #endAttribute(): void {
    const text = this.#attribute;
    this.#attribute = null;
    if (text === null || this.#section === null) return;
    const { device } = this.#section;
    const printed = this.#printed.get(device) ?? noAttributes();
    this.#printed.set(device, printed);
    readAttribute(printed, text);
  }

  /** The bytes of each function. One that is named again adds nothing, unless it has more bytes. */
  #configs(): (readonly [string, Uint8Array<ArrayBuffer>])[] {
    const chosen = new Map<string, Section>();
    for (const section of this.#sections) {
      const before = chosen.get(section.device);
      if (before === undefined) {
        chosen.set(section.device, section);
        continue;
      }
      const [longer, shorter] = section.bytes.length > before.bytes.length ? [section, before] : [before, section];
      const isSame = shorter.bytes.every((byte, i) => byte === longer.bytes[i]);
      if (isSame) chosen.set(section.device, longer);
      else {
        this.#problem(
          section.line,
          `${section.device} stands there again with other bytes; those of line ` +
            `${before.line} are used`,
        );
      }
    }
    const unnamed: string[] = [];
    const configs: (readonly [string, Uint8Array<ArrayBuffer>])[] = [];
    for (const { device, line, bytes, damage } of chosen.values()) {
      const why = damage === null ? "" : ` (${damage})`;
      if (bytes.length === 0 && damage === null) unnamed.push(device);
      else if (bytes.length < HEADER_BYTES) {
        const which = `only ${bytes.length} of the ${HEADER_BYTES} bytes that every function has`;
        this.#problem(line, `${device} is left out: ${which} are there${why}`);
      } else {
        if (damage !== null || !isUsualLength(bytes)) {
          this.#problem(line, `${device} is cut short at ${bytes.length} bytes${why}`);
        }
        configs.push([device, Uint8Array.from(bytes)]);
      }
    }
    if (unnamed.length > 0 && configs.length > 0) {
      const shown = unnamed.slice(0, 8).join(", ");
      const more = unnamed.length > 8 ? ` and ${unnamed.length - 8} more` : "";
      this.#note(`${this.#path}: named without bytes, and left out: ${shown}${more}`);
    }
    return configs;
  }

  #directive(number: number, line: string): void {
    const [keyword = "", ...rest] = line.split(" ");
    switch (keyword) {
      case "#file":
      case "#link":
      case "#absent":
      case "#name":
        this.#quoted = { keyword, text: rest.join(" "), line: number };
        return;
      case "#region":
        this.#startRegion(number, rest);
        return;
      case "#data":
        this.#data(number, rest);
    }
  }

  #endQuoted(): void {
    const quoted = this.#quoted;
    if (quoted === null) return;
    this.#quoted = null;
    const { keyword, line } = quoted;
    let texts: unknown;
    try {
      texts = JSON.parse(`[${quoted.text.replace(/^("(?:[^"\\]|\\.)*") "/, '$1,"')}]`);
    } catch {
      return this.#problem(line, `${keyword} is not followed by quoted text`);
    }
    const [first, second] = Array.isArray(texts) ? texts : [];
    const wanted = keyword === "#name" ? 1 : 2;
    if (!Array.isArray(texts) || texts.length !== wanted || typeof first !== "string") {
      return this.#problem(line, `${keyword} takes ${wanted} quoted texts`);
    }
    if (keyword === "#name") {
      if (this.#section !== null) this.#names.set(this.#section.device, first);
    } else if (!first.startsWith("/") || typeof second !== "string") {
      this.#problem(line, `${keyword} takes an absolute path and a text`);
    } else if (keyword === "#file") this.#files.set(first, new TextEncoder().encode(second));
    else if (keyword === "#link") this.#links.set(first, second);
    else for (const name of second.split(" ")) this.#absent.add(`${first}/${name}`);
  }

  #startRegion(number: number, [device = "", bar = "", size = ""]: readonly string[]): void {
    const sizeBytes = Number(size);
    this.#region = null;
    if (!isSysfsPciAddress(device) || !/^[0-5]$/.test(bar) || !Number.isSafeInteger(sizeBytes) || sizeBytes <= 0) {
      return this.#problem(number, "#region takes an address, a BAR and a size; its registers are left out");
    }
    this.#region = { device, bar: Number(bar), sizeBytes, pieces: [] };
    this.#regions.push(this.#region);
  }

  #data(number: number, [offset = "", digits = ""]: readonly string[]): void {
    const region = this.#region;
    if (region === null) return this.#problem(number, "#data with no #region before it");
    let bytes: Uint8Array<ArrayBuffer>;
    let at: number;
    try {
      bytes = Uint8Array.fromHex(digits);
      at = Number(parseUnsigned(offset, "offset"));
    } catch {
      return this.#problem(number, "#data takes an offset and hexadecimal digits");
    }
    if (bytes.length === 0 || at + bytes.length > region.sizeBytes) {
      return this.#problem(number, "#data lies outside its region");
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
  #addFunction(device: string, config: Uint8Array, tree: BusTree, sizesAreKnown: boolean): void {
    const entry = `${PCI_DEVICES}/${device}`;
    if (!this.#links.has(entry)) this.#links.set(entry, folderByBusNumbers(device, tree));
    const folder = this.#links.get(entry) ?? entry;
    this.#files.set(`${folder}/config`, config);
    // What a recording says in its own lines is exact; what lspci printed fills the gaps.
    const printed = this.#printed.get(device);
    if (printed === undefined || this.#files.has(`${folder}/resource`)) return;
    for (const [name, text] of printed.files) this.#files.set(`${folder}/${name}`, new TextEncoder().encode(text));
    for (const [name, target] of printed.links) this.#links.set(`${folder}/${name}`, target);
    const resources = printedResources(printed, barRegisters(config), sizesAreKnown);
    if (resources === null) return;
    this.#files.set(`${folder}/resource`, new TextEncoder().encode(formatResources(resources)));
  }

  /** Version 1 has no line for what was not found, but all of a function's files were looked for. */
  #fillAbsent(devices: readonly string[], isCut: boolean): void {
    for (const device of isCut ? devices.slice(0, -1) : devices) {
      const folder = this.#links.get(`${PCI_DEVICES}/${device}`);
      if (this.#printed.has(device) || !this.#files.has(`${folder}/resource`)) continue;
      for (const name of [...DEVICE_FILES, ...DEVICE_LINKS]) {
        if (!this.#files.has(`${folder}/${name}`) && !this.#links.has(`${folder}/${name}`)) {
          this.#absent.add(`${folder}/${name}`);
        }
      }
    }
  }

  /** Nothing can be used: the first line that is in the way, and what was expected there. */
  #useless(lines: readonly string[]): BusbarError {
    const [problem] = this.#problems;
    const [section] = this.#sections;
    const line = lines.findIndex((text) => text.trim() !== "");
    const text = (lines[line] ?? "").trim().slice(0, 60);
    const expected = "expected was a line such as '01:00.0 NVMe controller', and below it its bytes: '00: 86 80 …'";
    const message = problem ??
      (section !== undefined
        ? `${this.#path}, line ${section.line}: no bytes of ${section.device} or of any other function; ${expected}`
        : line < 0
        ? `${this.#path}: no PCI function in it: the file is empty; ${expected}`
        : `${this.#path}, line ${line + 1}: no PCI function in it: '${text}'; ${expected}`);
    return new BusbarError("malformed", message, {
      operation: "read recorded machine",
      path: this.#path,
      hint: HINT,
    });
  }

  #problem(line: number, what: string): void {
    this.#note(`${this.#path}, line ${line}: ${what}`);
  }

  #note(text: string): void {
    this.#problemCount++;
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(text);
  }
}

/** As many bytes as lspci prints: 64, 128 of a CardBus bridge, 256 or 4096. */
function isUsualLength(bytes: readonly number[]): boolean {
  const { length } = bytes;
  return length === HEADER_BYTES || length === CONFIG_BYTES || length === EXTENDED_CONFIG_BYTES ||
    (length === 2 * HEADER_BYTES && headerType(Uint8Array.from(bytes)) === 2);
}

interface BusTree {
  /** The bridge that leads to each bus. */
  readonly bridges: ReadonlyMap<string, string>;
  /** The buses of which something shows that a root complex begins there. */
  readonly roots: ReadonlySet<string>;
}

function busName(domain: number, bus: number): string {
  return `${domain.toString(16).padStart(4, "0")}:${bus.toString(16).padStart(2, "0")}`;
}

/** Root port, integrated endpoint, event collector: they are on a root complex's own bus (PCIe Base 6.0 §7.5.3.2). */
const ON_ROOT_BUS: readonly number[] = [4, 9, 10];

function busTree(configs: readonly (readonly [string, Uint8Array])[]): BusTree {
  const bridges = new Map<string, string>();
  const roots = new Set<string>();
  for (const [device, config] of configs) {
    const { domain, bus } = parsePciAddress(device);
    const secondary = configUint(config, 0x19, 1);
    const type = headerType(config);
    if ((type === 1 || type === 2) && secondary !== 0 && secondary !== 0xff) {
      bridges.set(busName(domain, secondary), device);
    }
    const pcie = findCapability(listCapabilities(config), "standard", 0x10);
    const portType = pcie === null ? null : configUint(config, pcie.offset + 2, 2) >>> 4 & 0xf;
    // No bridge leads to bus 0.
    if (bus === 0 || (portType !== null && ON_ROOT_BUS.includes(portType))) roots.add(busName(domain, bus));
  }
  return { bridges, roots };
}

/**
 * The folder that sysfs would have: the bridges on the way, below the root bus. Bus numbers that loop end the way. Where the
 * bridge above the first bus was not recorded, the folder names the bus and no root complex.
 */
function folderByBusNumbers(device: string, { bridges, roots }: BusTree): string {
  const path = [device];
  let { domain, bus } = parsePciAddress(device);
  for (;;) {
    const name = busName(domain, bus);
    const bridge = bridges.get(name);
    if (bridge === undefined || path.includes(bridge)) {
      return `/sys/devices/${roots.has(name) ? "pci" : "bus"}${name}/${path.join("/")}`;
    }
    path.unshift(bridge);
    ({ domain, bus } = parsePciAddress(bridge));
  }
}
