/**
 * A function of a recorded machine.
 * @module
 */

import type { DmaBuffer } from "../core/dma.ts";
import { BusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { type FileLocator, type OptionTable, readOptions } from "../core/locator.ts";
import { type Machine, type RegisterRange, TextMachine } from "../core/machine.ts";
import { accessError, type Mmio, RecordedMmio } from "../core/mmio.ts";
import { formatPciAddress, parsePciAddress } from "../core/pci_address.ts";
import type { PciDevice } from "./device.ts";
import { PCI_DEVICES, type PciFunction, readPciFunction, UNKNOWN_TO_SYSFS } from "./function.ts";
import { readMachineFile, type RecordedMachine } from "./machine_file.ts";
import type { BarOptions } from "./resources.ts";

const FILE_OPTIONS: OptionTable = {
  device: { type: "text", title: "address of the function, where the file has several", default: "" },
};

/**
 * Opens a function of a recorded machine.
 *
 * @throws {BusbarError} `usage` when the file holds several and the locator does not say which, and as reading fails
 */
export function openRecorded(locator: FileLocator): PciDevice {
  const wanted = readOptions(locator, FILE_OPTIONS).get("device") ?? "";
  const machine = readMachineFile(locator.path);
  const name = wanted === "" ? onlyDevice(machine, locator) : formatPciAddress(parsePciAddress(wanted));
  const fn = readPciFunction(machine.host, name);
  const softName = machine.names.get(name);
  return new RecordedPciDevice(
    machine,
    name,
    softName === undefined ? fn : { ...fn, ...UNKNOWN_TO_SYSFS, name: softName },
  );
}

/** The function meant by a file that holds one, or by the only one in it whose registers were recorded. */
function onlyDevice(machine: RecordedMachine, locator: FileLocator): string {
  const withRegisters = machine.devices.filter((name) => machine.regions.some((region) => region.device === name));
  const choice = withRegisters.length === 1 ? withRegisters : machine.devices;
  const [only, ...others] = choice;
  if (only !== undefined && others.length === 0) return only;
  throw new BusbarError("usage", `${locator.path} holds ${choice.length} PCI functions`, {
    operation: "open recorded machine",
    path: locator.path,
    hint: `say which: '${locator.text}?device=${only ?? ""}'`,
  });
}

/** A function of a recorded machine. */
class RecordedPciDevice implements PciDevice {
  readonly kind = "recorded";
  readonly host: Host | null;
  readonly function: PciFunction;
  readonly problems: readonly string[];
  readonly #machine: RecordedMachine;
  readonly #recordedAs: string;

  constructor(machine: RecordedMachine, recordedAs: string, fn: PciFunction) {
    this.#machine = machine;
    this.#recordedAs = recordedAs;
    this.host = fn.address === null ? null : machine.host;
    this.function = fn;
    this.problems = machine.problems;
  }

  readConfig(): Uint8Array {
    return this.function.config.slice();
  }

  isPresent(): boolean {
    return true;
  }

  bar(index: number, options: BarOptions = {}): Mmio {
    return recordedRegisters(this.#machine, {
      device: this.#recordedAs,
      bar: index,
      shownAs: this.function.name,
      offset: options.offset ?? 0,
      sizeBytes: options.sizeBytes ?? 0,
    });
  }

  allocDma(): DmaBuffer {
    throw new BusbarError("unsupported", `${this.function.name}: a recorded device has no DMA`, {
      operation: "allocate DMA memory",
      path: this.function.name,
    });
  }

  [Symbol.dispose](): void {}
}

/** The registers of a BAR, as far as they were recorded. */
function recordedRegisters(
  machine: RecordedMachine,
  wanted: { device: string; bar: number; shownAs: string; offset: number; sizeBytes: number },
): RecordedMmio {
  const { device, bar, shownAs, offset, sizeBytes } = wanted;
  const region = machine.regions.find((one) => one.device === device && one.bar === bar);
  if (region === undefined) {
    throw new BusbarError("not-recorded", `${shownAs}: the registers of BAR${bar} were not recorded`, {
      operation: `open BAR${bar}`,
      path: shownAs,
      hint: `record them on that machine: dump_bar0 ${shownAs} --bar ${bar} --save FILE`,
    });
  }
  const mmio = new RecordedMmio(`BAR${bar} of ${shownAs}`, region.sizeBytes, region.pieces);
  if (offset + sizeBytes > region.sizeBytes) throw accessError(mmio, offset, sizeBytes, 1);
  return mmio;
}

/** A recorded machine as a whole: its files, and the registers that were recorded. Nothing of it can be written. */
export function recordedMachine(machine: RecordedMachine): Machine {
  return new RecordedWhole(machine);
}

class RecordedWhole extends TextMachine {
  readonly #machine: RecordedMachine;

  constructor(machine: RecordedMachine) {
    super(machine.host);
    this.#machine = machine;
  }

  override mapRegisters({ path, offset, sizeBytes }: RegisterRange): Mmio & Disposable {
    const [, folder = "", bar] = /^(.*)\/resource([0-5])$/.exec(path) ?? [];
    const real = ifReadable(() => this.host.realPath(folder));
    const device = this.#machine.devices.find((name) =>
      real !== null && ifReadable(() => this.host.realPath(`${PCI_DEVICES}/${name}`)) === real
    );
    if (device === undefined || bar === undefined) {
      throw new BusbarError("not-recorded", `${path}: no registers in ${this.name}`, {
        operation: "map registers",
        path,
      });
    }
    const mmio = recordedRegisters(this.#machine, { device, bar: Number(bar), shownAs: device, offset, sizeBytes });
    return Object.assign(mmio, { [Symbol.dispose]: (): void => {} });
  }
}
