/** The kernels of gpu_nvme on silicon, against the software controller in pinned memory. */

import { assertEquals } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { ResidentKernel } from "../../src/gpu/resident.ts";
import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import { openController } from "../soft/nvme_device.ts";

function whyNot(): string | null {
  try {
    using _cuda = Cuda.start(openCudaDriver(""));
    return null;
  } catch (error) {
    if (error instanceof BusbarError) return error.message;
    throw error;
  }
}

const reason = whyNot();

for (
  const options of [
    { mode: "thread" },
    { mode: "warp" },
    { mode: "grid", depth: 128 },
    { mode: "warp", queues: 4 },
    { mode: "grid", doorbells: "shadow" },
  ] as const
) {
  const title = `kernels on silicon write, read and verify a software controller: ${JSON.stringify(options)}`;
  Deno.test({
    name: reason === null ? title : `${title} (not run: ${reason})`,
    ignore: reason !== null,
    // The driver opens files and starts threads of its own, which stay.
    sanitizeResources: false,
    sanitizeOps: false,
    fn: async () => {
      await using one = await openController("size=16MiB", { lentQueues: 4 });
      using gpu = Cuda.open(0, openCudaDriver(""));
      await using direct = await NvmeDirect.open(one.driver, gpu, { ...options, registersAreMemory: true });
      const namespace = await one.controller.namespace(1).geometry();
      const pattern = new BlockPattern(11, namespace.blockBytes);
      const job = { namespace, lba: 0n, blocks: namespace.blocks, transferBlocks: 8, pattern } as const;
      const written = await direct.run({ ...job, operation: "write" });
      const read = await direct.run({ ...job, operation: "read" });
      assertEquals([written.transfers, read.transfers, read.mismatch], [4096, 4096, null]);
      if ("doorbells" in options) return;
      const seen = new Uint8Array(65_536);
      await one.controller.namespace(1).read(0, seen);
      assertEquals(pattern.check(seen, 0n), null, "by the processor");
    },
  });
}

const residentTitle = "a kernel that stays on silicon writes and reads a software controller by requests";
Deno.test({
  name: reason === null ? residentTitle : `${residentTitle} (not run: ${reason})`,
  ignore: reason !== null,
  sanitizeResources: false,
  sanitizeOps: false,
  fn: async () => {
    await using one = await openController("size=16MiB", { lentQueues: 1 });
    using gpu = Cuda.open(0, openCudaDriver(""));
    await using direct = await NvmeDirect.open(one.driver, gpu, { registersAreMemory: true });
    const namespace = await one.controller.namespace(1).geometry();
    const pattern = new BlockPattern(12, namespace.blockBytes);
    const maxTransferBytes = await one.controller.maxTransferBytes();
    await using resident = await ResidentKernel.start(direct, namespace, maxTransferBytes, { mayWrite: true });
    for (let lba = 0n; lba < 2048n; lba += 8n) {
      const bytes = new Uint8Array(4096);
      pattern.fill(bytes, lba);
      await resident.write(lba, bytes);
      assertEquals(pattern.check(await resident.read(lba, 8), lba), null);
    }
  },
});
