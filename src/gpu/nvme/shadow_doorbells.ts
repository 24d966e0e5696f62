/**
 * Shadow doorbells: tails and heads in memory, and registers written only where the controller asks for it.
 *
 * Source: NVM Express Base 2.0 §5.8 (Doorbell Buffer Config), §3.1.2.2.
 * @module
 */

import type { DmaBuffer } from "../../core/dma.ts";
import { BusbarError } from "../../core/error.ts";
import type { DirectDriver } from "./direct_job.ts";
import type { QueueRings } from "../../nvme/queue/rings.ts";
import { statusError } from "../../nvme/tables/status.ts";
import type { Gpu } from "../gpu.ts";
import type { RegisteredMemory } from "../memory.ts";
import type { Doorbells } from "./kernel_queue.ts";
import { reach } from "./reach.ts";

const OPC_DOORBELL_BUFFER_CONFIG = 0x7c;

/**
 * Two pages that the controller and the GPU share. From {@linkcode configure} to the next reset the controller looks at them
 * for all I/O queues: the driver's own must rest that long. Dispose frees them: by then the controller was reset.
 */
export class ShadowDoorbells implements Disposable {
  readonly #driver: DirectDriver;
  readonly #memory: DmaBuffer;
  readonly #registered: RegisteredMemory;

  /** Takes the pages. @throws {CudaError} where the GPU cannot reach them */
  constructor(driver: DirectDriver, gpu: Gpu) {
    this.#driver = driver;
    // One page of doorbells, then one of EventIdx: as the two pages of one transfer, PRP1 and PRP2 point to them.
    this.#memory = driver.allocDma(2 * driver.pageBytes);
    try {
      this.#registered = reach(gpu, this.#memory.pointer, this.#memory.sizeBytes, "shadow doorbells");
    } catch (error) {
      this.#memory[Symbol.dispose]();
      throw error;
    }
  }

  /** The places of a queue pair. @throws {BusbarError} `unsupported` where they lie beyond the page */
  of(rings: QueueRings): Doorbells["shadow"] {
    const { strideBytes, id } = rings;
    const tail = 2 * id * strideBytes, head = tail + strideBytes;
    if (head + 4 > this.#driver.pageBytes) {
      throw new BusbarError("unsupported", `queue ${id}: its shadow doorbells lie beyond one page`, {
        operation: "use shadow doorbells",
        path: this.#driver.name,
      });
    }
    const at = (offset: number): bigint => this.#registered.address + BigInt(offset);
    const { pageBytes } = this.#driver;
    return { tail: at(tail), head: at(head), tailEvent: at(pageBytes + tail), headEvent: at(pageBytes + head) };
  }

  /**
   * Tells the controller of the pages, zeroed: all queues are empty and new.
   *
   * @throws {BusbarError} `device-failed` where the controller has no such command
   */
  async configure(): Promise<void> {
    this.#memory.bytes.fill(0);
    const { status } = await this.#driver.execute("admin", {
      opcode: OPC_DOORBELL_BUFFER_CONFIG,
      data: { buffer: this.#memory, sizeBytes: 2 * this.#driver.pageBytes },
    });
    if (status === 0) return;
    throw statusError(status, {
      operation: "Doorbell Buffer Config",
      path: this.#driver.name,
      hint: "OACS bit 8 says whether a controller has it (nvme_identify); --doorbells mmio does without",
    });
  }

  /** Frees the pages. */
  [Symbol.dispose](): void {
    this.#registered[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }
}
