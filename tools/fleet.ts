/**
 * `fleet`: one command on many hosts, and what differs between them.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../src/core/error.ts";
import type { Json } from "../src/core/layout_json.ts";
import {
  askFleet,
  compareHosts,
  fieldsOf,
  fitsSchema,
  type HostAnswer,
  isSavedFleet,
  loadFleet,
  saveFleet,
  volatileOf,
} from "../src/remote/fleet/mod.ts";
import { onlyWith } from "./cli/applicable.ts";
import { timeOption, wholeNumber } from "./cli/arguments.ts";
import { writeOutput } from "./cli/files.ts";
import { print, printJson, printSchema } from "./cli/output.ts";
import { StepProgress } from "./cli/progress.ts";
import { interruption, raiseExitStatus, run } from "./cli/run.ts";
import { commandFor, type FleetHost, hostsOf, recordingsIn, schemaOf } from "./fleet/ask.ts";
import { fleetJson, type FleetReport, fleetSchema } from "./render/fleet/fleet_json.ts";
import { fleetPage } from "./render/fleet/fleet_page.ts";
import { fleetLines } from "./render/fleet/fleet_text.ts";

/** Milliseconds that one host may take. */
const HOST_LIMIT = "60s";

/** The command line of `fleet`. */
export const command: CommandUnknownOpts = new Command("fleet")
  .description(
    "Run a tool on many hosts and show what differs between them. Equal hosts are one line. Exit 1: they differ.",
  )
  .argument("[words...]", "the tool and its arguments, behind --; before them a folder of answers or recorded machines")
  .option("--hosts <list>", "the hosts, as in 'lab[01-40],me@m7:2222'")
  .option("--hosts-file <file>", "a file with the hosts")
  .option("--slurm <partition>", "the nodes of a partition; Slurm starts the tool on them")
  .option("--parallel <n>", "hosts at once", wholeNumber, 16)
  .addOption(timeOption("--timeout <time>", "for one host", HOST_LIMIT))
  .option("--volatile", "compare also what changes by itself: temperatures, counters, addresses")
  .option("--save <folder>", "keep the answers: fleet FOLDER compares them again")
  .option("--html <file>", "write one page that needs nothing else")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (given, options, self) => {
    if (options.jsonSchema) return printSchema(fleetSchema());
    const isAsked = [options.hosts, options.hostsFile, options.slurm].some((one) => one !== undefined);
    const folder = isAsked ? undefined : given[0];
    const rest = isAsked ? given : given.slice(1);
    let fleet: Fleet;
    if (folder !== undefined && isSavedFleet(folder)) {
      onlyWith(self, false, ["--save"], "hosts that are asked");
      if (rest.length > 0) {
        throw new BusbarError("usage", `${folder} holds answers already: there is nothing to run`, { path: folder });
      }
      fleet = { ...loadFleet(folder), hostCount: 0 };
    } else {
      const hosts = folder === undefined ? await hostsOf(options) : recordingsIn(folder);
      fleet = await ask(hosts, rest, options);
    }
    if (options.save !== undefined) saveFleet(options.save, fleet);
    const report = reportOf(fleet, options.volatile === true);
    if (options.html !== undefined) writeOutput(options.html, fleetPage(report));
    if (options.json) printJson(fleetJson(report));
    else print(fleetLines(report).join("\n"));
    if (report.groups.length > 1) raiseExitStatus("no");
    if (report.silent.length > 0 || report.isIncomplete) raiseExitStatus("unreachable");
  });

/** The answers of a fleet. */
interface Fleet {
  readonly words: readonly string[];
  readonly schema: Json;
  readonly answers: readonly HostAnswer[];
  /** How many were to be asked; 0 of a folder, which has all. */
  readonly hostCount: number;
}

interface AskOptions {
  readonly slurm?: string | undefined;
  readonly parallel: number;
  readonly timeout: number;
}

async function ask(hosts: readonly FleetHost[], words: readonly string[], options: AskOptions): Promise<Fleet> {
  const [tool] = words;
  if (tool === undefined) {
    throw new BusbarError("usage", "which tool?", { hint: "fleet --hosts 'lab[01-40]' -- pcie_topology" });
  }
  const schema = await schemaOf(words);
  const byName = new Map(hosts.map((host) => [host.name, host]));
  using progress = new StepProgress(hosts.length);
  const answers = await askFleet(hosts.map(({ name }) => name), {
    commandFor: (name) => commandFor(byName.get(name) ?? { name, locator: null }, words, options.slurm),
    tool,
    fits: (document) => fitsSchema(document, schema),
    parallel: options.parallel,
    limitMs: options.timeout,
    signal: interruption,
    onAnswer: (answer) => progress.step("failure" in answer ? `${answer.host}: ${answer.failure.code}` : answer.host),
  });
  return { words, schema, answers, hostCount: hosts.length };
}

function reportOf({ words, schema, answers, hostCount }: Fleet, withVolatile: boolean): FleetReport {
  const isVolatile = withVolatile ? (): boolean => false : volatileOf(schema);
  const fields = new Map(
    answers.flatMap((answer) =>
      "failure" in answer ? [] : [[answer.host, fieldsOf(answer.document, isVolatile)] as const]
    ),
  );
  const silent = answers.flatMap((answer) =>
    "failure" in answer ? [{ host: answer.host, failure: answer.failure }] : []
  );
  const count = Math.max(hostCount, answers.length);
  return { words, hostCount: count, silent, isIncomplete: answers.length < count, ...compareHosts(fields) };
}

if (import.meta.main) await run(command);
