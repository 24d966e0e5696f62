/**
 * A device whose registers are mapped: trapped accesses to a BAR, or memory that a device of busbar shares.
 * @module
 */

import { Deadline, pause, yieldToEventLoop } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import { goneError } from "../core/mmio.ts";
import { fullBarrier, MappedMmio } from "../../ffi/mmio.ts";
import { Mapping } from "../../ffi/memory.ts";
import { findGeneration } from "./generation.ts";
import { DATA_OFFSET, EXT_MAGIC, FILE_BAR4_OFFSET, FILE_LEAST_BYTES, PROFILES, registerOffset } from "./registers.ts";
import type { Completion, Submission, Type2Transport } from "./transport.ts";

const CMD = registerOffset("CMD"), SESSION = registerOffset("SESSION");
const PARAM0 = registerOffset("PARAM0"), RESULT0 = registerOffset("RESULT0");
const CMD_STATUS = registerOffset("CMD_STATUS"), CMD_RESULT = registerOffset("CMD_RESULT");
const EPOCH = registerOffset("EPOCH"), HEARTBEAT = registerOffset("HEARTBEAT");
const SUBMIT = registerOffset("SUBMIT"), DONE = registerOffset("DONE");
const EXT_FLAGS = registerOffset("EXT_FLAGS"), DOORBELL = registerOffset("DOORBELL");
const EXT_DOORBELL = 2;

/** How long a device may be silent. It says that it lives at least every 100 ms. */
const SILENT_MS = 1000;
const ALL_ONES = 0xffff_ffff;

/** What keeps other processes out while a command is under way. */
export interface ExchangeLock {
  /** True when it was taken. */
  tryLock(): boolean;
  /** Gives it back. */
  unlock(): void;
}

/** How a device is reached that is mapped. */
export interface MappedDevice {
  /** The locator, for messages. */
  readonly name: string;
  /** BAR2, or the shared file from its start. */
  readonly registers: MappedMmio;
  /** DATA as ordinary memory; null where accesses trap. */
  readonly data: Uint8Array<ArrayBuffer> | null;
  /** BAR4 as ordinary memory; null where it was not mapped. */
  readonly bar4: Uint8Array<ArrayBuffer> | null;
  /** Keeps other processes of this machine out. */
  readonly lock: ExchangeLock;
  /** SUBMIT and DONE hand commands over; else a write to CMD does. */
  readonly isShared: boolean;
  /** Wakes a device that sleeps; null where there is no doorbell. */
  readonly ring: (() => void) | null;
  /** Unmaps. */
  readonly release: () => void;
}

/** Commands to a mapped device, one after the other. */
export class MemoryTransport implements Type2Transport {
  readonly name: string;
  readonly kind: "trapped registers" | "shared memory";
  readonly windowBytes: number;
  readonly bar4: Uint8Array<ArrayBuffer> | null;
  readonly #device: MappedDevice;
  readonly #epoch: number;
  readonly #hasSessions: boolean;
  #last: Promise<unknown> = Promise.resolve();

  /** Takes over what is mapped: dispose unmaps it. */
  constructor(device: MappedDevice) {
    this.name = device.name;
    this.kind = device.isShared ? "shared memory" : "trapped registers";
    this.windowBytes = device.registers.endOffset;
    this.bar4 = device.bar4;
    this.#device = device;
    this.#epoch = device.isShared ? device.registers.read32(EPOCH) : 0;
    this.#hasSessions = device.registers.read32(registerOffset("EXT_MAGIC")) === EXT_MAGIC;
  }

  read32(offset: number): number {
    return this.#device.registers.read32(offset);
  }

  read64(offset: number): bigint {
    return this.#device.registers.read64(offset);
  }

  submit(submission: Submission, deadline: Deadline, signal?: AbortSignal): Promise<Completion> {
    const next = this.#last.then(() => this.#exchange(submission, deadline, signal));
    this.#last = next.catch(() => {});
    return next;
  }

  async #exchange(submission: Submission, deadline: Deadline, signal?: AbortSignal): Promise<Completion> {
    for (let restMs = 0; !this.#device.lock.tryLock(); restMs = Math.min(restMs + 1, 10)) {
      deadline.check("another process to finish its command", this.name);
      await pause(restMs, signal);
    }
    try {
      return this.#device.isShared
        ? await this.#runShared(submission, deadline, signal)
        : await this.#runTrapped(submission, deadline, signal);
    } finally {
      this.#device.lock.unlock();
    }
  }

  #prepare(submission: Submission): void {
    const { registers, data } = this.#device;
    if (submission.data !== null) {
      if (data !== null) data.set(submission.data);
      else writeBytes(registers, submission.data);
    }
    for (const [i, value] of submission.params.entries()) registers.write64(PARAM0 + 8 * i, value);
  }

  #results(submission: Submission): Completion {
    const { registers, data } = this.#device;
    const result = registers.read32(CMD_RESULT);
    return {
      result,
      results: [0, 1, 2, 3].map((i) => registers.read64(RESULT0 + 8 * i)),
      data: data === null ? readBytes(registers, submission.readBytes) : data.slice(0, submission.readBytes),
    };
  }

  async #runTrapped(submission: Submission, deadline: Deadline, signal?: AbortSignal): Promise<Completion> {
    const { registers } = this.#device;
    this.#prepare(submission);
    // What another process wrote there is its own: a device with sessions is told whose this command is.
    if (this.#hasSessions) registers.write32(SESSION, submission.session);
    registers.write32(CMD, submission.code);
    for (let polls = 0;; polls++) {
      const late = deadline.expired;
      const status = registers.read32(CMD_STATUS);
      if (status === ALL_ONES) throw goneError(this.name, "CMD_STATUS reads all ones");
      if (status === 3 || status === 4) return this.#results(submission);
      if (late) deadline.check(`the command to finish (CMD_STATUS ${status})`, this.name);
      await (polls < 100 ? yieldToEventLoop(signal) : pause(1, signal));
    }
  }

  async #runShared(submission: Submission, deadline: Deadline, signal?: AbortSignal): Promise<Completion> {
    const { registers } = this.#device;
    const before = registers.read32(SUBMIT);
    // A process that died in the middle of a command leaves one that is still running.
    await this.#waitDone(before, deadline, signal);
    this.#prepare(submission);
    registers.write32(SESSION, submission.session);
    registers.write32(CMD, submission.code);
    const number = (before + 1) >>> 0;
    // Whatever was written is there before the command is handed over.
    fullBarrier();
    registers.write32(SUBMIT, number);
    this.#device.ring?.();
    await this.#waitDone(number, deadline, signal);
    // Nothing of the results is read before DONE was.
    fullBarrier();
    return this.#results(submission);
  }

  async #waitDone(number: number, deadline: Deadline, signal?: AbortSignal): Promise<void> {
    const { registers } = this.#device;
    let beat = registers.read32(HEARTBEAT);
    let silent = Deadline.after(SILENT_MS);
    for (;;) {
      const late = deadline.expired;
      const { matched } = registers.pollSlice(DONE, 4, 0xffff_ffffn, BigInt(number), Math.min(deadline.sliceMs, 20));
      if (registers.read32(EPOCH) !== this.#epoch) {
        throw new BusbarError("device-gone", `${this.name}: the device was started anew, and all handles are void`, {
          operation: "run a command",
          path: this.name,
          hint: "open it again",
        });
      }
      if (matched) return;
      const now = registers.read32(HEARTBEAT);
      if (now !== beat) {
        beat = now;
        silent = Deadline.after(SILENT_MS);
      } else if (silent.expired) {
        throw new BusbarError("device-gone", `${this.name}: the device has been silent for ${SILENT_MS} ms`, {
          operation: "run a command",
          path: this.name,
          hint: "start cxl_gpu serve again; in a guest, give QEMU's memory-backend-file share=on",
        });
      }
      if (late) deadline.check("the command to finish", this.name);
      await yieldToEventLoop(signal);
    }
  }

  [Symbol.dispose](): void {
    this.#device.release();
  }
}

/** Each access to trapped memory is an exit: as few as can be. */
function writeBytes(registers: MappedMmio, bytes: Uint8Array<ArrayBuffer>): void {
  const whole = bytes.length - bytes.length % 8;
  if (whole > 0) registers.writeBlock(DATA_OFFSET, bytes.subarray(0, whole), 8);
  for (let i = whole; i < bytes.length; i++) registers.write8(DATA_OFFSET + i, bytes[i] ?? 0);
}

function readBytes(registers: MappedMmio, sizeBytes: number): Uint8Array<ArrayBuffer> {
  const padded = Math.ceil(sizeBytes / 8) * 8;
  return padded === 0 ? new Uint8Array(0) : registers.readBlock(DATA_OFFSET, padded, 8).slice(0, sizeBytes);
}

/** The register of an ivshmem function that rings a peer's doorbell, in BAR0. */
const BELL_OFFSET = 12, BELL_BAR_BYTES = 256;

/** Maps a shared file as a device. The file stays open for its lock. */
export function mapSharedFile(
  name: string,
  path: string,
  file: Deno.FsFile,
  sizeBytes: number,
  bar4Offset: number,
  dataBytes: number,
  bellPath: string | null = null,
): MappedDevice {
  const mapping = Mapping.file(path, sizeBytes, { writable: true });
  const registers = new MappedMmio(name, mapping.registers, Math.min(sizeBytes, bar4Offset));
  const hasBell = bellPath !== null && (registers.read32(EXT_FLAGS) & EXT_DOORBELL) !== 0;
  const bell = hasBell ? mapBell(name, bellPath) : null;
  return {
    name,
    registers,
    data: mapping.bytes(DATA_OFFSET, dataBytes),
    bar4: mapping.bytes(bar4Offset, sizeBytes - bar4Offset),
    lock: fileLock(file),
    isShared: true,
    ring: bell === null ? null : () => bell.registers.write32(BELL_OFFSET, registers.read32(DOORBELL)),
    release: () => {
      bell?.registers[Symbol.dispose]();
      bell?.mapping[Symbol.dispose]();
      registers[Symbol.dispose]();
      mapping[Symbol.dispose]();
      file.close();
    },
  };
}

function mapBell(name: string, path: string): { mapping: Mapping; registers: MappedMmio } {
  const mapping = Mapping.file(path, BELL_BAR_BYTES, { writable: true });
  return { mapping, registers: new MappedMmio(`${name}, doorbell`, mapping.registers, BELL_BAR_BYTES) };
}

/**
 * Maps BAR2 of a function, and BAR4 of a device whose registers trap. In an ivshmem function both lie in BAR2.
 *
 * @param folder the function's folder in sysfs
 * @param file its resource2, which the lock is on
 */
export function mapFunction(name: string, folder: string, file: Deno.FsFile, isTrapped: boolean): MappedDevice {
  const { size } = file.statSync();
  if (!isTrapped) {
    if (size < FILE_LEAST_BYTES) {
      throw new BusbarError("unsupported", `${name}: BAR2 has ${size} bytes: no Type 2 GPU is as short`, {
        operation: "open a Type 2 GPU",
        path: name,
        hint: `give the ivshmem function a file of ${
          FILE_LEAST_BYTES >> 20
        } MiB or more: cxl_gpu serve prints QEMU's options`,
      });
    }
    const caps = Mapping.file(`${folder}/resource2`, DATA_OFFSET);
    const registers = new MappedMmio(name, caps.registers, DATA_OFFSET);
    let dataBytes: number;
    try {
      // Whether one is there at all is checked before anything is written.
      const generation = findGeneration((offset) => registers.read32(offset), size, name);
      if (!generation.isShared) {
        throw new BusbarError("absent", `${name}: the memory is none that a Type 2 GPU of busbar shares`, {
          path: name,
          hint: "cxl_gpu serve --file PATH prints the options of QEMU that share it",
        });
      }
      dataBytes = generation.caps === 0 ? PROFILES.v1.dataBytes : PROFILES.v2.dataBytes;
    } finally {
      registers[Symbol.dispose]();
      caps[Symbol.dispose]();
    }
    return mapSharedFile(name, `${folder}/resource2`, file, size, FILE_BAR4_OFFSET, dataBytes, `${folder}/resource0`);
  }
  const window = Mapping.file(`${folder}/resource2`, size, { writable: true });
  const registers = new MappedMmio(name, window.registers, size);
  const bar4Bytes = sizeOf(`${folder}/resource4`);
  const bar4 = bar4Bytes === 0 ? null : Mapping.file(`${folder}/resource4`, bar4Bytes, { writable: true });
  return {
    name,
    registers,
    data: null,
    bar4: bar4?.bytes() ?? null,
    lock: fileLock(file),
    isShared: false,
    ring: null,
    release: () => {
      registers[Symbol.dispose]();
      window[Symbol.dispose]();
      bar4?.[Symbol.dispose]();
      file.close();
    },
  };
}

/** Bytes of a BAR by its file; 0 where there is none. */
function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch {
    return 0;
  }
}

/** The lock on an open file. */
export function fileLock(file: Deno.FsFile): ExchangeLock {
  return { tryLock: () => file.tryLockSync(true), unlock: () => file.unlockSync() };
}
