/** oradax through an agent for SPARC, whose numbers begin with the highest byte, against the software coprocessor. */

import { assert, assertEquals } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import type { HostPart } from "../../src/core/host_part.ts";
import { registerMachines } from "../../src/core/machine.ts";
import { OradaxSession } from "../../src/oradax/session.ts";
import { packed } from "../../src/oradax/vector.ts";
import { AgentConnection, AgentMachine } from "../../src/remote/mod.ts";
import { Random } from "../unit/random.ts";
import { agentMachine, localLaunch } from "./agent.ts";
import { type CrossName, fetchCross, findCross } from "./cross.ts";

// What an agent is reached by is opened before the test, so that it does not count as its leak.
Deno.test.beforeAll(() => {
  using machine = agentMachine("/");
  machine.host.list("/proc");
});
Deno.test.afterAll(closeAll);

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

function filesOf(folder: string): string[] {
  return Array.from(Deno.readDirSync(`${ROOT}/${folder}`), ({ name }) => name).filter((name) => name.endsWith(".c"))
    .sort()
    .map((name) => `${ROOT}/${folder}/${name}`);
}

/** An agent with the software coprocessor in it. */
async function build(name: CrossName, program: string): Promise<readonly string[]> {
  if (findCross(name) === null) await fetchCross(name);
  const cross = findCross(name);
  assert(cross !== null, `the packages for ${name} hold no compiler or emulator`);
  const parts = ["fd", "membench", "memory", "mmio", "nvme_ioctl", "oradax", "soft/setting"];
  const sources = [
    ...filesOf("csrc/agent"),
    ...filesOf("csrc/soft/oradax"),
    ...parts.map((one) => `${ROOT}/csrc/${one}.c`),
    `${ROOT}/tests/c/agent_soft_oradax.c`,
  ];
  const flags = [
    "-std=c11",
    "-O1",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-DAGENT_SOFT_ORADAX",
    `-I${ROOT}/csrc`,
    `-I${ROOT}/csrc/agent`,
  ];
  const args = [...flags, "-static", "-o", program, ...sources, "-pthread"];
  const { success, stderr } = await new Deno.Command(cross.compiler, { args, env: { ...cross.env } }).output();
  assert(success, new TextDecoder().decode(stderr));
  return [cross.emulator, program];
}

/** Element `index` of a packed vector. */
function elementAt(bytes: Uint8Array, bits: number, index: number): number {
  if (bits === 16) return (bytes[2 * index] ?? 0) << 8 | (bytes[2 * index + 1] ?? 0);
  let value = 0;
  for (let i = 0; i < bits; i++) {
    const at = index * bits + i;
    value = 2 * value + ((bytes[at >> 3] ?? 0) >> (7 - at % 8) & 1);
  }
  return value;
}

Deno.test("oradax through an agent for sparc64 gives what the vectors hold, and no stream crosses half a page of 8 MiB", async () => {
  const folder = await Deno.makeTempDir();
  const [emulator = "", program = ""] = await build("sparc64", `${folder}/agent`);
  for (const top of ["sys", "proc", "dev"]) await Deno.mkdir(`${folder}/machine/${top}`, { recursive: true });
  const machine = new AgentMachine(
    "ssh:m7",
    (right) => AgentConnection.open(localLaunch([emulator, program, "--root", `${folder}/machine`, `--${right}`])),
  );
  registerMachines("ssh", (_: HostPart) => machine);
  try {
    assertEquals(machine.connection("accelerator").hello.isBigEndian, true);
    const random = new Random("oradax sparc64");
    {
      using driver = machine.openOradax("/dev/oradax2");
      // The host has pages of 8 MiB only; the coprocessor takes each for two.
      assertEquals(driver.allocate(100_000, 2 << 20).pageBytes, 4 << 20);
    }
    using session = OradaxSession.open("ssh:m7//dev/oradax2");
    for (const [bits, elements] of [[8, 50_000], [12, 20_000], [16, 3_000_000]] as const) {
      const bytes = random.noise(4 * Math.ceil(elements * bits / 32));
      const low = 2 ** (bits - 1);
      const found = await session.scanRange(packed(bytes, { bits, elements }), low, null);
      let expected = 0;
      for (let i = 0; i < elements; i++) if (elementAt(bytes, bits, i) >= low) expected++;
      assertEquals(found.count, expected, `${bits} bits, ${elements} elements`);
    }
  } finally {
    registerMachines("ssh", null);
    machine[Symbol.dispose]();
    await Deno.remove(folder, { recursive: true });
  }
});
