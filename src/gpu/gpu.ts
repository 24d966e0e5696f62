/**
 * A GPU: its memory, streams, events and kernels, through whichever CUDA driver is open.
 *
 * Everything here belongs to the primary context of its device, which the driver shares between all users in the process.
 * Each call makes that context current on the thread that runs it. Nothing blocks longer than 50 ms: waits are cut into
 * slices with a deadline, and copies of ordinary memory run on a thread of the pool.
 * @module
 */

import { Deadline, yieldToEventLoop } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import { formatPciAddress, parsePciAddress, type PciAddress } from "../core/pci_address.ts";
import { handleFrom, memoryAt, textOf } from "../../ffi/cuda.ts";
import type {
  CudaContext,
  CudaDriver,
  CudaEvent,
  CudaFunction,
  CudaModule,
  CudaStream,
} from "../../ffi/cuda_driver.ts";
import { gpuAttribute } from "./attributes.ts";
import { openCudaDriver } from "./driver.ts";
import { type HasDeviceAddress, type KernelArgument, packArguments, parsePtxKernels, type PtxKernel } from "./ptx.ts";
import { checkCuda, CudaError } from "./results.ts";

/** How long a wait may take. */
export interface GpuWaitOptions {
  /** Milliseconds; 10,000 by default. */
  readonly timeoutMs?: number;
  /** Ends the wait early. */
  readonly signal?: AbortSignal | undefined;
}

/** How a kernel is launched. */
export interface LaunchOptions {
  /** Blocks: x, or x and y, or x, y and z; 1 where not given. */
  readonly grid: number | readonly number[];
  /** Threads of a block, likewise. */
  readonly block: number | readonly number[];
  /** Dynamic shared memory in bytes; 0 by default. */
  readonly sharedBytes?: number;
  /** Where it is queued; the default stream by default. */
  readonly stream?: GpuStream | undefined;
}

const INVALID_VALUE = 1;
const NOT_READY = 600;
/** From here on results are faults of kernels, which the context then answers everything with. */
const FIRST_FAULT = 700;
const SLICE_US = 50_000;
const LOG_BYTES = 8192;
const DEFAULT_TIMEOUT_MS = 10_000;

/** The CUDA driver, started. */
export class Cuda implements Disposable {
  /** The driver's functions. */
  readonly driver: CudaDriver;
  /** The newest CUDA version that the driver knows, as 1000 × major + 10 × minor. */
  readonly version: number;

  private constructor(driver: CudaDriver) {
    this.driver = driver;
    this.version = outInt(driver, "cuDriverGetVersion", (out) => driver.functions.cuDriverGetVersion(null, out));
  }

  /**
   * Starts a driver; without one, that which `BUSBAR_CUDA` chooses. Dispose closes it.
   *
   * @throws {BusbarError} `library` where there is no driver; {@linkcode CudaError} where it does not start
   */
  static start(driver: CudaDriver = openCudaDriver()): Cuda {
    try {
      checkCuda(driver, driver.functions.cuInit(null, 0), "cuInit", { path: driver.name });
      return new Cuda(driver);
    } catch (error) {
      driver[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Starts the driver and opens one GPU; dispose of the GPU closes both.
   *
   * @param which its ordinal, or its PCI address
   *
   * @example
   * ```ts
   * import { openCudaDriver } from "./driver.ts";
   * import { Cuda } from "./gpu.ts";
   * using gpu = Cuda.open(0, openCudaDriver("soft"));
   * using buffer = gpu.allocate(4096);
   * await buffer.write(new Uint8Array([1, 2, 3]));
   * console.assert((await buffer.read(3))[2] === 3);
   * ```
   */
  static open(which: number | string | PciAddress = 0, driver?: CudaDriver): Gpu {
    const cuda = driver === undefined ? Cuda.start() : Cuda.start(driver);
    try {
      return cuda.gpu(which, true);
    } catch (error) {
      cuda[Symbol.dispose]();
      throw error;
    }
  }

  /** How many GPUs the driver sees. */
  get count(): number {
    return outInt(this.driver, "cuDeviceGetCount", (out) => this.driver.functions.cuDeviceGetCount(null, out));
  }

  /**
   * Opens a GPU by ordinal or PCI address.
   *
   * @param ownsCuda the GPU closes the driver when it is disposed of
   */
  gpu(which: number | string | PciAddress = 0, ownsCuda: boolean = false): Gpu {
    const { driver } = this;
    const device = typeof which === "number"
      ? outInt(driver, "cuDeviceGet", (out) => driver.functions.cuDeviceGet(null, out, which), `GPU ${which}`)
      : this.#deviceAt(typeof which === "string" ? parsePciAddress(which) : which);
    return new Gpu(this, device, ownsCuda);
  }

  #deviceAt(address: PciAddress): number {
    const name = formatPciAddress(address);
    const text = new TextEncoder().encode(`${name}\0`);
    const { functions } = this.driver;
    return outInt(
      this.driver,
      "cuDeviceGetByPCIBusId",
      (out) => functions.cuDeviceGetByPCIBusId(null, out, text),
      name,
    );
  }

  /** Closes the driver. Calling it again does nothing. */
  [Symbol.dispose](): void {
    this.driver[Symbol.dispose]();
  }
}

function outInt(
  driver: CudaDriver,
  name: string,
  call: (out: Int32Array<ArrayBuffer>) => number,
  path?: string,
): number {
  const out = new Int32Array(1);
  checkCuda(driver, call(out), name, { path: path ?? driver.name });
  return out[0] ?? 0;
}

/** A GPU that is open. Dispose takes everything away that came from it, then gives its context back. */
export class Gpu implements Disposable {
  /** The driver. */
  readonly cuda: Cuda;
  /** The driver's number for it. */
  readonly device: number;
  /** Its name. */
  readonly name: string;
  readonly #ownsCuda: boolean;
  readonly #children = new Set<Disposable>();
  readonly #leftovers: (() => number)[] = [];
  #isReset = false;
  #context: CudaContext | null;

  /** Opens a device; {@linkcode Cuda.gpu} does it. */
  constructor(cuda: Cuda, device: number, ownsCuda: boolean) {
    this.cuda = cuda;
    this.device = device;
    this.#ownsCuda = ownsCuda;
    const { driver } = cuda;
    const name = new Uint8Array(256);
    checkCuda(driver, driver.functions.cuDeviceGetName(null, name, name.length, device), "cuDeviceGetName");
    this.name = textOf(name);
    const out = new BigUint64Array(1);
    const result = driver.functions.cuDevicePrimaryCtxRetain(null, out, device);
    checkCuda(driver, result, "cuDevicePrimaryCtxRetain", { path: this.name });
    this.#context = handleFrom<CudaContext>(out);
  }

  /** The driver's functions, for calls that this class does not wrap. */
  get driver(): CudaDriver {
    return this.cuda.driver;
  }

  /** The context, for such calls. */
  get context(): CudaContext {
    if (this.#context === null) throw new BusbarError("closed", `${this.name}: used after it was closed`);
    return this.#context;
  }

  /** Its PCI address. */
  get address(): PciAddress {
    const text = new Uint8Array(32);
    const { functions } = this.driver;
    this.check(functions.cuDeviceGetPCIBusId(null, text, text.length, this.device), "cuDeviceGetPCIBusId");
    return parsePciAddress(textOf(text).toLowerCase());
  }

  /** Its UUID, as the management tools write it. */
  get uuid(): string {
    const bytes = new Uint8Array(16);
    this.check(this.driver.functions.cuDeviceGetUuid_v2(null, bytes, this.device), "cuDeviceGetUuid_v2");
    const digits = bytes.toHex();
    const groups = [[0, 8], [8, 12], [12, 16], [16, 20], [20, 32]].map(([from, to]) => digits.slice(from, to));
    return `GPU-${groups.join("-")}`;
  }

  /** The size of its memory in bytes. */
  get memoryBytes(): number {
    const out = new BigUint64Array(1);
    this.check(this.driver.functions.cuDeviceTotalMem_v2(null, out, this.device), "cuDeviceTotalMem_v2");
    return Number(out[0] ?? 0n);
  }

  /** How much of its memory nobody uses, in bytes. */
  get freeMemoryBytes(): number {
    const free = new BigUint64Array(1);
    this.check(this.driver.functions.cuMemGetInfo_v2(this.context, free, new BigUint64Array(1)), "cuMemGetInfo_v2");
    return Number(free[0] ?? 0n);
  }

  /** Compute capability, such as `9.0`. */
  get capability(): string {
    return `${this.attribute("COMPUTE_CAPABILITY_MAJOR")}.${this.attribute("COMPUTE_CAPABILITY_MINOR")}`;
  }

  /** An attribute by NVIDIA's name, or by number; null for one that the driver does not know. */
  attribute(which: string | number): number | null {
    const number = typeof which === "number" ? which : gpuAttribute(which)?.number;
    if (number === undefined) throw new BusbarError("usage", `'${which}' is no attribute that is known here`);
    const out = new Int32Array(1);
    const result = this.driver.functions.cuDeviceGetAttribute(null, out, number, this.device);
    if (result === INVALID_VALUE) return null;
    this.check(result, "cuDeviceGetAttribute");
    return out[0] ?? 0;
  }

  /** Device memory. */
  allocate(sizeBytes: number): GpuBuffer {
    const out = new BigUint64Array(1);
    this.check(this.driver.functions.cuMemAlloc_v2(this.context, out, sizeOf(sizeBytes)), "cuMemAlloc_v2");
    return this.#keep(new GpuBuffer(this, out[0] ?? 0n, sizeBytes));
  }

  /** Pinned host memory, which the GPU reaches at {@linkcode PinnedBuffer.address}. */
  allocatePinned(sizeBytes: number): PinnedBuffer {
    const out = new BigUint64Array(1);
    const DEVICE_MAP = 2;
    this.check(
      this.driver.functions.cuMemHostAlloc(this.context, out, sizeOf(sizeBytes), DEVICE_MAP),
      "cuMemHostAlloc",
    );
    return this.#keep(new PinnedBuffer(this, handleFrom<Deno.PointerObject>(out), sizeBytes));
  }

  /**
   * Lets the GPU reach memory of this process. Dispose of it before the memory is unmapped.
   *
   * @param memory the first byte
   * @param isIo true for a mapped BAR: no caching, and no page behind it
   */
  register(memory: Deno.PointerObject, sizeBytes: number, isIo: boolean = false): RegisteredMemory {
    const DEVICE_MAP = 2, IO_MEMORY = 4;
    const flags = DEVICE_MAP | (isIo ? IO_MEMORY : 0);
    const result = this.driver.functions.cuMemHostRegister_v2(this.context, memory, sizeOf(sizeBytes), flags);
    this.check(result, "cuMemHostRegister_v2");
    return this.#keep(new RegisteredMemory(this, memory, sizeBytes));
  }

  /** The device address of pinned or registered memory. */
  deviceAddressOf(memory: Deno.PointerObject): bigint {
    const out = new BigUint64Array(1);
    const result = this.driver.functions.cuMemHostGetDevicePointer_v2(this.context, out, memory, 0);
    this.check(result, "cuMemHostGetDevicePointer_v2");
    return out[0] ?? 0n;
  }

  /**
   * Loads a module.
   *
   * @param image PTX as text, or a cubin
   * @throws {CudaError} with the first line of the assembler's log in the message, and all of it in the hint
   */
  module(image: string | Uint8Array<ArrayBuffer>): GpuModule {
    const bytes = typeof image === "string" ? new TextEncoder().encode(`${image}\0`) : image;
    const out = new BigUint64Array(1);
    const info = new Uint8Array(LOG_BYTES);
    const log = new Uint8Array(LOG_BYTES);
    const result = this.driver.functions.load(this.context, bytes, info, log, LOG_BYTES, out);
    const text = textOf(log).trim();
    if (result > 0 && text !== "") {
      throw new CudaError(result, `load module: ${text.split("\n")[0]}`, {
        path: this.name,
        hint: `the assembler said:\n${text}`,
      });
    }
    this.check(result, "cuModuleLoadDataEx");
    const kernels = typeof image === "string" ? parsePtxKernels(image) : null;
    return this.#keep(new GpuModule(this, handleFrom<CudaModule>(out), kernels));
  }

  /** A stream. @param independent true: does not wait for the default stream */
  stream(independent: boolean = true): GpuStream {
    const out = new BigUint64Array(1);
    this.check(this.driver.functions.cuStreamCreate(this.context, out, independent ? 1 : 0), "cuStreamCreate");
    return this.#keep(new GpuStream(this, handleFrom<CudaStream>(out)));
  }

  /** An event, to measure and to wait for. */
  event(): GpuEvent {
    const out = new BigUint64Array(1);
    this.check(this.driver.functions.cuEventCreate(this.context, out, 0), "cuEventCreate");
    return this.#keep(new GpuEvent(this, handleFrom<CudaEvent>(out)));
  }

  /** Waits until the default stream and all that came from here are done. */
  async synchronize(options: GpuWaitOptions = {}): Promise<void> {
    const streams = [...this.#children].filter((child) => child instanceof GpuStream);
    for (const stream of [null, ...streams]) {
      await this.wait(
        "the GPU",
        options,
        (limitUs) => this.driver.functions.waitStream(this.context, stream?.handle ?? null, limitUs),
      );
    }
  }

  /** Asks `look`, which waits at most that many microseconds, until it no longer says "not ready". */
  async wait(what: string, options: GpuWaitOptions, look: (limitUs: number) => number): Promise<void> {
    const deadline = Deadline.after(options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    for (;;) {
      options.signal?.throwIfAborted();
      const late = deadline.expired;
      const result = look(Math.min(SLICE_US, Math.round(deadline.sliceMs * 1000)));
      if (result !== NOT_READY) return this.check(result, "cuStreamQuery");
      if (late) deadline.check(`${what} done`, this.name, "a kernel may loop for ever: closing the GPU ends it");
      await yieldToEventLoop(options.signal);
    }
  }

  /** Does nothing for success. @throws {CudaError} */
  check(result: number, name: string): void {
    if (result !== 0) checkCuda(this.driver, result, name, { path: this.name });
  }

  /**
   * Gives something back to the driver, which waits for the GPU first. While a kernel still runs after 50 ms, that would
   * hold the thread for as long as the kernel likes: then it is put off until the GPU is idle, or closed.
   */
  releaseWhenIdle(release: () => number): void {
    this.#leftovers.push(release);
    if (this.#context === null || this.#isReset || !this.#isIdle()) return;
    for (const leftover of this.#leftovers.splice(0)) {
      const result = leftover();
      // After a kernel's fault the context answers everything with that fault; it was reported when it happened.
      if (result > 0 && result < FIRST_FAULT) this.check(result, "release");
    }
  }

  /** Looks for at most 50 ms whether all streams are done. */
  #isIdle(): boolean {
    const streams = [...this.#children].filter((child) => child instanceof GpuStream);
    const end = performance.now() + SLICE_US / 1000;
    return [null, ...streams].every((stream) => {
      const limitUs = Math.max(0, Math.round((end - performance.now()) * 1000));
      return this.driver.functions.waitStream(this.context, stream?.handle ?? null, limitUs) !== NOT_READY;
    });
  }

  /** Called by what came from here, when it goes. */
  forget(child: Disposable): void {
    this.#children.delete(child);
  }

  #keep<T extends Disposable>(child: T): T {
    this.#children.add(child);
    return child;
  }

  /** Takes everything away. Calling it again does nothing. */
  [Symbol.dispose](): void {
    if (this.#context === null) return;
    const { driver } = this;
    // A kernel that does not end is ended by destroying all that is in the context, others' share of it too.
    this.#isReset = !this.#isIdle();
    if (this.#isReset) driver.functions.cuDevicePrimaryCtxReset_v2(null, this.device);
    // The last ones first: registered memory goes before what is below it.
    for (const child of [...this.#children].reverse()) child[Symbol.dispose]();
    this.#context = null;
    const result = driver.functions.cuDevicePrimaryCtxRelease_v2(null, this.device);
    if (this.#ownsCuda) this.cuda[Symbol.dispose]();
    checkCuda(driver, result, "cuDevicePrimaryCtxRelease_v2", { path: this.name });
  }
}

function sizeOf(sizeBytes: number): bigint {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0) return BigInt(sizeBytes);
  throw new BusbarError("out-of-range", `${sizeBytes} bytes of memory`, { operation: "allocate GPU memory" });
}

/** What belongs to a GPU and has a handle; inert after dispose. */
export abstract class GpuResource<H extends bigint | Deno.PointerObject> implements Disposable {
  /** The GPU that it belongs to. */
  readonly gpu: Gpu;
  #held: readonly [H] | null;

  /** Wraps a handle. */
  constructor(gpu: Gpu, handle: H) {
    this.gpu = gpu;
    this.#held = [handle];
  }

  /** The driver's handle. */
  get handle(): H {
    if (this.#held === null) {
      throw new BusbarError("closed", `something of ${this.gpu.name} was used after it was closed`);
    }
    return this.#held[0];
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
    if (this.#held === null) return;
    const [handle] = this.#held;
    this.detach();
    this.gpu.releaseWhenIdle(() => this.release(handle));
    this.#held = null;
    this.gpu.forget(this);
  }
}

/** Device memory. */
export class GpuBuffer extends GpuResource<bigint> implements HasDeviceAddress {
  /** Its length in bytes. */
  readonly sizeBytes: number;
  #copies = 0;

  /** Wraps memory; {@linkcode Gpu.allocate} makes it. */
  constructor(gpu: Gpu, address: bigint, sizeBytes: number) {
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
  constructor(gpu: Gpu, pointer: Deno.PointerObject, sizeBytes: number) {
    super(gpu, pointer);
    this.sizeBytes = sizeBytes;
    this.address = gpu.deviceAddressOf(pointer);
    this.#bytes = memoryAt(pointer, sizeBytes);
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
  constructor(gpu: Gpu, pointer: Deno.PointerObject, sizeBytes: number) {
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
  waitFor(event: GpuEvent): void {
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

/** A loaded module. */
export class GpuModule extends GpuResource<CudaModule> {
  /** The kernels that its PTX declares; null for a cubin. */
  readonly kernels: readonly PtxKernel[] | null;

  /** Wraps a module; {@linkcode Gpu.module} loads it. */
  constructor(gpu: Gpu, handle: CudaModule, kernels: readonly PtxKernel[] | null) {
    super(gpu, handle);
    this.kernels = kernels;
  }

  /**
   * A kernel by name.
   *
   * @throws {BusbarError} `absent`, with the kernels that there are
   */
  function(name: string): GpuFunction {
    const out = new BigUint64Array(1);
    const text = new TextEncoder().encode(`${name}\0`);
    const result = this.functions.cuModuleGetFunction(this.gpu.context, out, this.handle, text);
    const NOT_FOUND = 500;
    if (result === NOT_FOUND) {
      const names = this.kernels?.map((kernel) => kernel.name).join(", ");
      throw new CudaError(result, `get kernel '${name}'`, {
        path: this.gpu.name,
        hint: names === undefined ? "cuobjdump -elf lists the kernels" : `the module has ${names || "no kernels"}`,
      });
    }
    this.gpu.check(result, "cuModuleGetFunction");
    const handle = handleFrom<CudaFunction>(out);
    const kernel = this.kernels?.find((one) => one.name === name) ?? { name, parameters: this.#parametersOf(handle) };
    return new GpuFunction(this, handle, kernel);
  }

  /** What the driver knows of a kernel's parameters: places and sizes, no types. From CUDA 12.4 on. */
  #parametersOf(handle: CudaFunction): PtxKernel["parameters"] {
    const parameters: PtxKernel["parameters"][number][] = [];
    const offset = new BigUint64Array(1), size = new BigUint64Array(1);
    for (;;) {
      const index = BigInt(parameters.length);
      const result = this.functions.cuFuncGetParamInfo(this.gpu.context, handle, index, offset, size);
      if (result === INVALID_VALUE) return parameters;
      this.gpu.check(result, "cuFuncGetParamInfo");
      const sizeBytes = Number(size[0] ?? 0n);
      const isArray = ![1, 2, 4, 8].includes(sizeBytes);
      const type = isArray ? "b8" : `b${8 * sizeBytes}`;
      parameters.push({ name: `parameter ${index}`, type, offset: Number(offset[0] ?? 0n), sizeBytes, isArray });
    }
  }

  /** Gives it back to the driver. */
  protected release(module: CudaModule): number {
    return this.functions.cuModuleUnload(this.gpu.context, module);
  }
}

/** A kernel, ready to launch. It lives as long as its module. */
export class GpuFunction {
  /** The module that it is in. */
  readonly module: GpuModule;
  /** Its name and parameters. */
  readonly kernel: PtxKernel;
  readonly #handle: CudaFunction;

  /** Wraps a kernel; {@linkcode GpuModule.function} finds it. */
  constructor(module: GpuModule, handle: CudaFunction, kernel: PtxKernel) {
    this.module = module;
    this.kernel = kernel;
    this.#handle = handle;
  }

  /**
   * Queues the kernel and returns at once. A fault in it is reported by the next wait.
   *
   * @param values one for each parameter that it declares
   */
  launch(options: LaunchOptions, values: readonly KernelArgument[]): void {
    const { gpu } = this.module;
    // A kernel is gone with its module.
    void this.module.handle;
    const shape = Uint32Array.of(...axes(options.grid), ...axes(options.block), options.sharedBytes ?? 0);
    const bytes = packArguments(this.kernel, values);
    const stream = options.stream?.handle ?? null;
    const { functions } = gpu.driver;
    gpu.check(functions.launch(gpu.context, this.#handle, shape, stream, bytes, bytes.length), "cuLaunchKernel");
  }

  /** Registers that a thread of it uses. */
  get registers(): number {
    const REGISTERS = 4;
    const { gpu } = this.module;
    const { functions } = gpu.driver;
    const out = new Int32Array(1);
    gpu.check(functions.cuFuncGetAttribute(gpu.context, out, REGISTERS, this.#handle), "cuFuncGetAttribute");
    return out[0] ?? 0;
  }
}

function axes(size: number | readonly number[]): [number, number, number] {
  const [x = 1, y = 1, z = 1] = typeof size === "number" ? [size] : size;
  for (const axis of [x, y, z]) {
    if (!Number.isInteger(axis) || axis < 1 || axis > 0x7fff_ffff) {
      throw new BusbarError("out-of-range", `a grid or block of ${[x, y, z].join(" × ")}`, {
        operation: "launch kernel",
      });
    }
  }
  return [x, y, z];
}
