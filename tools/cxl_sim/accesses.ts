/**
 * Where the accesses of a run come from: a trace, a generator, or a program that is recorded first.
 * @module
 */

import { type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { surroundings } from "../../ffi/build.ts";
import { BusbarError, systemError } from "../../src/core/error.ts";
import { findRecorder, recorderPlaces } from "../../src/sim/host/recorder_build.ts";
import { record } from "../../src/sim/host/record.ts";
import { openTrace } from "../../src/sim/host/trace_file.ts";
import type { AccessBatch } from "../../src/sim/trace/batch.ts";
import { FLAG_FILTERED } from "../../src/sim/trace/binary.ts";
import { BINARY_FORMAT, TEXT_FORMATS } from "../../src/sim/trace/formats.ts";
import { SYNTHETIC_NAMES, SyntheticSource } from "../../src/sim/trace/synthetic.ts";
import { sizeBytes, wholeNumber } from "../cli/arguments.ts";
import { interruption } from "../cli/run.ts";
import { splitCommand } from "./lists.ts";
import { pinTo } from "./processors.ts";
import { environmentEntry, positiveNumber, safeSize } from "./trace_options.ts";

/** Adds the options that say where accesses come from. */
export function addAccesses(command: CommandUnknownOpts): CommandUnknownOpts {
  return command
    .option("-t, --target <command>", "a program to record and replay: name and arguments in one text")
    .option("--trace <file>", "a trace of any form that cxl_sim convert reads; - is standard input")
    .addOption(
      new Option("--format <name>", "its form, found out by default").choices([
        BINARY_FORMAT,
        ...TEXT_FORMATS.map(({ name }) => name),
      ]),
    )
    .option("--synthetic <what>", `a generator, as gups?count=1000000&size=64MiB: ${SYNTHETIC_NAMES.join(", ")}`)
    .option("--fields <list>", "the columns of perf script -F, or of gem5's decoder")
    .option("--ns-per-instruction <ns>", "time of an instruction; 0.25 by default", positiveNumber)
    .option("--ns-per-tick <ns>", "gem5, dramsim3: time of a tick or cycle", positiveNumber)
    .option("--gap <ns>", "ramulator2, alloc: time between two lines", positiveNumber)
    .option("--max-input <size>", "what may come out of a packed file; 1TiB by default", sizeBytes)
    .option("-e, --env <entry>", "NAME=VALUE for the program; may be repeated", environmentEntry)
    .option("--all", "record every access of the program, not only what misses a cache of each thread")
    .option("--filter-size <size>", "size of that cache; 1MiB by default", sizeBytes)
    .option("--filter-ways <n>", "its associativity; 16 by default", wholeNumber)
    .option("--keep-trace <file>", "keep the recording");
}

/** The values of those options. */
export interface AccessOptions {
  readonly target?: string;
  readonly trace?: string;
  readonly format?: string | undefined;
  readonly synthetic?: string;
  readonly fields?: string;
  readonly nsPerInstruction?: number;
  readonly nsPerTick?: number;
  readonly gap?: number;
  readonly maxInput?: bigint;
  readonly env?: Readonly<Record<string, string>>;
  readonly all?: true;
  readonly filterSize?: bigint;
  readonly filterWays?: number;
  readonly keepTrace?: string;
}

/** Accesses that are being read. Dispose ends it. */
export interface Accesses extends AsyncDisposable {
  /** What a report calls them. */
  readonly name: string;
  /** What has to be said about them. */
  readonly notes: readonly string[];
  /** A cache of the recorder stood in front: every write is a dirty line that it drove out, so nobody waits for one. */
  readonly filtered: boolean;
  /** The next accesses, in trace order. */
  read(batch: AccessBatch): number | Promise<number>;
}

/**
 * Opens what the options name, recording a program first.
 *
 * @param program what stands behind `--`
 * @param processors where the program runs; null for anywhere
 * @throws {BusbarError} `usage` when it is not exactly one thing
 */
export async function openAccesses(
  options: AccessOptions,
  program: readonly string[],
  processors: readonly number[] | null,
): Promise<Accesses> {
  const target = options.target === undefined ? program : splitCommand(options.target);
  const ways = [target.length > 0, options.trace !== undefined, options.synthetic !== undefined].filter(Boolean).length;
  if (ways !== 1 || (options.target !== undefined && program.length > 0)) {
    throw new BusbarError("usage", ways === 0 ? "which accesses?" : "a program, a trace and a generator: one of them", {
      operation: "read the options",
      hint: "-t PROGRAM, --trace FILE or --synthetic gups",
    });
  }
  if (options.synthetic !== undefined) {
    const source = new SyntheticSource(options.synthetic);
    return {
      name: `synthetic ${options.synthetic}`,
      notes: [],
      filtered: false,
      read: (batch) => source.read(batch),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
  if (options.trace !== undefined) return await openFile(options.trace, options, options.trace, []);
  return await recordProgram(target, options, processors);
}

async function openFile(
  path: string,
  options: AccessOptions,
  name: string,
  notes: readonly string[],
  end: () => void = () => {},
): Promise<Accesses> {
  const trace = await openTrace(path, {
    format: options.format,
    fields: options.fields,
    nsPerInstruction: options.nsPerInstruction,
    nsPerTick: options.nsPerTick,
    gapNs: options.gap,
    limitBytes: options.maxInput === undefined ? undefined : safeSize(options.maxInput),
  });
  return {
    name,
    notes,
    filtered: (trace.flags & FLAG_FILTERED) !== 0,
    read: (batch) => trace.read(batch),
    async [Symbol.asyncDispose](): Promise<void> {
      await trace[Symbol.asyncDispose]();
      end();
    },
  };
}

async function recordProgram(
  command: readonly string[],
  options: AccessOptions,
  processors: readonly number[] | null,
): Promise<Accesses> {
  const kept = options.keepTrace;
  const folder = kept === undefined ? await Deno.makeTempDir({ prefix: "busbar-trace-" }) : null;
  const clean = (): void => {
    if (folder === null) return;
    try {
      Deno.removeSync(folder, { recursive: true });
    } catch (cause) {
      throw systemError(cause, "remove the recording", folder);
    }
  };
  try {
    const { cache, say } = surroundings();
    const recorder = findRecorder(recorderPlaces(cache, say));
    using pinned = await pinTo(processors);
    const trace = await record(recorder, {
      command,
      output: kept ?? `${folder}/trace.bbt`,
      all: options.all === true,
      filterBytes: safeSize(options.filterSize ?? 1n << 20n),
      filterWays: options.filterWays ?? 16,
      allocations: true,
      maxBytes: null,
      nsPerInstruction: options.nsPerInstruction ?? 0.25,
      env: options.env ?? {},
      durationMs: null,
      keepPartial: false,
      signal: interruption,
    });
    const status = trace.exitStatus === null || trace.exitStatus === 0
      ? []
      : [`the program ended with status ${trace.exitStatus}`];
    const notes = [...pinned.notes, ...trace.notes, ...status];
    return await openFile(trace.path, { ...options, format: undefined }, command.join(" "), notes, clean);
  } catch (error) {
    clean();
    throw error;
  }
}
