/**
 * Kernels under weak memory: ordinary stores become visible late, in an order that a seed decides.
 * @module
 */

import { isBusbarError } from "../../src/core/error.ts";
import type { DirectMode } from "../../src/gpu/nvme/direct_job.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import { softGpu } from "./gpu_nvme_device.ts";
import { openController } from "./nvme_device.ts";

/** All of them. */
export const MODES: readonly DirectMode[] = ["thread", "warp", "grid"];

/** The committed kernels. */
export const KERNELS: string = Deno.readTextFileSync(new URL("../../src/gpu/kernels/nvme.ptx", import.meta.url));

/** The kernels without the fence between a command and its doorbell. */
export function withoutFence(ptx: string): string {
  const changed = ptx.replaceAll("fence.sc.sys;", "");
  if (changed === ptx) throw new Error("there was no fence");
  return changed;
}

/** Blocks of a run: enough for slots to be used anew, which for rings is tested elsewhere. */
const BLOCKS = 96n;
const TIMEOUT_MS = 100;

/** Whether kernels write a pattern and read it back under a seed. An error counts as a failure. */
async function passes(mode: DirectMode, ptx: string, seed: number): Promise<boolean> {
  await using one = await openController("size=256KiB", { lentQueues: 1 });
  using gpu = softGpu(`&weak=${seed}&threads=1&log=none`);
  await using direct = await NvmeDirect.open(one.driver, gpu, { mode, depth: 8, ptx });
  const namespace = await one.controller.namespace(1).geometry();
  const job = { namespace, lba: 0n, blocks: BLOCKS, transferBlocks: 1, pattern: new BlockPattern(seed, 512) };
  // Without a fence nothing is sure to end; with one, a loaded machine may take its time.
  const timeoutMs = ptx === KERNELS ? 10_000 : TIMEOUT_MS;
  try {
    await direct.run({ ...job, operation: "write", timeoutMs });
    const { mismatch } = await direct.run({ ...job, operation: "read", timeoutMs });
    return mismatch === null && one.soft.counter("dma_errors") === 0n;
  } catch (error) {
    if (!isBusbarError(error)) throw error;
    return false;
  }
}

/** The first seed from `first` on under which kernels fail; null when none of `count` does. */
export async function firstFailingSeed(
  mode: DirectMode,
  ptx: string,
  first: number,
  count: number,
): Promise<number | null> {
  return await firstSeedWithout((seed) => passes(mode, ptx, seed), first, count);
}

/** The first seed from `first` on with which something does not pass; null when it passes with all of `count`. */
export async function firstSeedWithout(
  passes: (seed: number) => Promise<boolean>,
  first: number,
  count: number,
): Promise<number | null> {
  for (let seed = first; seed < first + count; seed++) if (!(await passes(seed))) return seed;
  return null;
}
