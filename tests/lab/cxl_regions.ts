/** CXL memory devices, windows and regions: made, used and destroyed by cxl_region, and by cxl and daxctl. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { runTool } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";
import { list, output, read, shell } from "./programs.ts";

const BUS = "/sys/bus/cxl/devices";

interface Memdev {
  readonly memdev: string;
  readonly serial: number;
  readonly ram_size?: number;
  readonly pmem_size?: number;
}

async function memdevs(): Promise<Memdev[]> {
  const found: Memdev[] = JSON.parse(await output("cxl", "list", "-M"));
  return found.sort((a, b) => a.serial - b.serial);
}

/** What `cxl_region` prints, which must succeed. */
async function region(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTool("cxl_region", args);
  assertEquals(code, 0, stderr);
  return stdout;
}

/** Other people's view: regions as cxl lists them, dax devices as daxctl does. Both print nothing when there is none. */
async function others(): Promise<{ regions: CxlListed[]; dax: DaxListed[] }> {
  return {
    regions: JSON.parse(await output("cxl", "list", "-R", "-i") || "[]"),
    dax: JSON.parse(await output("daxctl", "list") || "[]"),
  };
}

interface CxlListed {
  readonly region: string;
  readonly size: number;
  readonly interleave_ways: number;
  readonly interleave_granularity: number;
  readonly decode_state: string;
}

interface DaxListed {
  readonly chardev: string;
  readonly size: number;
  readonly mode: string;
  readonly target_node: number;
  readonly online_memblocks?: number;
  readonly movable?: boolean;
}

async function assertNothingLeft(): Promise<void> {
  assertEquals(await others(), { regions: [], dax: [] });
  for (const name of (await list(BUS)).filter((name) => name.startsWith("decoder"))) {
    const size = await read(`${BUS}/${name}/dpa_size`).catch(() => "0x0");
    assertEquals(Number(size), 0, `${name} has memory reserved`);
  }
  assertMatch(await output("numactl", "-H"), /^available: 1 nodes/);
  assertEquals(await read("/sys/devices/system/memory/auto_online_blocks"), "online");
}

/** Binds anonymous memory to a node by mbind(2), writes to it and reads where it lies. In Python: the image brings it. */
async function placeOn(node: number, sizeMiB: number): Promise<{ numaMaps: string }> {
  const script = `
import ctypes, mmap
size = ${sizeMiB} << 20
area = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(area))
mask = ctypes.c_ulong(1 << ${node})
assert ctypes.CDLL(None).syscall(237, ctypes.c_void_p(address), ctypes.c_ulong(size), 2, ctypes.byref(mask), 64, 0) == 0
for page in range(0, size, 4096): area[page] = 1
print([line for line in open("/proc/self/numa_maps") if line.startswith("%x " % address)][0])
`;
  return { numaMaps: await output("/usr/bin/python3", "-c", script) };
}

function toolWords(args: string): string {
  const root = new URL("../..", import.meta.url).pathname;
  return `run -A --no-check --cached-only ${root}tools/cxl_region.ts ${args}`;
}

/** Registers the daily tests. */
export function cxlTests(lab: Lab): void {
  lab.test("list shows devices and windows as cxl does: two volatile devices, a persistent one, four windows", async () => {
    const theirs = await memdevs();
    assertEquals(theirs.map(({ serial, ram_size, pmem_size }) => [serial, ram_size, pmem_size]), [
      [1, 256 << 20, undefined],
      [2, 256 << 20, undefined],
      [3, undefined, 256 << 20],
    ]);
    const [root] = JSON.parse(await output("cxl", "list", "-B", "-D", "-d", "root", "-T"));
    const decoders: { interleave_ways: number; interleave_granularity?: number; size: number; resource: number }[] =
      root["decoders:root0"] ?? root["decoders"] ?? root;
    const { code, stdout, stderr } = await runTool("cxl_region", ["list", "--json"]);
    assertEquals(code, 0, stderr);
    const ours: {
      windows: { start: string; sizeBytes: string; ways: number; granularityBytes: number }[];
      memdevs: { name: string; serial: string; ramBytes: string; pmemBytes: string; path: string[] }[];
    } = JSON.parse(stdout);
    assertEquals(
      ours.memdevs.map((one) => [one.name, Number(one.serial), Number(one.ramBytes), Number(one.pmemBytes)]).sort(),
      theirs.map((one) => [one.memdev, one.serial, one.ram_size ?? 0, one.pmem_size ?? 0]).sort(),
    );
    assertEquals(
      ours.windows.map((one) => [Number(one.start), Number(one.sizeBytes), one.ways, one.granularityBytes]),
      // cxl leaves the granularity out where it means nothing.
      decoders.map((one) => [one.resource, one.size, one.interleave_ways, one.interleave_granularity ?? 256]),
    );
    // The persistent device sits behind a switch: one more port on the way.
    assertEquals(ours.memdevs.find((one) => one.serial === "0x3")?.path.length, 3);
  });

  lab.test(
    "create makes a region whose memory is a node without processors, in its movable zone; destroy leaves nothing",
    async () => {
      const dryRun = await region("create", "0x1", "--dry-run");
      assertStringIncludes(dryRun, "create_ram_region");
      await assertNothingLeft();
      const text = await region("create", "0x1");
      assertStringIncludes(text, "2 of 2 blocks of 128 MiB online (Movable)");
      const { regions, dax: [dax] } = await others();
      assertEquals(regions.map((one) => [one.size, one.interleave_ways, one.decode_state]), [[256 << 20, 1, "commit"]]);
      assertEquals([dax?.size, dax?.mode, dax?.online_memblocks, dax?.movable], [256 << 20, "system-ram", 2, true]);
      const node = dax?.target_node ?? -1;
      assertMatch(await output("numactl", "-H"), new RegExp(`^node ${node} cpus: *$\nnode ${node} size: 256 MB$`, "m"));
      // Plain data of a program whose code and stack stay on node 0.
      const { numaMaps } = await placeOn(node, 2);
      assertMatch(numaMaps, new RegExp(` bind:${node} .*\\bN${node}=512\\b`));
      const name = regions[0]?.region ?? "";
      await region("offline", name);
      assertEquals((await others()).dax[0]?.online_memblocks, 0);
      await region("online", name);
      assertEquals((await others()).dax[0]?.online_memblocks, 2);
      await region("destroy", name);
      await assertNothingLeft();
    },
    { timeoutMs: 120_000 },
  );

  lab.test("a dax device goes to system RAM and back; a killed run's changes are put back by restore", async () => {
    await region("create", "0x1", "--as", "devdax");
    const name = (await others()).dax[0]?.chardev ?? "";
    await region("system-ram", name);
    assertEquals((await others()).dax.map((one) => [one.mode, one.movable]), [["system-ram", true]]);
    await region("devdax", name);
    assertEquals((await others()).dax.map((one) => one.mode), ["devdax"]);
    await region("destroy", (await others()).regions[0]?.region ?? "");
    await assertNothingLeft();
    // Killed at the write that makes the kernel work longest.
    await shell(`
    cd /; mkdir -p /tmp/kill
    ${Deno.execPath()} ${toolWords("create 0x1")} >/tmp/kill/out 2>&1 & pid=$!
    while kill -0 $pid 2>/dev/null; do
      if ls -d ${BUS}/region* >/dev/null 2>&1; then kill -9 $pid; break; fi
    done
    wait $pid || true`);
    const restored = await runTool("restore", []);
    assertEquals(restored.code, 0, restored.stderr + restored.stdout);
    await assertNothingLeft();
  }, { timeoutMs: 240_000, isLong: true });
}

/** Registers the long tests: regions of two tools, interleaved ones, and bad input. */
export function cxlLongTests(lab: Lab): void {
  lab.test(
    "a region that busbar made is destroyed by cxl, one that cxl made is destroyed by busbar",
    async () => {
      await region("create", "0x1");
      const ours = (await others()).regions[0]?.region ?? "";
      await output("daxctl", "offline-memory", `dax${ours.slice(6)}.0`);
      await output("cxl", "disable-region", ours);
      await output("cxl", "destroy-region", ours);
      await shell(`for d in ${BUS}/decoder*/dpa_size; do [ $(($(cat $d))) = 0 ]; done`);
      await assertNothingLeft();
      // cxl 76 makes no volatile regions; what it does make is one of persistent memory.
      await output("cxl", "create-region", "-d", "decoder0.2", "-t", "pmem", "-m", (await memdevs())[2]?.memdev ?? "");
      const [theirs] = (await others()).regions;
      assertEquals(theirs?.decode_state, "commit");
      const { code, stderr } = await runTool("cxl_region", ["destroy", theirs?.region ?? ""]);
      assertEquals(code, 2, stderr);
      assertStringIncludes(stderr, "--erase=0x3 says that they may go");
      await region("destroy", theirs?.region ?? "", "--erase=0x3");
      await assertNothingLeft();
    },
    { timeoutMs: 120_000 },
  );

  lab.test("bad input is refused with one line and the way out", async () => {
    const cases: [string[], number, RegExp][] = [
      [["create", "0x1", "--size", "1.5GB"], 2, /multiples of 256 MiB|is too much/],
      [["destroy", "region77"], 3, /region77: no such region/],
      [["online", "dax7.7"], 3, /dax7\.7: no such dax device/],
    ];
    for (const [args, wanted, pattern] of cases) {
      const { code, stderr } = await runTool("cxl_region", args);
      assertEquals(code, wanted, `${args.join(" ")}: ${stderr}`);
      assertMatch(stderr, pattern);
      assert(/^ {2}hint: ./m.test(stderr), stderr);
    }
    await assertNothingLeft();
  });

  lab.test("two devices are interleaved at 256 and at 4096, in the order that the window addresses", async () => {
    for (const granularity of [256, 4096]) {
      // Named in the wrong order on purpose.
      await region("create", "0x2", "0x1", "--granularity", String(granularity), "--as", "devdax");
      const { regions, dax } = await others();
      assertEquals(regions.map((one) => [one.size, one.interleave_ways, one.interleave_granularity]), [
        [512 << 20, 2, granularity],
      ]);
      assertEquals(dax.map((one) => [one.size, one.mode]), [[512 << 20, "devdax"]]);
      const name = dax[0]?.chardev ?? "";
      // Programs that have it keep it.
      using holder = await Deno.open(`/dev/${name}`, { read: true });
      const { code, stderr } = await runTool("cxl_region", ["destroy", regions[0]?.region ?? ""]);
      assertEquals(code, 3, stderr);
      assertMatch(stderr, /has \/dev\/dax\d+\.0 open/);
      holder.close();
      await region("destroy", regions[0]?.region ?? "");
      await assertNothingLeft();
    }
  }, { timeoutMs: 120_000 });
}
