/**
 * Commands through the kernel's driver, for a controller that the kernel keeps: only those that change nothing, unless
 * whoever opens it wants to change the drive. Blocks are never read or written this way.
 *
 * Source: Linux include/uapi/linux/nvme_ioctl.h, drivers/nvme/host/ioctl.c.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { type Host, ifReadable } from "../../core/host.ts";
import type { Machine, NvmeAdmin } from "../../core/machine.ts";
import { hex } from "../../core/units.ts";
import { localMachine } from "../../../ffi/machine.ts";
import { SQE_WORDS } from "../../../ffi/nvme_queue.ts";
import type { ExecuteOptions, NvmeCommand, NvmeCompletion, NvmeTransport } from "../queue/command.ts";
import type { NvmeQueueKind } from "../tables/opcodes.ts";

/** Admin commands that change nothing: Get Log Page, Identify, Get Features, Get LBA Status. */
const HARMLESS: readonly number[] = [0x02, 0x06, 0x0a, 0x86];

const GET_LOG_PAGE = 0x02;
const RETAIN_ASYNC_EVENT = 1 << 15;
const TIMEOUT_MS = 15_000;

/** The kernel's name of the controller at a PCI address: `nvme0`; null where the kernel's driver does not have it. */
export function kernelName(host: Host, folder: string): string | null {
  return ifReadable(() => host.list(`${folder}/nvme`))?.find((name) => /^nvme\d+$/.test(name)) ?? null;
}

/** A controller that the kernel's driver has. */
export class KernelTransport implements NvmeTransport, AsyncDisposable {
  readonly name: string;
  readonly isReadOnly: boolean;
  readonly #device: NvmeAdmin;

  /**
   * Opens the kernel's device.
   *
   * @param name for messages
   * @param path `/dev/nvme0`
   * @param machine whose kernel it is
   * @param mayChange true: admin commands that change something are let through
   * @throws {BusbarError} as opening the device fails
   */
  constructor(name: string, path: string, machine: Machine = localMachine, mayChange: boolean = false) {
    this.name = name;
    this.isReadOnly = !mayChange;
    this.#device = machine.openNvmeAdmin(path);
  }

  async execute(queue: NvmeQueueKind, command: NvmeCommand, options: ExecuteOptions = {}): Promise<NvmeCompletion> {
    this.#checkHarmless(queue, command);
    const words = new Uint32Array(SQE_WORDS);
    words.set([command.opcode, command.nsid ?? 0, command.cdw2 ?? 0, command.cdw3 ?? 0]);
    words.set([command.cdw10 ?? 0, command.cdw11 ?? 0, command.cdw12 ?? 0], 10);
    words.set([command.cdw13 ?? 0, command.cdw14 ?? 0, command.cdw15 ?? 0], 13);
    // A log read that did not keep its event pending would take the event away from the kernel.
    if (queue === "admin" && command.opcode === GET_LOG_PAGE) words[10] = (words[10] ?? 0) | RETAIN_ASYNC_EVENT;
    const [data, metadata] = [memoryOf(command.data), memoryOf(command.metadata)];
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    const { status, result } = await this.#device.execute(words, data, metadata, timeoutMs);
    return { dw0: result, dw1: 0, status };
  }

  #checkHarmless(queue: NvmeQueueKind, command: NvmeCommand): void {
    if (queue === "admin" && (!this.isReadOnly || HARMLESS.includes(command.opcode))) return;
    const why = queue === "io"
      ? "blocks are read and written through the kernel's own block device"
      : "it may change something";
    throw new BusbarError(
      "busy",
      `${this.name}: the kernel's driver has it: ${queue} command ${hex(command.opcode, 2)} is not sent (${why})`,
      {
        operation: "send a command through the kernel",
        path: this.name,
        hint: "bind it to user space first: busbar bind vfio ADDRESS",
      },
    );
  }

  /** Closes the kernel's device. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#device[Symbol.dispose]();
    return Promise.resolve();
  }
}

function memoryOf(data: NvmeCommand["data"]): Uint8Array<ArrayBuffer> | null {
  if (data === undefined) return null;
  if (data instanceof Uint8Array) return data;
  const { buffer, offset = 0, sizeBytes = buffer.sizeBytes - offset } = data;
  return buffer.bytes.subarray(offset, offset + sizeBytes);
}
