/**
 * `cxl_sim record -- PROGRAM`: the memory accesses of a program as a trace.
 * @module
 */

import { Command, type CommandUnknownOpts, InvalidArgumentError } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { thisMachine } from "../../src/core/host.ts";
import { formatBytes } from "../../src/core/units.ts";
import { surroundings } from "../../ffi/build.ts";
import { hookLinkFlags, recordWithHooks } from "../../src/sim/host/hooks.ts";
import { recordWithPerf } from "../../src/sim/host/perf_record.ts";
import { record as recordWithValgrind } from "../../src/sim/host/record.ts";
import type { RecordedTrace, RecordRequest } from "../../src/sim/host/record_request.ts";
import { findRecorder, recorderPlaces } from "../../src/sim/host/recorder_build.ts";
import { sizeBytes, timeOption, wholeNumber } from "../cli/arguments.ts";
import { note, print, printJson } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { environmentEntry, positiveNumber, safeSize } from "./trace_options.ts";

type Way = "valgrind" | "hooks" | "perf";

function wayNamed(text: string): Way {
  if (text === "valgrind" || text === "hooks" || text === "perf") return text;
  throw new InvalidArgumentError(`'${text}' is no way to record: write valgrind, hooks or perf`);
}

/** The command line of `cxl_sim record`. */
export const record: CommandUnknownOpts = new Command("record")
  .description("Run a program and write its memory accesses as a trace. No privileges are needed.")
  .argument("[program...]", "the program and its arguments, behind --")
  .option("-o, --output <file>", "the binary trace to write")
  .option(
    "--with <way>",
    "valgrind: any program; hooks: one built with our recorder; perf: samples of counters",
    wayNamed,
    "valgrind",
  )
  .option("--all", "every access, not only what misses a cache of each thread")
  .option("--filter-size <size>", "size of that cache; 1MiB by default", sizeBytes)
  .option("--filter-ways <n>", "its associativity", wholeNumber, 16)
  .option("--no-allocations", "leave out what malloc and mmap return")
  .option("--max-bytes <size>", "stop recording when the trace has this size; the program goes on", sizeBytes)
  .option("--ns-per-instruction <ns>", "time of an instruction (hooks: of an access)", positiveNumber, 0.25)
  .addOption(timeOption("--duration <time>", "end the program after this time"))
  .option("-e, --env <entry>", "NAME=VALUE for the program; may be repeated", environmentEntry)
  .option("--keep-partial", "keep the trace of a program that crashes or is killed")
  .option("--link-flags", "print what a program needs on its link line for --with hooks, and stop")
  .option("--json", "print one JSON document")
  .action(async (command, options) => {
    if (options.linkFlags) {
      const { cache, say } = surroundings();
      return print(hookLinkFlags(cache, say).join(" "));
    }
    if (options.output === undefined || command.length === 0) {
      throw new BusbarError("usage", command.length === 0 ? "which program?" : "which trace?", {
        operation: "record",
        hint: "cxl_sim record -o FILE.bbt -- PROGRAM ARGUMENTS",
      });
    }
    const request: RecordRequest = {
      command,
      output: options.output,
      all: options.all === true,
      filterBytes: safeSize(options.filterSize ?? 1n << 20n),
      filterWays: options.filterWays,
      allocations: options.allocations,
      maxBytes: options.maxBytes === undefined ? null : safeSize(options.maxBytes),
      nsPerInstruction: options.nsPerInstruction,
      env: options.env ?? {},
      durationMs: options.duration ?? null,
      keepPartial: options.keepPartial === true,
      signal: interruption,
    };
    const trace = await recordBy(options.with, request);
    if (options.json) return printJson(recordingJson(trace));
    print(`${trace.path}: ${trace.records} records of ${trace.threads} thread(s), ${formatBytes(trace.sizeBytes)}`);
    for (const line of trace.notes) note(`record: ${line}`);
    if (trace.exitStatus !== null && trace.exitStatus !== 0) {
      note(`record: the program ended with status ${trace.exitStatus}`);
    }
  });

function recordBy(way: Way, request: RecordRequest): Promise<RecordedTrace> {
  const { cache, say } = surroundings();
  switch (way) {
    case "valgrind":
      return recordWithValgrind(findRecorder(recorderPlaces(cache, say)), request);
    case "hooks":
      return recordWithHooks(request);
    case "perf":
      return recordWithPerf(thisMachine, request);
  }
}

/** The document of `--json`. */
function recordingJson(trace: RecordedTrace): Record<string, unknown> {
  return {
    schema: "cxl_sim_record/1",
    path: trace.path,
    records: String(trace.records),
    threads: trace.threads,
    sizeBytes: trace.sizeBytes,
    exitStatus: trace.exitStatus,
    signal: trace.signal,
    notes: trace.notes,
  };
}
