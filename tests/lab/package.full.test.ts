/** The one-file package in a machine that has nothing else. One boot. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import denoJson from "../../deno.json" with { type: "json" };
import { unless } from "../needs.ts";
import { type Commands, CONTROLLER, fileAt, librariesOf, runInBareMachine } from "./bare_machine.ts";
import { whyNoLab } from "./no_lab.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

const COMMANDS: Commands = [
  ["elsewhere", "which deno node python3 cc gcc clang; ls -d /usr /etc"],
  ["first start", "busbar --version"],
  ["second start", "busbar --version"],
  ["software device", "busbar dump_bar0 soft:nvme --json"],
  ["machines", "busbar lab list --json"],
  ["registers", `busbar dump_bar0 ${CONTROLLER} --enable-memory --json`],
  // The firmware leaves it enabled, and busbar takes nothing over that somebody may drive.
  ["reset", `echo 1 >/sys/bus/pci/devices/${CONTROLLER}/reset`],
  ["write", `busbar nvme_io --no-iommu --write ${CONTROLLER} write --blocks 64 --pattern 7`],
  ["verify", `busbar nvme_io --no-iommu ${CONTROLLER} verify --blocks 64 --pattern 7`],
  ["left behind", "ls /dev/hugepages; pidof nvme_guardian"],
];

Deno.test({
  ...unless(
    whyNoLab(),
    "the package runs where there is neither Deno nor checkout nor compiler, and drives a controller",
  ),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const packaged = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", `${ROOT}/tools/ship/package.ts`, "--output", folder],
      }).output();
      assert(packaged.success, new TextDecoder().decode(packaged.stderr));
      const file = new TextDecoder().decode(packaged.stdout).trim();
      const programs = [...await librariesOf(Deno.execPath()), await fileAt("bin/busbar", file)];
      const results = await runInBareMachine(folder, programs, COMMANDS);

      assert(results.ran("elsewhere").status !== 0);
      assertEquals(results.ran("elsewhere").text.includes("\n/"), false, "no Deno, no compiler, no checkout");
      assertEquals(results.succeeded("first start"), `busbar ${denoJson.version}\n`);
      assertEquals(results.succeeded("second start"), `busbar ${denoJson.version}\n`);
      const [first, second] = [results.ran("first start").seconds, results.ran("second start").seconds];
      await Deno.stdout.write(new TextEncoder().encode(
        `package in a bare machine: first start ${first.toFixed(2)} s, second start ${second.toFixed(2)} s\n`,
      ));
      assert(second < first, "the first start unpacks, the second does not");

      assertEquals(JSON.parse(results.succeeded("software device")).device.name, "soft:nvme");
      assertStringIncludes(results.succeeded("machines"), "package");
      assertEquals(JSON.parse(results.succeeded("registers")).registers.VS.value, 0x00010400);
      assertMatch(results.succeeded("write"), /^write: /m);
      results.succeeded("verify");
      assertEquals(results.ran("left behind").text, "", "the guardian has removed the memory and ended");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
