/** Agents for other processors, run by qemu-user against a folder that looks like a machine. SPARC's numbers begin with the highest byte. */

import { assert, assertEquals, assertThrows } from "@std/assert";

import { AGENT, findLibrary, surroundings } from "../../ffi/build.ts";
import { closeAll } from "../../ffi/library.ts";
import { BusbarError } from "../../src/core/error.ts";
import type { Host } from "../../src/core/host.ts";
import { readPciNames } from "../../src/pci/ids.ts";
import { readTopology } from "../../src/pci/topology.ts";
import { AgentConnection, AgentMachine } from "../../src/remote/mod.ts";
import { topologyJson } from "../../tools/render/pci/topology_json.ts";
import { REGISTER_BYTES, registerAt, registerFile } from "../conformance/machine_conformance.ts";
import { findNeed, type NeedName, withNeeds } from "../needs.ts";
import { manyFunctions } from "../unit/many_functions.ts";
import { pciMachine } from "../unit/pci_machine.ts";
import { localLaunch } from "./agent.ts";
import { layOut } from "./laid_out.ts";

Deno.test.afterAll(closeAll);

const ARCHES: readonly (readonly [arch: string, compiler: NeedName, qemu: NeedName, isBigEndian: boolean])[] = [
  ["aarch64", "aarch64-linux-gnu-gcc", "qemu-aarch64-static", false],
  ["ppc64le", "powerpc64le-linux-gnu-gcc", "qemu-ppc64le-static", false],
  ["riscv64", "riscv64-linux-gnu-gcc", "qemu-riscv64-static", false],
  ["sparc64", "sparc64-linux-gnu-gcc", "qemu-sparc64-static", true],
];

function shown(of: Host): unknown {
  const topology = readTopology(of);
  return { ...topologyJson(topology, new Set(topology.nodes), readPciNames(), null), machine: null };
}

/** The cross compiler comes without a C library where recommended packages are left out. */
function hasLibc(compiler: string): boolean {
  try {
    return Deno.statSync(`/usr/${compiler.replace(/-gcc$/, "")}/lib/libc.a`).isFile;
  } catch {
    return false;
  }
}

for (const [arch, compiler, qemu, isBigEndian] of ARCHES) {
  const title = `an agent for ${arch} shows the same machine, and the same registers`;
  const named = withNeeds(title, compiler, qemu);
  Deno.test({
    ...(named.ignore || hasLibc(compiler)
      ? named
      : { name: `${title} (not run: there is no libc for it)`, ignore: true }),
    sanitizeResources: false,
    fn(): void {
      const folder = Deno.realPathSync(Deno.makeTempDirSync());
      const where = { ...surroundings(), beside: [], cache: folder };
      // Built by its compiler, in a folder of its own: the one of this machine stays.
      const env = (name: string): string | undefined =>
        name === "PATH" ? Deno.env.get("PATH") : name === "CC" ? findNeed(compiler) ?? undefined : undefined;
      const program = findLibrary({ ...AGENT, name: `busbar_agent_${arch}` }, { ...where, env, say: () => {} });
      const { host } = pciMachine({ functions: manyFunctions(60), cpu: { vendor_id: "GenuineIntel" } });
      layOut(host, `${folder}/machine`);
      Deno.mkdirSync(`${folder}/machine/sys/device`);
      Deno.writeFileSync(`${folder}/machine/sys/device/resource0`, registerFile());
      const command = [program, "--root", `${folder}/machine`];
      using machine = new AgentMachine(
        "ssh:other",
        (right) => AgentConnection.open(localLaunch([qemu, ...command, ...(right === "read" ? [] : [`--${right}`])])),
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
