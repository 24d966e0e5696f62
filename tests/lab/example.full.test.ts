/** The example of a lab test runs as it stands in its file. One boot. */

import { assertEquals, assertMatch } from "@std/assert";

import { cannotStart } from "../../src/lab/parts.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

const reason = Deno.env.has("BUSBAR_LAB_GUEST")
  ? "it boots a machine"
  : Deno.env.get("BUSBAR_LAB_SKIP") || cannotStart()?.message;

Deno.test({
  name: `examples/lab_test.ts boots a machine and passes${reason === undefined ? "" : ` (not run: ${reason})`}`,
  ignore: reason !== undefined,
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
