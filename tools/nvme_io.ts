/**
 * `nvme_io <device> read|write|verify|bench`: blocks of an NVMe namespace, driven from here.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { BusbarError } from "../src/core/error.ts";
import { NvmeController } from "../src/nvme/driver/controller.ts";
import { blockMemory } from "../src/nvme/tables/identity.ts";
import { type IoJobOptions, runIoJob } from "../src/nvme/jobs/io_job.ts";
import { BlockPattern } from "../src/nvme/jobs/pattern.ts";
import { planTransfers, type TransferPlan } from "../src/nvme/jobs/transfer_plan.ts";
import { checkOverwrite } from "../src/nvme/jobs/write_guard.ts";
import { durationMs, ratio, sizeBytes, unsigned, wholeNumber } from "./cli/arguments.ts";
import { BlockFile, BlockSource } from "../src/nvme/jobs/block_file.ts";
import { hexLines } from "./render/pci/hexdump.ts";
import { type IoDescription, ioResultJson, ioResultLines, nvmeIoSchema } from "./render/nvme/nvme_io.ts";
import { print, printJson } from "./cli/output.ts";
import { Progress } from "./cli/progress.ts";
import { interruption, raiseExitStatus, run } from "./cli/run.ts";

const ACTIONS = ["read", "write", "verify", "bench"] as const;
type Action = typeof ACTIONS[number];

function actionNamed(text: string): Action {
  const action = ACTIONS.find((one) => one === text);
  if (action !== undefined) return action;
  throw new BusbarError("usage", `'${text}' is nothing that nvme_io does`, { hint: `it does ${ACTIONS.join(", ")}` });
}

/** The command line of `nvme_io`. */
export const command: CommandUnknownOpts = new Command("nvme_io")
  .description("Read, write, verify and measure blocks of an NVMe namespace, by a driver in this process.")
  .argument("[device]", "0000:01:00.0 bound to vfio-pci, or soft:nvme")
  .argument("[action]", "read, write, verify or bench")
  .option("--namespace <n>", "the namespace", wholeNumber, 1)
  .option("--lba <n>", "first block; 0 by default", unsigned)
  .option("--blocks <n>", "blocks of the range; to the end of the namespace by default", unsigned)
  .option("--block-size <size>", "one transfer, as in 4KiB; 128KiB by default, 4KiB for bench", sizeBytes)
  .option("--depth <n>", "transfers in flight", wholeNumber, 32)
  .option("--queues <n>", "I/O queue pairs", wholeNumber, 1)
  .option("--random [seed]", "at random places of the range", unsigned)
  .option("--read-share <ratio>", "bench: share of reads, 0 to 1", ratio, 1)
  .addOption(new Option("--duration <time>", "bench: how long, as in 5s").argParser(durationMs).default(5000, "5s"))
  .option("--pattern <seed>", "write and verify: data that says which block it is, from this seed", unsigned)
  .option("--input <file>", "write: the data; - is standard input")
  .option("--output <file>", "read: where the data goes")
  .option("--write", "let write and bench write to the drive")
  .option("--overwrite <serial>", "write although something lies on the namespace: the drive's serial number")
  .option("--cmb", "keep the submission queues in the controller's own memory")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (device, action, options) => {
    if (options.jsonSchema) return printJson(nvmeIoSchema());
    if (device === undefined || action === undefined) {
      throw new BusbarError("usage", "which device, and what?", { hint: "nvme_io soft:nvme bench" });
    }
    await perform(device, actionNamed(action), options);
  });

interface Options {
  readonly namespace: number;
  readonly lba?: bigint | undefined;
  readonly blocks?: bigint | undefined;
  readonly blockSize?: bigint | undefined;
  readonly depth: number;
  readonly queues: number;
  readonly random?: bigint | true | undefined;
  readonly readShare: number;
  readonly duration: number;
  readonly pattern?: bigint | undefined;
  readonly input?: string | undefined;
  readonly output?: string | undefined;
  readonly write?: true | undefined;
  readonly overwrite?: string | undefined;
  readonly cmb?: true | undefined;
  readonly iommu: boolean;
  readonly json?: true | undefined;
}

async function perform(device: string, action: Action, options: Options): Promise<void> {
  const writes = action === "write" || (action === "bench" && options.readShare < 1);
  if (writes && options.write !== true) {
    throw new BusbarError("usage", `${action} would write to the drive`, { hint: "--write lets it" });
  }
  await using controller = await NvmeController.open(device, {
    drive: true,
    noIommu: !options.iommu,
    ioQueues: options.queues,
    cmbQueues: options.cmb === true,
    // One entry of a queue stays free.
    ioEntries: Math.max(256, Math.ceil(options.depth / options.queues) + 1),
    signal: interruption,
  });
  using source = action === "write" && options.pattern === undefined ? await BlockSource.open(options.input) : null;
  const plan = await makePlan(controller, action, options, source);
  if (writes) await checkOverwrite(controller, options.namespace, options.overwrite);
  using output = action === "read" ? new BlockFile(options.output, plan) : null;
  using progress = new Progress(
    `${action} ${device}`,
    action === "bench" ? 0 : Number(plan.blocks) * plan.namespace.blockBytes,
  );
  const result = await runIoJob(controller.driver, {
    ...plan,
    depth: options.depth,
    queues: options.queues,
    randomSeed: options.random === undefined ? null : options.random === true ? 1 : Number(options.random),
    ...dataOf(action, options, plan, source, output),
    onProgress: (transfers) => progress.update(transfers * plan.transferBlocks * plan.namespace.blockBytes),
    signal: interruption,
  });
  if (writes) await controller.namespace(options.namespace).flush();
  if (result.mismatch !== null) raiseExitStatus("mismatch");
  const what: IoDescription = { device, action, ...plan, depth: options.depth, queues: options.queues };
  if (options.json) return printJson(ioResultJson(what, result));
  if (output !== null && output.head.length > 0) print(hexLines(output.head, 0, 1).join("\n"));
  print(ioResultLines(what, result).join("\n"));
}

async function makePlan(
  controller: NvmeController,
  action: Action,
  options: Options,
  source: BlockSource | null,
): Promise<TransferPlan> {
  const { blocks, lba = 0n, namespace } = options;
  const atOnce = Number(options.blockSize ?? (action === "bench" ? 4096n : 131_072n));
  if (source === null) return await planTransfers(controller, namespace, lba, blocks, atOnce);
  const { dataBytes } = blockMemory(await controller.namespace(namespace).geometry());
  const given = source.blocks(dataBytes);
  if (blocks !== undefined && blocks > given) {
    throw new BusbarError("usage", `--blocks ${blocks}: the input has ${given}`, { operation: "plan transfers" });
  }
  return await planTransfers(controller, namespace, lba, blocks ?? given, atOnce);
}

/** Where the data of an action comes from and goes to. */
function dataOf(
  action: Action,
  options: Options,
  plan: TransferPlan,
  source: BlockSource | null,
  output: BlockFile | null,
): Pick<IoJobOptions, "readShare" | "durationMs" | "pattern" | "fill" | "onRead"> {
  const pattern = (): BlockPattern =>
    new BlockPattern(Number(options.pattern ?? 0n), plan.namespace.blockBytes, plan.memoryBytes);
  switch (action) {
    case "read":
      return { readShare: 1, onRead: (lba, bytes) => output?.put(lba, bytes) };
    case "verify":
      return { readShare: 1, pattern: pattern() };
    case "bench":
      return { readShare: options.readShare, durationMs: options.duration };
    case "write": {
      if (source === null) return { readShare: 0, pattern: pattern() };
      return { readShare: 0, fill: (lba, to) => source.take(Number(lba - plan.lba) * plan.memoryBytes, to) };
    }
  }
}

if (import.meta.main) await run(command);
