/**
 * A kernel that stays, over a software controller and a software GPU.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { isBusbarError } from "../../src/core/error.ts";
import type { FileMap } from "../../src/gpu/files/file_map.ts";
import type { DirectMode, DirectOptions } from "../../src/gpu/nvme/direct_job.ts";
import { runsOf } from "../../src/gpu/nvme/segments.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { ResidentKernel, type ResidentOptions } from "../../src/gpu/resident.ts";
import { Random } from "../unit/random.ts";
import { type DirectController, openDirect, softGpu } from "./gpu_nvme_device.ts";
import { firstSeedWithout } from "./gpu_nvme_weak.ts";
import { noise, openController } from "./nvme_device.ts";

/** The committed kernel. */
export const RESIDENT_PTX: string = Deno.readTextFileSync(
  new URL("../../src/gpu/kernels/resident.ptx", import.meta.url),
);

/** Starts one over queues. */
export async function startResident(one: DirectController, options: ResidentOptions = {}): Promise<ResidentKernel> {
  return await ResidentKernel.start(one.direct, one.geometry, await one.controller.maxTransferBytes(), options);
}

/** Asks once for each, as soon as there is a place, and waits for all. */
export async function askAll<T>(
  resident: ResidentKernel,
  items: readonly T[],
  ask: (item: T) => Promise<unknown>,
): Promise<void> {
  const running: Promise<unknown>[] = [];
  for (const item of items) {
    await resident.room();
    const one = ask(item);
    // Whoever waits for a place may hear of the end first.
    one.catch(() => {});
    running.push(one);
  }
  await Promise.all(running);
}

/** Registers a test of requests over 1 MiB: written and read by one launch, and compared with the CPU's driver. */
export function residentDataTest(options: DirectOptions): void {
  const title = `one launch writes and reads 1 MiB by requests, and the CPU sees the same: ${JSON.stringify(options)}`;
  Deno.test(title, async () => {
    await using one = await openDirect("size=1MiB&reorder_us=50", options);
    const data = noise(1 << 20, 11), sizes = [512, 4096, 16_384, 5120];
    const pieces: { readonly at: number; readonly sizeBytes: number }[] = [];
    for (let at = 0; at < data.length;) {
      const sizeBytes = Math.min(data.length - at, sizes[pieces.length % sizes.length] ?? 512);
      pieces.push({ at, sizeBytes });
      at += sizeBytes;
    }
    {
      // There are far more requests than places: each ring goes round many times.
      await using resident = await startResident(one, { places: 8, dataBytes: 16_384, mayWrite: true });
      await askAll(
        resident,
        pieces,
        ({ at, sizeBytes }) => resident.write(BigInt(at / 512), data.subarray(at, at + sizeBytes)),
      );
      await resident.flush();
      const seen = new Uint8Array(data.length);
      await askAll(
        resident,
        pieces,
        ({ at, sizeBytes }) =>
          resident.read(BigInt(at / 512), sizeBytes / 512, { into: seen.subarray(at, at + sizeBytes) }),
      );
      assertBytes(seen, data, "what was read");
      assertEquals(resident.inFlight, 0);
    }
    const errors = [one.soft.counter("dma_errors"), one.soft.counter("doorbell_errors")];
    assertEquals([one.driver.resets, ...errors], [0, 0n, 0n]);
    // The driver's own queues do not know of shadow doorbells.
    if (options.doorbells === "shadow") return;
    const seen = new Uint8Array(data.length);
    for (let at = 0; at < data.length; at += 65_536) {
      await one.controller.namespace(1).read(BigInt(at / 512), seen.subarray(at, at + 65_536));
    }
    assertBytes(seen, data, "by the CPU's driver");
  });
}

/** Says where bytes differ: a list of all would be long. */
export function assertBytes(found: Uint8Array, wanted: Uint8Array, what: string): void {
  const at = found.findIndex((byte, i) => byte !== wanted[i]);
  assert(at < 0, `${what}: byte ${at} of ${wanted.length} differs`);
  assertEquals(found.length, wanted.length, what);
}

/** Writes a file all over the drive, in pieces of 1 to 40 blocks in no order, one of them a hole, and says where it lies. */
export async function scatter(one: DirectController, bytes: Uint8Array, random: Random): Promise<FileMap> {
  const { blockBytes } = one.geometry, blocks = Math.ceil(bytes.length / blockBytes);
  const padded = new Uint8Array(blocks * blockBytes);
  padded.set(bytes);
  const extents: { fileOffset: number; offset: number; sizeBytes: number }[] = [];
  for (let at = 0, turn = 0; at < blocks; turn++) {
    const count = Math.min(blocks - at, 1 + random.below(40));
    const lba = (turn % 2 === 0 ? 4000 - at - count : 4100 + at) % 8192;
    const piece = padded.slice(at * blockBytes, (at + count) * blockBytes);
    await one.controller.namespace(1).write(lba, piece);
    const isHole = piece.every((byte) => byte === 0);
    if (!isHole) extents.push({ fileOffset: at * blockBytes, offset: lba * blockBytes, sizeBytes: count * blockBytes });
    at += count;
  }
  const key = { fileSystem: "test", uuid: "", mountTime: null, mountCount: null, changeTime: "" };
  return { path: "/file", partitionOffset: 0, key: { ...key, sizeBytes: bytes.length }, extents, untouched: null };
}

/** The kernel without the fence between a command and its doorbell. */
export function withoutFence(ptx: string): string {
  const changed = ptx.replaceAll("fence.sc.sys;", "");
  if (changed === ptx) throw new Error("there was no fence");
  return changed;
}

/** Whether requests write and read the right bytes under a seed of weak memory. An error counts as a failure. */
async function passes(mode: DirectMode, ptx: string, seed: number): Promise<boolean> {
  await using one = await openController("size=256KiB", { lentQueues: 1 });
  using gpu = softGpu(`&weak=${seed}&threads=1&log=none`);
  await using direct = await NvmeDirect.open(one.driver, gpu, { mode, depth: 8 });
  const namespace = await one.controller.namespace(1).geometry();
  const data = noise(24 * 512, seed);
  // Without a fence nothing is sure to end; with one, a loaded machine may take its time.
  const timeoutMs = ptx === RESIDENT_PTX ? 10_000 : 100;
  try {
    const options = { places: 4, dataBytes: 4096, mayWrite: true, timeoutMs, ptx };
    await using resident = await ResidentKernel.start(direct, namespace, 65_536, options);
    const each = Array.from({ length: data.length / 512 }, (_, i) => i);
    await askAll(resident, each, (i) => resident.write(BigInt(i), data.subarray(i * 512, (i + 1) * 512)));
    const seen = new Uint8Array(data.length);
    await askAll(resident, each, (i) => resident.read(BigInt(i), 1, { into: seen.subarray(i * 512, (i + 1) * 512) }));
    // Bytes that begin inside a block, and zeros: the warp moves them.
    using arena = resident.allocate("device", data.length);
    const extents = [{ fileOffset: 0, offset: 100, sizeBytes: 4000 }, {
      fileOffset: 5000,
      offset: 5000,
      sizeBytes: 3000,
    }];
    await resident.gather(runsOf(extents, 0, 8000, 0), arena);
    const copied = await arena.read(0, 8000);
    const wanted = new Uint8Array(8000);
    wanted.set(data.subarray(100, 4100));
    wanted.set(data.subarray(5000, 8000), 5000);
    return seen.every((byte, i) => byte === data[i]) && copied.every((byte, i) => byte === wanted[i]) &&
      one.soft.counter("dma_errors") === 0n;
  } catch (error) {
    if (!isBusbarError(error)) throw error;
    return false;
  }
}

/** The first seed from `first` on under which the kernel fails; null when none of `count` does. */
export async function firstFailingSeed(
  mode: DirectMode,
  ptx: string,
  first: number,
  count: number,
): Promise<number | null> {
  return await firstSeedWithout((seed) => passes(mode, ptx, seed), first, count);
}
