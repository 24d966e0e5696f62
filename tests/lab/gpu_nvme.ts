/**
 * Kernels of a software GPU drive the emulated controller through VFIO, against the kernel's driver. On the machine `nvme`.
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";

import { closeAll } from "../../ffi/library.ts";
import { openGpu } from "../../src/gpu/cuda.ts";
import type { DirectJob, DirectOptions } from "../../src/gpu/nvme/direct_job.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import type { NvmeController } from "../../src/nvme/driver/controller.ts";
import { Random } from "../unit/random.ts";
import { blockDevice, driven, must } from "./controllers.ts";
import type { Lab } from "./lab.ts";

const NVME = "0000:01:00.0";
const DD_BYTES = 65_536;
/** Emulated, a doorbell costs what a call of the hypervisor costs: longer transfers need fewer. */
const USUAL_TRANSFER_BYTES = 32_768;

/** Each way to drive it, with a range of its own. */
export const HOST_MEMORY_WAYS: readonly DirectOptions[] = [
  { mode: "thread" },
  { mode: "warp" },
  { mode: "grid" },
  { mode: "warp", queues: 4 },
  { mode: "grid", doorbells: "shadow" },
];

async function withKernels(
  controller: NvmeController,
  gpuLocator: string,
  options: DirectOptions,
  transferBytes: number,
  body: (
    run: (job: Pick<DirectJob, "operation" | "lba" | "blocks" | "fill" | "onRead">) => Promise<void>,
  ) => Promise<void>,
): Promise<void> {
  const namespace = await controller.namespace(1).geometry();
  using gpu = openGpu(gpuLocator);
  await using direct = await NvmeDirect.open(controller.driver, gpu, options);
  await body(async (job) => {
    const transferBlocks = transferBytes / namespace.blockBytes;
    const { transfers, submitted } = await direct.run({ namespace, transferBlocks, timeoutMs: 60_000, ...job });
    assertEquals([transfers, submitted], [Number(job.blocks) / transferBlocks, Number(job.blocks) / transferBlocks]);
  });
}

/** SHA-256 of a range by the kernel's driver, around its cache. Both numbers are multiples of 64 KiB. */
export async function kernelSum(device: string, at: number, sizeBytes: number): Promise<string> {
  const range = `skip=${at / DD_BYTES} bs=${DD_BYTES} count=${sizeBytes / DD_BYTES}`;
  const sum = await must("sh", "-c", `dd if=${device} iflag=direct status=none ${range} | sha256sum`);
  return new TextDecoder().decode(sum).slice(0, 64);
}

/** How kernels drive it, and which GPU runs them. */
export interface DataTestOptions {
  /** Each way, with a range of its own. */
  readonly ways?: readonly DirectOptions[];
  /** Bytes of a transfer; 32 KiB by default. */
  readonly transferBytes?: number;
  /** The GPU; asked for in the guest. */
  readonly gpu?: () => Promise<string>;
}

/** Registers the data path of `sizeBytes` for each way, both directions. */
export function gpuNvmeDataTest(lab: Lab, what: string, sizeBytes: number, options: DataTestOptions = {}): void {
  const { ways = HOST_MEMORY_WAYS, transferBytes = USUAL_TRANSFER_BYTES } = options;
  const findGpu = options.gpu ?? (() => Promise.resolve("soft:cuda?memory=64MiB"));
  lab.test(`${what} written by kernels of a GPU are read by the kernel's driver, and the other way round`, async () => {
    const gpu = await findGpu();
    const noise = new Random("kernels of a GPU").noise(1 << 20);
    /** A way's data: noise in which each 512 bytes begin with their place. */
    const stamped = (way: number, offset: number, to: Uint8Array): void => {
      const view = new DataView(to.buffer, to.byteOffset, to.length);
      for (let at = 0; at < to.length; at += noise.length) {
        to.set(noise.subarray(0, Math.min(noise.length, to.length - at)), at);
      }
      for (let at = 0; at < to.length; at += 512) view.setFloat64(at, way * sizeBytes + offset + at);
    };
    const written = ways.map(() => createHash("sha256"));
    await driven(NVME, async (controller) => {
      const { blockBytes } = await controller.namespace(1).geometry();
      for (const [way, options] of ways.entries()) {
        await withKernels(controller, gpu, options, transferBytes, async (run) => {
          const lba = BigInt(way * sizeBytes / blockBytes);
          await run({
            operation: "write",
            lba,
            blocks: BigInt(sizeBytes / blockBytes),
            fill: (at, to) => {
              stamped(way, Number(at - lba) * blockBytes, to);
              written[way]?.update(to);
            },
          });
        });
      }
    }, { lentQueues: 4 });
    const device = await blockDevice(NVME, 1);
    for (const [way, hash] of written.entries()) {
      const sum = await kernelSum(device, way * sizeBytes, sizeBytes);
      assertEquals(
        sum,
        hash.digest("hex"),
        `${JSON.stringify(ways[way])}: written by kernels, read by the kernel's driver`,
      );
    }
    // The other way: noise of the kernel's own, for which its driver gives the sum.
    const given: string[] = [];
    for (const way of ways.keys()) {
      const range = `seek=${way * sizeBytes / DD_BYTES} bs=${DD_BYTES}`;
      const how = "oflag=direct iflag=fullblock status=none conv=fsync";
      await must("sh", "-c", `head -c ${sizeBytes} /dev/urandom | dd of=${device} ${range} ${how}`);
      given.push(await kernelSum(device, way * sizeBytes, sizeBytes));
    }
    await driven(NVME, async (controller) => {
      const { blockBytes } = await controller.namespace(1).geometry();
      for (const [way, options] of ways.entries()) {
        const read = createHash("sha256");
        await withKernels(controller, gpu, options, transferBytes, async (run) => {
          await run({
            operation: "read",
            lba: BigInt(way * sizeBytes / blockBytes),
            blocks: BigInt(sizeBytes / blockBytes),
            onRead: (_lba, bytes) => read.update(bytes),
          });
        });
        assertEquals(
          read.digest("hex"),
          given[way],
          `${JSON.stringify(options)}: written by the kernel's driver, read by kernels`,
        );
      }
    }, { lentQueues: 4 });
    assert(written.length === ways.length);
    closeAll();
  }, { timeoutMs: 800_000 });
}
