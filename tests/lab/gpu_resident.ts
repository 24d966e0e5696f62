/**
 * A kernel that stays drives the emulated controller through VFIO, against the kernel's driver.
 * @module
 */

import { assertEquals } from "@std/assert";
import { createHash } from "node:crypto";

import { closeAll } from "../../ffi/library.ts";
import { openGpu } from "../../src/gpu/cuda.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { ResidentKernel } from "../../src/gpu/resident.ts";
import { Random } from "../unit/random.ts";
import { blockDevice, driven, must } from "./controllers.ts";
import { kernelSum } from "./gpu_nvme.ts";
import type { Lab } from "./lab.ts";

const NVME = "0000:01:00.0";
const REQUEST_BYTES = 65_536;

async function withResident(body: (resident: ResidentKernel, blockBytes: number) => Promise<void>): Promise<void> {
  await driven(NVME, async (controller) => {
    const namespace = await controller.namespace(1).geometry();
    using gpu = openGpu("soft:cuda?memory=64MiB");
    await using direct = await NvmeDirect.open(controller.driver, gpu, { mode: "warp", depth: 32 });
    await using resident = await ResidentKernel.start(direct, namespace, await controller.maxTransferBytes(), {
      dataBytes: REQUEST_BYTES,
      mayWrite: true,
      timeoutMs: 60_000,
    });
    await body(resident, namespace.blockBytes);
    assertEquals(controller.driver.resets, 0);
  }, { lentQueues: 1 });
}

/** Registers requests over `sizeBytes`, both directions. */
export function gpuResidentTest(lab: Lab, sizeBytes: number): void {
  const title = `${
    sizeBytes >> 20
  } MiB that a kernel that stays wrote are read by the kernel's driver, and the other way round`;
  lab.test(title, async () => {
    const data = new Random("a kernel that stays").noise(sizeBytes);
    const each = async (
      resident: ResidentKernel,
      ask: (at: number) => Promise<unknown>,
    ): Promise<void> => {
      const running: Promise<unknown>[] = [];
      for (let at = 0; at < sizeBytes; at += REQUEST_BYTES) {
        await resident.room();
        running.push(ask(at));
      }
      await Promise.all(running);
    };
    await withResident(async (resident, blockBytes) => {
      await each(resident, (at) => resident.write(BigInt(at / blockBytes), data.subarray(at, at + REQUEST_BYTES)));
      await resident.flush();
    });
    const device = await blockDevice(NVME, 1);
    assertEquals(await kernelSum(device, 0, sizeBytes), createHash("sha256").update(data).digest("hex"));
    const how = "oflag=direct iflag=fullblock status=none conv=fsync";
    await must("sh", "-c", `head -c ${sizeBytes} /dev/urandom | dd of=${device} bs=${REQUEST_BYTES} ${how}`);
    const given = await kernelSum(device, 0, sizeBytes);
    await withResident(async (resident, blockBytes) => {
      const seen = new Uint8Array(sizeBytes);
      await each(resident, (at) =>
        resident.read(BigInt(at / blockBytes), REQUEST_BYTES / blockBytes, {
          into: seen.subarray(at, at + REQUEST_BYTES),
        }));
      assertEquals(createHash("sha256").update(seen).digest("hex"), given);
    });
    closeAll();
  }, { timeoutMs: 240_000 });
}
