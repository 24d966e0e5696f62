/**
 * A machine as a whole, this one or another: what the domains need of one, and nothing of how it is reached.
 *
 * The implementations stand elsewhere: this machine in `ffi/machine.ts`, which also chooses by the host part of a locator
 * (`machineOf`); machines that are reached by a connection register how they are opened.
 * @module
 */

import { BusbarError } from "./error.ts";
import type { Files } from "./files.ts";
import type { Host } from "./host.ts";
import type { HostPart } from "./host_part.ts";
import type { MachineMemory } from "./memory_loops.ts";
import type { Mmio, WritableMmio } from "./mmio.ts";
import type { OradaxDriver } from "./oradax_driver.ts";
import type { MachineJournals } from "./undo/machine_journals.ts";

/** Which registers are wanted. */
export interface RegisterRange {
  /** For messages: `BAR0 of 0000:01:00.0`. */
  readonly name: string;
  /** The file that shows them: a function's `resource0`. */
  readonly path: string;
  /** First byte in the file, below 4 GiB. */
  readonly offset: number;
  /** How many bytes from there, at most 4 GiB. */
  readonly sizeBytes: number;
}

/** An NVMe controller that a machine's kernel has, by its character device. Dispose closes it. */
export interface NvmeAdmin extends Disposable {
  /**
   * Sends an admin command.
   *
   * @param words its 16 dwords; identifier and pointers are the kernel's
   * @param data goes the way that the opcode says; null without any
   * @param timeoutMs how long the kernel waits for it
   * @returns the status field (0 is success) and dword 0 of the completion
   */
  execute(
    words: Uint32Array<ArrayBuffer>,
    data: Uint8Array<ArrayBuffer> | null,
    metadata: Uint8Array<ArrayBuffer> | null,
    timeoutMs: number,
  ): Promise<{ readonly status: number; readonly result: number }>;
}

/**
 * One machine. Every method throws {@linkcode BusbarError}; one that a machine cannot do throws `unsupported`.
 * DMA and interrupts are of this machine only and not here.
 *
 * @example
 * ```ts
 * import { type Machine, openMachine, readTopology } from "@busbar/busbar";
 * const count = (machine: Machine): number => readTopology(machine.host).nodes.length;
 * console.assert(count(openMachine("file:docs/tools/desktop.dump")) === 5);
 * ```
 */
export interface Machine {
  /** What to call it in messages: `this machine`, `ssh:lab7`, `recorded machine saved.dump`. */
  readonly name: string;
  /** Its text interfaces. */
  readonly host: Host;
  /** What stat and open say about its paths. */
  readonly files: Files;
  /** Its undo journals; absent of a recording. */
  readonly journals?: MachineJournals;
  /** Its memory, to be mapped and measured. */
  readonly memory: MachineMemory;
  /**
   * Registers for reading. Offsets count from the start of the file; the range can be read, and perhaps what lies around it.
   * Dispose lets go of them.
   */
  mapRegisters(range: RegisterRange): Mmio & Disposable;
  /** Registers for reading and writing, as {@linkcode Machine.mapRegisters}. */
  mapWritableRegisters(range: RegisterRange): WritableMmio & Disposable;
  /** Opens an NVMe controller for admin commands. @param path `/dev/nvme0` */
  openNvmeAdmin(path: string): NvmeAdmin;
  /** Opens a data analytics accelerator by its kernel driver. @param path `/dev/oradax1` or `/dev/oradax2` */
  openOradax(path: string): OradaxDriver;
}

const openers = new Map<HostPart["scheme"], (host: HostPart) => Machine>();

/**
 * Says how the machines of a scheme are opened. A later registration takes the place of an earlier one.
 *
 * @param open called once for each locator that is opened; keeps its connections itself. Null takes the scheme out.
 */
export function registerMachines(scheme: HostPart["scheme"], open: ((host: HostPart) => Machine) | null): void {
  if (open === null) openers.delete(scheme);
  else openers.set(scheme, open);
}

/**
 * Another machine, by the host part of a locator.
 *
 * @param text the locator, for the error
 * @throws {BusbarError} `unsupported` where nobody registered its scheme, and as opening it fails
 */
export function machineAt(host: HostPart, text: string = host.text): Machine {
  const open = openers.get(host.scheme);
  if (open !== undefined) return open(host);
  throw new BusbarError(
    "unsupported",
    `'${text}': this program reaches no other machine (${host.scheme}: is not there)`,
    {
      operation: "open machine",
      path: text,
      hint: `run it on ${host.name} itself`,
    },
  );
}

/** The error for what a machine cannot do, such as a recorded one to map registers. */
export function unsupportedBy(machine: Pick<Machine, "name">, operation: string, path: string): BusbarError {
  return new BusbarError("unsupported", `${path}: ${machine.name} cannot ${operation}`, { operation, path });
}

/**
 * A machine of which only the text interfaces are there: all else is `unsupported`. Recorded machines and test doubles
 * add to it what they have.
 */
export class TextMachine implements Machine {
  readonly host: Host;

  /**
   * A machine that has nothing else.
   *
   * @param host its text interfaces: of a recording, of a test double
   */
  constructor(host: Host) {
    this.host = host;
  }

  get name(): string {
    return this.host.name;
  }

  get files(): Files {
    const refuse = (path: string): never => {
      throw unsupportedBy(this, "say what a path is", path);
    };
    return { status: refuse, whyNotOpen: refuse, isDax: refuse };
  }

  get memory(): MachineMemory {
    throw unsupportedBy(this, "map memory", this.name);
  }

  mapRegisters(range: RegisterRange): Mmio & Disposable {
    throw unsupportedBy(this, "map registers", range.path);
  }

  mapWritableRegisters(range: RegisterRange): WritableMmio & Disposable {
    throw unsupportedBy(this, "map registers to write to them", range.path);
  }

  openNvmeAdmin(path: string): NvmeAdmin {
    throw unsupportedBy(this, "send NVMe commands", path);
  }

  openOradax(path: string): OradaxDriver {
    throw unsupportedBy(this, "open an accelerator", path);
  }
}
