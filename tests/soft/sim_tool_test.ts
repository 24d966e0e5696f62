import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { AccessBatch } from "../../src/sim/trace/batch.ts";
import { BinaryEncoder, encodeHeader, FLAG_FILTERED } from "../../src/sim/trace/binary.ts";
import { schemaErrors } from "../unit/schema.ts";
import { badInputIsExplained, runTool } from "./tool.ts";

async function schemaOf(subcommand: string): Promise<unknown> {
  const { code, stdout, stderr } = await runTool("cxl_sim", [subcommand, "--json-schema"]);
  assertEquals([code, stderr], [0, ""], subcommand);
  return JSON.parse(stdout);
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const SEED = [
  ...["-i", "5", "-c", "0,2", "-d", "85", "-c", "100,100"],
  ...["-w", "85.5,86.5,87.5,85.5,86.5,87.5,88.", "-o", "(1,(2,3))"],
];

Deno.test("the seed's options: weight mean 86.714, hops 0,1,1, completed lists are noted, origins are told", async () => {
  const { code, stdout, stderr } = await runTool("cxl_sim", [...SEED, "--synthetic", "gups?count=1000", "--json"]);
  assertEquals(code, 0, stderr);
  const report = JSON.parse(stdout);
  assertEquals(report.weight.mean.toFixed(6), (607 / 7).toFixed(6));
  assertEquals(report.nodes.map((node: { hops: number }) => node.hops), [0, 0, 1, 1]);
  assertEquals(report.config.capacityBytes, ["104857600", "104857600", "104857600", "104857600"]);
  assertEquals(report.config.dramLatencyNs, [85, 85]);
  assertEquals(report.config.epochNs, 5e6);
  assert(report.notes.some((note: string) => note.startsWith("capacity: 2 of 4 given")), report.notes.join("\n"));
  assertEquals([report.origins.epochNs, report.origins.capacityBytes, report.origins.latencyNs], [
    "-i",
    "-c",
    "default",
  ]);
});

Deno.test("every subcommand's --json is what its --json-schema says", async () => {
  await inFolder(async (folder) => {
    const trace = `${folder}/t.csv`;
    const counters = `${folder}/c.csv`;
    await Deno.writeTextFile(trace, "0,0,R,0x100000000,64\n50,0,W,0x100000040,64\n");
    await Deno.writeTextFile(
      counters,
      "stallCycles,llcHits,llcMisses,socketReads,socketWritebacks\n40000000,60000,10000,10000,0\n",
    );
    const runs: readonly (readonly [string, readonly string[]])[] = [
      ["run", [
        "--synthetic",
        "ycsb?count=20000&hosts=2",
        "--coherence",
        "mesi",
        "--cache",
        "64KiB",
        "--prefetch",
        "--tlb",
        "remote",
      ]],
      ["run", ["--synthetic", "stream?count=20000", "--preset", "expander-curve", "-q", "0,100"]],
      ["run", ["--synthetic", "poisson?count=2000", "--replay", "open", "--explain", "5"]],
      ["run", ["--synthetic", "gups?count=2000", "--model", "epoch", "--migration", "tpp", "-q", "0,1"]],
      ["run", ["--counters", counters]],
      ["convert", [trace, `${folder}/t.bbt`]],
      ["topology", ["((1:20,2)sw:30,3)"]],
      ["presets", []],
      ["check", [trace]],
    ];
    for (const [subcommand, args] of runs) {
      const { code, stdout, stderr } = await runTool("cxl_sim", [subcommand, ...args, "--json"]);
      assertEquals(code, 0, `${subcommand} ${args.join(" ")}: ${stderr}`);
      assertEquals(schemaErrors(await schemaOf(subcommand), JSON.parse(stdout)), "", subcommand);
    }
    for (const subcommand of ["record", "serve", "client"]) assert(await schemaOf(subcommand));
  });
});

Deno.test("a trace recorded behind a cache: its writes stall nobody, and the report says so", async () => {
  await inFolder(async (folder) => {
    const batch = new AccessBatch(16);
    for (let i = 0; i < 10; i++) batch.append(0, 0, 0, 1, 2 ** 32 + i * 64, 64);
    const simulated = async (flags: number): Promise<{ time: number; notes: string; origin: string }> => {
      const encoder = new BinaryEncoder();
      const records = encoder.encode(batch);
      const bytes = new Uint8Array([...encodeHeader(encoder.header(flags)), ...records]);
      await Deno.writeFile(`${folder}/t.bbt`, bytes);
      const args = [
        "--trace",
        `${folder}/t.bbt`,
        "-q",
        "0,10",
        "-o",
        "(1)",
        "-l",
        "300,300",
        "-b",
        "32,32",
        "--window",
        "1",
      ];
      const { code, stdout, stderr } = await runTool("cxl_sim", [...args, "--json"]);
      assertEquals(code, 0, stderr);
      const report = JSON.parse(stdout);
      return { time: report.time.simulatedNs, notes: report.notes.join("\n"), origin: report.origins.writesStall };
    };
    assertEquals((await simulated(0)).time, 10 * 300);
    const filtered = await simulated(FLAG_FILTERED);
    assertEquals([filtered.time, filtered.origin], [300 + 9 * 2, "the recording"]);
    assertStringIncludes(filtered.notes, "behind a cache");
  });
});

Deno.test("settings: a file, options over it, presets; the hash is that of the settings and changes with them", async () => {
  await inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/s.yaml`, "dramLatencyNs: 90\nwindow: 4\ntopology: (1,2)\n");
    const run = async (
      ...args: string[]
    ): Promise<{ config: Record<string, unknown>; configHash: string; origins: Record<string, string> }> => {
      const { code, stdout, stderr } = await runTool("cxl_sim", ["--synthetic", "gups?count=100", ...args, "--json"]);
      assertEquals(code, 0, stderr);
      return JSON.parse(stdout);
    };
    const both = await run("--config", `${folder}/s.yaml`, "--window", "8");
    assertEquals([both.config["window"], both.config["dramLatencyNs"], both.config["topology"]], [
      8,
      [90, 90],
      "(1,2)",
    ]);
    assertEquals([both.origins["window"], both.origins["topology"]], ["--window", `${folder}/s.yaml`]);
    assertMatch(both.configHash, /^[0-9a-f]{64}$/);
    const same = await run("-d", "90", "-o", "(1,2)", "--window", "8");
    assertEquals(same.configHash, both.configHash);
    assert((await run("-d", "91", "-o", "(1,2)", "--window", "8")).configHash !== both.configHash);
  });
});

Deno.test("bad input is one line and a hint, exit 2, nothing written", async () => {
  await inFolder(async (folder) => {
    const file = async (name: string, text: string): Promise<string> => {
      await Deno.writeTextFile(`${folder}/${name}`, text);
      return `${folder}/${name}`;
    };
    const g = ["--synthetic", "gups?count=10"];
    const out = `${folder}/out.html`;
    await badInputIsExplained("cxl_sim", [
      [["-o", "(1,(2,3)", ...g, "--html", out], 2, "usage", "character"],
      [["-o", "(1,1)", ...g], 2, "usage", "character 4"],
      [["-o", "()", ...g], 2, "usage", "character"],
      [["-q", "1,2,3,4,5", ...g, "--html", out], 2, "usage", "capacity: 5 given"],
      [["-l", "100", ...g], 2, "usage", "-l"],
      [["-l", "100,0", ...g], 2, "usage", "latency of endpoint 1"],
      [["-b", "NaN,1", ...g], 2, "usage", "-b"],
      [["-q", "0,0", ...g], 2, "usage", "capacity of endpoint 1"],
      [["-d", "-5", ...g], 2, "usage", "-d"],
      [["-d", "1e400", ...g], 2, "usage", "-d"],
      [["-i", "0", ...g], 2, "usage", "epoch"],
      [["-c", "0", "-c", "1", "-c", "2", ...g], 2, "usage", "-c: given 3 times"],
      [["-c", "0", "-c", "1", "-q", "5", ...g], 2, "usage", "-c"],
      [[], 2, "usage", "which accesses"],
      [[...g, "--trace", "x"], 2, "usage", "one of them"],
      [["--synthetic", "gups?cnt=1"], 2, "usage", "cnt"],
      [["--trace", `${folder}/none.csv`], 3, "absent", "none.csv"],
      [["--trace", await file("back.csv", "5,0,R,0,64\n1,0,R,64,64\n")], 2, "malformed", "back.csv:2"],
      [["--trace", await file("bad.csv", "5,0,R,0,64\n6,0,Z,64,64\n")], 2, "malformed", "bad.csv:2"],
      [["--trace", await file("cut.bbt", "BBTRACE1")], 2, "malformed", "cut.bbt"],
      [["--trace", await file("foreign.bin", "\u0000\u0001\u0002ELF")], 2, "malformed", "foreign.bin"],
      [["--config", await file("c.yaml", "windw: 3\n"), ...g], 2, "malformed", "windw"],
      [["--config", await file("d.json", "{"), ...g], 2, "malformed", "d.json"],
      [["--preset", "none-such", ...g], 2, "usage", "none-such"],
      [["--explain", "99", ...g], 2, "out-of-range", "access 99"],
      [["-t", `${folder}/no-program`], 2, "usage", "no-program"],
      [["topology", "(1,"], 2, "usage", "character"],
      [["convert", `${folder}/none.csv`, out], 3, "absent", "none.csv"],
    ], await schemaOf("run"));
    assertEquals((await Array.fromAsync(Deno.readDir(folder))).filter(({ name }) => name.startsWith("out")), []);
  });
});

/**
 * Waits until a process handles SIGINT and has then used a processor for so many ticks of 10 ms: on a busy machine time alone
 * tells nothing.
 */
async function hasComputed(pid: number, ticks: number): Promise<void> {
  const end = performance.now() + 60_000;
  const used = async (): Promise<number> =>
    Number((await Deno.readTextFile(`/proc/${pid}/stat`)).replace(/^.*\) /, "").split(" ")[11]);
  const handles = async (): Promise<boolean> => {
    const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(await Deno.readTextFile(`/proc/${pid}/status`))?.[1] ?? "0";
    return (BigInt(`0x${mask}`) & 2n) !== 0n;
  };
  while (!await handles() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  const before = await used();
  while (await used() < before + ticks && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("SIGINT in a run prints what is known, marked incomplete, exit 130", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      new URL("../../tools/cxl_sim.ts", import.meta.url).pathname,
      "--synthetic",
      "gups?count=1000000000",
      "--json",
    ],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  await hasComputed(child.pid, 100);
  child.kill("SIGINT");
  const { code, stdout } = await output;
  assertEquals(code, 130);
  const report = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(report.incomplete, true);
  assert(report.trace.accesses > 0);
});

Deno.test("check tells all mistakes of settings and of a trace", async () => {
  await inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/s.yaml`, "windw: 3\nepochMs: -1\nplacement: nowhere\n");
    await Deno.writeTextFile(`${folder}/t.csv`, "0,0,R,0,64\nx,0,R,0,64\n5,0,Q,0,64\n");
    const config = JSON.parse((await runTool("cxl_sim", ["check", `${folder}/s.yaml`, "--json"])).stdout);
    assertEquals(config.mistakes.length, 3, config.mistakes.join("\n"));
    const trace = await runTool("cxl_sim", ["check", `${folder}/t.csv`, "--json"]);
    assertEquals([trace.code, JSON.parse(trace.stdout).mistakes.length], [2, 2]);
  });
});
