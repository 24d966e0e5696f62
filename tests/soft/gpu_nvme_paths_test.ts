/** The ways of a drive that the kernel has, over a file in place of its block device. */

import { assert, assertEquals } from "@std/assert";

import { type DrivePath, kernelPaths } from "../../src/gpu/nvme_paths.ts";
import { openController } from "./nvme_device.ts";
import { softGpu, withGpuLibraries } from "./gpu_nvme_device.ts";

withGpuLibraries();

Deno.test("direct reads and a mapping of the kernel's block device are copied to the GPU", async () => {
  // Beside the libraries: a temporary folder in memory may take no direct reads.
  const path = await Deno.makeTempFile({ dir: new URL("../../build", import.meta.url).pathname, prefix: "disk-" });
  try {
    await Deno.truncate(path, 1 << 20);
    await using one = await openController("size=1MiB");
    const namespace = await one.controller.namespace(1).geometry();
    using gpu = softGpu();
    const job = { namespace, lba: 0n, blocks: namespace.blocks, transferBlocks: 8, depth: 4, durationMs: 30 };
    const found: DrivePath[] = [];
    await kernelPaths({ path, why: null }, gpu, { ...job, timeoutMs: 1000 }, (way) => found.push(way));
    assertEquals(found.map(({ name, missing }) => [name, missing]), [
      ["kernel's O_DIRECT read and copy", null],
      ["mmap and copy", null],
    ]);
    for (const { name, figures } of found) {
      assert(figures !== null && figures.transfers > 0 && figures.latency.count === figures.transfers, name);
      assertEquals(figures.bytes, figures.transfers * 8 * namespace.blockBytes, name);
    }
  } finally {
    await Deno.remove(path);
  }
});
