/**
 * `damon_config generate|start|status|stop|run`: DAMON moves cold pages to slow memory and hot pages back.
 * @module
 */

import { Command, type CommandUnknownOpts, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { stringify } from "@std/yaml";

import { BusbarError } from "../src/core/error.ts";
import { thisMachine } from "../src/core/host.ts";
import { UndoJournal } from "../src/core/undo/journal.ts";
import { insideCgroup, makeCgroup } from "../src/memory/cgroup.ts";
import { runCommand } from "../src/memory/child_process.ts";
import { DAMO_SCHEMAS, toDamo } from "../src/memory/damo_file.ts";
import { fromDamo } from "../src/memory/damo_reader.ts";
import { DAMON_KEPT, damonObstacles, kdamondWrites, readDamon, startDamon } from "../src/memory/damon.ts";
import { type Kdamond, nodeRanges, planDamon } from "../src/memory/damon_plan.ts";
import type { MemoryRange } from "../src/memory/devdax.ts";
import { nodeNumber, sizeBytes, timeOption } from "./cli/arguments.ts";
import {
  damonJson,
  damonLines,
  damonRequest,
  damonSchema,
  type MigrationOptions,
} from "./render/memory/damon_config.ts";
import { writeOutput } from "./cli/files.ts";
import { HOST_OPTION, hostFrom, SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson } from "./cli/output.ts";
import { readYaml } from "../src/memory/tier_profile.ts";
import { withoutWord, withSchema } from "./cli/subcommand.ts";
import { interruption, openJournal, raiseExitStatus, run } from "./cli/run.ts";

function collect(text: string, nodes: readonly number[] = []): number[] {
  return [...nodes, nodeNumber(text)];
}

type PlanOptions = MigrationOptions & { readonly config?: string | undefined };

/** Adds the options that say what is to be moved; the action gets the kdamonds. */
function planning(name: string, description: string): Command<[], PlanOptions> {
  return new Command(name)
    .description(description)
    .option("-m, --migrate <fast-slow...>", "demote from a fast node to a slow one, and promote back", collect)
    .option("-d, --demote <src-dst...>", "only demote: cold pages of a node go to another", collect)
    .option("-p, --promote <src-dst...>", "only promote: hot pages of a node go to another", collect)
    .option("-g, --global", "pages of all processes")
    .option("--cgroup <path>", "only pages of this cgroup", "/hmsdk")
    .addOption(timeOption("--sample <time>", "between two looks at a page; 100ms by default"))
    .addOption(timeOption("--aggregate <time>", "over which looks are summed up; 2s by default"))
    .addOption(timeOption("--update <time>", "between two updates of what is watched; 20s by default"))
    .addOption(timeOption("--cold-age <time>", "pages not used for so long are cold; 30s by default"))
    .option("-s, --region-max-size <size>", "a kdamond watches at most so much; more memory gets several", sizeBytes)
    .option("--config <file>", "take it all from a damo file, YAML or JSON") as Command<[], PlanOptions>;
}

async function planned(
  options: PlanOptions,
  ranges: (node: number) => MemoryRange[] = (node) => nodeRanges(thisMachine, node),
): Promise<Kdamond[]> {
  if (options.config === undefined) return planDamon(damonRequest(options), ranges);
  return fromDamo(await readYaml(options.config), options.config);
}

/** Collects `--memory 1=0x100000000-0x200000000`; the end is the first address behind. */
function memory(text: string, before: Map<number, MemoryRange[]> | undefined): Map<number, MemoryRange[]> {
  const match = /^(\d+)=(0x[0-9a-f]+|\d+)-(0x[0-9a-f]+|\d+)$/i.exec(text);
  const [start, end] = [BigInt(match?.[2] ?? 0), BigInt(match?.[3] ?? 0)];
  if (match === null || start >= end) {
    throw new InvalidArgumentError(`'${text}' is no memory of a node; write 1=0x100000000-0x200000000`);
  }
  const ranges = before ?? new Map<number, MemoryRange[]>();
  for (const range of [...ranges.values()].flat()) {
    if (start < range.end && range.start < end) {
      throw new InvalidArgumentError(`'${text}' overlaps ${hexRange(range)}, which was given before`);
    }
  }
  const node = Number(match[1]);
  return ranges.set(node, [...ranges.get(node) ?? [], { start, end }].sort((a, b) => a.start < b.start ? -1 : 1));
}

function hexRange({ start, end }: MemoryRange): string {
  return `0x${start.toString(16)}-0x${end.toString(16)}`;
}

function noMemoryGiven(node: number): never {
  throw new BusbarError("usage", `the memory of node ${node} is not given`, {
    operation: "plan DAMON",
    hint: `--memory ${node}=START-END says where it lies; without --memory this machine is asked`,
  });
}

function show(
  options: { readonly json?: true | undefined; readonly host?: string | undefined },
  kdamonds: readonly Kdamond[] = [],
): void {
  const host = hostFrom(options.host);
  const status = readDamon(host);
  const obstacles = damonObstacles(host, kdamonds);
  if (options.json) printJson(damonJson(status, obstacles));
  else print(damonLines(status, obstacles).join("\n"));
}

const generate = planning(
  "generate",
  "Print a configuration, as a file of damo or as writes to sysfs. Changes nothing.",
)
  .addOption(
    new Option("--format <form>", "a file of damo, or shell lines").choices(["damo", "sysfs"] as const)
      .default("damo" as const),
  )
  .addOption(new Option("--schema <version>", "the version of damo").choices(DAMO_SCHEMAS).default("2.4" as const))
  .option("--memory <node=start-end...>", "addresses of a node, for another machine: 1=0x100000000-0x200000000", memory)
  .option("-o, --output <file>", "write it there")
  .action(async (options) => {
    const { memory } = options;
    const kdamonds = await planned(
      options,
      memory === undefined ? undefined : (node) => memory.get(node) ?? noMemoryGiven(node),
    );
    const folder = "/sys/kernel/mm/damon/admin/kdamonds";
    const text = options.format === "damo" ? stringify(toDamo(kdamonds, options.schema), { lineWidth: -1 }) : [
      `echo ${kdamonds.length} >${folder}/nr_kdamonds`,
      ...kdamonds.flatMap((kdamond, i) =>
        kdamondWrites(kdamond, i).filter((write) => !write.optional).map(({ path, text }) => `echo ${text} >${path}`)
      ),
      ...kdamonds.map((_, i) => `echo on >${folder}/${i}/state`),
    ].join("\n") + "\n";
    // What speaks against it here says nothing of the machine that it is for.
    if (memory === undefined && options.config === undefined) {
      for (const obstacle of damonObstacles(thisMachine, kdamonds)) note(obstacle);
    }
    if (options.output === undefined) print(text.trimEnd());
    else writeOutput(options.output, text);
  });

const start = planning("start", "Start DAMON. It runs until damon_config stop. Refused while kdamonds of others exist.")
  .option("--force", "drop kdamonds of somebody else")
  .option("--dry-run", "list what would be written; write nothing")
  .option("--json", "print one JSON document")
  .action(async (options) => {
    const kdamonds = await planned(options);
    using journal = openJournal("damon_config start", options.dryRun ? (options.json ? note : print) : undefined);
    startDamon(journal, thisMachine, kdamonds, { force: options.force === true });
    if (options.dryRun) return;
    journal.keepAs(DAMON_KEPT);
    show(options, kdamonds);
  });

const runInside = planning("run", "Run a command in a cgroup of its own with DAMON on, and put everything back.")
  .argument("<command...>", "after --: the command")
  .option("--force", "drop kdamonds of somebody else")
  .option("--json", "print one JSON document: what DAMON had done at the command's end")
  .action(async (words, options) => {
    using journal = openJournal("damon_config run");
    const folder = options.global ? null : makeCgroup(journal, thisMachine, options.cgroup);
    const kdamonds = await planned(options);
    startDamon(journal, thisMachine, kdamonds, { force: options.force === true });
    const argv = folder === null ? words : insideCgroup(folder, words);
    const { exitStatus } = await runCommand(argv, interruption);
    show(options);
    raiseExitStatus(exitStatus);
  });

const status: CommandUnknownOpts = new Command("status")
  .description("Show kdamonds and what they have moved. This is what it does without a word.")
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .action((options) => show(options));

const stop: CommandUnknownOpts = new Command("stop")
  .description("Stop what damon_config start started.")
  .option("--json", "print one JSON document")
  .action((options) => {
    for (const one of UndoJournal.restoreKept(DAMON_KEPT)) {
      if (one.outcome !== "failed") continue;
      note(`${one.what}: ${one.error}`);
      raiseExitStatus("io");
    }
    show(options);
  });

/** The command line of `damon_config`. */
export const command: CommandUnknownOpts = withoutWord(withSchema(new Command("damon_config"), damonSchema), "status")
  .description("DAMON: move cold pages to slow memory and hot pages back, without damo.")
  .action(() => show({}))
  .addCommand(generate)
  .addCommand(start)
  .addCommand(status)
  .addCommand(stop)
  .addCommand(runInside);

if (import.meta.main) await run(command);
