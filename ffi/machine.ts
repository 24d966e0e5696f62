/**
 * This machine, and the one place where a locator's host part chooses a machine.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import { type Host, thisMachine } from "../src/core/host.ts";
import type { Locator } from "../src/core/locator.ts";
import { type Machine, machineAt, type NvmeAdmin, type RegisterRange } from "../src/core/machine.ts";
import type { FileMappingOptions, MachineMemory } from "../src/core/memory_loops.ts";
import type { OradaxDriver } from "../src/core/oradax_driver.ts";
import { Descriptor } from "./fd.ts";
import { localFiles } from "./files.ts";
import { localLoops } from "./membench.ts";
import { Mapping, pageSizeBytes } from "./memory.ts";
import { MappedMmio } from "./mmio.ts";
import { nvmePassthru } from "./nvme_ioctl.ts";
import { openOradaxDriver } from "./oradax_driver.ts";

const LOCAL_MEMORY: MachineMemory = {
  get pageBytes(): number {
    return pageSizeBytes();
  },
  loops: localLoops,
  mapFile: (path: string, sizeBytes: number, options: FileMappingOptions = {}): Mapping =>
    Mapping.file(path, sizeBytes, options),
  mapAnonymous: (sizeBytes: number, pages: "base" | "2MiB" | "1GiB"): Mapping =>
    Mapping.anonymous(sizeBytes, { pages }),
};

/** This machine: what it does goes through libbusbar in this process. */
class LocalMachine implements Machine {
  readonly host: Host;
  readonly files = localFiles;
  readonly memory: MachineMemory = LOCAL_MEMORY;

  constructor(host: Host) {
    this.host = host;
  }

  get name(): string {
    return this.host.name;
  }

  mapRegisters(range: RegisterRange): MappedMmio {
    return mapFile(range, false);
  }

  mapWritableRegisters(range: RegisterRange): MappedMmio {
    return mapFile(range, true);
  }

  openOradax(path: string): OradaxDriver {
    return openOradaxDriver(path);
  }

  openNvmeAdmin(path: string): NvmeAdmin {
    const device = Descriptor.open(path, false, "run as root");
    return {
      execute: (words, data, metadata, timeoutMs) => nvmePassthru(device, true, words, data, metadata, timeoutMs),
      [Symbol.dispose]: () => device[Symbol.dispose](),
    };
  }
}

/** Only whole pages can be mapped. */
function mapFile({ name, path, offset, sizeBytes }: RegisterRange, writable: boolean): MappedMmio {
  const page = pageSizeBytes();
  const start = Math.floor(offset / page) * page;
  const mapping = Mapping.file(path, offset + sizeBytes - start, { offset: BigInt(start), writable });
  const unmap = (): void => mapping[Symbol.dispose]();
  return new MappedMmio(name, mapping.registers, offset + sizeBytes - start, unmap, start);
}

/** This machine. */
export const localMachine: Machine = new LocalMachine(thisMachine);

/** This machine with another's text interfaces: for tests, where files stand in for those of a device. */
export function localMachineWith(host: Host): Machine {
  return new LocalMachine(host);
}

/**
 * The machine that a locator is on.
 *
 * @throws {BusbarError} `unsupported` where nothing in this program reaches it, and as opening it fails
 */
export function machineOf(locator: Locator): Machine {
  return locator.host === null ? localMachine : machineAt(locator.host, locator.text);
}

/**
 * The text interfaces of this machine, for what is done here only: holding a device, DMA, interrupts, binding drivers.
 *
 * @param operation what is done, for the error: `hold PCI function`
 * @throws {BusbarError} `unsupported` for a locator on another machine
 */
export function localHostOf(locator: Locator, operation: string): Host {
  if (locator.host === null) return thisMachine;
  throw new BusbarError("unsupported", `'${locator.text}': ${operation} is done on this machine only`, {
    operation,
    path: locator.text,
    hint: `run it on ${locator.host.name} itself`,
  });
}
