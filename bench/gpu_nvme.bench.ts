// deno-lint-ignore-file no-console
/**
 * Kernels of the software GPU that drive the software controller, beside the loop in C that drives it from the processor, in
 * the same run. Commands are 4 KiB reads.
 *
 * The controller, the kernel and the host each want a processor: on fewer than four, figures are printed and not judged.
 */

import { cpuUsage } from "node:process";

import { openGpu } from "../src/gpu/cuda.ts";
import type { DirectOptions, DirectResult } from "../src/gpu/nvme/direct_job.ts";
import { NvmeDirect } from "../src/gpu/nvme_direct.ts";
import { type RequestRates, requestRates } from "../src/gpu/resident_rates.ts";
import { NvmeController } from "../src/nvme/driver/controller.ts";
import { runIoJob } from "../src/nvme/jobs/io_job.ts";

const DRIVE = "soft:nvme?size=64MiB";
const TRIES = 5;
const DURATION_MS = 400;
const TRANSFER_BLOCKS = 8;
const PROCESSORS = navigator.hardwareConcurrency;

interface Figure {
  /** Commands in a second. */
  readonly rate: number;
  /** Processor time of a command, of controller, kernel and host together, in microseconds. */
  readonly cpuUs: number;
  readonly result: DirectResult | null;
}

async function measured(
  work: () => Promise<{ transfers: number; elapsedMs: number; result: DirectResult | null }>,
): Promise<Figure> {
  const before = cpuUsage();
  const { transfers, elapsedMs, result } = await work();
  const after = cpuUsage(before);
  return { rate: transfers / elapsedMs * 1000, cpuUs: (after.user + after.system) / transfers, result };
}

/** The best of some tries. */
async function best(once: () => Promise<Figure>): Promise<Figure> {
  let found: Figure | null = null;
  for (let i = 0; i < TRIES; i++) {
    const one = await once();
    if (found === null || one.rate > found.rate) found = one;
  }
  if (found === null) throw new Error("nothing was measured");
  return found;
}

async function byKernel(options: DirectOptions): Promise<Figure> {
  await using controller = await NvmeController.open(DRIVE, { drive: true, lentQueues: options.queues ?? 1 });
  const namespace = await controller.namespace(1).geometry();
  using gpu = openGpu(`soft:cuda?memory=64MiB&threads=${Math.max(1, Math.min(options.queues ?? 1, PROCESSORS - 1))}`);
  await using direct = await NvmeDirect.open(controller.driver, gpu, options);
  const job = {
    namespace,
    lba: 0n,
    blocks: namespace.blocks,
    transferBlocks: TRANSFER_BLOCKS,
    operation: "read",
  } as const;
  return await best(() =>
    measured(async () => {
      const result = await direct.run({ ...job, durationMs: DURATION_MS });
      return { ...result, result };
    })
  );
}

async function byLoop(depth: number): Promise<Figure> {
  await using controller = await NvmeController.open(DRIVE, { drive: true });
  const namespace = await controller.namespace(1).geometry();
  return await best(() =>
    measured(async () => {
      const result = await runIoJob(controller.driver, {
        namespace,
        lba: 0n,
        blocks: namespace.blocks,
        transferBlocks: TRANSFER_BLOCKS,
        depth,
        queues: 1,
        readShare: 1,
        randomSeed: null,
        durationMs: DURATION_MS,
      });
      return { ...result, result: null };
    })
  );
}

const isJudged = PROCESSORS >= 4;

function line(what: string, figure: Figure, beside: string, ok: boolean | null): void {
  const verdict = ok === null ? "" : isJudged ? ok ? "ok" : "below" : `not judged: ${PROCESSORS} processors`;
  const rate = `${Math.round(figure.rate / 1000)} k/s`.padStart(9);
  console.log(`${what.padEnd(34)} ${rate}  ${figure.cpuUs.toFixed(2)} µs of processor  ${beside}  ${verdict}`);
}

const loop = await byLoop(32);
line("loop in C, depth 32", loop, "", null);
const warp = await byKernel({ mode: "warp", depth: 32 });
line(
  "one warp, depth 32",
  warp,
  `${(warp.rate / loop.rate).toFixed(2)} × C, at least 0.5`,
  warp.rate >= 0.5 * loop.rate,
);
const four = await byKernel({ mode: "warp", depth: 128, queues: 4 });
line(
  "four warps on four queues",
  four,
  `${(four.cpuUs / warp.cpuUs).toFixed(2)} × the processor time of one, at most 1.25`,
  four.cpuUs <= 1.25 * warp.cpuUs && (PROCESSORS < 4 || four.rate >= 1.6 * warp.rate),
);
for (const mode of ["thread", "warp", "grid"] as const) {
  const figure = await byKernel({ mode, depth: 32 });
  const times = figure.result?.times;
  const perRing = (figure.result?.submitted ?? 0) / (figure.result?.tailRings ?? 1);
  const cost = `build ${times?.build.percentile(50)} ns, ring ${times?.ring.percentile(50)} ns, ${
    perRing.toFixed(1)
  } commands a doorbell`;
  line(`submission by ${mode}`, figure, cost, null);
}

/** Requests a second by a launch for each, and by a kernel that stays: the best of some tries of each way. */
async function byRequests(): Promise<RequestRates[]> {
  await using controller = await NvmeController.open(DRIVE, { drive: true, lentQueues: 1 });
  const namespace = await controller.namespace(1).geometry();
  const places = await Promise.all(Array.from({ length: 256 }, async (_, i) => {
    const lba = BigInt(i * 37 * TRANSFER_BLOCKS), bytes = new Uint8Array(TRANSFER_BLOCKS * namespace.blockBytes);
    await controller.namespace(1).read(lba, bytes);
    return { lba, bytes };
  }));
  const maxTransferBytes = await controller.maxTransferBytes();
  using gpu = openGpu(`soft:cuda?memory=64MiB&threads=1`);
  await using direct = await NvmeDirect.open(controller.driver, gpu, { mode: "warp", depth: 32 });
  const job = { namespace, maxTransferBytes, transferBlocks: TRANSFER_BLOCKS, places, depth: 32 };
  const rates: RequestRates[] = [];
  for (let i = 0; i < TRIES; i++) {
    for (
      const [way, one] of (await requestRates(direct, { ...job, durationMs: DURATION_MS, timeoutMs: 10_000 })).entries()
    ) {
      if (one.wrong > 0) throw new Error(`${one.wrong} requests brought other bytes`);
      const best = rates[way];
      if (best === undefined || one.requests / one.elapsedMs > best.requests / best.elapsedMs) rates[way] = one;
    }
  }
  return rates;
}

const requests = await byRequests();
const launched = requests[0];
for (const { way, inFlight, requests: count, elapsedMs, latency, cpuSeconds } of requests) {
  const rate = count / elapsedMs * 1000;
  const times = launched === undefined
    ? ""
    : `${(rate / (launched.requests / launched.elapsedMs * 1000)).toFixed(1)} × launches`;
  const half = `${(latency.percentile(50) / 1000).toFixed(1)} µs for half of them`;
  console.log(
    `requests by ${way}, ${inFlight} in flight`.padEnd(34) +
      ` ${Math.round(rate)} /s`.padStart(12) +
      `  ${(cpuSeconds / count * 1e6).toFixed(1)} µs of processor  ${half}  ${times}`,
  );
}
