/** Kernels of other people, made with busbar_nvme.cuh. */

import { assertEquals } from "@std/assert";

import type { DirectMode } from "../../src/gpu/nvme/direct_job.ts";
import { openDirect, withGpuLibraries } from "./gpu_nvme_device.ts";
import { failsWith } from "./nvme_device.ts";

withGpuLibraries();

const PTX = Deno.readTextFileSync(new URL("../fixtures/gpu_nvme/own_kernel.ptx", import.meta.url));
const ROUNDS = 3;

for (const mode of ["thread", "warp", "grid"] as const satisfies readonly DirectMode[]) {
  Deno.test(`a kernel of one's own submits and waits as ${mode}; each lane sees its own block and status`, async () => {
    await using one = await openDirect("size=1MiB&reorder_us=100", { mode: "grid", depth: 64 });
    const { driver, gpu, direct } = one;
    const [grid, block] = mode === "grid" ? [2, 64] : [1, 32];
    const threads = grid * block;
    // Each block of the drive begins with its number.
    await direct.run({
      namespace: one.geometry,
      lba: 0n,
      blocks: one.geometry.blocks,
      transferBlocks: 8,
      operation: "write",
      fill: (lba, to) => {
        const view = new DataView(to.buffer, to.byteOffset, to.length);
        for (let at = 0; at < to.length; at += 512) view.setUint32(at, Number(lba) + at / 512, true);
      },
    });
    using module = gpu.module(PTX);
    using data = driver.allocDma(threads * 4096);
    using registered = gpu.register(data.pointer, data.sizeBytes);
    using places = gpu.allocate(threads * 16);
    await places.write(
      new Uint8Array(
        BigUint64Array.from(
          { length: 2 * threads },
          (_, i) => (i % 2 === 0 ? registered.address : data.iova) + BigInt((i >> 1) * 4096),
        ).buffer,
      ),
    );
    using out = gpu.allocate(ROUNDS * threads * 8);
    out.fill(0);
    // The last round of the widest goes beyond the end of the drive: 2,048 blocks.
    const lba = 2048n - BigInt(2 * threads * 4) - 4n;
    await direct.runKernel((queues, stream) => {
      module.function(`read_${mode}`).launch({ grid, block, stream }, [queues, places, lba, out, 4]);
    });
    const words = new Uint32Array((await out.read()).buffer);
    const LBA_OUT_OF_RANGE = 0x80;
    for (let i = 0; i < ROUNDS * threads; i++) {
      const thread = i % threads;
      if (mode === "thread" && thread !== 0) continue;
      const at = Number(lba) + i * 4;
      const [status = 0, seen] = [words[2 * i], words[2 * i + 1]];
      if (mode !== "thread" && thread % 5 === 0) assertEquals([status, seen], [0xffff_ffff, 0], `lane ${i}`);
      else if (at + 4 > 2048) assertEquals([status & 0x7ff, seen], [LBA_OUT_OF_RANGE, 0], `lane ${i}`);
      else assertEquals([status, seen], [0, at], `lane ${i}`);
    }
    assertEquals(one.driver.resets, 0);
  });
}

Deno.test("a kernel that leaves a command in flight is told so, and the queues are good again", async () => {
  await using one = await openDirect("size=1MiB&fault=latency%3D300000");
  const { driver, gpu, direct } = one;
  using module = gpu.module(PTX);
  using data = driver.allocDma(4096);
  using places = gpu.allocate(16);
  await places.write(new Uint8Array(BigUint64Array.of(0n, data.iova).buffer));
  await failsWith(
    "usage",
    "left in flight",
    direct.runKernel((queues, stream) => {
      module.function("read_and_leave").launch({ grid: 1, block: 32, stream }, [queues, places, 0n, places, 8]);
    }),
  );
  assertEquals(one.driver.resets, 1);
  one.soft.fault("clear");
  const job = { namespace: one.geometry, lba: 0n, blocks: 64n, transferBlocks: 8, operation: "read" } as const;
  assertEquals((await direct.run(job)).transfers, 8);
});
