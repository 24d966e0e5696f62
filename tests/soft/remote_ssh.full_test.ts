/** Tools over a real ssh: Debian's sshd on loopback, with keys and a configuration of its own. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { answerOf, HOST_TOOLS } from "./same_answers.ts";
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
      const here = (text: string): string => text.replaceAll("ssh:lab7", "this machine");
      const same = async (tool: string, args: readonly string[], there: readonly string[]): Promise<void> => {
        const result = await runTool(tool, [...there, "--json"], env);
        const plain: ToolResult = { ...result, stdout: here(result.stdout) };
        const expected = await answerOf(tool, args, await runTool(tool, [...args, "--json"]));
        assertEquals(await answerOf(tool, args, plain), expected, `${tool} ${there.join(" ")}: ${result.stderr}`);
      };
      for (const [tool, ...args] of HOST_TOOLS) await same(tool, args, [...args, "--host", "ssh:lab7"]);
      const functions = (await Array.fromAsync(Deno.readDir("/sys/bus/pci/devices"), ({ name }) => name)).sort();
      // A machine without PCI says the same of a function that is not there.
      const [first = "0000:00:00.0"] = functions;
      for (const tool of ["config", "dump_bar0"]) await same(tool, [first], [`ssh:lab7/${first}`]);
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
