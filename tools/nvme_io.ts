/**
 * `nvme_io <device> read|write|verify|bench`: blocks of an NVMe namespace, driven from here.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { readYamlFile } from "../src/core/documents.ts";
import { BusbarError } from "../src/core/error.ts";
import { NvmeController } from "../src/nvme/driver/controller.ts";
import { blockMemory } from "../src/nvme/tables/identity.ts";
import { type IoJobOptions, runIoJob } from "../src/nvme/jobs/io_job.ts";
import type { BenchJob, BenchPhase } from "../src/nvme/jobs/job_file.ts";
import { BlockPattern } from "../src/nvme/jobs/pattern.ts";
import { planQueues, planTransfers, type TransferPlan, USUAL_DEPTH } from "../src/nvme/jobs/transfer_plan.ts";
import { checkErase } from "../src/nvme/jobs/write_guard.ts";
import { onlyWith } from "./cli/applicable.ts";
import { fraction, ratio, sizeBytes, suggesting, timeOption, unsigned, wholeNumber } from "./cli/arguments.ts";
import { BlockFile, BlockSource, BlockStream } from "../src/nvme/jobs/block_file.ts";
import { hexLines } from "./render/pci/hexdump.ts";
import {
  benchJson,
  benchLines,
  type IoDescription,
  ioResultJson,
  ioResultLines,
  nvmeIoSchema,
} from "./render/nvme/nvme_io.ts";
import { latencyIntervals, type PhaseResult, runBench, TIMELINE_HEAD } from "./nvme_io/bench_job.ts";
import { LineFile, writeOutput } from "./cli/files.ts";
import { note, print, printBytes, printJson, printSchema } from "./cli/output.ts";
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
  .addArgument(suggesting(new Argument("[action]", "what to do"), ACTIONS))
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
  .option(
    "--zipf <exponent>",
    "bench: with --random: some places more often, by Zipf's law; above 0, below 1",
    fraction,
  )
  .option("--rate <n>", "bench: begin at most so many transfers in a second, on each drive", wholeNumber)
  .option(
    "--threads [n]",
    "bench: queues in turns on so many threads; each on one of its own without a number",
    wholeNumber,
  )
  .addOption(timeOption("--duration <time>", "bench: how long", "5s"))
  .option("--drive <device>", "bench: a further drive, at the same time; as often as there are", collect)
  .option("--job <file>", "bench: phases, mixes and rates from a YAML file, in fio's words")
  .option("--timeline <file>", "bench: bandwidth over time, as CSV; - is standard output")
  .addOption(timeOption("--interval <time>", "bench: length of a row of --timeline", "1s"))
  .option(
    "--latencies <file>",
    "bench: all latencies, for HdrHistogram's tools: a distribution (.hgrm) or a log (.hlog)",
  )
  .option("--interrupts", "sleep until a transfer is done, where polling is the default")
  .option("--poll-first <µs>", "with --interrupts: poll so long after the last completion before sleeping", unsigned)
  .addOption(timeOption("--timeout <time>", "a command that has not come back counts as lost; 30 s by default"))
  .option("--pattern <seed>", "write and verify: data that says which block it is, from this seed", unsigned)
  .option("--input <file>", "write: the data; - is standard input")
  .option("--output <file>", "read: where the data goes; - is standard output")
  .option("--write", "let write and bench write to the drive")
  .option(
    "--erase <serial>",
    "write although something lies on the namespace: the drive's serial number; of each drive, if there are several",
    collect,
  )
  .addOption(new Option("--overwrite <serial>", "the former name of --erase").hideHelp())
  .option("--cmb", "keep the submission queues in the controller's own memory")
  .option("--no-iommu", "drive an unbound controller although nothing keeps it from other memory")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (device, action, options, tool) => {
    if (options.jsonSchema) return printSchema(nvmeIoSchema());
    if (device === undefined || action === undefined) {
      throw new BusbarError("usage", "which device, and what?", { hint: "nvme_io soft:nvme bench" });
    }
    const named = actionNamed(action);
    checkApplicable(tool, named, options);
    if (named === "bench") await bench(device, options);
    else await perform(device, named, options);
  });

function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

/** Refuses what an action would not heed. */
function checkApplicable(tool: CommandUnknownOpts, action: Action, options: Options): void {
  const OF_BENCH = ["--read-share", "--duration", "--zipf", "--rate", "--threads", "--drive", "--job"];
  onlyWith(tool, action === "bench", [...OF_BENCH, "--timeline", "--interval", "--latencies"], "bench");
  const OF_PHASES = [
    "--lba",
    "--blocks",
    "--block-size",
    "--depth",
    "--queues",
    "--random",
    "--read-share",
    "--duration",
  ];
  onlyWith(tool, options.job === undefined, [...OF_PHASES, "--zipf", "--rate", "--threads"], "bench without --job");
  onlyWith(tool, options.random !== undefined, ["--zipf"], "--random");
  onlyWith(tool, options.timeline !== undefined, ["--interval"], "--timeline");
  onlyWith(tool, options.interrupts === true, ["--poll-first"], "--interrupts");
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
  readonly zipf?: number | undefined;
  readonly rate?: number | undefined;
  readonly threads?: number | true | undefined;
  readonly duration: number;
  readonly drive?: readonly string[] | undefined;
  readonly job?: string | undefined;
  readonly timeline?: string | undefined;
  readonly interval: number;
  readonly latencies?: string | undefined;
  readonly interrupts?: true | undefined;
  readonly pollFirst?: bigint | undefined;
  readonly timeout?: number | undefined;
  readonly pattern?: bigint | undefined;
  readonly input?: string | undefined;
  readonly output?: string | undefined;
  readonly write?: true | undefined;
  readonly erase?: readonly string[] | undefined;
  readonly overwrite?: string | undefined;
  readonly cmb?: true | undefined;
  readonly iommu: boolean;
  readonly json?: true | undefined;
}

/** Refuses to write unless that was asked for. */
function checkWrite(action: Action, writes: boolean, { write }: Options): void {
  if (writes && write !== true) {
    throw new BusbarError("usage", `${action} would write to the drive`, { hint: "--write lets it" });
  }
}

/** The phase that the options of the command line make. */
function phaseOf(options: Options): BenchPhase {
  return {
    name: "bench",
    readShare: options.readShare,
    isRandom: options.random !== undefined,
    zipfTheta: options.zipf ?? null,
    seed: seedOf(options) ?? 1,
    transferBytes: Number(options.blockSize ?? 4096n),
    depth: options.depth,
    queues: options.queues,
    threads: threadsOf(options),
    ratePerSecond: options.rate ?? null,
    durationMs: options.duration,
    transfers: null,
    offsetBytes: 0,
    sizeBytes: null,
    patternSeed: null,
    startDelayMs: 0,
  };
}

function threadsOf({ threads, queues }: Options): number | null {
  if (typeof threads !== "number") return threads === true ? queues : null;
  if (threads > queues) throw new BusbarError("usage", `--threads ${threads}: there are ${queues} queues`);
  return threads;
}

function seedOf({ random }: Options): number | null {
  return random === undefined ? null : random === true ? 1 : Number(random);
}

/** Microseconds of polling before a queue sleeps, or null where it polls on. */
function pollFirstOf({ interrupts, pollFirst }: Options): number | null {
  return interrupts === true ? Number(pollFirst ?? 0n) : null;
}

async function bench(device: string, options: Options): Promise<void> {
  const file = options.job === undefined ? null : await readBenchJob(options.job);
  const phases = file?.phases ?? [phaseOf(options)];
  const devices = [...new Set([device, ...options.drive ?? [], ...file?.drives ?? []])];
  checkWrite("bench", phases.some(({ readShare }) => readShare < 1), options);
  const { timeline, interval: intervalMs, latencies } = options;
  using rows = timeline === undefined ? null : new LineFile(timeline, TIMELINE_HEAD);
  const startedAt = new Date();
  const results = await (async () => {
    using progress = new Progress(`bench ${devices.join(" ")}`, 0);
    let before = 0;
    let phaseNow = "";
    let last = 0;
    return await runBench({
      devices,
      phases,
      namespace: options.namespace,
      lba: options.lba,
      blocks: options.blocks,
      isExact: file !== null || options.blockSize !== undefined,
      pollFirstUs: pollFirstOf(options),
      cmb: options.cmb === true,
      noIommu: !options.iommu,
      erase: eraseOf(options),
      timeoutMs: options.timeout,
      timeline: rows === null ? null : { intervalMs, onRow: (line) => rows.write(line) },
      onProgress: (phase, bytes) => {
        if (phase !== phaseNow) [before, phaseNow] = [before + last, phase];
        last = bytes;
        progress.update(before + bytes);
      },
      signal: interruption,
    });
  })();
  for (const [index, { drives }] of results.entries()) {
    for (const { what, result } of drives) {
      if (result.mismatch !== null) raiseExitStatus("mismatch");
      if (phases[index]?.depth !== undefined || what.depth >= USUAL_DEPTH) continue;
      note(`nvme_io: ${what.depth} transfers in flight, not ${USUAL_DEPTH}: its queues take no more`);
    }
  }
  if (latencies !== undefined) writeOutput(latencies, await latencyText(latencies, results, startedAt));
  const only = file === null && devices.length === 1 ? results[0]?.drives[0] : undefined;
  if (options.json) {
    return printJson(only === undefined ? benchJson(results) : ioResultJson(only.what, only.result));
  }
  print((only === undefined ? benchLines(results) : ioResultLines(only.what, only.result)).join("\n"));
}

async function readBenchJob(path: string): Promise<BenchJob> {
  const { benchJobOf } = await import("../src/nvme/jobs/job_file.ts");
  return benchJobOf(await readYamlFile(path), path);
}

async function latencyText(path: string, results: readonly PhaseResult[], startedAt: Date): Promise<string> {
  const { histogramLog, percentileDistribution } = await import("./render/nvme/latency_file.ts");
  const intervals = latencyIntervals(results);
  return path.endsWith(".hlog") ? await histogramLog(intervals, startedAt) : await percentileDistribution(intervals);
}

async function perform(device: string, action: Exclude<Action, "bench">, options: Options): Promise<void> {
  const writes = action === "write";
  checkWrite(action, writes, options);
  await using controller = await NvmeController.open(device, {
    drive: true,
    noIommu: !options.iommu,
    ioQueues: options.queues,
    cmbQueues: options.cmb === true,
    wait: options.interrupts === true ? "interrupt" : "poll",
    // One entry of a queue stays free.
    ioEntries: Math.min(65_536, Math.max(256, Math.ceil((options.depth ?? USUAL_DEPTH) / options.queues) + 1)),
    signal: interruption,
  });
  const shares = planQueues(controller.driver, options.queues, options.depth);
  if (options.depth === undefined && shares.depth < USUAL_DEPTH) {
    note(`nvme_io: ${shares.depth} transfers in flight, not ${USUAL_DEPTH}: its queues take no more`);
  }
  using source = action === "write" && options.pattern === undefined ? await BlockSource.open(options.input) : null;
  const plan = await makePlan(controller, options, source);
  if (writes) await checkErase(controller, options.namespace, eraseOf(options).at(-1));
  using file = action === "read" && options.output !== "-" ? new BlockFile(options.output, plan) : null;
  const output = options.output === "-" ? new BlockStream(plan, printBytes) : file;
  using progress = new Progress(`${action} ${device}`, Number(plan.blocks) * plan.namespace.blockBytes);
  const result = await runIoJob(controller.driver, {
    ...plan,
    ...shares,
    randomSeed: seedOf(options),
    ...(options.interrupts === true ? { pollFirstUs: pollFirstOf(options) ?? 0 } : {}),
    ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout }),
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

/** The serial numbers that allow destroying what lies there, by either of the option's names. */
function eraseOf({ erase = [], overwrite }: Options): readonly string[] {
  if (overwrite === undefined) return erase;
  note("nvme_io: --overwrite is called --erase now, and will go away");
  return [...erase, overwrite];
}

async function makePlan(
  controller: NvmeController,
  options: Options,
  source: BlockSource | null,
): Promise<TransferPlan> {
  const { blocks, lba = 0n, namespace } = options;
  const atOnce = {
    sizeBytes: Number(options.blockSize ?? 131_072n),
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
  action: Exclude<Action, "bench">,
  options: Options,
  plan: TransferPlan,
  source: BlockSource | null,
  output: BlockFile | BlockStream | null,
): Pick<IoJobOptions, "readShare" | "pattern" | "fill" | "onRead"> {
  const pattern = (): BlockPattern =>
    new BlockPattern(Number(options.pattern ?? 0n), plan.namespace.blockBytes, plan.memoryBytes);
  switch (action) {
    case "read":
      return { readShare: 1, onRead: (lba, bytes) => output?.put(lba, bytes) };
    case "verify":
      return { readShare: 1, pattern: pattern() };
    case "write": {
      if (source === null) return { readShare: 0, pattern: pattern() };
      return { readShare: 0, fill: (lba, to) => source.take(Number(lba - plan.lba) * plan.memoryBytes, to) };
    }
  }
}

if (import.meta.main) await run(command);
