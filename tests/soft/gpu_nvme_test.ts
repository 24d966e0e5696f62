/** Kernels drive a software controller: data, doorbells, and the sizes and modes there are. */

import { assert, assertEquals } from "@std/assert";

import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import type { DirectOptions } from "../../src/gpu/nvme/direct_job.ts";
import { openDirect, withGpuLibraries } from "./gpu_nvme_device.ts";
import { noise } from "./nvme_device.ts";

withGpuLibraries();

const SEED = 7;

/** Every mode, with one queue and with several, with registers and shadow doorbells, and rings that wrap. */
const CASES: readonly (DirectOptions & { readonly nvme?: string; readonly bytes?: number })[] = [
  { mode: "thread" },
  { mode: "warp" },
  { mode: "grid" },
  { mode: "thread", depth: 7, bytes: 512 },
  { mode: "warp", depth: 5, queues: 2, bytes: 1536 },
  { mode: "grid", depth: 96, bytes: 1024 },
  { mode: "grid", depth: 128, queues: 4 },
  { mode: "warp", doorbells: "shadow" },
  { mode: "grid", doorbells: "shadow", queues: 3 },
  { mode: "thread", doorbells: "shadow", queues: 2 },
  { mode: "warp", depth: 16, bytes: 65_536, nvme: "&lba=4096" },
  { mode: "warp", nvme: "&dstrd=2&reorder_us=200", bytes: 2048 },
  { mode: "grid", nvme: "&reorder_us=200", bytes: 2048 },
  { mode: "warp", depth: 1, nvme: "&mqes=1", bytes: 8192 },
  { mode: "warp", doorbells: "proxy" },
  { mode: "grid", doorbells: "proxy", queues: 3 },
  { mode: "warp", tier: 2 },
  { mode: "grid", tier: 3, queues: 3, depth: 96, bytes: 1024 },
  { mode: "thread", tier: 3, doorbells: "shadow", bytes: 65_536, nvme: "&lba=4096" },
];

for (const { nvme = "", bytes = 4096, ...options } of CASES) {
  const title = JSON.stringify({ ...options, bytes, nvme });
  Deno.test(`a kernel writes and reads blocks, the CPU sees the same: ${title}`, async () => {
    await using one = await openDirect(`size=1MiB${nvme}`, options);
    const { direct, geometry } = one;
    const pattern = new BlockPattern(SEED, geometry.blockBytes);
    const range = {
      namespace: geometry,
      lba: 3n,
      blocks: geometry.blocks - 5n,
      transferBlocks: Math.ceil(bytes / geometry.blockBytes),
    };
    const written = await direct.run({ ...range, operation: "write", pattern });
    const transfers = Math.ceil(Number(range.blocks) / range.transferBlocks);
    assertEquals([written.transfers, written.submitted], [transfers, transfers]);
    assertEquals(written.bytes, Number(range.blocks) * geometry.blockBytes);
    const verified = await direct.run({ ...range, operation: "read", pattern });
    assertEquals([verified.transfers, verified.mismatch], [transfers, null]);
    assertEquals(verified.times.wait.count, transfers);
    const wrong = await direct.run({ ...range, operation: "read", pattern: new BlockPattern(8, geometry.blockBytes) });
    assert(wrong.mismatch !== null, "another seed's pattern was taken for this one's");
    await direct.run({ ...range, operation: "flush", blocks: 1n });
    const got = new Uint8Array(Number(range.blocks) * geometry.blockBytes);
    await direct.run({
      ...range,
      operation: "read",
      onRead: (lba, data) => got.set(data, Number(lba - range.lba) * geometry.blockBytes),
    });
    assertEquals(pattern.check(got, range.lba), null, "read into memory");
    // The driver's own queues do not know of shadow doorbells.
    if (options.doorbells === "shadow") return;
    const seen = new Uint8Array(16 * geometry.blockBytes);
    await one.controller.namespace(1).read(range.lba, seen);
    assertEquals(pattern.check(seen, range.lba), null, "by the CPU's driver");
    const data = noise(Number(range.blocks) * geometry.blockBytes, 3);
    await direct.run({
      ...range,
      operation: "write",
      fill: (lba, to) => {
        const at = Number(lba - range.lba) * geometry.blockBytes;
        to.set(data.subarray(at, at + to.length));
      },
    });
    await one.controller.namespace(1).read(range.lba, seen);
    assertEquals(seen, data.subarray(0, seen.length));
    assertEquals([one.soft.counter("doorbell_errors"), one.soft.counter("dma_errors")], [0n, 0n]);
  });
}

for (const pages of [1, 2, 3]) {
  Deno.test(`the last transfer of a range has ${pages} pages, where the others have a PRP list`, async () => {
    await using one = await openDirect("size=1MiB", { mode: "warp", depth: 4 });
    const { geometry } = one;
    const [transferBlocks, lastBlocks] = [8 * 4096, pages * 4096].map((bytes) => bytes / geometry.blockBytes);
    assert(transferBlocks !== undefined && lastBlocks !== undefined);
    const blocks = BigInt(3 * transferBlocks + lastBlocks);
    const pattern = new BlockPattern(SEED, geometry.blockBytes);
    const range = { namespace: geometry, lba: 0n, blocks, transferBlocks };
    await one.direct.run({ ...range, operation: "write", pattern });
    const seen = new Uint8Array(Number(blocks) * geometry.blockBytes);
    await one.controller.namespace(1).read(0, seen);
    assertEquals(pattern.check(seen, 0n), null);
    assertEquals((await one.direct.run({ ...range, operation: "read", pattern })).mismatch, null);
  });
}
