/**
 * Commands and completions, whatever carries them: queues of our own, or the kernel's ioctl.
 *
 * Source: NVM Express Base 2.0 §3.3.3 (submission queue entry), §3.3.3.2 (completion queue entry).
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";
import type { NvmeQueueKind } from "../tables/opcodes.ts";

/** The part of a DMA buffer that a command reads or writes. */
export interface DmaRange {
  /** The buffer. */
  readonly buffer: DmaBuffer;
  /** First byte; 0 by default. Dword aligned. */
  readonly offset?: number;
  /** How many bytes; to the end by default. */
  readonly sizeBytes?: number;
}

/** A command. Its identifier and data pointers are filled in by whoever carries it. */
export interface NvmeCommand {
  /** OPC. Its two lowest bits say which way data goes: 0 none, 1 to the controller, 2 to the host. */
  readonly opcode: number;
  /** NSID; 0 by default. */
  readonly nsid?: number;
  /** Command dword 2. */
  readonly cdw2?: number;
  /** Command dword 3. */
  readonly cdw3?: number;
  /** Command dword 10. */
  readonly cdw10?: number;
  /** Command dword 11. */
  readonly cdw11?: number;
  /** Command dword 12. */
  readonly cdw12?: number;
  /** Command dword 13. */
  readonly cdw13?: number;
  /** Command dword 14. */
  readonly cdw14?: number;
  /** Command dword 15. */
  readonly cdw15?: number;
  /**
   * What is transferred: ordinary memory, which is copied through memory that the device can reach, or a part of a DMA
   * buffer, which is not copied.
   */
  readonly data?: Uint8Array<ArrayBuffer> | DmaRange;
  /** Separate metadata, in the same way. */
  readonly metadata?: Uint8Array<ArrayBuffer> | DmaRange;
}

/** How a command ended. */
export interface NvmeCompletion {
  /** Command specific result. */
  readonly dw0: number;
  /** Second command specific result (Zone Append: high half of the LBA); 0 where the way to the controller hides it. */
  readonly dw1: number;
  /** The status field without the phase bit: SC 7:0, SCT 10:8, CRD 12:11, More 13, DNR 14. 0 is success. */
  readonly status: number;
}

/** How long and how a command may be waited for. */
export interface ExecuteOptions {
  /** Milliseconds until the command counts as lost; the carrier's default otherwise. */
  readonly timeoutMs?: number;
  /** Ends the wait early. */
  readonly signal?: AbortSignal | undefined;
}

/** Something that carries commands to a controller. */
export interface NvmeTransport {
  /** For messages: the locator it was opened by. */
  readonly name: string;
  /** True when only commands that change nothing are let through. */
  readonly isReadOnly: boolean;
  /**
   * Carries one command. A status other than 0 is a result, not an error.
   *
   * @throws {BusbarError} `timeout`, `device-gone`, `device-failed` (fatal status), `permission`, `unsupported`
   */
  execute(queue: NvmeQueueKind, command: NvmeCommand, options?: ExecuteOptions): Promise<NvmeCompletion>;
}
