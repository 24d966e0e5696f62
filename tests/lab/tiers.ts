/**
 * A slow memory tier, made from an NVDIMM with a node of its own: pages go there and come back, by DAMON and by reclaim.
 * The oracles are the kernel's numa_maps and vmstat, numactl, ndctl and daxctl.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { Deadline, waitFor } from "../../src/core/deadline.ts";
import { thisMachine } from "../../src/core/host.ts";
import { readTierState } from "../../src/memory/tiers.ts";
import { matrixSchema } from "../../tools/render/memory/matrix.ts";
import { tieringSchema } from "../../tools/render/memory/tiering.ts";
import { runTool, toolArgs } from "../soft/tool.ts";
import { schemaErrors } from "../unit/schema.ts";
import type { Lab } from "./lab.ts";
import { listTests } from "./list.ts";
import { list, output, read, shell } from "./programs.ts";

/** DAMON looks often, so that a test need not wait for half a minute; found by trial under emulation. */
const OFTEN = ["--global", "--sample", "20ms", "--aggregate", "400ms", "--update", "4s"];

/** What a tool prints, which must succeed. */
async function tool(name: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTool(name, args);
  assertEquals(code, 0, `${name} ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** A program that fills memory, and uses it again and again when it is to be hot. Dispose ends it. */
class Hog implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  constructor(child: Deno.ChildProcess) {
    this.#child = child;
  }

  static async start(sizeMiB: number, hot: boolean, ...before: string[]): Promise<Hog> {
    const script = `
import mmap
size = ${sizeMiB} << 20
area = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, size, 4096): area[page] = 1
open("/tmp/hog.ready", "w").close()
import time
while True:
    for page in range(0, size, 4096): area[page] if ${hot ? "True" : "False"} else time.sleep(60)
`;
    await Deno.remove("/tmp/hog.ready").catch(() => {});
    const [program = "", ...args] = [...before, "/usr/bin/python3", "-c", script];
    const hog = new Hog(new Deno.Command(program, { args, stdin: "null" }).spawn());
    await waitFor(() => exists("/tmp/hog.ready"), {
      deadline: Deadline.after(60_000),
      what: "the hog",
      intervalMs: 100,
    });
    return hog;
  }

  /** Pages of the hog's area on a node, as the kernel says. */
  async pagesOn(node: number): Promise<number> {
    const maps = await read(`/proc/${this.#child.pid}/numa_maps`);
    const areas = maps.split("\n").map((line) => Number(new RegExp(`\\bN${node}=(\\d+)`).exec(line)?.[1] ?? 0));
    return Math.max(...areas);
  }

  /** Waits until so many pages of it are on a node. */
  async waitForPages(node: number, pages: number): Promise<void> {
    const deadline = Deadline.after(60_000);
    while (await this.pagesOn(node) < pages) {
      deadline.check(`${pages} pages of the hog on node ${node}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

function exists(path: string): true | undefined {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return undefined;
  }
}

async function counter(name: string): Promise<number> {
  return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(await read("/proc/vmstat"))?.[1] ?? NaN);
}

interface Counted {
  readonly runs: readonly { readonly counters: Readonly<Record<string, string>>; readonly note: string | null }[];
}

interface Experimented {
  readonly runs: readonly {
    readonly case: string;
    readonly workload: string;
    readonly exitStatus: number;
    readonly counters: Readonly<Record<string, string>>;
    readonly damonBytes: string | null;
  }[];
}

interface DamonState {
  readonly owner: string;
  readonly kdamonds: readonly { readonly schemes: readonly { readonly appliedBytes: string }[] }[];
}

/** Memory of node 0 is three times as fast as that of node 1. */
const MATRIX = JSON.stringify({
  schema: "membench-matrix/1",
  memoryNodes: [{ node: 0 }, { node: 1 }],
  cells: [[0, 30e9], [1, 10e9]].map(([memoryNode, median]) => ({
    ...{ processorNode: 0, memoryNode, reason: null },
    bandwidth: [100, 0].map((readPercent) => ({ readPercent, bytesPerSecond: { median } })),
  })),
});

/** Registers the tests. */
export function tiersTests(lab: Lab): void {
  listTests(lab);

  lab.test(
    "the NVDIMM becomes node 1 by cxl_region: without processors, in a tier of its own, in the movable zone",
    async () => {
      assertMatch(await output("numactl", "-H"), /^available: 1 nodes/);
      const made = JSON.parse(await output("ndctl", "create-namespace", "-f", "-e", "namespace0.0", "-m", "devdax"));
      assertEquals(made.daxregion.devices[0].target_node, 1);
      // What lies on an NVDIMM outlives the machine: it is not given away without a word.
      const refused = await runTool("cxl_region", ["system-ram", "dax0.0"]);
      assertEquals(refused.code, 2, refused.stderr);
      const word = /--erase=(\S+)/.exec(refused.stderr)?.[1] ?? "";
      assertStringIncludes(refused.stderr, "the contents of namespace0.0 would be lost");
      await tool("cxl_region", "system-ram", "dax0.0", "--erase", word);
      const [dax] = JSON.parse(await output("daxctl", "list", "-d", "dax0.0"));
      assertEquals([dax.mode, dax.movable], ["system-ram", true]);
      const hardware = await output("numactl", "-H");
      assertMatch(hardware, /^available: 2 nodes \(0-1\)$/m);
      assertMatch(hardware, /^node 1 cpus: *$/m);
      assertMatch(hardware, /^ +0: +10 +40 *$/m);
      const folder = "/sys/devices/virtual/memory_tiering";
      const tiers = (await list(folder)).filter((name) => /^memory_tier\d+$/.test(name));
      const nodes = await Promise.all(tiers.map((tier) => read(`${folder}/${tier}/nodelist`)));
      assertEquals(nodes.sort(), ["0", "1"]);
      const shown = JSON.parse(await tool("tiering", "show", "--json"));
      assertEquals(shown.nodes.map((node: { demotesTo: number[] }) => node.demotesTo), [[1], []]);
      await output("numactl", "--membind=1", "true");
    },
    { timeoutMs: 120_000 },
  );

  lab.test(
    "DAMON demotes: a hog's pages go from node 0 to node 1, the kernel counts them, and stop leaves no kdamond",
    async () => {
      await using hog = await Hog.start(64, false);
      assert(await hog.pagesOn(0) >= 16_384);
      const [migrated, demoted] = [await counter("pgmigrate_success"), await counter("pgdemote_kswapd")];
      await tool("damon_config", "start", "--demote", "0", "1", ...OFTEN, "--cold-age", "1s");
      const twice = await runTool("damon_config", ["start", "--demote", "0", "1", "--global"]);
      assertEquals(twice.code, 3, twice.stderr);
      assertStringIncludes(twice.stderr, "damon_config stop stops them");
      await hog.waitForPages(1, 12_000);
      const state: DamonState = JSON.parse(await tool("damon_config", "status", "--json"));
      assertEquals(state.owner, "busbar");
      assert(BigInt(state.kdamonds[0]?.schemes[0]?.appliedBytes ?? 0) >= 12_000n * 4096n);
      assert(await counter("pgmigrate_success") - migrated >= 12_000);
      assertEquals(await counter("pgdemote_kswapd"), demoted, "DAMON does not count as demotion");
      await tool("damon_config", "stop");
      assertEquals(await read("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds"), "0");
    },
    { timeoutMs: 240_000 },
  );

  lab.test(
    "DAMON promotes: pages that a program keeps using come back to node 0, and numa_stats says it was not balancing",
    async () => {
      await using hog = await Hog.start(16, true, "numactl", "--preferred=1");
      assert(await hog.pagesOn(1) >= 4096);
      // Counted from before it starts: pages may have moved by the time that another tool has started.
      const start = [Deno.execPath(), ...toolArgs("damon_config", ["start", "--promote", "1", "0", ...OFTEN])].join(
        " ",
      );
      const during = `${start} >/tmp/start.txt 2>&1 && sleep 8`;
      const counted: Counted = JSON.parse(await tool("numa_stats", "--json", "--during", during));
      await hog.waitForPages(0, 3_000);
      await tool("damon_config", "stop");
      const [run] = counted.runs;
      assert(Number(run?.counters["pgmigrate_success"]) > 0, JSON.stringify(run));
      assertEquals(run?.counters["pgpromote_success"], "0");
      assertStringIncludes(run?.note ?? "", "DAMON");
    },
    { timeoutMs: 240_000 },
  );

  lab.test(
    "reclaim demotes while a profile is applied: pgdemote grows, numa_stats shows it, and every value comes back",
    async () => {
      const before = settings();
      await Deno.writeTextFile("/tmp/profile.yaml", "demotion_enabled: true\nzone_reclaim_mode: 1\n");
      await tool("tiering", "apply", "/tmp/profile.yaml");
      assertEquals(await read("/sys/kernel/mm/numa/demotion_enabled"), "true");
      await shell("mkdir /sys/fs/cgroup/pressed; echo +memory >/sys/fs/cgroup/cgroup.subtree_control");
      {
        await using hog = await Hog.start(
          64,
          false,
          ...["sh", "-c", 'echo $$ >/sys/fs/cgroup/pressed/cgroup.procs; exec "$@"', "sh"],
        );
        const reclaim = "echo 32M >/sys/fs/cgroup/pressed/memory.reclaim";
        const counted: Counted = JSON.parse(await tool("numa_stats", "--json", "--during", reclaim));
        const counters: Readonly<Record<string, string>> = counted.runs[0]?.counters ?? {};
        // Newer kernels count what memory.reclaim asks for apart from direct reclaim.
        const demoted = ["pgdemote_direct", "pgdemote_kswapd", "pgdemote_proactive"].map((name) =>
          Number(counters[name] ?? 0)
        );
        assert(demoted.reduce((sum, count) => sum + count, 0) > 4096, JSON.stringify(counters));
        assert(await hog.pagesOn(1) > 4096);
      }
      await shell("sleep 0.5; rmdir /sys/fs/cgroup/pressed; echo -memory >/sys/fs/cgroup/cgroup.subtree_control");
      await tool("tiering", "restore");
      assertEquals(settings(), before);
    },
    { timeoutMs: 240_000 },
  );

  /** A process of the tool takes seconds here: this is what its `show` prints. */
  function settings(): unknown {
    return readTierState(thisMachine).settings.map(({ setting, value }) => [setting.name, value]);
  }

  lab.test(
    "the matrix measures both memories from the only processors: while it does, numa_maps shows its pages on that node",
    async () => {
      const args = ["matrix", "--size", "8MiB", "--duration", "1ms", "--reads", "100,0", "--json"];
      await using child = new Deno.Command(Deno.execPath(), {
        args: toolArgs("membench", args),
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      let isOver = false;
      const ended = child.output().finally(() => isOver = true);
      const seen = new Set<string>();
      while (!isOver) {
        const maps = await read(`/proc/${child.pid}/numa_maps`).catch(() => "");
        for (const [, node, place] of maps.matchAll(/ bind:(\d) .*dirty=2048 .*\bN(\d)=2048\b/g)) {
          seen.add(`${node} on ${place}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const { code, stdout, stderr } = await ended;
      assertEquals(code, 0, new TextDecoder().decode(stderr));
      assertEquals([...seen].sort(), ["0 on 0", "1 on 1"]);
      const document = JSON.parse(new TextDecoder().decode(stdout));
      assertEquals(schemaErrors(matrixSchema(), document), "");
      // As numactl -H has them: both processors on node 0, node 1 memory only.
      assertMatch(await output("numactl", "-H"), /^node 0 cpus: 0 1\s*$/m);
      assertEquals(document.processorNodes, [{ node: 0, cpus: [0, 1] }]);
      assertEquals(document.memoryNodes.map(({ node }: { node: number }) => node), [0, 1]);
      assertEquals(document.leftOut, [{ node: 1, reason: "no processors" }]);
      for (const { processorNode, latencyNs, bandwidth, reason } of document.cells) {
        assertEquals([processorNode, bandwidth.length, reason], [0, 2, null]);
        assert(
          latencyNs.min > 0 &&
            bandwidth.every((one: { bytesPerSecond: { min: number } }) => one.bytesPerSecond.min > 0),
        );
      }
    },
    { timeoutMs: 120_000, isLong: true },
  );

  lab.test(
    "weights of a matrix are applied: the kernel interleaves pages in their ratio, and restore puts back what was there",
    async () => {
      const folder = "/sys/kernel/mm/mempolicy/weighted_interleave";
      const state = async (): Promise<string[]> =>
        await Promise.all(
          (await list(folder)).sort().map(async (name) => `${name} ${await read(`${folder}/${name}`)}`),
        );
      const before = await state();
      await Deno.writeTextFile("/tmp/matrix.json", MATRIX);
      const args = ["weights", "--from", "/tmp/matrix.json", "--apply", "--json"];
      let applied = await runTool("tiering", args);
      if (before.some((line) => line.endsWith(" true"))) {
        // This machine's firmware tells no bandwidths, so the kernel could not go back to its own weights.
        assertEquals(applied.code, 3, applied.stdout);
        assertStringIncludes(applied.stderr, "could not be put back into automatic mode");
        assertEquals(await state(), before);
        applied = await runTool("tiering", [...args, "--force"]);
      }
      assertEquals(applied.code, 0, applied.stderr);
      const document = JSON.parse(applied.stdout);
      assertEquals(schemaErrors(tieringSchema(), document), "");
      assertEquals(document.nodes.map(({ weight, current }: Record<string, unknown>) => [weight, current]), [[3, "3"], [
        1,
        "1",
      ]]);
      assertEquals(await read(`${folder}/node0`), "3");
      // set_mempolicy(MPOL_WEIGHTED_INTERLEAVE), 4000 pages.
      const script = `
import ctypes, mmap
area = mmap.mmap(-1, 4000 * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(15)
assert ctypes.CDLL(None).syscall(238, 6, ctypes.byref(ctypes.c_ulong(3)), 65) == 0
for page in range(4000): area[page * 4096] = 1
for line in open("/proc/self/numa_maps"):
    if "anon=4000 " in line or "anon=4001 " in line: print(line)
`;
      const maps = await output("python3", "-c", script);
      const pages = [0, 1].map((node) => Number(new RegExp(`\\bN${node}=(\\d+)`).exec(maps)?.[1] ?? NaN));
      assert(Math.abs((pages[0] ?? NaN) - 3000) < 20 && Math.abs((pages[1] ?? NaN) - 1000) < 20, maps);
      await tool("restore", "--kept", "tiering-weights");
      assertEquals(
        (await state()).filter((line) => line.startsWith("node")),
        before.filter((line) => line.startsWith("node")),
      );
    },
    { timeoutMs: 120_000, isLong: true },
  );

  lab.test(
    "the guide's tables from one command: its workloads in its cases, DAMON by cgroup as well as global",
    async () => {
      const before = settings();
      // Touching all of the node takes minutes in an emulated machine: the tables are shares of a part.
      const often = OFTEN.slice(1);
      const how = ["--fast-size", "64MiB", "--updates", "0.05", ...often, "--cold-age", "1s", "--json"];
      const document: Experimented = JSON.parse(await tool("tiering", "experiment", "guide", ...how));
      assertEquals(schemaErrors(tieringSchema(), document), "");
      const cases = ["neither", "balancing", "DAMON", "DAMON for a cgroup"];
      const both = ["balancing and DAMON", "balancing and DAMON for a cgroup"];
      assertEquals(
        document.runs.map((run) => [run.case, run.workload, run.exitStatus]),
        [...cases, ...both].flatMap((name) =>
          ["GUPS 8M", "GUPS 40M", "GUPS 8M with 46M hog", "GUPS 56M"].map((workload) => [name, workload, 0])
        ),
      );
      for (const { counters, workload, case: name, damonBytes } of document.runs) {
        // The table itself is counted; numa_hit counts a huge page once.
        const tableMiB = Number(/\d+/.exec(workload)?.[0]);
        const allocated = ["pgalloc_dma", "pgalloc_dma32", "pgalloc_normal"].reduce(
          (sum, zone) => sum + Number(counters[zone]),
          0,
        );
        assert(allocated >= tableMiB * 256, `${name}, ${workload}: ${allocated} pages`);
        assert(Number(counters["pgfault"]) > 0);
        assertEquals(damonBytes === null, !name.includes("DAMON"), `${name}, ${workload}`);
        if (name !== "neither") continue;
        // A hog was there before.
        assert(allocated < (tableMiB + 46) * 256, `${name}, ${workload}: ${allocated} pages`);
        assertEquals([counters["pgpromote_success"], counters["numa_pte_updates"]], ["0", "0"]);
      }
      const moved = document.runs.filter((run) => run.case === "DAMON").map(({ damonBytes }) => Number(damonBytes));
      assert(moved.some((bytes) => bytes > 0), `DAMON moved ${moved.join(", ")} bytes`);
      assertEquals(settings(), before);
      assertEquals(await read("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds"), "0");
      assertEquals((await list("/sys/fs/cgroup")).includes("hmsdk"), false);
    },
    { timeoutMs: 300_000, isLong: true },
  );

  lab.test("a killed run's profile, kdamonds and cgroup are put back by restore", async () => {
    const before = settings();
    const killAt = async (name: string, args: string[], ready: () => Promise<boolean>): Promise<void> => {
      const child = new Deno.Command(Deno.execPath(), {
        args: toolArgs(name, args),
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      const deadline = Deadline.after(60_000);
      while (!await ready()) {
        deadline.check(`the middle of ${name}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      child.kill("SIGKILL");
      await child.status;
    };
    await killAt(
      "tiering",
      ["apply", "balancing", "--", "sleep", "5"],
      async () => await read("/proc/sys/kernel/numa_balancing") === "2",
    );
    await killAt(
      "damon_config",
      ["run", "--migrate", "0", "1", "--", "sleep", "5"],
      async () => await read("/sys/kernel/mm/damon/admin/kdamonds/1/state").catch(() => "") === "on",
    );
    // The commands go on: a killed parent does not end them. A cgroup with a process in it cannot be removed.
    await shell("sleep 6");
    const { code, stdout, stderr } = await runTool("restore", []);
    assertEquals(code, 0, stdout + stderr);
    assertEquals(settings(), before);
    assertEquals(await read("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds"), "0");
    assertEquals((await list("/sys/fs/cgroup")).includes("hmsdk"), false);
  }, { timeoutMs: 240_000 });

  lab.test("bad input is refused with one line and the way out", async () => {
    await Deno.writeTextFile("/tmp/bad.yaml", "demotion_enable: true\n");
    const cases: [string, string[], number, RegExp][] = [
      ["tiering", ["apply", "/tmp/bad.yaml"], 2, /'demotion_enable' is no setting; did you mean 'demotion_enabled'\?/],
      ["damon_config", ["start", "--demote", "0", "7", "--global"], 3, /node 7 does not exist/],
      ["damon_config", ["start", "--demote", "0", "1", "--cgroup", "/none"], 3, /no such cgroup/],
      ["numa_stats", ["--node", "7"], 3, /node7/],
    ];
    for (const [name, args, wanted, pattern] of cases) {
      const { code, stderr } = await runTool(name, args);
      assertEquals(code, wanted, `${name} ${args.join(" ")}: ${stderr}`);
      assertMatch(stderr, pattern);
    }
  }, { timeoutMs: 120_000 });
}
