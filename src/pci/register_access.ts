/**
 * Single registers of a function, to read and to write.
 * @module
 */

import { BusbarError, isBusbarError } from "../core/error.ts";
import type { Host } from "../core/host.ts";
import { type Locator, toLocator } from "../core/locator.ts";
import { type AccessBytes, littleEndian, type Mmio, type WritableMmio } from "../core/mmio.ts";
import { findRegister, type NamedRegister, type PlacedTable } from "../core/named_register.ts";
import type { UndoJournal } from "../core/undo/journal.ts";
import { hex } from "../core/units.ts";
import { localHostOf } from "../../ffi/machine.ts";
import { Mapping } from "../../ffi/memory.ts";
import { MappedMmio } from "../../ffi/mmio.ts";
import { capabilityLayout, capabilityTables, listCapabilities } from "./capabilities.ts";
import { EXTENDED_CONFIG_BYTES, headerLayout } from "./config_space.ts";
import { openPciDevice, type OpenPciOptions } from "./open_device.ts";
import { PCI_LOCATORS } from "./locators.ts";
import { openSoftDevice } from "./soft_device.ts";
import { type PciFunction, readPciFunction } from "./function.ts";
import { pciLocatorOf } from "./kernel_names.ts";
import { lockFunction } from "./lock.ts";
import { explainMapError, isUnresponsive, usableBar } from "./accessibility.ts";

/** A BAR that this process has mapped to write to. */
export interface MappedBar extends Disposable {
  /** For messages: `BAR0 of 0000:01:00.0`. */
  readonly name: string;
  /** Its first byte. */
  readonly pointer: Deno.PointerObject;
  /** Its length in bytes. */
  readonly sizeBytes: number;
  /** Its registers. */
  readonly mmio: WritableMmio;
}

/** Maps the whole of a BAR by its `resourceN` file, readable and writable. Nothing is read or written. */
export function mapBar(host: Host, fn: PciFunction, index: number): MappedBar {
  const { sizeBytes } = usableBar(fn, index);
  let mapping: Mapping;
  try {
    mapping = Mapping.file(`${fn.folder}/resource${index}`, Number(sizeBytes), { writable: true });
  } catch (error) {
    throw explainMapError(host, fn, index, error);
  }
  const mmio = new MappedMmio(`BAR${index} of ${fn.name}`, mapping.registers, mapping.sizeBytes);
  return {
    name: mmio.name,
    pointer: mapping.pointer,
    sizeBytes: mapping.sizeBytes,
    mmio,
    [Symbol.dispose](): void {
      mmio[Symbol.dispose]();
      mapping[Symbol.dispose]();
    },
  };
}

/** Registers of a BAR that are open to be written. */
export interface WritableBar extends Disposable {
  /** The function. */
  readonly function: PciFunction;
  /** Its registers. */
  readonly mmio: WritableMmio;
}

/** How a BAR is opened to be written. */
export interface OpenBarOptions {
  /** Which one, 0 to 5; 0 by default. */
  readonly bar?: number;
  /** Also where a kernel driver has the function. */
  readonly force?: boolean;
  /** The text interfaces of the machine; this machine's by default. */
  readonly host?: Host;
}

/**
 * Opens a BAR to write to it, with the function's lock.
 *
 * @throws {BusbarError} `busy` while a driver or another run has it; `usage` for a recording
 *
 * @example
 * ```ts
 * import { openWritableBar } from "@busbar/busbar";
 * using bar = openWritableBar("soft:nvme", { bar: 0 });
 * bar.mmio.write32(0x24, 0x001f_001f); // AQA: both admin queues have 32 entries
 * console.assert(bar.mmio.read32(0x24) === 0x001f_001f);
 * ```
 */
export function openWritableBar(
  locator: string | Locator,
  options: OpenBarOptions = {},
): WritableBar {
  const parsed = toLocator(locator);
  const { bar: index = 0, force = false, host = localHostOf(parsed, WRITE) } = options;
  if (parsed.kind === "soft") {
    const device = openSoftDevice(parsed);
    return {
      function: device.function,
      mmio: device.registers(index),
      [Symbol.dispose]: () => device[Symbol.dispose](),
    };
  }
  const named = pciLocatorOf(parsed, host, WRITE);
  if (named.kind !== "pci") throw notWritable(parsed);
  const fn = readPciFunction(host, named.address);
  refuseHeld(fn, WRITE, force);
  const lock = lockFunction(host, fn);
  try {
    const bar = mapBar(host, fn, index);
    return {
      function: fn,
      mmio: bar.mmio,
      [Symbol.dispose](): void {
        bar[Symbol.dispose]();
        lock[Symbol.dispose]();
      },
    };
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

/** What it does, for errors. */
const WRITE = "write registers";

/** The error for a recording, or something that is no PCI function. */
function notWritable(locator: Locator): BusbarError {
  return new BusbarError("usage", `'${locator.text}' cannot be written to`, {
    operation: WRITE,
    path: locator.text,
    hint: `it takes ${PCI_LOCATORS.slice(0, -1).join(", ")}`,
  });
}

/**
 * Does nothing when no kernel driver has the function, or it is forced.
 *
 * @throws {BusbarError} `busy`
 */
export function refuseHeld(fn: PciFunction, operation: string, force: boolean): void {
  const refusal = heldRefusal(fn, operation);
  if (refusal !== null && !force) throw refusal;
}

/** Why a function that a driver holds is not to be written to; null where none holds it. */
export function heldRefusal(fn: PciFunction, operation: string): BusbarError | null {
  if (fn.driver === null) return null;
  return new BusbarError("busy", `${fn.name}: the driver ${fn.driver} has it, and does not expect others to write`, {
    operation,
    path: fn.name,
    hint: `unbind it first (echo ${fn.name} > ${fn.folder}/driver/unbind), or --force`,
  });
}

/** One read of a register. */
export function readRegister(mmio: Mmio, offset: number, accessBytes: AccessBytes): bigint {
  switch (accessBytes) {
    case 1:
      return BigInt(mmio.read8(offset));
    case 2:
      return BigInt(mmio.read16(offset));
    case 4:
      return BigInt(mmio.read32(offset));
    case 8:
      return mmio.read64(offset);
  }
}

/** One write of a register. */
export function writeRegister(mmio: WritableMmio, offset: number, accessBytes: AccessBytes, value: bigint): void {
  switch (accessBytes) {
    case 1:
      return mmio.write8(offset, Number(value));
    case 2:
      return mmio.write16(offset, Number(value));
    case 4:
      return mmio.write32(offset, Number(value));
    case 8:
      return mmio.write64(offset, value);
  }
}

/** The tables of configuration space: the header, and each capability that has one, by its name. */
export function configTables(config: Uint8Array): PlacedTable[] {
  const header = headerLayout(config);
  const tables: PlacedTable[] = header === null ? [] : [{ prefix: "", base: 0, layout: header }];
  for (const capability of listCapabilities(config).capabilities) {
    const layout = capabilityLayout(capability, config);
    if (layout !== null) tables.push({ prefix: capability.name.replaceAll(" ", "_"), base: capability.offset, layout });
  }
  return tables;
}

/** Configuration space that is open. */
export interface OpenConfig extends Disposable {
  /** The function. */
  readonly function: PciFunction;
  /** What of a recording could not be used. */
  readonly problems: readonly string[];
  /** As much of it as this user may read. */
  readonly bytes: Uint8Array;
}

/** Reads the configuration space of whatever a locator names. */
export function openConfig(
  locator: string | Locator,
  options: OpenPciOptions = {},
): OpenConfig {
  const device = openPciDevice(locator, options);
  return {
    function: device.function,
    problems: device.problems ?? [],
    bytes: device.readConfig(),
    [Symbol.dispose]: () => device[Symbol.dispose](),
  };
}

/** What errors need of a function. */
export type KnownConfig = Pick<PciFunction, "name" | "configEnds">;

/**
 * The register of configuration space that a text names.
 *
 * @param fn the function, whose configuration space is `config`
 * @throws {BusbarError} `not-recorded` or `permission` for a register of a capability, where the lists of capabilities were
 * not read to their end; `unreachable` for one of a function that does not answer; `usage` for a name that no table has
 */
export function findConfigRegister(
  config: Uint8Array,
  text: string,
  widthBytes: AccessBytes | undefined,
  fn: KnownConfig,
): NamedRegister {
  try {
    return findRegister(configTables(config), text, widthBytes);
  } catch (error) {
    if (!isBusbarError(error, "usage")) throw error;
    // What reads all ones has no lists of capabilities: which registers there are is not known.
    if (isUnresponsive({ config })) {
      throw new BusbarError("unreachable", `${fn.name}: does not answer: its configuration space reads all ones`, {
        operation: "read configuration space",
        path: fn.name,
      });
    }
    if (!mayBeUnread(config, text)) throw error;
    throw beyondEnd(config, `${text}: its capability`, fn);
  }
}

/** True for `PM.PMCSR` where the list that would have PM was not read to its end, and there is such a register. */
function mayBeUnread(config: Uint8Array, text: string): boolean {
  const { isWhole } = listCapabilities(config);
  const [prefix = "", name = ""] = text.toLowerCase().split(".");
  return capabilityTables(config).some(({ list, title, layout }) =>
    !isWhole[list] && title.replaceAll(" ", "_").toLowerCase() === prefix &&
    layout.rows.some((row) => row.name.toLowerCase() === name)
  );
}

/** What lies behind the bytes that are known: the reason is the function's, if it has one. */
function beyondEnd(config: Uint8Array, what: string, fn: KnownConfig): BusbarError {
  const details = { operation: "read configuration space", path: fn.name };
  const isShown = fn.configEnds?.startsWith("the kernel") === true;
  const why = fn.configEnds ?? `only ${config.length} bytes of configuration space are known`;
  return new BusbarError(
    isShown ? "permission" : "not-recorded",
    `${fn.name}: ${what} lies behind what is known: ${why}`,
    {
      ...details,
      hint: isShown ? "run it as root" : "lspci -xxxx as root, or busbar pcie_topology --save FILE, has all of it",
    },
  );
}

/**
 * A register in configuration space.
 *
 * @throws {BusbarError} `not-recorded` or `permission` where only a part could be read and the register is not in it;
 * `out-of-range`
 */
export function configValue(config: Uint8Array, offset: number, accessBytes: AccessBytes, fn: KnownConfig): bigint {
  if (offset + accessBytes <= config.length && offset % Math.min(4, accessBytes) === 0) {
    return littleEndian(config.subarray(offset, offset + accessBytes));
  }
  if (offset + accessBytes <= EXTENDED_CONFIG_BYTES && offset + accessBytes > config.length) {
    throw beyondEnd(config, hex(offset), fn);
  }
  throw new BusbarError(
    "out-of-range",
    `${fn.name}: ${accessBytes} bytes at ${hex(offset)} are not in configuration space, or not aligned`,
    { operation: "read configuration space", path: fn.name },
  );
}

/**
 * Writes a register of configuration space of this machine and keeps it: the caller says what puts it back.
 *
 * @throws {BusbarError} as the write does; nothing is kept then
 */
export function writeConfig(
  journal: UndoJournal,
  fn: PciFunction,
  offset: number,
  accessBytes: AccessBytes,
  value: bigint,
): void {
  const path = `${fn.folder}/config`;
  const bytes = Uint8Array.from({ length: accessBytes }, (_, i) => Number(value >> BigInt(8 * i) & 0xffn));
  try {
    journal.change({
      what: `${accessBytes} bytes at ${hex(offset)} of ${fn.name}'s configuration space`,
      write: { path, offset, hex: bytes.toHex() },
      probe: { kind: "bytes", path, offset, mask: "ff".repeat(accessBytes) },
    });
  } catch (error) {
    if (!isBusbarError(error, "permission")) throw error;
    throw new BusbarError("permission", error.message, {
      operation: "write configuration space",
      path,
      hint: "run it as root; a kernel that is locked down refuses root too",
      cause: error,
    });
  }
  journal.keepChanges();
}
