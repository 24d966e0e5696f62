/** Data and queues in memory of the GPU: in a file as a BAR is one, through BAR1, and where the drive may not reach it. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import type { DirectOptions } from "../../src/gpu/nvme/direct_job.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import { softGpu, withGpuLibraries } from "./gpu_nvme_device.ts";
import { failsWith, openController, type SoftController } from "./nvme_device.ts";
import { withoutMapping } from "./unmapped_driver.ts";

withGpuLibraries();

const GPU_BYTES = 64 << 20;
const TIERS = [2, 3] as const;

/** Memory of a GPU that lies in a file, as it would in a BAR. */
async function withBarFile(body: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile({ prefix: "busbar-bar-" });
  try {
    await Deno.truncate(path, GPU_BYTES);
    await body(path);
  } finally {
    await Deno.remove(path);
  }
}

/** Writes and verifies by kernels; then the CPU's driver looks. Returns how the drive reached the memory. */
async function writeAndVerify(
  one: SoftController,
  gpuSettings: string,
  options: DirectOptions,
): Promise<string | null> {
  using gpu = softGpu(gpuSettings);
  await using direct = await NvmeDirect.open(one.driver, gpu, options);
  const namespace = await one.controller.namespace(1).geometry();
  const pattern = new BlockPattern(11, namespace.blockBytes);
  const range = { namespace, lba: 0n, blocks: namespace.blocks, transferBlocks: 24 };
  await direct.run({ ...range, operation: "write", pattern });
  const { mismatch, transfers } = await direct.run({ ...range, operation: "read", pattern });
  assertEquals([mismatch, transfers], [null, Math.ceil(Number(namespace.blocks) / 24)]);
  const seen = new Uint8Array(Number(namespace.blocks) * namespace.blockBytes);
  await one.controller.namespace(1).read(0n, seen);
  assertEquals(pattern.check(seen, 0n), null, "by the CPU's driver");
  assertEquals([one.soft.counter("doorbell_errors"), one.soft.counter("dma_errors")], [0n, 0n]);
  return direct.memoryWay;
}

for (const tier of TIERS) {
  Deno.test(`tier ${tier}: device memory in a file, as in another function's BAR`, async () => {
    await withBarFile(async (path) => {
      await using one = await openController("size=1MiB", { lentQueues: 2 });
      const settings = `&memory-file=${encodeURIComponent(path)}`;
      const way = await writeAndVerify(one, settings, { tier, queues: 2, mode: "grid" });
      assertEquals(way, "device memory of the software GPU");
      // What the drive wrote lies in the file: its last blocks were the last to be read.
      assert((await Deno.readFile(path)).some((byte) => byte !== 0), "nothing was written to the BAR");
    });
  });

  Deno.test(`tier ${tier}: through BAR1, each page found by what a kernel writes`, async () => {
    await withBarFile(async (path) => {
      await using one = await openController("size=1MiB", { lentQueues: 1 });
      const settings = `&memory-file=${encodeURIComponent(path)}`;
      const way = await writeAndVerify(one, settings, { tier, vramThroughBar1: true, bar1: path });
      assertEquals(way, `device memory behind BAR1 (${path})`);
    });
  });

  Deno.test(`tier ${tier}: a BAR1 in which the memory is not is refused, and the controller goes on`, async () => {
    await withBarFile(async (path) => {
      await using one = await openController("size=1MiB", { lentQueues: 1 });
      using gpu = softGpu();
      const namespace = await one.controller.namespace(1).geometry();
      const opening = NvmeDirect.open(one.driver, gpu, { tier, vramThroughBar1: true, bar1: path });
      // Data is only looked for when it is known how much.
      const running = tier === 3 ? opening : opening.then(async (direct) => {
        await using _direct = direct;
        await direct.run({ namespace, lba: 0n, blocks: 8n, transferBlocks: 8, operation: "read" });
      });
      const error = await failsWith("unsupported", "BAR1", running);
      assertStringIncludes(error.message, "cannot be placed in its BAR1");
      await one.controller.namespace(1).read(0n, new Uint8Array(namespace.blockBytes));
    });
  });

  Deno.test(`tier ${tier}: memory that was not mapped for the drive is an error of the drive, and nothing hangs`, async () => {
    await using one = await openController("size=1MiB", { lentQueues: 1 });
    const namespace = await one.controller.namespace(1).geometry();
    {
      using gpu = softGpu();
      await using direct = await NvmeDirect.open(withoutMapping(one.driver, 0x7000_0000n), gpu, { tier });
      const run = direct.run({
        namespace,
        lba: 0n,
        blocks: 64n,
        transferBlocks: 8,
        operation: "read",
        timeoutMs: 1000,
      });
      const error = await failsWith("device-failed", "memory that is not mapped", run);
      assertStringIncludes(error.message, tier === 2 ? "Data Transfer Error" : "fatal status");
    }
    assert(one.soft.counter("dma_errors") > 0n);
  });
}
