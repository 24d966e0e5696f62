/**
 * The CUDA driver, started, and the GPUs that it sees.
 * @module
 */

import type { Locator } from "../core/locator.ts";
import { formatPciAddress, parsePciAddress, type PciAddress } from "../core/pci_address.ts";
import type { CudaDriver } from "../../ffi/cuda_driver.ts";
import { openCudaDevice, openCudaDriver } from "./driver.ts";
import { Gpu } from "./gpu.ts";
import { checkCuda } from "./results.ts";

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
   * Starts a driver and opens one GPU; dispose of the GPU closes both.
   *
   * @param which a locator (`soft:cuda?profile=sm_90`, `cuda:0`, `cuda:LIBRARY?device=1`, a PCI address), or the ordinal of
   *   a device of the driver that `BUSBAR_CUDA` chooses. With a driver: an ordinal or a PCI address
   * @param driver an open driver, to take instead
   *
   * @example
   * ```ts
   * import { Cuda } from "./cuda.ts";
   * using gpu = Cuda.open("soft:cuda?profile=sm_86&memory=64MiB");
   * using buffer = gpu.allocate(4096);
   * await buffer.write(new Uint8Array([1, 2, 3]));
   * console.assert((await buffer.read(3))[2] === 3);
   * ```
   */
  static open(which: number | string | PciAddress = 0, driver?: CudaDriver): Gpu {
    const device = driver === undefined && typeof which === "string" ? openCudaDevice(which) : null;
    const cuda = Cuda.start(device?.driver ?? driver);
    try {
      return cuda.gpu(device?.which ?? which, true);
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

/** How a GPU is opened. */
export interface OpenGpuOptions {
  /** An open driver to take; the locator, `cuda:N` or a PCI address, then only names one of its devices. */
  readonly driver?: CudaDriver;
}

/**
 * Starts a driver and opens one GPU of it: `soft:cuda?profile=sm_90`, `cuda:0`, `cuda:LIBRARY?device=1`, or a PCI address.
 * Dispose of the GPU closes the driver.
 *
 * @throws {BusbarError} `usage` for other locators, `library` where there is no driver; {@linkcode CudaError}
 *
 * @example
 * ```ts
 * import { openGpu } from "./cuda.ts";
 * using gpu = openGpu("soft:cuda?profile=sm_90&memory=64MiB");
 * using buffer = gpu.allocate(4096);
 * await buffer.write(new Uint8Array([1, 2, 3]));
 * console.assert((await buffer.read(3))[2] === 3);
 * ```
 */
export function openGpu(locator: string | Locator, options: OpenGpuOptions = {}): Gpu {
  const { driver, which } = openCudaDevice(locator, options.driver);
  return Cuda.open(which, driver);
}
