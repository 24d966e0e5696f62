/** A kernel that stays: what it reads and writes, many requests at once, and requests that cannot be. */

import { assert, assertEquals } from "@std/assert";

import { RESIDENT_OPERATIONS } from "../../src/gpu/nvme/resident_layout.ts";
import { ResidentKernel } from "../../src/gpu/resident.ts";
import { openDirect, withGpuLibraries } from "./gpu_nvme_device.ts";
import { failsWith, noise } from "./nvme_device.ts";

withGpuLibraries();

for (
  const options of [
    { mode: "warp" },
    { mode: "warp", queues: 2, depth: 14 },
    { mode: "grid", depth: 64 },
    { mode: "warp", doorbells: "shadow" },
    { mode: "grid", tier: 3 },
  ] as const
) {
  Deno.test(`one launch writes and reads 1 MiB by requests, and the CPU sees the same: ${JSON.stringify(options)}`, async () => {
    await using one = await openDirect("size=1MiB&reorder_us=50", options);
    const { geometry } = one;
    const data = noise(1 << 20, 11);
    {
      await using resident = await ResidentKernel.start(one.direct, geometry, await one.controller.maxTransferBytes(), {
        places: 8,
        dataBytes: 16_384,
        mayWrite: true,
      });
      const pieces: { readonly at: number; readonly sizeBytes: number }[] = [];
      for (let at = 0, turn = 0; at < data.length; turn++) {
        const sizeBytes = Math.min(data.length - at, [512, 4096, 16_384, 5120][turn % 4] ?? 512);
        pieces.push({ at, sizeBytes });
        at += sizeBytes;
      }
      // More than there are places: each ring goes round many times.
      const all = async (each: (piece: { at: number; sizeBytes: number }) => Promise<unknown>): Promise<void> => {
        const running: Promise<unknown>[] = [];
        for (const piece of pieces) {
          await resident.room();
          running.push(each(piece));
        }
        await Promise.all(running);
      };
      await all(({ at, sizeBytes }) => resident.write(BigInt(at / 512), data.subarray(at, at + sizeBytes)));
      await resident.flush();
      const seen = new Uint8Array(data.length);
      await all(({ at, sizeBytes }) =>
        resident.read(BigInt(at / 512), sizeBytes / 512, { into: seen.subarray(at, at + sizeBytes) })
      );
      assert(seen.every((byte, i) => byte === data[i]), "what was read");
      assertEquals(resident.inFlight, 0);
    }
    assertEquals([one.driver.resets, one.soft.counter("dma_errors"), one.soft.counter("doorbell_errors")], [0, 0n, 0n]);
    // The driver's own queues do not know of shadow doorbells.
    if ("doorbells" in options) return;
    const seen = new Uint8Array(data.length);
    for (let at = 0; at < data.length; at += 65_536) {
      await one.controller.namespace(1).read(BigInt(at / 512), seen.subarray(at, at + 65_536));
    }
    assert(seen.every((byte, i) => byte === data[i]), "by the CPU's driver");
  });
}

Deno.test("requests that cannot be end with an error each, and the kernel goes on", async () => {
  await using one = await openDirect("size=1MiB");
  await using resident = await ResidentKernel.start(one.direct, one.geometry, await one.controller.maxTransferBytes(), {
    places: 4,
    dataBytes: 4096,
  });
  const outcome = async (request: Parameters<ResidentKernel["submit"]>[0]): Promise<number> =>
    (await resident.submit(request)).outcome;
  assertEquals(await outcome({ operation: 99 }), 2);
  assertEquals(await outcome({ operation: RESIDENT_OPERATIONS.none }), 2);
  const { read } = RESIDENT_OPERATIONS;
  assertEquals(await outcome({ operation: read, lba: 2048n, blocks: 1 }), 3);
  assertEquals((await resident.read(0n, 8)).length, 4096);
  await failsWith("permission", "a write", resident.write(0n, new Uint8Array(512)));
});
