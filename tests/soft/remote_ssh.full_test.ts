/** Tools over a real ssh: Debian's sshd on loopback, with keys and a configuration of its own. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { runTool, type ToolResult } from "./tool.ts";
import { startSshServer, unpackedSshd } from "./ssh_server.ts";

const sshd = await unpackedSshd();

Deno.test({
  name: "tools say the same of a machine reached by ssh" + (sshd === null ? " (not run: there is no sshd)" : ""),
  ignore: sshd === null,
  fn: async () => {
    assert(sshd !== null);
    const folder = await Deno.makeTempDir();
    {
      await using server = await startSshServer(folder, sshd);
      const env = { BUSBAR_SSH: server.ssh };
      const runs: readonly (readonly [string, ...string[]])[] = [
        ["doctor"],
        ["pcie_topology"],
        ["dax_config", "show"],
        ["cxl_region", "list"],
        ["list"],
      ];
      for (const [tool, ...args] of runs) {
        const here = await runTool(tool, [...args, "--json"]);
        const there = await runTool(tool, [...args, "--json", "--host", "ssh:lab7"], env);
        const plain = ({ code, stdout }: ToolResult): unknown => [code, stdout.replaceAll("ssh:lab7", "this machine")];
        assertEquals(plain(there), plain(here), `${tool}: ${there.stderr}`);
      }
      // A machine whose key is another one than it was.
      await Deno.writeTextFile(
        `${folder}/known`,
        `[127.0.0.1]:${server.port} ${await Deno.readTextFile(`${folder}/user.pub`)}`,
      );
      const refused = await runTool("doctor", ["--json", "--host", "ssh:lab7"], env);
      assertEquals([refused.code, JSON.parse(refused.stdout).error.code], [3, "permission"], refused.stderr);
      assertStringIncludes(refused.stderr, "hint: connect once by hand and look at the host key");
    }
    await Deno.remove(folder, { recursive: true });
  },
});
