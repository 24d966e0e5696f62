/**
 * `gpu_nvme <device> read|write|verify|bench|paths|resident`: blocks of an NVMe namespace, driven by a kernel on a GPU.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { cpuUsage } from "node:process";

import { BusbarError } from "../src/core/error.ts";
import { thisMachine } from "../src/core/host.ts";
import { parseLocator } from "../src/core/locator.ts";
import type { UndoJournal } from "../src/core/undo/journal.ts";
import { Cuda } from "../src/gpu/cuda.ts";
import type { Gpu } from "../src/gpu/gpu.ts";
import type { DirectDoorbells, DirectJob, DirectMode, DirectTier } from "../src/gpu/nvme/direct_job.ts";
import { NvmeDirect } from "../src/gpu/nvme_direct.ts";
import { NvmeController } from "../src/nvme/driver/controller.ts";
import { enableMemory } from "../src/pci/enable.ts";
import { readPciFunction } from "../src/pci/function.ts";
import { BlockFile, BlockSource } from "../src/nvme/jobs/block_file.ts";
import { BlockPattern } from "../src/nvme/jobs/pattern.ts";
import { planTransfers, type TransferPlan } from "../src/nvme/jobs/transfer_plan.ts";
import { checkErase } from "../src/nvme/jobs/write_guard.ts";
import { sizeBytes, timeOption, unsigned, wholeNumber } from "./cli/arguments.ts";
import { print, printJson, printSchema } from "./cli/output.ts";
import { Progress } from "./cli/progress.ts";
import { interruption, openJournal, raiseExitStatus, run } from "./cli/run.ts";
import {
  type DirectDescription,
  gpuNvmeJson,
  gpuNvmeLines,
  gpuNvmeSchema,
  methodLines,
} from "./render/gpu/gpu_nvme.ts";
import { timesCharts } from "./render/gpu/gpu_nvme_charts.ts";
import { writeCharts } from "./gpu_nvme/charts.ts";
import { performFile } from "./gpu_nvme/files.ts";
import { performPaths } from "./gpu_nvme/paths.ts";
import { performResident } from "./gpu_nvme/resident.ts";
import { hexLines } from "./render/pci/hexdump.ts";

const ACTIONS = ["read", "write", "verify", "bench"] as const;
type Action = typeof ACTIONS[number];

function actionNamed(text: string): Action {
  const action = ACTIONS.find((one) => one === text);
  if (action !== undefined) return action;
  throw new BusbarError("usage", `'${text}' is nothing that gpu_nvme does`, {
    hint: `it does ${ACTIONS.join(", ")}, paths, resident, cat, load`,
  });
}

/** The command line of `gpu_nvme`. */
export const command: CommandUnknownOpts = new Command("gpu_nvme")
  .description(
    "Read, write, verify and measure blocks of an NVMe namespace by a kernel on a GPU, which rings the doorbells itself.",
  )
  .argument("[device]", "0000:01:00.0 bound to vfio-pci, or soft:nvme")
  .argument("[action]", "read, write, verify, bench, paths, resident, cat or load")
  .argument("[file]", "cat and load: the file, from the root of its file system; with --save-map, where it is mounted")
  .option("--gpu <locator>", "the GPU: soft:cuda, cuda:0, or its PCI address", "soft:cuda")
  .addOption(
    new Option(
      "--mode <mode>",
      "who submits: one thread, one warp of up to 32 lanes, or many warps on one pair of queues",
    )
      .choices(["thread", "warp", "grid"] as const).default("warp" as const),
  )
  .addOption(
    new Option("--doorbells <kind>", "registers, shadow doorbells in memory, or words that a host thread forwards")
      .choices(["mmio", "shadow", "proxy"] as const)
      .default("mmio" as const),
  )
  .addOption(
    new Option("--tier <n>", "1: all in host memory; 2: data in the GPU's memory; 3: queues too").choices(
      ["1", "2", "3"] as const,
    ).default("1" as const),
  )
  .option("--vram-through-bar1", "find the GPU's memory in its BAR1, page by page")
  .option("--namespace <n>", "the namespace", wholeNumber, 1)
  .option("--lba <n>", "first block; 0 by default", unsigned)
  .option("--blocks <n>", "blocks of the range; to the end of the namespace by default", unsigned)
  .option("--block-size <size>", "one transfer, as in 4KiB; 4KiB by default", sizeBytes)
  .option("--depth <n>", "transfers in flight, over all queues", wholeNumber, 32)
  .option("--queues <n>", "I/O queue pairs, each with threads of its own", wholeNumber, 1)
  .option("--random [seed]", "at random places of the range", unsigned)
  .addOption(timeOption("--duration <time>", "bench, and each way of paths and resident: how long", "5s"))
  .addOption(timeOption("--timeout <time>", "how long a command may take", "10s"))
  .option("--pattern <seed>", "write and verify: data that says which block it is, from this seed", unsigned)
  .option("--input <file>", "write: the data; - is standard input")
  .option("--output <file>", "read: where the data goes")
  .option("--write", "let write write to the drive")
  .option("--erase <serial>", "write although something lies on the namespace: the drive's serial number")
  .option("--partition <n>", "cat and load: the partition that has the file", wholeNumber)
  .option("--save-map <file>", "cat: write where the file's bytes lie, while it is mounted, and read nothing")
  .option("--map <file>", "cat and load: the file of this map, unless it changed since")
  .addOption(
    new Option("--resolve <who>", "cat: who finds the file's blocks, the CPU or the kernel itself")
      .choices(["host", "gpu"] as const).default("host" as const),
  )
  .option("--tensor <name...>", "load: these tensors")
  .option("--all", "load: all tensors")
  .addOption(
    new Option("--place <where>", "load: into the GPU's memory, or pinned host memory")
      .choices(["device", "pinned"] as const).default("device" as const),
  )
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--svg <file>", "blocks and paths: write the figures as charts")
  .option("--html <file>", "blocks and paths: write a page with the figures and charts")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (device, action, file, options) => {
    if (options.jsonSchema) return printSchema(gpuNvmeSchema());
    if (device === undefined || action === undefined) {
      throw new BusbarError("usage", "which device, and what?", { hint: "gpu_nvme soft:nvme bench" });
    }
    const isFile = action === "cat" || action === "load";
    if ((isFile || action === "resident") && (options.svg ?? options.html) !== undefined) {
      throw new BusbarError("usage", `${action} draws no charts`, {
        hint: "leave --svg and --html out",
      });
    }
    if (isFile) return await performFile(device, action, file, options);
    if (action === "resident") return await performResident(device, options);
    if (action === "paths") return await performPaths(device, options);
    await perform(device, actionNamed(action), options);
  });

interface Options {
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
  readonly pattern?: bigint | undefined;
  readonly input?: string | undefined;
  readonly output?: string | undefined;
  readonly write?: true | undefined;
  readonly erase?: string | undefined;
  readonly iommu: boolean;
  readonly json?: true | undefined;
  readonly svg?: string | undefined;
  readonly html?: string | undefined;
}

async function perform(device: string, action: Action, options: Options): Promise<void> {
  const writes = action === "write";
  if (writes && options.write !== true) {
    throw new BusbarError("usage", "write would write to the drive", { hint: "--write lets it" });
  }
  using _peer = enablePeer(options.gpu);
  await using controller = await NvmeController.open(device, {
    drive: true,
    noIommu: !options.iommu,
    lentQueues: options.queues,
    signal: interruption,
  });
  using gpu = Cuda.open(options.gpu);
  using source = writes && options.pattern === undefined ? await BlockSource.open(options.input) : null;
  const plan = await makePlan(controller, options, source);
  // It reads by the CPU's own queue, which with shadow doorbells rests later.
  if (writes) await checkErase(controller, options.namespace, options.erase);
  await using direct = await NvmeDirect.open(controller.driver, gpu, {
    mode: options.mode,
    depth: options.depth,
    queues: options.queues,
    doorbells: options.doorbells,
    tier: tierOf(options),
    vramThroughBar1: options.vramThroughBar1 === true,
    // A software device's registers are memory; a GPU of silicon takes only a BAR for I/O memory.
    registersAreMemory: device.startsWith("soft:") && !options.gpu.startsWith("soft:"),
  });
  const what: DirectDescription = {
    ...plan,
    device,
    gpu: describeGpu(gpu, options.gpu),
    action,
    mode: options.mode,
    doorbells: options.doorbells,
    tier: tierOf(options),
    memoryWay: direct.memoryWay,
    depth: options.depth,
    queues: options.queues,
  };
  if (!options.json) print(methodLines(what).join("\n"));
  using output = action === "read" ? new BlockFile(options.output, plan) : null;
  const total = action === "bench" ? 0 : Number(plan.blocks) * plan.namespace.blockBytes;
  using progress = new Progress(`${action} ${device}`, total);
  const cpuBefore = cpuMicroseconds();
  const random = options.random === undefined ? undefined : options.random === true ? 1 : Number(options.random);
  const result = await direct.run({
    ...plan,
    ...dataOf(action, options, plan, source, output),
    randomSeed: random,
    timeoutMs: options.timeout,
    onProgress: (transfers) => progress.update(transfers * plan.transferBlocks * plan.namespace.blockBytes),
    signal: interruption,
  });
  const cpuSeconds = (cpuMicroseconds() - cpuBefore) / 1e6;
  if (writes) await direct.run({ ...plan, operation: "flush", lba: plan.lba, blocks: 1n, transferBlocks: 1 });
  if (result.mismatch !== null) raiseExitStatus("mismatch");
  const lines = gpuNvmeLines(what, result, cpuSeconds);
  await writeCharts(options, [...methodLines(what), "", ...lines], timesCharts(result));
  if (options.json) return printJson(gpuNvmeJson(what, result, cpuSeconds));
  if (output !== null && output.head.length > 0) print(hexLines(output.head, 0, 1).join("\n"));
  print(lines.join("\n"));
}

function tierOf({ tier }: Options): DirectTier {
  return { "1": 1, "2": 2, "3": 3 }[tier] as DirectTier;
}

/** The memory of a software GPU may lie in another function's BAR: then that one has to answer. */
function enablePeer(gpu: string): UndoJournal | null {
  const locator = parseLocator(gpu);
  const file = locator.kind === "soft" ? locator.query.get("memory-file") : undefined;
  const name = /^\/sys\/bus\/pci\/devices\/([^/]+)\/resource\d+(_wc)?$/.exec(file ?? "")?.[1];
  if (name === undefined) return null;
  const journal = openJournal("gpu_nvme");
  try {
    enableMemory(journal, { function: readPciFunction(thisMachine, name), host: thisMachine });
    return journal;
  } catch (error) {
    journal[Symbol.dispose]();
    throw error;
  }
}

function describeGpu(gpu: Gpu, locator: string): string {
  return `${gpu.name} (${locator}, compute capability ${gpu.capability})`;
}

/** Processor time of this process: with a software device, its work too. */
function cpuMicroseconds(): number {
  const { user, system } = cpuUsage();
  return user + system;
}

async function makePlan(
  controller: NvmeController,
  options: Options,
  source: BlockSource | null,
): Promise<TransferPlan> {
  const { blocks, lba = 0n, namespace } = options;
  const wanted = { sizeBytes: Number(options.blockSize ?? 4096n), isExact: options.blockSize !== undefined };
  if (source === null) return await planTransfers(controller, namespace, lba, blocks, wanted);
  const { blockBytes } = await controller.namespace(namespace).geometry();
  const given = source.blocks(blockBytes);
  if (blocks !== undefined && blocks > given) {
    throw new BusbarError("usage", `--blocks ${blocks}: the input has ${given}`, { operation: "plan transfers" });
  }
  return await planTransfers(controller, namespace, lba, blocks ?? given, wanted);
}

/** Where the data of an action comes from and goes to. */
function dataOf(
  action: Action,
  options: Options,
  plan: TransferPlan,
  source: BlockSource | null,
  output: BlockFile | null,
): Pick<DirectJob, "operation" | "durationMs" | "pattern" | "fill" | "onRead"> {
  const pattern = (): BlockPattern => new BlockPattern(Number(options.pattern ?? 0n), plan.namespace.blockBytes);
  switch (action) {
    case "read":
      return { operation: "read", onRead: (lba, bytes) => output?.put(lba, bytes) };
    case "verify":
      return { operation: "read", pattern: pattern() };
    case "bench":
      return { operation: "read", durationMs: options.duration };
    case "write": {
      if (source === null) return { operation: "write", pattern: pattern() };
      return { operation: "write", fill: (lba, to) => source.take(Number(lba - plan.lba) * plan.memoryBytes, to) };
    }
  }
}

if (import.meta.main) await run(command);
