/**
 * A command that the driver carries: from its memory being ready to its promise, and to the memory being free again.
 * @module
 */

import { isBusbarError } from "../../core/error.ts";
import { hex } from "../../core/units.ts";
import type { NvmeCompletion } from "../queue/command.ts";
import { QueuedCommand, type QueuePair } from "../queue/queue_pair.ts";
import type { StagedCommand } from "../queue/staged_command.ts";
import type { NvmeQueueKind } from "../tables/opcodes.ts";

/** What a command needs of the driver. */
export interface Carrier {
  /** The controller is done with it: its words are free. */
  readonly done: (words: Uint32Array<ArrayBuffer>) => void;
  /** Nobody waits for it any longer, and the controller may still carry it out: its memory is kept. */
  readonly abandoned: () => void;
  /** Its time is over: sees to it that the controller is done with it. */
  readonly recover: (command: CarriedCommand) => Promise<void>;
}

/** What a command is made of. */
export interface CarriedParts {
  /** Where it is issued. */
  readonly pair: QueuePair;
  /** For its name. */
  readonly queue: NvmeQueueKind;
  /** For its name. */
  readonly opcode: number;
  /** Its words and memory. */
  readonly staged: StagedCommand;
  /** Milliseconds until it counts as lost. */
  readonly limitMs: number;
  /** Its promise. */
  readonly resolve: (completion: NvmeCompletion) => void;
  /** Its promise. */
  readonly reject: (error: unknown) => void;
}

/** A command on its way. */
export class CarriedCommand extends QueuedCommand {
  readonly #carrier: Carrier;
  readonly #parts: CarriedParts;
  /** Its 16 words. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** Milliseconds until it counts as lost. */
  readonly limitMs: number;
  /** Its promise is settled, or is about to be: what comes later changes nothing. */
  #isEnded = false;
  #stopListening: (() => void) | null = null;

  /** Issued by the driver. */
  constructor(carrier: Carrier, parts: CarriedParts) {
    super();
    this.#carrier = carrier;
    this.#parts = parts;
    this.words = parts.staged.words;
    this.limitMs = parts.limitMs;
  }

  /** Where it was issued. */
  get pair(): QueuePair {
    return this.#parts.pair;
  }

  /** For messages; its number where the table of opcodes has none. */
  get name(): string {
    const { queue, opcode } = this.#parts;
    return `${queue === "admin" ? "admin" : "I/O"} command ${hex(opcode, 2)}`;
  }

  /** Gives up waiting when the signal is aborted. The command itself goes on. */
  endBy(signal: AbortSignal): void {
    const onAbort = (): void => {
      if (this.#isEnded) return;
      this.#end();
      // One that never left has nobody who could use its memory, but stays in the list: so it is kept as well.
      this.#carrier.abandoned();
      this.#parts.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#stopListening = () => signal.removeEventListener("abort", onAbort);
  }

  /** Copies what was read, frees its memory, and settles its promise. */
  completed(dw0: number, dw1: number, status: number): void {
    if (this.#isEnded) return;
    this.#end();
    const { staged, resolve, reject } = this.#parts;
    try {
      if (status === 0) staged.copyOut();
    } catch (error) {
      this.#free();
      reject(error);
      return;
    }
    this.#free();
    resolve({ dw0, dw1, status });
  }

  /** Settles its promise once the controller is done with its memory, or that is given up. */
  failed(error: unknown): void {
    if (this.#isEnded) return;
    this.#end();
    void this.#fail(error);
  }

  /** Memory of a command that the controller may still carry out is only free once that is over. */
  async #fail(error: unknown): Promise<void> {
    const { pair, reject } = this.#parts;
    const isDone = pair.isDone(this);
    if (!isDone && isBusbarError(error, "timeout")) await this.#carrier.recover(this);
    else if (!isDone) {
      this.#carrier.abandoned();
      reject(error);
      return;
    }
    this.#free();
    reject(error);
  }

  #free(): void {
    this.#parts.staged.release();
    this.#carrier.done(this.words);
  }

  #end(): void {
    this.#isEnded = true;
    this.#stopListening?.();
    this.#stopListening = null;
  }
}
