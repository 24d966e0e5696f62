/**
 * `numa_stats`: the kernel's counters of placement, promotion, demotion and migration, during a command or an interval.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { pause } from "../src/core/deadline.ts";
import { BusbarError } from "../src/core/error.ts";
import { runCommand } from "../src/memory/child_process.ts";
import { checkIdentities, countedBetween, type CounterValues, readCounters } from "../src/memory/counters.ts";
import { readCounterFile } from "../src/memory/counters_file.ts";
import { onlyWith } from "./cli/applicable.ts";
import { nodeNumber, timeOption, wholeNumber } from "./cli/arguments.ts";
import {
  columnJson,
  columnNotes,
  type CounterColumn,
  counterTable,
  numaStatsSchema,
  TABLE_FORMATS,
  type TableFormat,
} from "./render/memory/numa_stats.ts";
import { HOST_OPTION, hostFrom, SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson, printJsonLine, printSchema } from "./cli/output.ts";
import { interruption, raiseExitStatus, run } from "./cli/run.ts";

interface Options {
  readonly node?: number | undefined;
  readonly during?: readonly string[] | undefined;
  readonly interval?: number | undefined;
  readonly count?: number | undefined;
  readonly format: TableFormat;
  readonly json?: true | undefined;
}

/** The command line of `numa_stats`. */
export const command: CommandUnknownOpts = new Command("numa_stats")
  .description("Show the kernel's NUMA counters: since boot, during commands (a column for each), or by interval.")
  .argument("[command...]", "after --: a command, counted while it runs; or file:SAVED, or file:BEFORE file:AFTER")
  .option("--during <command>", "count while this runs in a shell; may be repeated, a column for each", collect)
  .addOption(timeOption("--interval <time>", "count again and again, after this time each"))
  .option("--count <n>", "end after so many intervals", wholeNumber)
  .option("--node <n>", "the counters of one node", nodeNumber)
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .addOption(new Option("--format <form>", "of the table").choices(TABLE_FORMATS).default("text" as const))
  .option("--json", "print one JSON document; a line for each interval")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (words, options, self) => {
    if (options.jsonSchema) return printSchema(numaStatsSchema());
    onlyWith(self, options.interval !== undefined, ["--count"], "--interval");
    onlyWith(self, words.length === 0 && options.during === undefined, ["--host"], "counters without a command");
    onlyWith(self, options.interval === undefined, ["--during"], "a count without --interval");
    if (options.interval !== undefined && words.length > 0) {
      throw new BusbarError("usage", "--interval and a command: counters are shown by interval, or during commands", {
        hint: "numa_stats -- COMMAND, or numa_stats --interval 1s",
      });
    }
    if (words.length > 0 && words.every((word) => word.startsWith("file:"))) return showSaved(words, options);
    const host = hostFrom(options.host);
    const read = (): CounterValues => readCounters(host, options.node ?? null);
    if (options.interval !== undefined) return await byInterval(options.interval, options, read);
    const columns: CounterColumn[] = [];
    const commands = [
      ...(options.during ?? []).map((line) => ({ title: line, argv: ["sh", "-c", line] })),
      ...words.length === 0 ? [] : [{ title: words.join(" "), argv: words }],
    ];
    for (const { title, argv } of commands) {
      const before = read();
      const { exitStatus, durationMs } = await runCommand(argv, interruption);
      columns.push({ title, values: countedBetween(before, read()), durationMs, exitStatus });
      if (exitStatus !== 0) raiseExitStatus("no");
    }
    if (commands.length === 0) {
      columns.push({ title: "since boot", values: read(), durationMs: null, exitStatus: null });
    }
    show(columns, options);
  });

function collect(line: string, lines: readonly string[] = []): string[] {
  return [...lines, line];
}

async function byInterval(intervalMs: number, options: Options, read: () => CounterValues): Promise<void> {
  let before = read();
  for (let n = 1; n <= (options.count ?? Infinity); n++) {
    await pause(intervalMs, interruption);
    const now = read();
    const title = new Date().toISOString();
    const column = { title, values: countedBetween(before, now), durationMs: intervalMs, exitStatus: null };
    before = now;
    if (options.json) printJsonLine({ schema: "numa_stats/1", runs: [columnJson(column)] });
    else show([column], options);
  }
}

/** Saved counters, or what was counted between two files. Counters that contradict each other are exit status 1. */
function showSaved(words: readonly string[], options: Options): void {
  const [before, after, ...more] = words.map((word) => readCounterFile(word.slice("file:".length)));
  if (before === undefined || more.length > 0) throw new BusbarError("usage", "one file, or one before and one after");
  const column = (title: string, values: CounterValues): CounterColumn => ({
    title,
    values,
    durationMs: null,
    exitStatus: null,
  });
  if (after !== undefined && after.length !== before.length) {
    throw new BusbarError("usage", `the first file has ${before.length} columns, the second ${after.length}`);
  }
  const columns = after === undefined
    ? before.map(({ title, values }) => column(title, values))
    : after.map(({ title, values }, i) => column(title, countedBetween(before[i]?.values ?? new Map(), values)));
  const wrong = columns.some(({ values }) =>
    checkIdentities(values).some(({ difference }) => (difference ?? 0n) !== 0n)
  );
  if (wrong) raiseExitStatus("no");
  show(columns, options);
}

function show(columns: readonly CounterColumn[], options: Options): void {
  if (options.json) return printJson({ schema: "numa_stats/1", runs: columns.map(columnJson) });
  print(counterTable(columns, options.format).join("\n"));
  for (const line of columns.flatMap(columnNotes)) note(line);
}

if (import.meta.main) await run(command);
