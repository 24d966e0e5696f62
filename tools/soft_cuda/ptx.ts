/**
 * `soft_cuda ptx`: what a PTX file or fat binary holds, and how often each line ran.
 * @module
 */

import { readInput } from "../../src/core/input.ts";
import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { softCudaFolder } from "../../ffi/build.ts";
import { BusbarError } from "../../src/core/error.ts";
import { capabilityOf, softCudaSettings } from "../../src/gpu/driver.ts";
import { lineCounts, moduleReport } from "../../src/gpu/soft/module_report.ts";
import { refuseStaticCudart } from "../../src/gpu/soft/program.ts";
import { print, printJson, printSchema } from "../cli/output.ts";
import { documentSchema, interruption, raiseExitStatus } from "../cli/run.ts";
import { countedLines, ptxDocument, ptxLines, ptxSchema } from "../render/gpu/soft_cuda.ts";
import { runOnDriver } from "./program.ts";

const MOST_BYTES = 64 << 20;

function readImage(path: string): Uint8Array<ArrayBuffer> {
  return readInput(path, { limitBytes: MOST_BYTES, what: "a module", operation: "read module" });
}

/** The command line of `soft_cuda ptx`. */
export const ptx: CommandUnknownOpts = new Command("ptx")
  .description(
    "Show what a module holds: kernels, instructions and how exact they are, and what is not known, by line.",
  )
  .argument("<file>", "PTX text or a fat binary")
  .argument("[command...]", "with --count, after --: a program that loads the very same text")
  .option("--profile <card>", "the device that is to run it: sm_75, sm_86, sm_90 or sm_100", "sm_90")
  .option("--count", "run the command, and show how many threads ran each line")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (file, command, options) => {
    if (options.jsonSchema) return printSchema(documentSchema("soft_cuda", [ptxSchema()], "ptx"));
    if (options.count !== (command.length > 0 ? true : undefined)) {
      throw new BusbarError("usage", "--count needs a command after --, and a command needs --count");
    }
    const image = readImage(file);
    const report = moduleReport(image, capabilityOf(options.profile));
    const counts = options.count ? await count(image, command, options.profile) : null;
    if (options.json) printJson(ptxDocument(file, report, counts));
    else {
      print(ptxLines(file, report).join("\n"));
      if (counts !== null) print(countedLines(new TextDecoder().decode(image), counts).join("\n"));
    }
    if (report.result !== 0) raiseExitStatus("no");
  });

/** Runs a program with counting on. */
async function count(
  image: Uint8Array<ArrayBuffer>,
  command: readonly string[],
  profile: string,
): Promise<Map<number, bigint>> {
  const file = await Deno.makeTempFile({ prefix: "busbar-count-" });
  try {
    refuseStaticCudart(command[0] ?? "");
    const settings = softCudaSettings(`soft:cuda?count=${encodeURIComponent(file)}`, profile);
    const status = await runOnDriver(command, softCudaFolder(), { BUSBAR_SOFT_CUDA: settings }, interruption);
    if (status !== 0) raiseExitStatus("no");
    return lineCounts(await Deno.readTextFile(file), image);
  } finally {
    await Deno.remove(file);
  }
}
