/**
 * What the objects of a GPU share: the context that they live in, its waits, and handles that are inert after dispose.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type { CudaContext, CudaDriver } from "../../ffi/cuda_driver.ts";

/** How long a wait may take. */
export interface GpuWaitOptions {
  /** Milliseconds; 10,000 by default. */
  readonly timeoutMs?: number;
  /** Ends the wait early. */
  readonly signal?: AbortSignal | undefined;
}

/** A CUDA driver that was started. */
export interface StartedCuda extends Disposable {
  /** The driver's functions. */
  readonly driver: CudaDriver;
  /** The newest CUDA version that the driver knows, as 1000 × major + 10 × minor. */
  readonly version: number;
}

/** What memory, modules, streams and events need of the GPU that they belong to. */
export interface GpuContext {
  /** The name of the GPU. */
  readonly name: string;
  /** The driver's functions. */
  readonly driver: CudaDriver;
  /** The driver's context. @throws {BusbarError} `closed` */
  readonly context: CudaContext;
  /** Does nothing for success. @throws {CudaError} */
  check(result: number, name: string): void;
  /** Asks `look`, which waits at most that many microseconds, until it no longer says "not ready". */
  wait(what: string, options: GpuWaitOptions, look: (limitUs: number) => number): Promise<void>;
  /** The device address of pinned or registered memory. */
  deviceAddressOf(memory: Deno.PointerObject): bigint;
  /** Gives something back to the driver once the GPU is idle. */
  releaseWhenIdle(release: () => number): void;
  /** Called by what came from here, when it goes. */
  forget(child: Disposable): void;
}

/** What belongs to a GPU and has a handle; inert after dispose. */
export abstract class GpuResource<H extends bigint | Deno.PointerObject> implements Disposable {
  /** The GPU that it belongs to. */
  readonly gpu: GpuContext;
  #handle: readonly [H] | null;

  /** Wraps a handle. */
  constructor(gpu: GpuContext, handle: H) {
    this.gpu = gpu;
    this.#handle = [handle];
  }

  /** The driver's handle. */
  get handle(): H {
    if (this.#handle === null) {
      throw new BusbarError("closed", `something of ${this.gpu.name} was used after it was closed`);
    }
    return this.#handle[0];
  }

  /** The driver's functions. */
  protected get functions(): CudaDriver["functions"] {
    return this.gpu.driver.functions;
  }

  /** Gives the handle back to the driver. */
  protected abstract release(handle: H): number;

  /** Takes views of its memory away. */
  protected detach(): void {}

  /** Takes it away. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (this.#handle === null) return;
    const [handle] = this.#handle;
    this.detach();
    this.gpu.releaseWhenIdle(() => this.release(handle));
    this.#handle = null;
    this.gpu.forget(this);
  }
}
