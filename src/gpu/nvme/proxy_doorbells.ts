/**
 * Doorbells in memory that a thread of the host forwards, for GPUs that may not map the registers of other devices.
 *
 * The kernels are the same: the words take the place of the registers. This puts the CPU into the data path.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { forwardDoorbells, MOST_FORWARDED } from "../../../ffi/nvme_queue.ts";
import type { QueueRings } from "../../nvme/queue/rings.ts";
import type { Gpu } from "../gpu.ts";
import type { PinnedBuffer } from "../memory.ts";
import type { Doorbells } from "./kernel_queue.ts";

const SLICE_MS = 20;
const PAIR_BYTES = 8;

/** Words for the doorbells of some queues. Dispose frees them: by then nothing forwards any more. */
export class ProxyDoorbells implements Disposable {
  readonly #rings: readonly QueueRings[];
  readonly #memory: PinnedBuffer;
  readonly #offsets: Uint32Array<ArrayBuffer>;
  readonly #known: Uint32Array<ArrayBuffer>;
  #isWanted = false;

  /** Takes the words. @throws {BusbarError} `out-of-range` for more queues than are forwarded at once */
  constructor(gpu: Gpu, rings: readonly QueueRings[]) {
    if (2 * rings.length > MOST_FORWARDED) {
      throw new BusbarError(
        "out-of-range",
        `${rings.length} queues: doorbells of ${MOST_FORWARDED / 2} are forwarded`,
        {
          operation: "forward doorbells",
        },
      );
    }
    this.#rings = rings;
    this.#memory = gpu.allocatePinned(rings.length * PAIR_BYTES);
    this.#offsets = Uint32Array.from(rings.flatMap(({ tailDoorbell, headDoorbell }) => [tailDoorbell, headDoorbell]));
    this.#known = new Uint32Array(this.#offsets.length);
    this.clear();
  }

  /** The places of a queue pair. */
  of(index: number): Doorbells {
    const tail = this.#memory.address + BigInt(index * PAIR_BYTES);
    return { tail, head: tail + 4n, shadow: null };
  }

  /** All queues are empty and new. */
  clear(): void {
    this.#memory.bytes.fill(0);
    this.#known.fill(0);
  }

  /**
   * Forwards until told to stop.
   *
   * @returns stops it, once what was stored by then has been forwarded. It throws {@linkcode BusbarError} `device-gone` when
   * the registers did not answer
   */
  start(): () => Promise<void> {
    this.#isWanted = true;
    let problem: unknown = null;
    const running = this.#run().catch((error) => problem = error);
    return async () => {
      this.#isWanted = false;
      await running;
      if (problem !== null) throw problem;
    };
  }

  async #run(): Promise<void> {
    const [first] = this.#rings;
    const { pointer } = this.#memory;
    if (first === undefined) return;
    while (this.#isWanted) {
      await forwardDoorbells(first.registers, pointer, this.#offsets, this.#known, SLICE_MS);
    }
    await forwardDoorbells(first.registers, pointer, this.#offsets, this.#known, 0);
  }

  /** Frees the words. */
  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}
