/**
 * `membench <memory…>`: latency, bandwidth, random updates, durable writes and their processor time, side by side;
 * `membench matrix`: the same between the NUMA nodes.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { InvalidArgumentError } from "commander";

import { BusbarError } from "../src/core/error.ts";
import { thisMachine } from "../src/core/host.ts";
import { nearest } from "../src/core/locator.ts";
import { MemoryBackend, parseMemory } from "../src/memory/backend.ts";
import { environmentOf } from "../src/memory/bench_environment.ts";
import { checkProcessors, limitSize, refuseUsedMemory, ScratchFile } from "../src/memory/bench_guard.ts";
import { localMachine } from "../ffi/machine.ts";
import {
  type Benchmark,
  BENCHMARKS,
  benchMemory,
  type BenchOptions,
  type BenchResult,
  countSteps,
  smallestCpuShare,
} from "../src/memory/membench.ts";
import { onlyWith } from "./cli/applicable.ts";
import { matrix } from "./membench/matrix.ts";
import { cpuList, memorySize, ratio, timeOption, wholeNumber } from "./cli/arguments.ts";
import { writeOutput } from "./cli/files.ts";
import { benchCurves, benchHtml } from "./render/memory/membench_curves.ts";
import { benchJson, benchLines, environmentLines, membenchSchema } from "./render/memory/membench.ts";
import { note, print, printJson, printSchema } from "./cli/output.ts";
import { StepProgress } from "./cli/progress.ts";
import { interruption, run } from "./cli/run.ts";

function benchmarks(text: string): Benchmark[] {
  return text.split(",").map((word) => {
    const found = BENCHMARKS.find((one) => one === word.trim());
    if (found !== undefined) return found;
    const near = nearest(word.trim(), BENCHMARKS);
    throw new InvalidArgumentError(
      `'${word}' is nothing that is measured: ${
        near === null ? `write ${BENCHMARKS.join(",")}` : `did you mean '${near}'?`
      }`,
    );
  });
}

/** The command line of `membench`. */
export const command: CommandUnknownOpts = new Command("membench")
  // Options behind the word matrix are its own, although they have the same names.
  .enablePositionalOptions()
  .description("Measure memory: latency, bandwidth, random updates, durable writes, and what each costs the processor.")
  .argument("[memory...]", "anonymous, huge, huge:1GiB, numa:1, /dev/dax0.0, mmap:/path/file, ivshmem:SS, 0000:00:04.0")
  .option(
    "--size <size>",
    "bytes of memory that has no size of its own, and at most of any; 64MiB by default",
    memorySize,
  )
  .option("--only <list>", "some of latency,bandwidth,durable,gups,loaded", benchmarks)
  .addOption(timeOption("--duration <time>", "time for each number", "500ms"))
  .option("--threads <n>", "threads of streams and random updates", wholeNumber, 1)
  .option("--cpus <list>", "processors to pin the threads to, as in 0-3,8", cpuList)
  .option("--stride <bytes>", "from one slot of the pointer chase to the next", wholeNumber, 256)
  .option("--block-size <bytes>", "bytes of a durable write", wholeNumber, 4096)
  .option("--hot-table <share>", "random updates: this share of the table", ratio, 0.1)
  .option("--hot-updates <share>", "gets this share of the updates", ratio, 0.9)
  .option("--write", "overwrite what is in a file or device that exists")
  .option("--svg <file>", "write the curves of latency")
  .option("--html <file>", "write a page with the tables and curves")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (words, options, self) => {
    if (options.jsonSchema) return printSchema(membenchSchema());
    if (words.length === 0) {
      throw new BusbarError("usage", "which memory?", { hint: "membench anonymous /dev/dax0.0 --write" });
    }
    const bench: BenchOptions = {
      benchmarks: options.only ?? BENCHMARKS,
      durationMs: options.duration,
      strideBytes: options.stride,
      threads: options.threads,
      cpus: options.cpus ?? [],
      blockBytes: options.blockSize,
      hot: options.hotTable === 0 ? null : { tableShare: options.hotTable, updateShare: options.hotUpdates },
      signal: interruption,
    };
    const environment = environmentOf(thisMachine);
    checkProcessors(bench.cpus, environment.cpus);
    const has = (what: Benchmark): boolean => bench.benchmarks.includes(what);
    onlyWith(self, has("durable"), ["--block-size"], "--only durable");
    onlyWith(self, has("gups"), ["--hot-table", "--hot-updates"], "--only gups");
    onlyWith(self, has("latency") || has("loaded"), ["--stride"], "--only latency,loaded");
    const about = environmentLines(environment, bench);
    const results = await measure(words, options.size, options.write === true, bench, () => {
      if (!options.json) print(about.join("\n"));
    });
    const { caches } = environment;
    if (options.svg !== undefined) writeOutput(options.svg, await benchCurves(results, caches));
    if (options.html !== undefined) writeOutput(options.html, await benchHtml(about, results, caches));
    if (options.json) return printJson(benchJson(environment, bench, results));
    print(benchLines(results).join("\n"));
    const share = smallestCpuShare(results, bench.threads);
    if (share < 0.95) {
      const percent = (100 * share).toFixed(0);
      const processors = navigator.hardwareConcurrency;
      const why = bench.threads > processors
        ? `${bench.threads} threads shared ${processors} processors`
        : "other programs ran meanwhile";
      note(`membench: ${why}: a thread had only ${percent} % of its processor`);
    }
    for (const file of [options.svg, options.html]) if (file !== undefined) note(`membench: wrote ${file}`);
  })
  .addCommand(matrix);

/** Measures one memory after the other; nothing is touched before all were looked at. */
async function measure(
  words: readonly string[],
  size: bigint | undefined,
  mayWrite: boolean,
  bench: BenchOptions,
  begin: () => void,
): Promise<BenchResult[]> {
  const sizeBytes = size ?? 64n << 20n;
  const requests = words.map((word) => parseMemory(word, sizeBytes));
  for (const request of requests) refuseUsedMemory(localMachine, request, mayWrite);
  begin();
  using progress = new StepProgress(requests.length * countSteps(Number(sizeBytes), bench));
  const results: BenchResult[] = [];
  for (const request of requests) {
    using _scratch = ScratchFile.forRequest(localMachine, request, sizeBytes);
    using backend = MemoryBackend.open(limitSize(localMachine, request, sizeBytes), localMachine);
    results.push(await benchMemory(backend, { ...bench, onStep: (what) => progress.step(what) }));
  }
  return results;
}

if (import.meta.main) await run(command);
