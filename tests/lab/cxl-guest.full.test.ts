/** CXL memory under a hypervisor that shows itself: what the tool says before, and what the kernel says else. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { runTool } from "../soft/tool.ts";
import { machine } from "./lab.ts";
import { listTests } from "./list.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { list, read } from "./programs.ts";

const lab = machine("cxl-guest.yaml", import.meta.url);

listTests(lab);
lspciLinesTest(lab);

const BUS = "/sys/bus/cxl/devices";

/** Everything in sysfs that creating a region changes, as text. */
async function state(): Promise<string> {
  const names = await list(BUS);
  const files = names.filter((name) => name.startsWith("decoder")).flatMap((name) =>
    ["dpa_size", "mode", "region"].map((file) => `${BUS}/${name}/${file}`)
  );
  const texts = await Promise.all(files.map(async (file) => `${file}=${await read(file).catch(() => "none")}`));
  return [names.join(" "), ...texts, await read("/sys/devices/system/memory/auto_online_blocks")].join("\n");
}

lab.test("with the hypervisor bit set, creating a region is refused beforehand, explained, and nothing was written", async () => {
  assert((await read("/proc/cpuinfo")).includes(" hypervisor "));
  const before = await state();
  const { code, stderr, stdout } = await runTool("cxl_region", ["create", "--json"]);
  assertEquals(code, 3, stderr);
  assertEquals(JSON.parse(stdout).error.code, "unsupported");
  assertStringIncludes(stderr, "the processor reports a hypervisor");
  assertStringIncludes(stderr, "nothing was written");
  assertStringIncludes(stderr, "hypervisor=off");
  assertEquals(await state(), before);
});

lab.test("forced, the kernel refuses the commit with ENXIO, and everything is undone", async () => {
  const before = await state();
  const { code, stderr } = await runTool("cxl_region", ["create", "--force"]);
  assertEquals(code, 3, stderr);
  assertStringIncludes(stderr, "step 'commit' failed (writing '1')");
  assertStringIncludes(stderr, "ENXIO");
  assertStringIncludes(stderr, "undone: target 0 of region0, memory of mem0 for decoder2.0, region0");
  // The kernel has no way back from mode `ram` to `none`.
  assertEquals((await state()).replaceAll("mode=ram", "mode=none"), before);
});
