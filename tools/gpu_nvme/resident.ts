/**
 * `gpu_nvme <device> resident`: random reads by requests to a kernel that stays, beside a launch for each.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { DirectDoorbells, DirectMode, DirectTier } from "../../src/gpu/nvme/direct_job.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { type KnownBlocks, requestRates } from "../../src/gpu/resident_rates.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { planTransfers, type TransferPlan } from "../../src/nvme/jobs/transfer_plan.ts";
import { print, printJson } from "../cli/output.ts";
import { interruption, raiseExitStatus } from "../cli/run.ts";
import {
  type ResidentDescription,
  residentJson,
  residentLines,
  residentMethodLines,
} from "../render/gpu/gpu_nvme_resident.ts";

const USUAL_TRANSFER_BYTES = 4096;
/** What is known of the drive fits into this much memory. */
const KNOWN_BYTES = 4 << 20;
const MOST_PLACES = 1024;

/** What the command line says. */
export interface ResidentToolOptions {
  readonly gpu: string;
  readonly mode: DirectMode;
  readonly doorbells: DirectDoorbells;
  readonly tier: `${DirectTier}`;
  readonly vramThroughBar1?: true | undefined;
  readonly namespace: number;
  readonly lba?: bigint | undefined;
  readonly blocks?: bigint | undefined;
  readonly blockSize?: bigint | undefined;
  readonly depth: number;
  readonly queues: number;
  readonly random?: bigint | true | undefined;
  readonly duration: number;
  readonly timeout: number;
  readonly iommu: boolean;
  readonly json?: true | undefined;
}

/** Measures requests to a kernel that stays, and a launch for each. It only reads. */
export async function performResident(device: string, options: ResidentToolOptions): Promise<void> {
  if (options.tier !== "1") {
    throw new BusbarError("usage", `requests bring data to host memory, not to tier ${options.tier}`, {
      hint: "leave --tier out",
    });
  }
  if (options.mode === "thread") {
    throw new BusbarError("usage", "requests are served by warps", { hint: "--mode warp or --mode grid" });
  }
  await using controller = await NvmeController.open(device, {
    drive: true,
    noIommu: !options.iommu,
    lentQueues: options.queues,
    signal: interruption,
  });
  const sizeBytes = Number(options.blockSize ?? USUAL_TRANSFER_BYTES);
  const wanted = { sizeBytes, isExact: options.blockSize !== undefined };
  const plan = await planTransfers(controller, options.namespace, options.lba ?? 0n, options.blocks, wanted);
  // By the CPU's own queue, which with shadow doorbells rests later.
  const places = await knownBlocks(controller, plan, options.random);
  const maxTransferBytes = await controller.maxTransferBytes();
  using gpu = Cuda.open(options.gpu);
  await using direct = await NvmeDirect.open(controller.driver, gpu, {
    mode: options.mode,
    depth: options.depth,
    queues: options.queues,
    doorbells: options.doorbells,
    registersAreMemory: device.startsWith("soft:") && !options.gpu.startsWith("soft:"),
  });
  const what: ResidentDescription = {
    ...plan,
    device,
    gpu: `${gpu.name} (${options.gpu}, compute capability ${gpu.capability})`,
    mode: options.mode,
    doorbells: options.doorbells,
    depth: options.depth,
    queues: options.queues,
    durationMs: options.duration,
    places: places.length,
  };
  if (!options.json) print(residentMethodLines(what).join("\n"));
  const rates = await requestRates(direct, {
    ...plan,
    maxTransferBytes,
    places,
    depth: options.depth,
    durationMs: options.duration,
    timeoutMs: options.timeout,
    signal: interruption,
  });
  if (rates.some(({ wrong }) => wrong > 0)) raiseExitStatus("mismatch");
  if (options.json) return printJson(residentJson(what, rates));
  print(residentLines(rates).join("\n"));
}

/** Random places of the range, and what the CPU's driver reads there. */
async function knownBlocks(
  controller: NvmeController,
  plan: TransferPlan,
  random: bigint | true | undefined,
): Promise<KnownBlocks[]> {
  const { namespace, lba, blocks, transferBlocks } = plan;
  const transferBytes = transferBlocks * namespace.blockBytes;
  const chunks = blocks / BigInt(transferBlocks);
  const most = Math.max(1, Math.min(MOST_PLACES, Math.floor(KNOWN_BYTES / transferBytes)));
  const count = chunks < BigInt(most) ? Number(chunks) : most;
  let seed = typeof random === "bigint" ? random : 1n;
  const known: KnownBlocks[] = [];
  for (let i = 0; i < count; i++) {
    seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n);
    const place = { lba: lba + (seed >> 16n) % chunks * BigInt(transferBlocks), bytes: new Uint8Array(transferBytes) };
    await controller.namespace(namespace.id).read(place.lba, place.bytes);
    interruption.throwIfAborted();
    known.push(place);
  }
  return known;
}
