/**
 * A software NVMe controller under our driver, with the device itself at hand.
 * @module
 */

import { assert } from "@std/assert";

import type { SoftDevice } from "../../ffi/soft.ts";
import { BusbarError, type ErrorCode } from "../../src/core/error.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { type DriverOptions, NvmeDriver } from "../../src/nvme/driver/driver.ts";
import { runIoJob } from "../../src/nvme/jobs/io_job.ts";
import { openSoftDevice } from "../../src/pci/soft_device.ts";
import { withLibraries } from "./setup.ts";

/** As {@linkcode withLibraries}, with the libraries that a driver opens besides: for its queues, and for its interrupts. */
export function withDriverLibraries(): void {
  withLibraries();
  Deno.test.beforeAll(async () => {
    const one = await openController("", { wait: "interrupt" });
    await one.controller.namespace(1).read(0, new Uint8Array(512));
    const namespace = await one.controller.namespace(1).geometry();
    const job = {
      namespace,
      lba: 0n,
      blocks: 1n,
      transferBlocks: 1,
      depth: 1,
      queues: 1,
      readShare: 1,
      randomSeed: null,
    };
    await runIoJob(one.driver, job);
    await one[Symbol.asyncDispose]();
  });
}

/** A controller, the driver behind it and the software device behind that. Dispose closes all. */
export interface SoftController extends AsyncDisposable {
  readonly controller: NvmeController;
  readonly driver: NvmeDriver;
  readonly soft: SoftDevice;
}

/** Starts a software controller and drives it. `settings` is what follows the `?` of its locator. */
export async function openController(settings: string = "", options: DriverOptions = {}): Promise<SoftController> {
  const locator = parseLocator(settings === "" ? "soft:nvme" : `soft:nvme?${settings}`);
  assert(locator.kind === "soft");
  const device = openSoftDevice(locator);
  const driver = await NvmeDriver.start(device, options);
  const controller = NvmeController.over(driver);
  return {
    controller,
    driver,
    soft: device.soft,
    [Symbol.asyncDispose]: () => controller[Symbol.asyncDispose](),
  };
}

/** Waits for an error with this code, and returns it. */
export async function failsWith(code: ErrorCode, what: string, promise: Promise<unknown>): Promise<BusbarError> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof BusbarError, `${what}: ${error}`);
    assert(error.code === code, `${what}: ${error.code}, not ${code}: ${error.message}`);
    return error;
  }
  throw new Error(`${what}: did not fail`);
}

/** Bytes that can be recognised. */
export function noise(sizeBytes: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sizeBytes);
  let state = seed * 2_654_435_761 >>> 0 || 1;
  for (let i = 0; i < sizeBytes; i++) {
    state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d) + 0x9e3779b9 >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
