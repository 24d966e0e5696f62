/** The example of a lab test runs as it stands in its file. One boot. */

import { assertEquals, assertMatch } from "@std/assert";

import { unless } from "../needs.ts";
import { whyNoLab } from "./no_lab.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

Deno.test({
  ...unless(whyNoLab(), "examples/lab_test.ts boots a machine and passes"),
  fn: async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "examples/lab_test.ts"],
      cwd: ROOT,
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assertMatch(text, /^the kernel sees the drive \.\.\. ok/m);
    assertMatch(text, /^ok \| 1 passed \| 0 failed/m);
    assertEquals(code, 0);
  },
});
