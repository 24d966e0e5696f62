// deno-lint-ignore-file no-console
/**
 * The simulator's core: processor time beside a plain C loop of the same recurrences over the same trace, how time and
 * memory grow with the trace, and a sweep on several workers.
 *
 * Goals: at least 1/10 of the accesses per second of the C loop, half of that with a cache; ten times the accesses take
 * 10 ± 1 times as long, under 512 MiB; n workers are at least 0.9 n times as fast as one. `DRAMSIM3` names a build of
 * DRAMsim3's trace program, which is then run on the same addresses.
 */

import { toolArgs } from "../tests/soft/tool.ts";
import { writeTrace } from "../src/sim/host/trace_writer.ts";
import { SyntheticSource } from "../src/sim/trace/synthetic.ts";

const ROUNDS = 3;
const TREE = ["-o", "(1,(2,3))", "-q", "0,256,256,256", "--placement", "interleave", "--weights", "0,1,1,1"];

interface Cost {
  readonly seconds: number;
  readonly peakMiB: number;
}

/** Seconds of user and system time, and the most memory, of the quickest of some rounds. */
function cost(command: readonly string[], rounds = ROUNDS): Cost {
  const costs = Array.from({ length: rounds }, (): Cost => {
    const output = new Deno.Command("/usr/bin/time", {
      args: ["-f", "%U %S %M", ...command],
      stdout: "null",
      stderr: "piped",
    }).outputSync();
    const text = new TextDecoder().decode(output.stderr).trim();
    const [user = NaN, system = NaN, peakKiB = NaN] = text.split("\n").at(-1)?.split(" ").map(Number) ?? [];
    if (!output.success || Number.isNaN(user)) throw new Error(text);
    return { seconds: user + system, peakMiB: peakKiB / 1024 };
  });
  return costs.reduce((least, one) => one.seconds < least.seconds ? one : least);
}

function simulate(trace: string, more: readonly string[] = [], rounds = ROUNDS): Cost {
  return cost([Deno.execPath(), ...toolArgs("cxl_sim", ["--trace", trace, ...TREE, ...more, "--json"])], rounds);
}

/** Seconds that the C loop says it took, without its start. */
function plainLoop(program: string, trace: string): number {
  const times = Array.from({ length: ROUNDS }, () => {
    const { stdout } = new Deno.Command(program, { args: [trace] }).outputSync();
    return JSON.parse(new TextDecoder().decode(stdout)).seconds as number;
  });
  return Math.min(...times);
}

function millions(count: number, seconds: number): string {
  return `${(count / seconds / 1e6).toFixed(1)} M/s`;
}

async function core(folder: string): Promise<void> {
  const plain = `${folder}/plain`;
  const source = new URL("peers/sim/plain.c", import.meta.url).pathname;
  const { success } = new Deno.Command("gcc", { args: ["-O2", "-o", plain, source] }).outputSync();
  if (!success) throw new Error("gcc");
  const count = 10_000_000;
  const trace = `${folder}/t.bbt`;
  await writeTrace(new SyntheticSource(`gups?count=${count}&size=256MiB&gap=2`), trace, {});
  const empty = `${folder}/empty.bbt`;
  await writeTrace(new SyntheticSource("gups?count=1"), empty, {});
  const loop = plainLoop(plain, trace);
  const start = simulate(empty).seconds;
  console.log(`plain C loop                    ${millions(count, loop)}`);
  console.log(`start of the tool               ${start.toFixed(2)} s, taken off below`);
  for (
    const [name, more, goal] of [
      ["queue", [], "1/10"],
      ["queue, cache of 4 MiB", ["--cache", "4MiB"], "1/20"],
      ["mesi, two hosts' directory", ["--coherence", "mesi"], "none"],
      ["epoch", ["--model", "epoch"], "none"],
    ] as const
  ) {
    const { seconds } = simulate(trace, more);
    const ratio = (seconds - start) / loop;
    console.log(`${name.padEnd(31)} ${millions(count, seconds - start)}, 1/${ratio.toFixed(1)} of C (goal: ${goal})`);
  }
}

async function growth(folder: string): Promise<void> {
  const costs: Cost[] = [];
  for (const count of [10_000_000, 100_000_000]) {
    const trace = `${folder}/${count}.bbt`;
    await writeTrace(new SyntheticSource(`gups?count=${count}&size=256MiB&gap=2`), trace, {});
    const one = simulate(trace, [], 1);
    costs.push(one);
    console.log(`${count} accesses: ${one.seconds.toFixed(2)} s, ${one.peakMiB.toFixed(0)} MiB at most`);
    await Deno.remove(trace);
  }
  const [small, large] = costs;
  console.log(
    `ten times the accesses take ${((large?.seconds ?? 0) / (small?.seconds ?? 1)).toFixed(1)} times (goal: 10 ± 1)`,
  );
}

/** Wall time: that is what workers are for. */
function sweep(folder: string): void {
  Deno.writeTextFileSync(
    `${folder}/grid.yaml`,
    `tool: cxl_sim run\noptions: { synthetic: "gups?count=400000" }\n` +
      `parameters: { window: { from: 1, to: 40, step: 1 } }\nreport: { minimise: [time.slowdown] }\n`,
  );
  const wall = (workers: number): number => {
    const begun = performance.now();
    const output = `${folder}/results-${workers}-${begun}`;
    const args = ["sweep", `${folder}/grid.yaml`, `--workers=${workers}`, `--output=${output}`];
    const { success } = new Deno.Command(Deno.execPath(), { args: toolArgs("cxl_sim", args), stdout: "null" })
      .outputSync();
    if (!success) throw new Error("sweep");
    return performance.now() - begun;
  };
  const one = Math.min(wall(1), wall(1));
  for (let workers = 2; workers <= navigator.hardwareConcurrency; workers++) {
    const many = Math.min(wall(workers), wall(workers));
    console.log(`sweep of 40 points, ${workers} workers: ${(one / many / workers).toFixed(2)} n of one (goal: 0.9 n)`);
  }
}

function dramsim(folder: string): void {
  const program = Deno.env.get("DRAMSIM3");
  const settings = Deno.env.get("DRAMSIM3_CONFIG");
  if (program === undefined || settings === undefined) {
    console.log("DRAMsim3: not measured; DRAMSIM3 and DRAMSIM3_CONFIG name a build and its settings");
    return;
  }
  const trace = `${folder}/d.txt`;
  const count = 100_000;
  const lines = Array.from(
    { length: count },
    (_, i) => `0x${((i * 2654435761) % 2 ** 28 & ~63).toString(16)} READ ${i * 4}`,
  );
  Deno.writeTextFileSync(trace, lines.join("\n") + "\n");
  const peer = cost([program, settings, "-c", String(count * 4), "-t", trace, "-o", folder], 1).seconds;
  console.log(`DRAMsim3 on ${count} accesses: ${millions(count, peer)}; it models DRAM commands, cxl_sim does not`);
}

if (import.meta.main) {
  const folder = Deno.makeTempDirSync({ prefix: "sim-bench-" });
  try {
    await core(folder);
    sweep(folder);
    await growth(folder);
    dramsim(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
