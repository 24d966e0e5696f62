/**
 * A stream: work that a GPU does in order.
 * @module
 */

import type { CudaEvent, CudaStream } from "../../ffi/cuda_driver.ts";
import { GpuResource, type GpuWaitOptions } from "./context.ts";
import { NOT_READY } from "./results.ts";

/** Work that the GPU does in order. */
export class GpuStream extends GpuResource<CudaStream> {
  /** True when nothing is left to do. */
  get isDone(): boolean {
    const result = this.functions.cuStreamQuery(this.gpu.context, this.handle);
    if (result !== NOT_READY) this.gpu.check(result, "cuStreamQuery");
    return result === 0;
  }

  /** Waits until it is done. */
  async synchronize(options: GpuWaitOptions = {}): Promise<void> {
    await this.gpu.wait(
      "the stream",
      options,
      (limitUs) => this.functions.waitStream(this.gpu.context, this.handle, limitUs),
    );
  }

  /** Makes what is queued from now on wait for an event. */
  waitFor(event: GpuResource<CudaEvent>): void {
    this.gpu.check(
      this.functions.cuStreamWaitEvent(this.gpu.context, this.handle, event.handle, 0),
      "cuStreamWaitEvent",
    );
  }

  /** Gives it back to the driver. */
  protected release(stream: CudaStream): number {
    return this.functions.cuStreamDestroy_v2(this.gpu.context, stream);
  }
}
