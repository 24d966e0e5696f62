/** Agents that are started as root, by a stand-in for sudo. */

import { assertEquals, assertStringIncludes } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { agentCommand, agentMachine } from "./agent.ts";
import { Folder, namesIn, standIn } from "./stand_in.ts";
import { runTool } from "./tool.ts";

// Built before the first test, so that no tool says that it is.
Deno.test.beforeAll(() => {
  using machine = agentMachine("/");
  machine.host.list("/proc");
});
Deno.test.afterAll(closeAll);

/** A stand-in for sudo that notes how it was called, and may refuse. */
async function fakeSudo(folder: string, body: string): Promise<string> {
  await Deno.mkdir(`${folder}/bin`, { recursive: true });
  const script =
    `#!/bin/sh\necho "$*" >>'${folder}/sudo.log'\n${body}\n[ "$1" = -n ] && shift\n[ "$1" = -- ] && shift\nexec "$@"\n`;
  await Deno.writeTextFile(`${folder}/bin/sudo`, script, { mode: 0o755 });
  return `export PATH="${folder}/bin:$PATH"`;
}

Deno.test("--sudo starts the agent by sudo -n, which may refuse; without it sudo is not called", async () => {
  using folder = new Folder();
  const log = `${folder.path}/sudo.log`;
  const env = standIn(folder.path, await fakeSudo(folder.path, ""));
  const args = ["show", "--json", "--host", "ssh:lab7"];
  assertEquals((await runTool("dax_config", args, env)).code, 0);
  assertEquals(namesIn(folder.path).includes("sudo.log"), false);
  const { code, stderr } = await runTool("dax_config", [...args, "--sudo"], env);
  assertEquals(code, 0, stderr);
  const [agent = ""] = namesIn(`${folder.path}/cache/busbar`);
  assertEquals(await Deno.readTextFile(log), `-n -- ${folder.path}/cache/busbar/${agent}\n`);
  await fakeSudo(folder.path, "echo 'sudo: a password is required' >&2; exit 1");
  const refused = await runTool("dax_config", [...args, "--sudo"], env);
  assertEquals([refused.code, JSON.parse(refused.stdout).error.code], [3, "permission"], refused.stderr);
  assertStringIncludes(refused.stderr, "hint: allow it in sudoers, or connect as root");
});

Deno.test({
  name: "--sudo takes the administrator's agent where it is the same file, and not one that others may write" +
    (Deno.uid() === 0 ? "" : " (not run: it needs root)"),
  ignore: Deno.uid() !== 0,
  fn: async () => {
    using folder = new Folder();
    const log = `${folder.path}/sudo.log`;
    const system = `${folder.path}/libexec`;
    await Deno.mkdir(system);
    await Deno.copyFile(agentCommand("/", "read")[0], `${system}/busbar-agent`);
    const path = await fakeSudo(folder.path, "");
    // /usr/libexec is another folder for this connection only.
    const mount = `mount --bind '${system}' /usr/libexec`;
    const prepare = `${path}\nif [ -z "$INSIDE" ]; then INSIDE=1 exec unshare -m "$0" "$@"; fi\n${mount}`;
    const env = standIn(folder.path, prepare);
    const run = async (): Promise<string> => {
      await Deno.writeTextFile(log, "");
      const { code, stderr } = await runTool("dax_config", ["show", "--host", "ssh:lab7", "--sudo"], env);
      assertEquals(code, 0, stderr);
      return (await Deno.readTextFile(log)).trim();
    };
    const SYSTEM = "-n -- /usr/libexec/busbar-agent";
    await Deno.chmod(`${system}/busbar-agent`, 0o755);
    assertEquals(await run(), SYSTEM);
    await Deno.chmod(`${system}/busbar-agent`, 0o757);
    assertStringIncludes(await run(), "/cache/busbar/agent-");
    await Deno.chmod(`${system}/busbar-agent`, 0o755);
    await Deno.chown(`${system}/busbar-agent`, 65534, null);
    assertStringIncludes(await run(), "/cache/busbar/agent-");
    await Deno.chown(`${system}/busbar-agent`, 0, null);
    await Deno.writeTextFile(`${system}/busbar-agent`, "another version");
    assertStringIncludes(await run(), "/cache/busbar/agent-");
  },
});
