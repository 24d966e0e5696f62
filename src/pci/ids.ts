/**
 * Names of vendors, devices and classes, from the pci.ids database of pciutils where it is installed.
 *
 * Source: pci.ids(5): lines `VVVV  name`, `<tab>DDDD  name`, `<tab><tab>vvvv dddd  name`, then `C cc  name` and its
 * subclasses and interfaces in the same way. The file is some 1.5 MB of text, so lines are looked up and not parsed.
 * @module
 */

import { type Host, ifReadable, thisMachine } from "../core/host.ts";
import { hex } from "../core/units.ts";
import { className, type PciFunction } from "./function.ts";

/** Where distributions put it. */
const PLACES: readonly string[] = [
  "/usr/share/misc/pci.ids",
  "/usr/share/hwdata/pci.ids",
  "/usr/share/pci.ids",
  "/var/lib/pciutils/pci.ids",
];

/** A database of names; lookups of what it does not have are null. */
export interface PciNames {
  /** The file it was read from; null where none is installed. */
  readonly path: string | null;
  /** `Samsung Electronics Co Ltd`. */
  vendor(vendorId: number): string | null;
  /** `NVMe SSD Controller PM9A1/PM9A3/980PRO`. */
  device(vendorId: number, deviceId: number): string | null;
  /** `Non-Volatile memory controller`, by base class and subclass. */
  class(classCode: number): string | null;
}

/**
 * Reads the database of this machine: a recorded machine is shown with the names that the reader's machine knows.
 *
 * @param host where to look for the file; a test may give another
 */
export function readPciNames(host: Host = thisMachine): PciNames {
  for (const path of PLACES) {
    const text = ifReadable(() => host.readText(path));
    if (text !== null) return parsePciNames(text, path);
  }
  return parsePciNames("", null);
}

/** The names in the text of a pci.ids file. */
export function parsePciNames(text: string, path: string | null): PciNames {
  const whole = `\n${text}\n`;
  const digits = (value: number, count: number): string => hex(value, count).slice(2);
  const sections = new Map<number, string>();
  const section = (vendorId: number): string => {
    const known = sections.get(vendorId) ?? sectionOf(whole, `\n${digits(vendorId, 4)}  `);
    sections.set(vendorId, known);
    return known;
  };
  const device = (vendorId: number, deviceId: number): string | null =>
    nameAt(section(vendorId), `\n\t${digits(deviceId, 4)}  `);
  return {
    path,
    vendor: (vendorId) => nameAt(`\n${section(vendorId)}`, `\n${digits(vendorId, 4)}  `),
    device,
    class: (classCode) => {
      const section = sectionOf(whole, `\nC ${digits(classCode >>> 16, 2)}  `);
      return nameAt(section, `\n\t${digits(classCode >>> 8 & 0xff, 2)}  `) ??
        nameAt(whole, `\nC ${digits(classCode >>> 16, 2)}  `);
    },
  };
}

/** The rest of the line that begins with `start`, or null. */
function nameAt(text: string, start: string): string | null {
  const at = text.indexOf(start);
  if (at < 0) return null;
  const from = at + start.length;
  return text.slice(from, text.indexOf("\n", from)).trim();
}

/** A line at the left margin and the indented ones after it. */
function sectionOf(text: string, start: string): string {
  const at = text.indexOf(start);
  if (at < 0) return "";
  const rest = text.slice(at + 1);
  const end = /\n(?![\t#])/.exec(rest)?.index ?? rest.length;
  return rest.slice(0, end + 1);
}

/** Makers as people call them: pci.ids spells the company out. */
const SHORT_VENDORS: Readonly<Record<number, string>> = {
  0x1002: "AMD",
  0x1022: "AMD",
  0x10b5: "PLX",
  0x10de: "NVIDIA",
  0x1000: "Broadcom",
  0x144d: "Samsung",
  0x14e4: "Broadcom",
  0x15b3: "Mellanox",
  0x15b7: "SanDisk",
  0x1b36: "Red Hat",
  0x1af4: "Red Hat",
  0x104c: "Texas Instruments",
  0x1d0f: "Amazon",
  0x8086: "Intel",
};

/** `Samsung NVMe SSD Controller 980 PRO`; vendor and device number where the database does not have it. */
export function functionName(names: PciNames, fn: PciFunction): string {
  const maker = SHORT_VENDORS[fn.vendorId] ?? names.vendor(fn.vendorId);
  const device = names.device(fn.vendorId, fn.deviceId) ?? `device ${hex(fn.deviceId, 4).slice(2)}`;
  return maker === null ? `${hex(fn.vendorId, 4).slice(2)}:${hex(fn.deviceId, 4).slice(2)}` : `${maker} ${device}`;
}

/** What kind of thing a function is: the words of this project, else those of pci.ids. */
export function kindName(names: PciNames, classCode: number): string {
  const own = className(classCode);
  return own.startsWith("class ") ? names.class(classCode) ?? own : own;
}
