/**
 * Memory that a GPU reaches: its own, pinned host memory, and registered host memory.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { memoryAt } from "../../ffi/cuda.ts";
import { type GpuContext, GpuResource } from "./context.ts";
import type { HasDeviceAddress } from "./ptx.ts";
import type { GpuStream } from "./stream.ts";

/** Device memory. */
export class GpuBuffer extends GpuResource<bigint> implements HasDeviceAddress {
  /** Its length in bytes. */
  readonly sizeBytes: number;
  #copies = 0;

  /** Wraps memory; {@linkcode Gpu.allocate} makes it. */
  constructor(gpu: GpuContext, address: bigint, sizeBytes: number) {
    super(gpu, address);
    this.sizeBytes = sizeBytes;
  }

  /** Its first byte, as the GPU sees it. */
  get address(): bigint {
    return this.handle;
  }

  /** Copies bytes to the GPU, from `offset` of the buffer. */
  async write(bytes: Uint8Array<ArrayBuffer>, offset: number = 0): Promise<void> {
    const to = this.#place(offset, bytes.length);
    await this.#copying(
      () => this.functions.cuMemcpyHtoD_v2(this.gpu.context, to, bytes, BigInt(bytes.length)),
      "cuMemcpyHtoD_v2",
    );
  }

  /** Copies bytes from the GPU. */
  async read(sizeBytes: number = this.sizeBytes, offset: number = 0): Promise<Uint8Array<ArrayBuffer>> {
    return await this.readInto(new Uint8Array(sizeBytes), offset);
  }

  /** Copies from the GPU into given memory, and returns it. */
  async readInto(bytes: Uint8Array<ArrayBuffer>, offset: number = 0): Promise<Uint8Array<ArrayBuffer>> {
    const from = this.#place(offset, bytes.length);
    await this.#copying(
      () => this.functions.cuMemcpyDtoH_v2(this.gpu.context, bytes, from, BigInt(bytes.length)),
      "cuMemcpyDtoH_v2",
    );
    return bytes;
  }

  /** Copies another buffer's bytes into this one, on the GPU. */
  async copyFrom(other: GpuBuffer, sizeBytes: number = Math.min(this.sizeBytes, other.sizeBytes)): Promise<void> {
    const [to, from] = [this.#place(0, sizeBytes), other.#place(0, sizeBytes)];
    await this.#copying(
      () => this.functions.cuMemcpyDtoD_v2(this.gpu.context, to, from, BigInt(sizeBytes)),
      "cuMemcpyDtoD_v2",
    );
  }

  /** Queues a fill of the whole buffer with a byte, or with values of 2 or 4 bytes. */
  fill(value: number, widthBytes: 1 | 2 | 4 = 1, stream?: GpuStream): void {
    const { functions } = this;
    const call =
      { 1: functions.cuMemsetD8Async, 2: functions.cuMemsetD16Async, 4: functions.cuMemsetD32Async }[widthBytes];
    if (
      this.sizeBytes % widthBytes !== 0 || !(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * widthBytes))
    ) {
      throw new BusbarError("out-of-range", `a fill of ${this.sizeBytes} bytes with ${value} of ${widthBytes} bytes`);
    }
    const count = BigInt(this.sizeBytes / widthBytes);
    this.gpu.check(call(this.gpu.context, this.address, value, count, stream?.handle ?? null), "cuMemsetAsync");
  }

  /** Queues a copy from pinned memory, which must stay until the stream has done it. */
  queueWrite(
    from: PinnedBuffer,
    stream?: GpuStream,
    sizeBytes: number = Math.min(this.sizeBytes, from.sizeBytes),
  ): void {
    const to = this.#place(0, sizeBytes);
    const { context } = this.gpu;
    const result = this.functions.cuMemcpyHtoDAsync_v2(
      context,
      to,
      from.bytes,
      BigInt(sizeBytes),
      stream?.handle ?? null,
    );
    this.gpu.check(result, "cuMemcpyHtoDAsync_v2");
  }

  /**
   * Queues a copy from any host memory, which must stay until the stream has done it.
   *
   * @param offset of this buffer
   */
  queueCopy(from: Uint8Array<ArrayBuffer>, offset: number, stream: GpuStream): void {
    const to = this.#place(offset, from.length);
    const size = BigInt(from.length);
    const result = this.functions.cuMemcpyHtoDAsync_v2(this.gpu.context, to, from, size, stream.handle);
    this.gpu.check(result, "cuMemcpyHtoDAsync_v2");
  }

  /** Queues a copy to pinned memory, which must stay until the stream has done it. */
  queueRead(to: PinnedBuffer, stream?: GpuStream, sizeBytes: number = Math.min(this.sizeBytes, to.sizeBytes)): void {
    const from = this.#place(0, sizeBytes);
    const { context } = this.gpu;
    const result = this.functions.cuMemcpyDtoHAsync_v2(
      context,
      to.bytes,
      from,
      BigInt(sizeBytes),
      stream?.handle ?? null,
    );
    this.gpu.check(result, "cuMemcpyDtoHAsync_v2");
  }

  async #copying(copy: () => Promise<number>, name: string): Promise<void> {
    this.#copies++;
    try {
      this.gpu.check(await copy(), name);
    } finally {
      this.#copies--;
    }
  }

  #place(offset: number, sizeBytes: number): bigint {
    if (!(Number.isInteger(offset) && offset >= 0 && sizeBytes >= 0 && offset + sizeBytes <= this.sizeBytes)) {
      throw new BusbarError(
        "out-of-range",
        `${sizeBytes} bytes at ${offset} of a GPU buffer of ${this.sizeBytes} bytes`,
      );
    }
    return this.address + BigInt(offset);
  }

  /** Refuses while a copy runs. */
  protected override detach(): void {
    if (this.#copies > 0) throw new BusbarError("bug", "a GPU buffer was freed while a copy ran: await the copy first");
  }

  /** Gives it back to the driver. */
  protected release(address: bigint): number {
    return this.functions.cuMemFree_v2(this.gpu.context, address);
  }
}

/** Pinned host memory: the GPU copies from and to it by itself, and kernels reach it. */
export class PinnedBuffer extends GpuResource<Deno.PointerObject> implements HasDeviceAddress {
  /** Its length in bytes. */
  readonly sizeBytes: number;
  /** Its first byte, as the GPU sees it. */
  readonly address: bigint;
  #bytes: ArrayBuffer;

  /** Wraps memory; {@linkcode Gpu.allocatePinned} makes it. */
  constructor(gpu: GpuContext, pointer: Deno.PointerObject, sizeBytes: number) {
    super(gpu, pointer);
    this.sizeBytes = sizeBytes;
    this.address = gpu.deviceAddressOf(pointer);
    this.#bytes = memoryAt(pointer, sizeBytes);
  }

  /** The first byte, for calls in C. Valid until dispose. */
  get pointer(): Deno.PointerObject {
    return this.handle;
  }

  /** The memory. Empty after dispose. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#bytes);
  }

  /** Takes views of its memory away. */
  protected override detach(): void {
    this.#bytes.transfer(0);
    this.#bytes = new ArrayBuffer(0);
  }

  /** Gives it back to the driver. */
  protected release(pointer: Deno.PointerObject): number {
    return this.functions.cuMemFreeHost(this.gpu.context, pointer);
  }
}

/** Memory of this process that the GPU was let at. */
export class RegisteredMemory extends GpuResource<Deno.PointerObject> implements HasDeviceAddress {
  /** Its length in bytes. */
  readonly sizeBytes: number;

  /** Wraps memory; {@linkcode Gpu.register} makes it. */
  constructor(gpu: GpuContext, pointer: Deno.PointerObject, sizeBytes: number) {
    super(gpu, pointer);
    this.sizeBytes = sizeBytes;
  }

  /** Its first byte, as the GPU sees it. */
  get address(): bigint {
    return this.gpu.deviceAddressOf(this.handle);
  }

  /** Gives it back to the driver. */
  protected release(pointer: Deno.PointerObject): number {
    return this.functions.cuMemHostUnregister(this.gpu.context, pointer);
  }
}
