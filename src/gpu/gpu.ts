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
import { parsePciAddress, type PciAddress } from "../core/pci_address.ts";
import { handleFrom, textOf } from "../../ffi/cuda.ts";
import type { CudaContext, CudaDriver, CudaEvent, CudaModule, CudaStream } from "../../ffi/cuda_driver.ts";
import { gpuAttribute } from "./attributes.ts";
import type { GpuContext, GpuWaitOptions, StartedCuda } from "./context.ts";
import { GpuEvent } from "./event.ts";
import { GpuBuffer, PinnedBuffer, RegisteredMemory } from "./memory.ts";
import { GpuModule } from "./module.ts";
import { parsePtxKernels } from "./ptx.ts";
import { checkCuda, CudaError, INVALID_VALUE, NOT_READY } from "./results.ts";
import { GpuStream } from "./stream.ts";

/** From here on results are faults of kernels, which the context then answers everything with. */
const FIRST_FAULT = 700;
const SLICE_US = 50_000;
const LOG_BYTES = 8192;
const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * A GPU that is open. Dispose takes everything away that came from it, then gives its context back.
 *
 * @example
 * ```ts
 * import { type Gpu, openGpu } from "@busbar/busbar";
 * const isNew = (gpu: Gpu): boolean => Number(gpu.capability) >= 9;
 * using gpu = openGpu("soft:cuda?profile=sm_90");
 * console.assert(isNew(gpu));
 * ```
 */
export class Gpu implements GpuContext, Disposable {
  /** The driver. */
  readonly cuda: StartedCuda;
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
  constructor(cuda: StartedCuda, device: number, ownsCuda: boolean) {
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
