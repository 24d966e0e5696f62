// deno-lint-ignore-file no-console
/**
 * What other machines, fleets and sweeps cost, beside plain ssh and the programs alone in the same run: an sshd of its own on
 * loopback. A line that names a goal is marked `ok` or `below`; goals are for two idle processors.
 */

import { cpuUsage } from "node:process";

import { findAgent } from "../ffi/agents.ts";
import { PipedProcess } from "../ffi/process.ts";
import { type Grid, type Outcome, type Point, pointsOf, Results, runChunk } from "../src/sweep/mod.ts";
import { AgentConnection, AgentMachine } from "../src/remote/mod.ts";
import { localLaunch } from "../tests/soft/agent.ts";
import { layOut } from "../tests/soft/laid_out.ts";
import { startSshServer, unpackedSshd } from "../tests/soft/ssh_server.ts";
import { runTool } from "../tests/soft/tool.ts";
import { manyFunctions } from "../tests/unit/many_functions.ts";
import { pciMachine, pciMachineText } from "../tests/unit/pci_machine.ts";
import { readTopology } from "../src/pci/topology.ts";

const FUNCTIONS = 300;
const HOSTS = 200;
const PARALLEL = 2;
const POINTS = 10_000;

function judge(what: string, value: number, unit: string, goal: number): void {
  console.log(`${what}: ${value.toFixed(2)}${unit} (goal at most ${goal}${unit}) ${value <= goal ? "ok" : "below"}`);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/** The median time of a call in microseconds. */
function medianUs(count: number, call: () => void): number {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    call();
    times.push(1000 * (performance.now() - started));
  }
  return median(times);
}

async function secondsOf(body: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await body();
  return (performance.now() - started) / 1000;
}

/** One byte there and back. */
function echo(process: PipedProcess): void {
  const sent = new Uint32Array(1);
  let got = 0;
  while (got < 1) {
    const bytes = process.exchange(sent[0] === 0 ? Uint8Array.of(1) : new Uint8Array(0), sent, 50);
    if (bytes === null) throw new Error("cat ended");
    got += bytes.length;
  }
}

async function remote(folder: string): Promise<void> {
  const sshd = await unpackedSshd();
  if (sshd === null) return console.log("ssh: not measured: there is no sshd");
  const functions = manyFunctions(FUNCTIONS);
  const spec = { functions, cpu: { vendor_id: "GenuineIntel" } };
  const root = `${folder}/machine`;
  layOut(pciMachine(spec).host, root);
  await Deno.mkdir(`${root}/sys/device`);
  await Deno.writeFile(`${root}/sys/device/resource0`, new Uint8Array(8192));
  await using server = await startSshServer(folder, sshd);
  const [ssh = "", ...options] = server.ssh.split(" ");
  const there = (words: string): [string, ...string[]] => [ssh, ...options, "lab7", words];
  const agent = `exec ${findAgent(Deno.build.arch)} --root ${root}`;
  const open = (): AgentConnection => AgentConnection.open(localLaunch(there(agent)));
  {
    using cat = PipedProcess.start(ssh, there("exec cat").slice(1));
    using machine = new AgentMachine("ssh:lab7", open);
    const range = { name: "BAR0", path: "/sys/device/resource0", offset: 0, sizeBytes: 4096 };
    using registers = machine.mapRegisters(range);
    for (let i = 0; i < 200; i++) {
      echo(cat);
      registers.read32(0);
    }
    const bare = medianUs(2000, () => echo(cat));
    const read = medianUs(2000, () => void registers.read32(0));
    console.log(`read32 ${read.toFixed(0)} us, a byte by ssh and cat ${bare.toFixed(0)} us (medians of 2000)`);
    judge("  ratio", read / bare, "", 2);
  }
  {
    using machine = new AgentMachine("ssh:lab7", open);
    readTopology(machine.host);
    judge(`  round trips for ${FUNCTIONS} functions`, machine.roundTrips - 1, "", 12);
  }
  await Deno.writeTextFile(`${folder}/recorded.txt`, pciMachineText(spec));
  const script = `#!/bin/sh\nexec ${there("").slice(0, -1).join(" ")} '${agent}'\n`;
  await Deno.writeTextFile(`${folder}/ssh`, script, { mode: 0o755 });
  const tool = async (host: string): Promise<void> => {
    const { code, stderr } = await runTool("pcie_topology", ["--json", "--host", host], {
      BUSBAR_SSH: `${folder}/ssh`,
    });
    if (code !== 0) throw new Error(stderr);
  };
  const times = { local: [] as number[], remote: [] as number[], connect: [] as number[] };
  for (let i = 0; i < 7; i++) {
    times.local.push(await secondsOf(() => tool(`file:${folder}/recorded.txt`)));
    times.remote.push(await secondsOf(() => tool("ssh:lab7")));
    const started = performance.now();
    open()[Symbol.dispose]();
    times.connect.push((performance.now() - started) / 1000);
  }
  const [local, far, connect] = [median(times.local), median(times.remote), median(times.connect)];
  console.log(
    `pcie_topology of ${FUNCTIONS} functions: ${far.toFixed(2)} s by ssh, ${local.toFixed(2)} s here, ` +
      `a connection ${connect.toFixed(2)} s (medians of 7)`,
  );
  judge("  without the connection, to the run here", (far - connect) / local, "", 3);
}

async function fleet(folder: string): Promise<void> {
  const ssh = `${folder}/fleet-ssh`;
  const script = `#!/bin/sh\nexec ${findAgent(Deno.build.arch)}\n`;
  await Deno.writeTextFile(ssh, script, { mode: 0o755 });
  const env = { BUSBAR_SSH: ssh };
  const one: number[] = [];
  for (let i = 0; i < 7; i++) {
    one.push(await secondsOf(() => runTool("dax_config", ["show", "--json", "--host", "ssh:h1"], env)));
  }
  const args = ["--hosts", `h[001-${HOSTS}]`, "--parallel", String(PARALLEL), "--json", "--", "dax_config", "show"];
  const all = await secondsOf(async () => {
    const { code, stderr } = await runTool("fleet", args, env);
    if (code !== 0) throw new Error(stderr);
  });
  const alone = median(one);
  console.log(`fleet of ${HOSTS} agents, ${PARALLEL} at a time: ${all.toFixed(1)} s; one alone ${alone.toFixed(2)} s`);
  judge("  ratio to as many alone", all / (HOSTS * alone / PARALLEL), "", 1.3);
}

async function sweep(folder: string, where: string, goal: number | null): Promise<void> {
  const values = Array.from({ length: POINTS }, (_, i) => i + 1);
  const grid: Grid = {
    tool: ["cxl_sim", "run"],
    options: {},
    arguments: [],
    parameters: [{ name: "seed", values }],
    report: { fields: [], minimise: [], maximise: [] },
  };
  const points = await pointsOf(grid, { version: "bench", inputOptions: [] });
  const answer: Outcome = { result: { slowdown: 1.5 } };
  const worker = {
    run: (_: Point): Promise<Outcome> => Promise.resolve(answer),
    [Symbol.asyncDispose]: (): Promise<void> => Promise.resolve(),
  };
  const results = `${folder}/results`;
  await Deno.mkdir(results);
  const path = `${folder}/chunks.json`;
  await Deno.writeTextFile(path, JSON.stringify({ schema: "sweep_chunks/1", folder: results, chunks: [points] }));
  const before = cpuUsage();
  const seconds = await secondsOf(() =>
    runChunk(path, 0, (at) => Results.read(at), () => worker, new AbortController().signal)
  );
  const eachMs = 1000 * seconds / POINTS;
  const { user, system } = cpuUsage(before);
  console.log(`a point of a chunk, ${where}: ${((user + system) / 1000 / POINTS).toFixed(2)} ms of a processor`);
  if (goal !== null) judge(`a point of a chunk, beside its run, ${where}`, eachMs, " ms", goal);
  const started = performance.now();
  const states = Results.read(results).states();
  const done = points.filter(({ id }) => states.get(id) === "done").length;
  if (done !== POINTS) throw new Error(`${done} points are done`);
  judge(`the states of ${POINTS} points, ${where}`, (performance.now() - started) / 1000, " s", 1);
}

console.log(`${navigator.hardwareConcurrency} processors, load ${Deno.loadavg()[0]?.toFixed(1)}`);
const folder = await Deno.realPath(await Deno.makeTempDir());
// Each result is waited for until the disk has it: what is left without a disk is ours.
const memory = await Deno.makeTempDir({ dir: "/dev/shm" });
try {
  await remote(folder);
  await sweep(folder, "on disk", 1);
  await sweep(memory, "in memory", null);
  await fleet(folder);
} finally {
  for (const one of [folder, memory]) await Deno.remove(one, { recursive: true });
}
