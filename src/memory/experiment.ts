/**
 * Experiments with tiering: cases (what the kernel is set to) times workloads (commands), each pair counted by itself.
 * @module
 */

import { loadZod } from "../core/packages.ts";
import { BusbarError } from "../core/error.ts";
import type { Host } from "../core/host.ts";
import { UndoJournal } from "../core/undo/journal.ts";
import { parseBytes, parseDurationMs } from "../core/units.ts";
import { insideCgroup, makeCgroup, ownCgroup } from "./cgroup.ts";
import { Beside } from "./beside.ts";
import { checkProgram, type CommandResult, runCommand } from "./child_process.ts";
import { countedBetween, type CounterValues, readCounters } from "./counters.ts";
import { readDamon, startDamon } from "./damon.ts";
import { type DamonRequest, nodeRanges, planDamon } from "./damon_plan.ts";
import { type BuiltInTask, WorkloadProcesses } from "./workload_process.ts";
import { applyProfile, BALANCING_PROFILE, checkProfile, type TierProfile } from "./tiers.ts";

const { z } = await loadZod();

/** What the kernel is set to while a workload runs. */
export interface ExperimentCase {
  /** What it is called in the table. */
  readonly name: string;
  /** Settings; empty for those of the machine. */
  readonly profile: TierProfile;
  /** What DAMON does; null where it is off. */
  readonly damon: DamonRequest | null;
}

/** What runs: program and arguments, or a built-in workload of a size. */
export type Task = readonly string[] | BuiltInTask;

/** What is counted. */
export interface Workload {
  /** What it is called in the table. */
  readonly name: string;
  /** What is counted. */
  readonly task: Task;
  /** What runs beside it, such as a memory hog, and ends with it; null for none. What is built in holds its memory before. */
  readonly beside: Task | null;
}

/** An experiment. */
export interface Experiment {
  /** What the kernel is set to, in turn. */
  readonly cases: readonly ExperimentCase[];
  /** What runs in each case, in turn. */
  readonly workloads: readonly Workload[];
}

/** What came of one workload in one case. */
export interface ExperimentRun {
  /** The case. */
  readonly caseName: string;
  /** The workload. */
  readonly workload: string;
  /** How long it took in milliseconds. */
  readonly durationMs: number;
  /** Its exit status. */
  readonly exitStatus: number;
  /** What the kernel counted meanwhile. */
  readonly counted: CounterValues;
  /** Bytes that DAMON moved; null where it was off. */
  readonly damonBytes: bigint | null;
}

const name = z.string().min(1);
const words = z.union([
  z.string().min(1).transform((line) => ["sh", "-c", line]),
  z.array(z.string()).min(1),
]);
const node = z.int().min(0).max(1023);
const pair = z.tuple([node, node]).transform(([from, to]) => ({ from, to }));
const time = z.string().transform((text, context) => {
  try {
    return Math.round(parseDurationMs(text) * 1000);
  } catch (error) {
    context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
    return z.NEVER;
  }
});
const damonSchema = z.strictObject({
  demote: z.array(pair).default([]),
  promote: z.array(pair).default([]),
  migrate: z.array(pair).default([]),
  sample: time.default(100_000),
  aggregate: time.default(2_000_000),
  update: time.default(20_000_000),
  "cold-age": time.default(30_000_000),
  cgroup: z.string().regex(/^\/[\w.-]+$/, "write it as in /hmsdk").optional(),
});
const size = z.string().transform((text, context) => {
  try {
    return parseBytes(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
    return z.NEVER;
  }
});
const experimentSchema = z.strictObject({
  cases: z.array(z.strictObject({
    name,
    profile: z.union([z.literal("balancing"), z.record(z.string(), z.unknown())]).optional(),
    damon: damonSchema.optional(),
  })).min(1),
  workloads: z.array(
    z.strictObject({
      name,
      command: words.optional(),
      gups: size.optional(),
      beside: words.optional(),
      hog: size.optional(),
    })
      .refine((one) => (one.command === undefined) !== (one.gups === undefined), "either command or gups")
      .refine((one) => one.beside === undefined || one.hog === undefined, "either beside or hog"),
  ).min(1),
});

/** Command lines of processes that run the workloads that are built in: each takes sizes, a line each. */
export interface BuiltInWorkloads {
  /** Updates a table of each size at random. */
  readonly gups: readonly string[];
  /** Holds so many bytes until it is told another size; 0 for none. */
  readonly hog: readonly string[];
}

/**
 * Checks an experiment.
 *
 * @param data what a YAML or JSON file holds
 * @throws {BusbarError} `malformed`, with every mistake and its place
 */
export function checkExperiment(data: unknown, file: string, builtIn: BuiltInWorkloads): Experiment {
  const { success, data: checked, error } = experimentSchema.safeParse(data);
  if (!success) {
    const mistakes = error.issues.map((issue) => `${issue.path.join(".") || "the file"}: ${issue.message}`);
    throw new BusbarError("malformed", `${file}: ${mistakes.join("; ")}`, {
      operation: "read an experiment",
      path: file,
      hint: "it has cases (name, profile, damon) and workloads (name, command or gups, beside or hog)",
    });
  }
  const twice = [checked.cases, checked.workloads].map((list) => list.map(({ name }) => name)).flatMap((names) =>
    names.filter((name, i) => names.indexOf(name) !== i)
  );
  if (twice.length > 0) {
    throw new BusbarError("malformed", `${file}: the name '${twice[0]}' is there twice`, {
      operation: "read an experiment",
      path: file,
      hint: "each case and each workload needs a name of its own",
    });
  }
  return {
    workloads: checked.workloads.map(({ name, command, gups, beside, hog }) => ({
      name,
      task: gups === undefined ? command ?? [] : { process: builtIn.gups, sizeBytes: gups },
      beside: hog === undefined ? beside ?? null : { process: builtIn.hog, sizeBytes: hog },
    })),
    cases: checked.cases.map(({ name, profile, damon }) => ({
      name,
      profile: profile === undefined
        ? new Map()
        : profile === "balancing"
        ? BALANCING_PROFILE
        : checkProfile(profile, `${file}: ${name}`),
      damon: damon === undefined ? null : {
        demote: [...damon.demote, ...damon.migrate],
        promote: [...damon.promote, ...damon.migrate.map(({ from, to }) => ({ from: to, to: from }))],
        cgroup: damon.cgroup ?? null,
        intervals: { sampleUs: damon.sample, aggregateUs: damon.aggregate, updateUs: damon.update },
        coldAgeUs: damon["cold-age"],
      },
    })),
  };
}

/** What an experiment needs besides its description. */
export interface ExperimentOptions {
  /** Makes a journal for a case; it is rolled back when the case is over. */
  readonly openJournal: () => UndoJournal;
  /** Called before each run. */
  readonly onRun?: (caseName: string, workload: string) => void;
  /** Called after each run: what a run found is not lost when a later one fails. */
  readonly onResult?: (run: ExperimentRun) => void;
  /** Ends it early; the machine is put back. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Checks what an experiment needs of the machine, before the first run: programs, nodes, settings, DAMON.
 *
 * @throws {BusbarError} as the first run would that needs what is not there
 */
export function checkFeasible(host: Host, experiment: Experiment): void {
  for (const { task, beside } of experiment.workloads) {
    for (const one of [task, beside ?? []]) {
      const [program = ""] = isBuiltIn(one) ? one.process : one;
      if (program !== "") checkProgram(program);
    }
  }
  for (const one of experiment.cases) {
    using journal = new UndoJournal(host, { command: "check", dryRun: () => {} });
    beginCase(journal, host, one);
  }
}

/**
 * Runs every workload in every case. The machine is put back after each case.
 *
 * @throws {BusbarError} as {@linkcode checkFeasible} before the first run; later as a run fails or is interrupted
 */
export async function runExperiment(
  host: Host,
  experiment: Experiment,
  options: ExperimentOptions,
): Promise<ExperimentRun[]> {
  checkFeasible(host, experiment);
  const runs: ExperimentRun[] = [];
  // Before anything is set: under balancing and DAMON a process starts late, and its own memory is no workload.
  await using processes = new WorkloadProcesses();
  const counted = experiment.workloads.map(({ task }) => task).filter(isBuiltIn);
  const besides = experiment.workloads.map(({ beside }) => beside ?? []).filter(isBuiltIn);
  for (const task of [...counted, ...besides]) await processes.of(task).ready(options.signal);
  for (const one of experiment.cases) {
    using journal = options.openJournal();
    const cgroup = beginCase(journal, host, one);
    // Left before the journal removes it.
    await using inside = new AsyncDisposableStack();
    if (cgroup !== null) {
      for (const process of new Set(counted.map((task) => processes.of(task)))) {
        inside.use(await process.inside(cgroup, ownCgroup(host)));
      }
    }
    for (const workload of experiment.workloads) {
      options.onRun?.(one.name, workload.name);
      const run = await runWorkload(host, one, workload, { cgroup, processes, signal: options.signal });
      runs.push(run);
      options.onResult?.(run);
    }
  }
  return runs;
}

/** Sets the kernel to a case. @returns the folder of the cgroup that workloads run in; null where there is none */
function beginCase(journal: UndoJournal, host: Host, { profile, damon }: ExperimentCase): string | null {
  applyProfile(journal, host, profile);
  if (damon === null) return null;
  const cgroup = damon.cgroup === null ? null : makeCgroup(journal, host, damon.cgroup);
  startDamon(journal, host, planDamon(damon, (node) => nodeRanges(host, node)));
  return cgroup;
}

/** What a workload runs in. */
interface Place {
  /** Folder of the cgroup of what is counted; null for none. */
  readonly cgroup: string | null;
  readonly processes: WorkloadProcesses;
  readonly signal: AbortSignal | undefined;
}

async function runWorkload(host: Host, one: ExperimentCase, workload: Workload, place: Place): Promise<ExperimentRun> {
  const movedBytes = (): bigint | null =>
    one.damon === null ? null : readDamon(host).kdamonds.flatMap((kdamond) => kdamond.schemes).reduce(
      (sum, { appliedBytes }) => sum + appliedBytes,
      0n,
    );
  const run = await prepared(workload.task, place);
  const { beside } = workload;
  const held = beside !== null && isBuiltIn(beside) ? beside : null;
  await using _command = beside === null || isBuiltIn(beside) ? null : new Beside(beside);
  if (held !== null) await place.processes.of(held).hold(held.sizeBytes, place.signal);
  const [before, movedBefore] = [readCounters(host), movedBytes()];
  const { exitStatus, durationMs } = await run();
  const counted = countedBetween(before, readCounters(host));
  const moved = movedBytes();
  if (held !== null) await place.processes.of(held).release(place.signal);
  return {
    caseName: one.name,
    workload: workload.name,
    durationMs,
    exitStatus,
    counted,
    damonBytes: moved === null ? null : moved - (movedBefore ?? 0n),
  };
}

/** What runs the counted task: a process for what is built in has been started, and is not counted. */
async function prepared(task: Task, { cgroup, processes, signal }: Place): Promise<() => Promise<CommandResult>> {
  if (!isBuiltIn(task)) return () => runCommand(cgroup === null ? task : insideCgroup(cgroup, task), signal);
  const process = processes.of(task);
  await process.ready(signal);
  return async () => {
    const started = performance.now();
    const exitStatus = await process.run(task.sizeBytes, signal);
    return { exitStatus, durationMs: performance.now() - started };
  };
}

function isBuiltIn(task: Task): task is BuiltInTask {
  return "process" in task;
}
