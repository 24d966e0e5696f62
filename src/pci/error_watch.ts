/**
 * A function's errors and link, looked at again and again. Reading clears nothing.
 * @module
 */

import { type Fact, Unknown, valueOf } from "../core/fact.ts";
import type { Host } from "../core/host.ts";
import { hex } from "../core/units.ts";
import { AER_FILES, type AerCounts, type AerSeverity, readAerCounts } from "./aer.ts";
import { findCapability, listCapabilities } from "./capabilities.ts";
import { configUint } from "./config_space.ts";
import type { PciFunction } from "./function.ts";
import { formatRate, readLinkEnd } from "./link.ts";

/** What one look at a function's errors gives. */
export interface ErrorSample {
  /** The kernel's counters; null where it keeps none. */
  readonly counts: Readonly<Record<AerSeverity, Fact<AerCounts>>>;
  /** What the link runs at, in words; null without a link. */
  readonly link: Fact<string>;
  /** Error registers by name (`DEVSTA`, `UNCOR_STATUS`, `COR_STATUS`, `HEADER_LOG`), in hexadecimal; those that there are. */
  readonly registers: Readonly<Record<string, string>>;
}

/** Looks once. The function's configuration space must be fresh. */
export function readErrors(host: Host, fn: PciFunction): ErrorSample {
  const capabilities = listCapabilities(fn.config);
  const end = readLinkEnd(host, fn, capabilities);
  const none: Fact<AerCounts> = null;
  return {
    counts: fn.folder === null ? { correctable: none, nonfatal: none, fatal: none } : readAerCounts(host, fn.folder),
    link: end === null || end instanceof Unknown ? end : formatRate(end.current),
    registers: errorRegisters(fn.config),
  };
}

function errorRegisters(config: Uint8Array): Record<string, string> {
  const list = listCapabilities(config);
  const registers: Record<string, string> = {};
  const keep = (name: string, offset: number, sizeBytes: 2 | 4): void => {
    if (offset + sizeBytes <= config.length) {
      registers[name] = hex(configUint(config, offset, sizeBytes), 2 * sizeBytes);
    }
  };
  const pcie = findCapability(list, "standard", 0x10);
  const aer = findCapability(list, "extended", 0x01);
  const dpc = findCapability(list, "extended", 0x1d);
  if (pcie !== null) keep("DEVSTA", pcie.offset + 0x0a, 2);
  if (aer !== null) {
    keep("UNCOR_STATUS", aer.offset + 0x04, 4);
    keep("COR_STATUS", aer.offset + 0x10, 4);
    for (let i = 0; i < 4; i++) keep(`HEADER_LOG${i}`, aer.offset + 0x1c + 4 * i, 4);
  }
  if (dpc !== null) keep("DPC_STATUS", dpc.offset + 0x08, 2);
  return registers;
}

/** A value that differs from the look before. */
export interface ErrorChange {
  /** `correctable.RxErr`, `link`, `COR_STATUS`. */
  readonly name: string;
  /** What it was. */
  readonly before: string;
  /** What it is. */
  readonly after: string;
}

/** The values of a look that are in words or numbers, by name. Counters that the kernel does not keep are not there. */
export function errorValues({ counts, link, registers }: ErrorSample): Map<string, string> {
  const values = new Map<string, string>();
  for (const severity of Object.keys(AER_FILES) as AerSeverity[]) {
    for (const [name, count] of Object.entries(valueOf(counts[severity]) ?? {})) {
      values.set(`${severity}.${name}`, count.toString());
    }
  }
  if (typeof link === "string") values.set("link", link);
  for (const [name, value] of Object.entries(registers)) values.set(name, value);
  return values;
}

/** What differs between two looks. */
export function errorChanges(before: ErrorSample, after: ErrorSample): ErrorChange[] {
  const [old, now] = [errorValues(before), errorValues(after)];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((name) => {
    const change = { name, before: old.get(name) ?? "not there", after: now.get(name) ?? "not there" };
    return change.before === change.after ? [] : [change];
  });
}
