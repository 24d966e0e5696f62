/** Machines that agents reach: as child processes, and by a stand-in for ssh that runs the words in a shell of this machine. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { BusbarError } from "../../src/core/error.ts";
import type { Host } from "../../src/core/host.ts";
import { readTopology } from "../../src/pci/topology.ts";
import { AgentConnection } from "../../src/remote/mod.ts";
import { OPERATIONS, operationsHeader } from "../../src/remote/operations.ts";
import { type ArgumentValue, ask } from "../../src/remote/wire.ts";
import { topologyJson } from "../../tools/render/pci/topology_json.ts";
import { readPciNames } from "../../src/pci/ids.ts";
import { manyFunctions } from "../unit/many_functions.ts";
import { pciMachine } from "../unit/pci_machine.ts";
import { agentCommand, agentMachine, localLaunch } from "./agent.ts";
import { layOut } from "./laid_out.ts";
import { Folder, namesIn, standIn } from "./stand_in.ts";
import { runTool, type ToolResult } from "./tool.ts";

// Libraries are opened before the first test, so that no test seems to leak one.
Deno.test.beforeAll(() => {
  using machine = agentMachine("/");
  machine.host.list("/proc");
});
Deno.test.afterAll(closeAll);

Deno.test("csrc/agent/operations.h is what the table of operations says", () => {
  const path = new URL("../../csrc/agent/operations.h", import.meta.url);
  assertEquals(Deno.readTextFileSync(path), operationsHeader());
  const numbers = Object.values(OPERATIONS).map(({ number }) => number);
  assertEquals(new Set(numbers).size, numbers.length);
});

Deno.test("300 functions of another machine are read in at most 12 round trips, and are those that are there", () => {
  using folder = new Folder();
  const { host } = pciMachine({ functions: manyFunctions(300), cpu: { vendor_id: "GenuineIntel" } });
  layOut(host, folder.path);
  using machine = agentMachine(folder.path);
  const shown = (of: Host): unknown => {
    const topology = readTopology(of);
    return { ...topologyJson(topology, new Set(topology.nodes), readPciNames(), null), machine: null };
  };
  const there = shown(machine.host);
  assert(machine.roundTrips > 1 && machine.roundTrips <= 13, `${machine.roundTrips} round trips, with the first hello`);
  assertEquals(there, shown(host));
});

Deno.test("an agent that was not allowed to write refuses every operation that changes something", () => {
  using folder = new Folder();
  Deno.mkdirSync(`${folder.path}/sys/device`, { recursive: true });
  Deno.writeFileSync(`${folder.path}/sys/device/resource0`, new Uint8Array(4096));
  using connection = AgentConnection.open(localLaunch(agentCommand(folder.path, "read")));
  assertEquals(connection.hello.rights, 1);
  const value: Record<string, ArgumentValue> = { path: "/sys/device/resource0", u32: 1, u64: 1, bytes: "x" };
  for (const [name, { right, arguments: args }] of Object.entries(OPERATIONS)) {
    if (right === "read") continue;
    const values = args.map(({ type }) => value[type] ?? 0);
    const [reply] = connection.ask([{ operation: name as keyof typeof OPERATIONS, arguments: values }]);
    assertEquals(reply?.status, -30, `${name}: EROFS`);
  }
  const map = ask("mapRegisters", "/sys/device/resource0", 0, 64, 1);
  const file = ask("mapFile", "/sys/device/resource0", 0, 4096, 1);
  assertEquals(connection.ask([map, file]).map(({ status }) => status), [-30, -30]);
  assertEquals(Deno.readFileSync(`${folder.path}/sys/device/resource0`), new Uint8Array(4096));
});

Deno.test("paths that leave /sys, /proc and /dev are refused, with openat2 and without", () => {
  using folder = new Folder();
  const { path: root } = folder;
  Deno.mkdirSync(`${root}/sys/inside`, { recursive: true });
  Deno.mkdirSync(`${root}/etc`);
  Deno.writeTextFileSync(`${root}/etc/secret`, "secret");
  Deno.writeTextFileSync(`${root}/sys/file`, "here");
  for (
    const [name, target] of [["up", "../etc/secret"], ["root", "/etc/secret"], ["folder", "../etc"], [
      "far",
      "inside/../../etc",
    ]]
  ) {
    Deno.symlinkSync(target ?? "", `${root}/sys/${name}`);
  }
  const escapes = ["up", "root", "folder/secret", "far/secret", "../etc/secret", "inside/../../etc/secret"];
  const paths = [
    ...escapes.map((one) => `/sys/${one}`),
    "/etc/secret",
    "/system/x",
    "/",
    "/sysx",
    "/sys/../etc/secret",
  ];
  for (const options of [[], ["--step-by-step"]]) {
    using machine = agentMachine(root, undefined, ...options);
    assertEquals(machine.host.readText("/sys/inside/../file"), "here");
    for (const one of paths) {
      for (const call of ["readText", "list", "realPath", "sizeBytes"] as const) {
        const error = assertThrows(() => machine.host[call](one), BusbarError, undefined, `${call} ${one} ${options}`);
        assert(["permission", "absent"].includes(error.code), error.message);
      }
      for (const change of ["writeText", "makeFolder", "removeFolder"] as const) {
        assertThrows(() => machine.host[change](one, "x"), BusbarError);
      }
    }
    assertEquals(Deno.readTextFileSync(`${root}/etc/secret`), "secret");
  }
  using whole = agentMachine("/");
  for (const one of ["/proc/self/root/etc/passwd", "/proc/1/cwd", "/proc/self/exe"]) {
    assertThrows(() => whole.host.readBytes(one, 0, 1), BusbarError, undefined, one);
  }
  // A device is no text: reading one may do something.
  const error = assertThrows(() => whole.host.readBytes("/dev/zero", 0, 1), BusbarError);
  assertEquals(error.code, "permission");
});

Deno.test("an agent that may do everything still opens no device but the one that an operation is for", () => {
  // Character devices that are everywhere, under names that operations expect, and a file where a device is meant.
  const devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/mem", "/proc/version"];
  for (const right of ["write", "accelerator"] as const) {
    using connection = AgentConnection.open(localLaunch(agentCommand("/", right)));
    for (const path of devices) {
      const asks = [
        ask("mapRegisters", path, 0, 4096, 1),
        ask("openNvme", path),
        ask("mapFile", path, 0, 4096, 1),
        ask("openOradax", path),
        ask("writeText", path, "x"),
        ask("writeBytes", path, 0, Uint8Array.of(1)),
        ask("readFile", path, 0, 16),
      ];
      const allowed = path.startsWith("/proc/") ? ["readFile"] : [];
      for (const [i, { status }] of connection.ask(asks).entries()) {
        const name = asks[i]?.operation ?? "";
        assert(status < 0 || allowed.includes(name), `${right}: ${name} ${path} gave ${status}`);
      }
    }
  }
});

Deno.test("tools say of another machine what they say of this one; the agent is sent once and checked", async () => {
  using folder = new Folder();
  const env = standIn(folder.path, "echo 'Welcome to lab7'; echo busbar-agent: motd");
  const same = async (tool: string, args: readonly string[]): Promise<void> => {
    const [here, there] = await Promise.all([
      runTool(tool, [...args, "--json"]),
      runTool(tool, [...args, "--json", "--host", "ssh:me@lab7:2222"], env),
    ]);
    const plain = (
      { code, stdout }: ToolResult,
    ): unknown => [code, stdout.replaceAll("ssh:me@lab7:2222", "this machine")];
    assertEquals(plain(there), plain(here), `${tool}: ${there.stderr}`);
  };
  await same("doctor", []);
  await same("dax_config", ["show"]);
  const agents = (): string[] => namesIn(`${folder.path}/cache/busbar`);
  assertEquals(agents().length, 1);
  const agent = `${folder.path}/cache/busbar/${agents()[0]}`;
  const sent = (await Deno.stat(agent)).ino;
  await same("dax_config", ["show"]);
  assertEquals((await Deno.stat(agent)).ino, sent);
  // A file that others wrote to is not run, and what is damaged is sent again.
  await Deno.writeTextFile(agent, "#!/bin/sh\nexit 0\n");
  await Deno.writeTextFile(`${folder.path}/cache/busbar/agent-old`, "");
  await same("pcie_topology", []);
  assert((await Deno.stat(agent)).size > 100_000 && agents().length === 1);
});

Deno.test("a tool ends after its agent: what was put back there is back when the prompt is, and when it fails", async () => {
  using folder = new Folder();
  const ended = `${folder.path}/ended`;
  // The connection lasts a moment longer than the agent.
  const lasting = `while [ "$1" != -- ]; do shift; done; shift 2; sh -c "$*"; sleep 0.4; : >'${ended}'; exit 0`;
  const env = standIn(folder.path, lasting);
  for (const [args, status] of [[["show"], 0], [["check", "--resource", "/dev/dax9.9"], 1]] as const) {
    const { code, stderr } = await runTool("dax_config", [...args, "--host", "ssh:lab7"], env);
    assertEquals(code, status, stderr);
    assert((await Deno.stat(ended)).isFile);
    await Deno.remove(ended);
  }
});

Deno.test("a machine that cannot be reached is one line, a hint, and exit 3", async () => {
  using folder = new Folder();
  const failing = async (prepare: string, code: string, part: string): Promise<void> => {
    const env = standIn(folder.path, prepare);
    const { code: status, stdout, stderr } = await runTool("doctor", ["--json", "--host", "ssh:lab7"], env);
    assertEquals(status, 3, stderr);
    assertEquals(JSON.parse(stdout).error.code, code, stderr);
    assertStringIncludes(stderr, part);
    assertEquals(stderr.trimEnd().split("\n").length, 2, stderr);
    assertStringIncludes(stderr, "\n  hint: ");
  };
  const says = (text: string): string => `echo '${text}' >&2; exit 255`;
  await failing(says("ssh: Could not resolve hostname lab7: Name or service not known"), "absent", "resolve");
  await failing(says("me@lab7: Permission denied (publickey)."), "permission", "Permission denied");
  await failing(says("ssh: connect to host lab7 port 22: Connection refused"), "unreachable", "refused");
  await failing("exit 3", "unreachable", "status 3");
  const bin = `${folder.path}/bin`;
  await Deno.mkdir(bin);
  await Deno.writeTextFile(`${bin}/uname`, "#!/bin/sh\necho vax\n", { mode: 0o755 });
  await failing(`export PATH="${bin}:$PATH"`, "unsupported", "vax");
  // Neither place takes a program.
  await failing(
    "export XDG_CACHE_HOME=/dev/null TMPDIR=/dev/null",
    "unreachable",
    "neither /dev/null/busbar nor /dev/null",
  );
});
