/**
 * PCI addresses: domain, bus, device, function.
 * @module
 */

import { BusbarError } from "./error.ts";

/** A PCI address. Written `DDDD:BB:DD.F`, hexadecimal, as Linux names its sysfs folders. */
export interface PciAddress {
  /** 0 to 0xffffffff. VMD domains start at 0x10000, so five digits occur. */
  readonly domain: number;
  /** 0 to 255. */
  readonly bus: number;
  /** 0 to 31. */
  readonly device: number;
  /** 0 to 7. */
  readonly function: number;
}

/**
 * Reads `0000:01:00.0`, or `01:00.0` in domain 0. Upper and lower case are the same.
 *
 * @throws {BusbarError} `usage`, saying which part is wrong and why
 *
 * @example
 * ```ts
 * import { formatPciAddress, parsePciAddress } from "./pci_address.ts";
 * console.assert(formatPciAddress(parsePciAddress("0A:1F.7")) === "0000:0a:1f.7");
 * ```
 */
export function parsePciAddress(text: string): PciAddress {
  const match = /^(?:([0-9a-f]+):)?([0-9a-f]+):([0-9a-f]+)\.([0-9a-f]+)$/i.exec(text);
  if (match === null) throw malformed(text, "it has the form domain:bus:device.function");
  const [, domain = "0000", bus = "", device = "", fn = ""] = match;
  if (domain.length < 4 || domain.length > 8) throw malformed(text, `domain '${domain}' has 4 to 8 hexadecimal digits`);
  if (bus.length !== 2) throw malformed(text, `bus '${bus}' has 2 hexadecimal digits`);
  if (device.length !== 2) throw malformed(text, `device '${device}' has 2 hexadecimal digits`);
  if (parseInt(device, 16) > 0x1f) throw malformed(text, `device '${device}' is at most 1f`);
  if (fn.length !== 1 || parseInt(fn, 16) > 7) throw malformed(text, `function '${fn}' is one digit, 0 to 7`);
  return {
    domain: parseInt(domain, 16),
    bus: parseInt(bus, 16),
    device: parseInt(device, 16),
    function: parseInt(fn, 16),
  };
}

function malformed(text: string, rule: string): BusbarError {
  return new BusbarError("usage", `'${text}' is not a PCI address: ${rule}`, {
    operation: "parse PCI address",
    path: text,
    hint: "write it as in 0000:01:00.0 (lspci -D lists the addresses of this machine)",
  });
}

/** Writes an address as sysfs does: lower case, at least four domain digits. */
export function formatPciAddress(address: PciAddress): string {
  const part = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");
  return `${part(address.domain, 4)}:${part(address.bus, 2)}:${part(address.device, 2)}.${address.function}`;
}

/** True when `text` is a PCI address as sysfs writes it: domain always given, lower case. */
export function isSysfsPciAddress(text: string): boolean {
  return /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/.test(text);
}

/** Orders addresses by domain, bus, device and function. */
export function comparePciAddress(a: PciAddress, b: PciAddress): number {
  return a.domain - b.domain || a.bus - b.bus || a.device - b.device || a.function - b.function;
}
