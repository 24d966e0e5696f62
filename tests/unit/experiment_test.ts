import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { parse } from "@std/yaml";

import { BusbarError } from "../../src/core/error.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import {
  type BuiltInWorkloads,
  checkExperiment,
  type Experiment,
  runExperiment,
  type Task,
} from "../../src/memory/experiment.ts";
import { guideExperiment } from "../../src/memory/guide_experiment.ts";
import { experimentJson, experimentLines, tieringSchema } from "../../tools/render/memory/tiering.ts";
import { schemaErrors } from "./schema.ts";
import { TiersMachine } from "./tiers_machine.ts";

const TEXT = `
cases:
  - {name: neither}
  - {name: balancing, profile: balancing}
  - name: both
    profile: {numa_balancing: 2, demotion_enabled: true}
    damon: {migrate: [[0, 1]], sample: 20ms, aggregate: 400ms, update: 4s, cold-age: 1s}
workloads:
  - {name: nothing, command: [true]}
  - {name: fails beside another, command: exit 3, beside: [sleep, "60"]}
`;

const BUILT_IN: BuiltInWorkloads = { gups: ["gups"], hog: ["hog"] };

/** The size of a workload's built-in task in MiB. */
function sizeMiB(task: Task | null | undefined): number {
  return task !== null && task !== undefined && "process" in task ? Number(task.sizeBytes) / 2 ** 20 : NaN;
}

function experiment(text = TEXT): Experiment {
  return checkExperiment(parse(text), "e.yaml", BUILT_IN);
}

Deno.test("every workload runs in every case, and each case is put back before the next", async () => {
  const machine = new TiersMachine().file("/proc/vmstat", "numa_hit 10\n");
  const seen: string[] = [];
  const folder = await Deno.makeTempDir();
  const runs = await runExperiment(machine, experiment(TEXT.replace("[true]", '["true"]')), {
    openJournal: () => new UndoJournal(machine, { command: "test", folder: `${folder}/journals` }),
    onRun: (caseName) => {
      const kdamonds = machine.readText("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds");
      seen.push(`${caseName}: ${machine.readText("/proc/sys/kernel/numa_balancing")} ${kdamonds}`);
    },
  });
  await Deno.remove(folder, { recursive: true });
  assertEquals(seen, [
    ...["neither: 0 0", "neither: 0 0", "balancing: 2 0", "balancing: 2 0", "both: 2 2", "both: 2 2"],
  ]);
  assertEquals(runs.map((run) => [run.caseName, run.workload, run.exitStatus, run.damonBytes]), [
    ["neither", "nothing", 0, null],
    ["neither", "fails beside another", 3, null],
    ["balancing", "nothing", 0, null],
    ["balancing", "fails beside another", 3, null],
    ["both", "nothing", 0, 0n],
    ["both", "fails beside another", 3, 0n],
  ]);
  assertEquals(machine.readText("/proc/sys/kernel/numa_balancing"), "0");
  assertEquals(machine.readText("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds"), "0");
  const text = experimentLines(runs, "markdown").join("\n");
  assertStringIncludes(text, "| fails beside another |");
  assertEquals(schemaErrors(tieringSchema(), JSON.parse(JSON.stringify(experimentJson(runs)))), "");
});

Deno.test("mistakes in an experiment are named with their places; a program that is not there ends it, put back", async () => {
  const cases: [string, string][] = [
    ["[]", "the file: "],
    ["{cases: [], workloads: []}", "cases: "],
    [TEXT.replace("profile: balancing", "profil: balancing"), "cases.1: "],
    [TEXT.replace("sample: 20ms", "sample: fast"), "cases.2.damon.sample: 'fast' is not a duration"],
    [TEXT.replace("[[0, 1]]", "[[0, -1]]"), "cases.2.damon.migrate.0.1: "],
    [TEXT.replace("demotion_enabled", "demotion_enable"), "did you mean 'demotion_enabled'?"],
  ];
  for (const [text, part] of cases) {
    const error = assertThrows(() => experiment(text.replace("[true]", '["true"]')), BusbarError);
    assertEquals(error.code, "malformed");
    assertStringIncludes(error.message, part);
  }
  const machine = new TiersMachine().file("/proc/vmstat", "numa_hit 10\n");
  const folder = await Deno.makeTempDir();
  const missing = experiment(TEXT.replace("[true]", '["/no/such/program"]').replace("- {name: neither}", ""));
  await assertRejects(
    () =>
      runExperiment(machine, missing, {
        openJournal: () => new UndoJournal(machine, { command: "test", folder: `${folder}/journals` }),
      }),
    BusbarError,
    "/no/such/program",
  );
  await Deno.remove(folder, { recursive: true });
  assertEquals(machine.readText("/proc/sys/kernel/numa_balancing"), "0");
});

Deno.test("programs, nodes and settings are checked before the first run; what was run is kept when a later one fails", async () => {
  const folder = await Deno.makeTempDir();
  const began: string[] = [];
  const kept: string[] = [];
  const run = (machine: TiersMachine, text: string): Promise<unknown> =>
    runExperiment(machine, experiment(text.replace("[true]", '["true"]')), {
      openJournal: () => new UndoJournal(machine, { command: "test", folder: `${folder}/journals` }),
      onRun: (caseName) => began.push(caseName),
      onResult: ({ caseName, workload }) => kept.push(`${caseName}: ${workload}`),
    });
  const machine = (): TiersMachine => new TiersMachine().file("/proc/vmstat", "numa_hit 10\n");
  await assertRejects(() => run(machine(), TEXT.replace("[[0, 1]]", "[[0, 99]]")), BusbarError);
  await assertRejects(() => run(machine(), TEXT.replace('[sleep, "60"]', "[no-such-program]")), BusbarError, "no-such");
  assertThrows(
    () => experiment(TEXT.replace("neither", "balancing").replace("[true]", '["true"]')),
    BusbarError,
    "twice",
  );
  assertEquals(began, []);
  const failing = machine();
  failing.onWrite = (path, text): void => {
    if (path.endsWith("numa_balancing") && text === "2" && kept.length === 2) throw new BusbarError("io", "late");
  };
  await assertRejects(() => run(failing, TEXT), BusbarError, "late");
  assertEquals(kept, ["neither: nothing", "neither: fails beside another"]);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("the guides' experiment: its sizes on a fast node of 8 GiB, shares of another; DAMON by cgroup as well as global", () => {
  const machine = new TiersMachine();
  const onNode = (kib: number): Experiment => {
    machine.file("/sys/devices/system/node/node0/meminfo", `Node 0 MemTotal: ${kib} kB\nNode 0 MemFree: ${kib} kB\n`);
    return guideExperiment(machine, BUILT_IN, {});
  };
  const { workloads, cases } = onNode(8 << 20);
  assertEquals(workloads.map(({ name }) => name), [
    ...["GUPS 1024M", "GUPS 5120M", "GUPS 1024M with 6000M hog", "GUPS 7168M"],
  ]);
  assertEquals(workloads[2]?.beside, { process: ["hog"], sizeBytes: 6000n << 20n });
  assertEquals(
    cases.map(({ profile, damon }) => [profile.get("numa_balancing"), damon && (damon.cgroup ?? "global")]),
    [
      ["0", null],
      ["2", null],
      ["0", "global"],
      ["0", "/hmsdk"],
      ["2", "global"],
      ["2", "/hmsdk"],
    ],
  );
  assertEquals(onNode(2 << 20).workloads.map(({ task }) => sizeMiB(task)), [256, 1280, 256, 1792]);
  const small = guideExperiment(machine, BUILT_IN, { fastBytes: 256n << 20n });
  assertEquals(small.workloads.map(({ name }) => name), [
    "GUPS 32M",
    "GUPS 160M",
    "GUPS 32M with 187M hog",
    "GUPS 224M",
  ]);
  assertThrows(() => guideExperiment(machine, BUILT_IN, { fastBytes: 4n << 20n }), BusbarError, "too few");
  machine.remove("/sys/devices/virtual/memory_tiering");
  assertThrows(() => guideExperiment(machine, BUILT_IN, {}), BusbarError, "no node with processors has a slower one");
});

Deno.test("built-in workloads begin when the hog is ready, and a case with a cgroup runs them in it", async () => {
  const folder = await Deno.makeTempDir();
  const machine = new TiersMachine().file("/proc/vmstat", "numa_hit 10\n")
    .file("/proc/self/mountinfo", `26 21 0:23 / ${folder}/cgroup rw,nosuid - cgroup2 cgroup2 rw\n`)
    .file(`${folder}/cgroup/cgroup.controllers`, "cpu memory\n")
    .file(`${folder}/cgroup/cgroup.subtree_control`, "cpu\n");
  // The shell that moves a process writes to real files.
  await Deno.mkdir(`${folder}/cgroup/hmsdk`, { recursive: true });
  machine.onFolder = (path) => void machine.file(`${path}/cgroup.events`, "populated 0\n");
  const movedTo = async (path: string): Promise<number> =>
    Number(await Deno.readTextFile(`${folder}/cgroup${path}/cgroup.procs`));
  const text = `
cases:
  - {name: global, damon: {migrate: [[0, 1]]}}
  - {name: cgroup, damon: {migrate: [[0, 1]], cgroup: /hmsdk}}
workloads:
  - {name: GUPS, gups: 1MiB, hog: 2MiB}
  - {name: GUPS alone, gups: 1MiB}
`;
  const run = async (gups: string, hog: string): Promise<[string, string, number][]> => {
    const server = (script: string): string[] => ["sh", "-c", `while read size; do ${script}; echo; done`];
    const builtIn: BuiltInWorkloads = { gups: server(gups), hog: server(hog) };
    const runs = await runExperiment(machine, checkExperiment(parse(text), "e.yaml", builtIn), {
      openJournal: () => new UndoJournal(machine, { command: "test", folder: `${folder}/journals` }),
    });
    return runs.map(({ caseName, workload, exitStatus }) => [caseName, workload, exitStatus]);
  };
  const log = `${folder}/log`;
  const gups = `test -e ${folder}/held && held=held || held=; echo gups $$ $size $held >>${log}`;
  const hog =
    `rm -f ${folder}/held; test $size = 0B || { sleep 0.2; touch ${folder}/held; }; echo hog $$ $size >>${log}`;
  assertEquals(await run(gups, hog), [
    ["global", "GUPS", 0],
    ["global", "GUPS alone", 0],
    ["cgroup", "GUPS", 0],
    ["cgroup", "GUPS alone", 0],
  ]);
  // One process for what is counted and one for what runs beside, in all cases; each says first that it is ready.
  const lines = (await Deno.readTextFile(log)).trim().split("\n");
  const numbers = [...new Set(lines.map((line) => line.split(" ")[1] ?? ""))];
  const inCase = ["hog 1 2097152B", "gups 0 1048576B held", "hog 1 0B", "gups 0 1048576B"];
  assertEquals(
    lines.map((line) => line.trim().replace(/ (\d+) /, (_, number) => ` ${numbers.indexOf(number)} `)),
    ["gups 0 0B", "hog 1 0B", ...inCase, ...inCase],
  );
  // What is counted alone is in the cgroup, and leaves it before it goes.
  assertEquals([await movedTo("/hmsdk"), await movedTo("")], [Number(numbers[0]), Number(numbers[0])]);
  // The journal took the cgroup and its controller away again.
  assertEquals(machine.list(`${folder}/cgroup`), ["cgroup.controllers", "cgroup.subtree_control"]);
  assertEquals(machine.readText(`${folder}/cgroup/cgroup.subtree_control`).trim(), "cpu");
  await assertRejects(() => run(gups, "exit 1"), BusbarError, "ended before it was ready");
  await assertRejects(
    () => run(gups, "test $size = 0B || exit 1"),
    BusbarError,
    "the workload beside ended before it was ready",
  );
  // It ends when it is to let go: it may have ended long before.
  await assertRejects(
    () => run(gups, 'test -n "$held" && exit 1; test $size = 0B || held=1'),
    BusbarError,
    "the workload beside ended before the counted one",
  );
  // A failure of what is counted is a result, and the next is run by a process of its own.
  assertEquals((await run("test $size = 0B || exit 7", "true")).map(([, , status]) => status), [7, 7, 7, 7]);
  assert(await movedTo("/hmsdk") !== Number(numbers[0]), "the one started in its place is in the cgroup too");
  assertEquals(await movedTo(""), Number(numbers[0]), "one that has ended is not moved out");
  assertEquals(machine.readText("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds"), "0");
  await Deno.remove(folder, { recursive: true });
  const both = text.replace("gups: 1MiB", "gups: 1MiB, command: [a]");
  assertThrows(() => experiment(both), BusbarError, "either command or gups");
  assertThrows(() => experiment(text.replace("1MiB", "lots")), BusbarError, "workloads.0.gups: ");
});
