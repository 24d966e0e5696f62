/**
 * Modules, the kernels in them, and their launch.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { handleFrom } from "../../ffi/cuda.ts";
import type { CudaFunction, CudaModule } from "../../ffi/cuda_driver.ts";
import { type GpuContext, GpuResource } from "./context.ts";
import { type KernelArgument, packArguments, type PtxKernel } from "./ptx.ts";
import { CudaError, INVALID_VALUE } from "./results.ts";
import type { GpuStream } from "./stream.ts";

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

/** A loaded module. */
export class GpuModule extends GpuResource<CudaModule> {
  /** The kernels that its PTX declares; null for a cubin. */
  readonly kernels: readonly PtxKernel[] | null;

  /** Wraps a module; {@linkcode Gpu.module} loads it. */
  constructor(gpu: GpuContext, handle: CudaModule, kernels: readonly PtxKernel[] | null) {
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
