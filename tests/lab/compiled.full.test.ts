/**
 * Compiled tools in a machine that has nothing else: their start, the C libraries and the guardian from inside them. One boot,
 * where DENORT_BIN names the runtime of compiled programs; docs/not-run.md says what stays unproven where it does not.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";

import { formatBytes } from "../../src/core/units.ts";
import { unless } from "../needs.ts";
import { type BareResults, type Commands, CONTROLLER, fileAt, librariesOf, runInBareMachine } from "./bare_machine.ts";
import { whyNoLab } from "./no_lab.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

const TOOLS = ["dump_bar0", "check_p2p", "nvme_identify", "dax_config"] as const;

const reason = Deno.env.has("DENORT_BIN")
  ? whyNoLab()
  : "DENORT_BIN does not name denort, the runtime of compiled programs";

const COMMANDS: Commands = [
  ["elsewhere", "which deno busbar node python3 cc gcc clang; ls -d /usr /etc"],
  ...TOOLS.map((tool) => [`help of ${tool}`, `${tool} --help`] as const),
  ["software device", "dump_bar0 soft:nvme --json"],
  ["registers", `dump_bar0 ${CONTROLLER} --enable-memory --json`],
  // The firmware leaves it enabled, and busbar takes nothing over that somebody may drive.
  ["reset", `echo 1 >/sys/bus/pci/devices/${CONTROLLER}/reset`],
  ["identify", `nvme_identify --no-iommu ${CONTROLLER} --json`],
  ["left behind", "ls /dev/hugepages; pidof nvme_guardian"],
  ["no GPU", `check_p2p ${CONTROLLER} --json`],
  ["memory", "truncate -s 4M /tmp/memory; dax_config check --backend mmap --resource /tmp/memory --size 2MiB --json"],
];

/** The tools as executable files, by name. */
async function compiled(folder: string): Promise<ReadonlyMap<string, string>> {
  const args = ["run", "-A", "--no-check", `${ROOT}/tools/ship/compile.ts`, "--output", folder, ...TOOLS];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new Map(TOOLS.map((tool) => [tool, `${folder}/${tool}`]));
}

function checkResults(results: BareResults): void {
  assert(results.ran("elsewhere").status !== 0);
  assertEquals(results.ran("elsewhere").text.includes("\n/"), false, "no Deno, no compiler, no checkout");
  for (const tool of TOOLS) assertMatch(results.succeeded(`help of ${tool}`), new RegExp(`^Usage: ${tool} `));
  assertEquals(JSON.parse(results.succeeded("software device")).device.name, "soft:nvme");
  assertEquals(JSON.parse(results.succeeded("registers")).registers.VS.value, 0x00010400);
  assertEquals(JSON.parse(results.succeeded("identify")).controller.SN.value, "BARE0001");
  assertEquals(results.ran("left behind").text, "", "the guardian has removed the memory and ended");
  const gpu = results.ran("no GPU");
  assertEquals([gpu.status, JSON.parse(gpu.text).schema], [3, "check_p2p/1"]);
  assertEquals(JSON.parse(results.succeeded("memory")).schema, "dax_config_check/1");
}

Deno.test({
  ...unless(reason, `${TOOLS.join(", ")} compiled run where there is neither Deno nor checkout`),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const files = [...await compiled(folder)];
      const programs = [
        ...await librariesOf(files[0]?.[1] ?? ""),
        ...await Promise.all(files.map(([tool, path]) => fileAt(`bin/${tool}`, path))),
      ];
      const results = await runInBareMachine(folder, programs, COMMANDS);
      checkResults(results);
      const lines = await Promise.all(files.map(async ([tool, path]) => {
        const { size } = await Deno.stat(path);
        return `${tool}: ${formatBytes(size)}, starts in ${results.ran(`help of ${tool}`).seconds.toFixed(2)} s\n`;
      }));
      await Deno.stdout.write(new TextEncoder().encode(lines.join("")));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
