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
import { planQueues, planTransfers, type TransferPlan, USUAL_DEPTH } from "../src/nvme/jobs/transfer_plan.ts";
import { checkErase } from "../src/nvme/jobs/write_guard.ts";
import { onlyWith } from "./cli/applicable.ts";
import { ratio, sizeBytes, timeOption, unsigned, wholeNumber } from "./cli/arguments.ts";
import { BlockFile, BlockSource, BlockStream } from "../src/nvme/jobs/block_file.ts";
import { hexLines } from "./render/pci/hexdump.ts";
import { type IoDescription, ioResultJson, ioResultLines, nvmeIoSchema } from "./render/nvme/nvme_io.ts";
import { note, print, printBytes, printJson } from "./cli/output.ts";
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
  .option(
    "--block-size <size>",
    "one transfer, whole blocks; 128KiB by default, or what the controller takes; 4KiB for bench",
    sizeBytes,
  )
  .option("--depth <n>", "transfers in flight; 32 by default, or what its queues take", wholeNumber)
  .option("--queues <n>", "I/O queue pairs", wholeNumber, 1)
  .option("--random [seed]", "at random places of the range", unsigned)
  .option("--read-share <ratio>", "bench: share of reads, 0 to 1", ratio, 1)
  .addOption(timeOption("--duration <time>", "bench: how long", "5s"))
  .option("--pattern <seed>", "write and verify: data that says which block it is, from this seed", unsigned)
  .option("--input <file>", "write: the data; - is standard input")
  .option("--output <file>", "read: where the data goes; - is standard output")
  .option("--write", "let write and bench write to the drive")
  .option("--erase <serial>", "write although something lies on the namespace: the drive's serial number")
  .addOption(new Option("--overwrite <serial>", "the former name of --erase").hideHelp())
  .option("--cmb", "keep the submission queues in the controller's own memory")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (device, action, options, tool) => {
    if (options.jsonSchema) return printJson(nvmeIoSchema());
    if (device === undefined || action === undefined) {
      throw new BusbarError("usage", "which device, and what?", { hint: "nvme_io soft:nvme bench" });
    }
    const named = actionNamed(action);
    checkApplicable(tool, named, options);
    await perform(device, named, options);
  });

/** Refuses what an action would not heed. */
function checkApplicable(tool: CommandUnknownOpts, action: Action, options: Options): void {
  onlyWith(tool, action === "bench", ["--read-share", "--duration"], "bench");
  onlyWith(tool, action === "write" || action === "verify", ["--pattern"], "write and verify");
  onlyWith(tool, action === "write" && options.pattern === undefined, ["--input"], "write without --pattern");
  onlyWith(tool, action === "read", ["--output"], "read");
  const isFile = options.input !== undefined || options.output !== undefined;
  onlyWith(tool, !isFile, ["--random"], "data that lies in no file");
}

interface Options {
  readonly namespace: number;
  readonly lba?: bigint | undefined;
  readonly blocks?: bigint | undefined;
  readonly blockSize?: bigint | undefined;
  readonly depth?: number | undefined;
  readonly queues: number;
  readonly random?: bigint | true | undefined;
  readonly readShare: number;
  readonly duration: number;
  readonly pattern?: bigint | undefined;
  readonly input?: string | undefined;
  readonly output?: string | undefined;
  readonly write?: true | undefined;
  readonly erase?: string | undefined;
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
    ioEntries: Math.min(65_536, Math.max(256, Math.ceil((options.depth ?? USUAL_DEPTH) / options.queues) + 1)),
    signal: interruption,
  });
  const shares = planQueues(controller.driver, options.queues, options.depth);
  if (options.depth === undefined && shares.depth < USUAL_DEPTH) {
    note(`nvme_io: ${shares.depth} transfers in flight, not ${USUAL_DEPTH}: its queues take no more`);
  }
  using source = action === "write" && options.pattern === undefined ? await BlockSource.open(options.input) : null;
  const plan = await makePlan(controller, action, options, source);
  if (writes) await checkErase(controller, options.namespace, eraseOf(options));
  using file = action === "read" && options.output !== "-" ? new BlockFile(options.output, plan) : null;
  const output = options.output === "-" ? new BlockStream(plan, printBytes) : file;
  using progress = new Progress(
    `${action} ${device}`,
    action === "bench" ? 0 : Number(plan.blocks) * plan.namespace.blockBytes,
  );
  const result = await runIoJob(controller.driver, {
    ...plan,
    ...shares,
    randomSeed: options.random === undefined ? null : options.random === true ? 1 : Number(options.random),
    ...dataOf(action, options, plan, source, output),
    onProgress: (transfers) => progress.update(transfers * plan.transferBlocks * plan.namespace.blockBytes),
    signal: interruption,
  });
  if (writes) await controller.namespace(options.namespace).flush();
  if (result.mismatch !== null) raiseExitStatus("mismatch");
  const what: IoDescription = { device, action, ...plan, ...shares };
  if (options.json) return printJson(ioResultJson(what, result));
  if (file !== null && file.head.length > 0) print(hexLines(file.head, 0, 1).join("\n"));
  print(ioResultLines(what, result).join("\n"));
}

/** The serial number that allows destroying what lies there, by either of its names. */
function eraseOf({ erase, overwrite }: Options): string | undefined {
  if (overwrite !== undefined) note("nvme_io: --overwrite is called --erase now, and will go away");
  return erase ?? overwrite;
}

async function makePlan(
  controller: NvmeController,
  action: Action,
  options: Options,
  source: BlockSource | null,
): Promise<TransferPlan> {
  const { blocks, lba = 0n, namespace } = options;
  const atOnce = {
    sizeBytes: Number(options.blockSize ?? (action === "bench" ? 4096n : 131_072n)),
    isExact: options.blockSize !== undefined,
  };
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
  output: BlockFile | BlockStream | null,
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
