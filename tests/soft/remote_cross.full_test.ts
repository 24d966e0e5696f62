/** Agents for other processors, run by qemu-user against a folder that looks like a machine. SPARC's numbers begin with the highest byte. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { AGENT_PROCESSORS, findAgent } from "../../ffi/agents.ts";
import { surroundings } from "../../ffi/build.ts";
import { closeAll } from "../../ffi/library.ts";
import { BusbarError } from "../../src/core/error.ts";
import type { Host } from "../../src/core/host.ts";
import { readPciNames } from "../../src/pci/ids.ts";
import { readTopology } from "../../src/pci/topology.ts";
import { AgentConnection, AgentMachine } from "../../src/remote/mod.ts";
import { topologyJson } from "../../tools/render/pci/topology_json.ts";
import { REGISTER_BYTES, registerAt, registerFile } from "../conformance/machine_conformance.ts";
import { CxlMachine } from "../unit/cxl_machine.ts";
import { daxMachine } from "../unit/dax_machines.ts";
import { nvmeMachine } from "../unit/machines.ts";
import { manyFunctions } from "../unit/many_functions.ts";
import { pciMachine } from "../unit/pci_machine.ts";
import { TiersMachine } from "../unit/tiers_machine.ts";
import { agentMachine, localLaunch } from "./agent.ts";
import { type CrossName, fetchCross, findCross } from "./cross.ts";
import { layOut } from "./laid_out.ts";
import { HOST_TOOLS } from "./same_answers.ts";
import { runTool } from "./tool.ts";

const MIB = 1 << 20;

// What an agent is reached by is opened before the test, so that it does not count as its leak.
Deno.test.beforeAll(() => {
  using machine = agentMachine("/");
  machine.host.list("/proc");
});
Deno.test.afterAll(closeAll);

const CROSS: readonly (readonly [name: CrossName, isBigEndian: boolean])[] = [
  ["aarch64", false],
  ["ppc64le", false],
  ["riscv64", false],
  ["sparc64", true],
];

/** The agent for a processor, and what runs it here. */
async function crossAgent(name: CrossName): Promise<{ readonly program: string; readonly emulator: string }> {
  if (findCross(name) === null) await fetchCross(name);
  const cross = findCross(name);
  assert(cross !== null, `the packages for ${name} hold no compiler or emulator`);
  const words = Object.entries(cross.env).map(([key, value]) => `${key}=${value}`);
  const compiler = words.length === 0 ? cross.compiler : ["env", ...words, cross.compiler].join(" ");
  return { program: findAgent(name, { ...surroundings(), say: () => {} }, compiler), emulator: cross.emulator };
}

function shown(of: Host): unknown {
  const topology = readTopology(of);
  return { ...topologyJson(topology, new Set(topology.nodes), readPciNames(), null), machine: null };
}

for (const [name, isBigEndian] of CROSS) {
  Deno.test({
    name: `an agent for ${name} is under 1 MiB, shows the same machine, and the same registers`,
    sanitizeResources: false,
    async fn(): Promise<void> {
      const folder = await Deno.realPath(await Deno.makeTempDir());
      const { program, emulator } = await crossAgent(name);
      assert(Deno.statSync(program).size < MIB, `${Deno.statSync(program).size} bytes`);
      const { host } = pciMachine({ functions: manyFunctions(60), cpu: { vendor_id: "GenuineIntel" } });
      layOut(host, `${folder}/machine`);
      Deno.mkdirSync(`${folder}/machine/sys/device`);
      Deno.writeFileSync(`${folder}/machine/sys/device/resource0`, registerFile());
      const command = [program, "--root", `${folder}/machine`];
      using machine = new AgentMachine(
        "ssh:other",
        (right) =>
          AgentConnection.open(localLaunch([emulator, ...command, ...(right === "read" ? [] : [`--${right}`])])),
      );
      assertEquals(machine.connection("read").hello.isBigEndian, isBigEndian);
      assertEquals(shown(machine.host), shown(host));
      const range = { name: "BAR0", path: "/sys/device/resource0", offset: 0, sizeBytes: REGISTER_BYTES };
      using registers = machine.mapWritableRegisters(range);
      assertEquals([registers.read32(0x24), registers.read16(0x26)], [registerAt(0x24), registerAt(0x24) >>> 16]);
      for (const width of [1, 2, 4, 8] as const) {
        assertEquals(registers.readBlock(0x100, 0x80, width), registerFile().slice(0x100, 0x180), `${width}`);
      }
      registers.write32(0x40, 0x1234_5678);
      registers.writeBlock(0x48, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 8);
      const file = Deno.readFileSync(`${folder}/machine/sys/device/resource0`);
      assertEquals([...file.slice(0x40, 0x44), ...file.slice(0x48, 0x50)], [
        0x78,
        0x56,
        0x34,
        0x12,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
      ]);
      const error = assertThrows(() => machine.host.readText("/sys/none"), BusbarError);
      assert(error.code === "absent", error.message);
      Deno.removeSync(folder, { recursive: true });
    },
  });
}

/** What stands in for ssh, and gives the words to no shell: an agent that runs beside this process. */
async function standIn(folder: string, name: string, command: readonly string[]): Promise<Record<string, string>> {
  const path = `${folder}/${name}`;
  const rights = ["write", "accelerator"].map((right) => `*" --${right}"*) set -- --${right};;`).join(" ");
  await Deno.writeTextFile(
    path,
    `#!/bin/sh\ncase "$*" in ${rights} *) set --;; esac\nexec ${command.join(" ")} "$@"\n`,
    { mode: 0o755 },
  );
  return { BUSBAR_SSH: path };
}

Deno.test("all tools say through agents for other processors what they say through one for this processor", async () => {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  const root = `${folder}/machine`;
  // One machine with what four made-up ones have: drives, CXL memory, dax devices, memory tiers.
  for (const machine of [nvmeMachine(), new CxlMachine(), daxMachine(), new TiersMachine()]) layOut(machine, root);
  const agents: (readonly [string, readonly string[]])[] = [[Deno.build.arch, [findAgent(Deno.build.arch)]]];
  for (const [name] of CROSS) {
    const { program, emulator } = await crossAgent(name);
    agents.push([name, [emulator, program]]);
  }
  const runs: readonly (readonly [tool: string, ...args: string[]])[] = [
    ...HOST_TOOLS.map(([tool, ...args]) => [tool, ...args, "--host", "ssh:there"] as const),
    ["config", "ssh:there/0000:01:00.0"],
    ["dump_bar0", "ssh:there/0000:01:00.0", "--force"],
  ];
  const answers = await Promise.all(agents.map(async ([name, command]) => {
    const env = await standIn(folder, `ssh-${name}`, [...command, "--root", root]);
    const said: unknown[] = [];
    for (const [tool, ...args] of runs) {
      const { code, stdout, stderr } = await runTool(tool, [...args, "--json"], env);
      assert(stdout !== "" && code !== 70, `${name}: ${tool}: ${stderr}`);
      said.push([tool, code, stdout]);
    }
    return said;
  }));
  const [own = [], ...others] = answers;
  for (const [i, other] of others.entries()) {
    for (const [k, answer] of other.entries()) assertEquals(answer, own[k], agents[i + 1]?.[0]);
  }
  const failed = own.filter((one) => Array.isArray(one) && typeof one[2] === "string" && one[2].includes('"error": {'));
  assert(failed.length <= 2, `most tools have something to say: ${Deno.inspect(failed)}`);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a machine with another processor is sent the agent for it", async () => {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  const { program } = await crossAgent("sparc64");
  await Deno.mkdir(`${folder}/bin`);
  await Deno.writeTextFile(`${folder}/bin/uname`, "#!/bin/sh\necho sparc64\n", { mode: 0o755 });
  const ssh = `${folder}/ssh`;
  await Deno.writeTextFile(
    ssh,
    `#!/bin/sh\nexport XDG_CACHE_HOME='${folder}/cache' PATH="${folder}/bin:$PATH"\n` +
      `while [ "$1" != -- ]; do shift; done\nshift 2\nexec sh -c "$*"\n`,
    { mode: 0o755 },
  );
  const { code, stderr } = await runTool("doctor", ["--json", "--host", "ssh:m7"], { BUSBAR_SSH: ssh });
  // It arrived whole, and what this processor says of it is said.
  const [sent] = await Array.fromAsync(Deno.readDir(`${folder}/cache/busbar`), (entry) => entry.name);
  assertEquals(await Deno.readFile(`${folder}/cache/busbar/${sent}`), await Deno.readFile(program));
  assertEquals(code, 3, stderr);
  assertStringIncludes(stderr, "Exec format error");
  assertStringIncludes(stderr, "the program there is for another processor");
  assertEquals(AGENT_PROCESSORS.includes("sparc64"), true);
  await Deno.remove(folder, { recursive: true });
});
