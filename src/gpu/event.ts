/**
 * An event: a point in a stream, to wait for and to measure between.
 * @module
 */

import type { CudaEvent } from "../../ffi/cuda_driver.ts";
import { GpuResource, type GpuWaitOptions } from "./context.ts";
import type { GpuStream } from "./stream.ts";

/** A point in a stream. */
export class GpuEvent extends GpuResource<CudaEvent> {
  /** Queues it: it is reached when all before it is done. */
  record(stream?: GpuStream): void {
    this.gpu.check(
      this.functions.cuEventRecord(this.gpu.context, this.handle, stream?.handle ?? null),
      "cuEventRecord",
    );
  }

  /** Waits until it was reached. */
  async synchronize(options: GpuWaitOptions = {}): Promise<void> {
    await this.gpu.wait(
      "the event",
      options,
      (limitUs) => this.functions.waitEvent(this.gpu.context, this.handle, limitUs),
    );
  }

  /** Milliseconds from an earlier event to this one; both were reached. Resolution about 0.5 µs. */
  millisecondsSince(earlier: GpuEvent): number {
    const out = new Float32Array(1);
    const result = this.functions.cuEventElapsedTime(this.gpu.context, out, earlier.handle, this.handle);
    this.gpu.check(result, "cuEventElapsedTime");
    return out[0] ?? 0;
  }

  /** Gives it back to the driver. */
  protected release(event: CudaEvent): number {
    return this.functions.cuEventDestroy_v2(this.gpu.context, event);
  }
}
