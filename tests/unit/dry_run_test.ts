/** `--dry-run` works while somebody has the device: the refusal is listed, and all the writes that the change would make. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { Deadline } from "../../src/core/deadline.ts";
import type { Host } from "../../src/core/host.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { planRegion } from "../../src/cxl/plan.ts";
import { createRegion, destroyRegion } from "../../src/cxl/region.ts";
import { readCxl } from "../../src/cxl/topology.ts";
import { daxToDevdax, daxToSystemRam } from "../../src/memory/dax_mode.ts";
import { readDaxDevice } from "../../src/memory/devdax.ts";
import { bindVfio } from "../../src/pci/bind.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { heldRefusal, writeConfig } from "../../src/pci/register_access.ts";
import { CxlMachine } from "./cxl_machine.ts";
import { type MadeUpMachine, NVME_FOLDER, nvmeMachine } from "./machines.ts";

const NVME = "0000:01:00.0";
const wait = (): { deadline: Deadline } => ({ deadline: Deadline.after(5000) });

type Body = (journal: UndoJournal) => void | Promise<void>;

/** What a dry run said: why it would be refused, and its writes as `path=text`. */
async function dryRun(host: Host, body: Body): Promise<{ refused: string[]; writes: string[] }> {
  const said: string[] = [];
  {
    using journal = new UndoJournal(host, { command: "test", dryRun: (line) => said.push(line) });
    await body(journal);
  }
  const refused = said.filter((line) => line.startsWith("would be refused: "));
  const writes = said.filter((line) => !refused.includes(line)).flatMap((line) => {
    const [, text, path] = /write '(.*)' to (.*)$/s.exec(line) ?? [];
    return path === undefined ? [] : [`${path}=${text}`];
  });
  return { refused, writes };
}

/** What the same change wrote, without what put it back. */
async function realRun(machine: MadeUpMachine, body: Body): Promise<string[]> {
  const folder = await Deno.makeTempDir();
  machine.writes.length = 0;
  try {
    using journal = new UndoJournal(machine, { command: "test", folder: `${folder}/journals` });
    await body(journal);
    const writes = [...machine.writes];
    journal.keepChanges();
    return writes;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function boundMachine(): MadeUpMachine {
  return nvmeMachine()
    .link("/sys/class/block/nvme0n1", `../../devices/pci0000:00/0000:00:03.0/${NVME}/nvme/nvme0/nvme0n1`)
    .file(`${NVME_FOLDER}/nvme/nvme0/nvme0n1/dev`, "259:0\n")
    .file("/proc/self/mountinfo", "22 1 8:0 / / rw - ext4 /dev/sda rw\n")
    .link("/proc/self/ns/mnt", "mnt:[1]")
    .file("/proc/swaps", "Filename Type Size Used Priority\n")
    .link("/sys/kernel/iommu_groups/7/devices/0000:01:00.0", `../../../../devices/pci0000:00/0000:00:03.0/${NVME}`)
    .file("/sys/bus/pci/drivers/vfio-pci/bind", "")
    .file("/sys/bus/pci/drivers/vfio-pci/unbind", "")
    .file("/sys/bus/pci/drivers/nvme/unbind", "")
    .file("/sys/bus/pci/drivers_probe", "")
    .file(`${NVME_FOLDER}/driver_override`, "(null)\n");
}

Deno.test("bind vfio --dry-run of a mounted drive: that it is mounted, and the three writes that a free one takes", async () => {
  const bind = (machine: MadeUpMachine) => (journal: UndoJournal): void =>
    bindVfio(journal, machine, readPciFunction(machine, NVME), { isClaimed: () => false });
  const free = await dryRun(boundMachine(), (journal) => bind(boundMachine())(journal));
  assertEquals(free, {
    refused: [],
    writes: [
      `/sys/bus/pci/drivers/nvme/unbind=${NVME}`,
      `/sys/bus/pci/devices/${NVME}/driver_override=vfio-pci`,
      `/sys/bus/pci/drivers_probe=${NVME}`,
    ],
  });
  const mounted = boundMachine().file("/proc/self/mountinfo", "22 1 259:0 / /data rw - ext4 /dev/nvme0n1 rw\n");
  const { refused, writes } = await dryRun(mounted, bind(mounted));
  assertEquals([refused.length, writes, mounted.writes], [1, free.writes, []] as unknown[]);
  assertMatch(refused[0] ?? "", /nvme0n1 is mounted on \/data/);
});

Deno.test("config write --dry-run of a function that a driver holds: the driver's name, and the bytes", async () => {
  const machine = nvmeMachine();
  const fn = readPciFunction(machine, NVME);
  const { refused, writes } = await dryRun(machine, (journal) => {
    const refusal = heldRefusal(fn, "config");
    assert(refusal !== null);
    journal.refuse(refusal);
    writeConfig(journal, fn, 4, 2, 0x406n);
  });
  assertStringIncludes(refused[0] ?? "", "the driver nvme has it");
  assertEquals([refused.length, writes.length, machine.writes], [1, 1, []] as unknown[]);
});

/** A machine with a region whose memory the kernel uses, and a program that has its dax device mapped. */
async function mappedRegion(): Promise<CxlMachine> {
  const machine = new CxlMachine();
  await realRun(machine, async (journal) => {
    const plan = planRegion(readCxl(machine), { memdevs: ["mem0"] });
    await createRegion(journal, machine, plan, { ...wait(), use: "system-ram" });
  });
  machine.writes.length = 0;
  const maps = "7f00-7f01 rw-s 00000000 00:06 12                 /dev/dax0.0\n";
  machine.file("/proc/77/comm", "cachelib\n").file("/proc/77/maps", maps);
  return machine;
}

Deno.test("cxl_region destroy --dry-run of a region that a program maps: the program, and every write of a real one", async () => {
  const machine = await mappedRegion();
  const destroy: Body = async (journal) => {
    const topology = readCxl(machine);
    const [region] = topology.regions;
    assert(region !== undefined);
    await destroyRegion(journal, machine, topology, region, wait());
  };
  const { refused, writes } = await dryRun(machine, destroy);
  assert(refused.length > 0 && refused.every((line) => line.includes("cachelib (process 77) has /dev/dax0.0 mapped")));
  assertEquals(machine.writes, []);
  machine.remove("/proc/77");
  // A dry run shows no line breaks.
  assertEquals(writes, (await realRun(machine, destroy)).map((write) => write.trimEnd()));
});

Deno.test("dax devdax and system-ram --dry-run of a device that a program maps: the program, and every write of a real one", async () => {
  const machine = await mappedRegion();
  const device = (): ReturnType<typeof readDaxDevice> => readDaxDevice(machine, "dax0.0");
  const maps = machine.readText("/proc/77/maps");
  const toDevdax: Body = (journal) => daxToDevdax(journal, machine, device(), wait());
  const devdax = await dryRun(machine, toDevdax);
  assertEquals(machine.writes, []);
  machine.remove("/proc/77");
  assertEquals(devdax.writes, await realRun(machine, toDevdax));

  machine.writes.length = 0;
  machine.file("/proc/77/comm", "cachelib\n").file("/proc/77/maps", maps);
  const toRam: Body = (journal) => daxToSystemRam(journal, machine, device(), { ...wait(), zone: null });
  const ram = await dryRun(machine, toRam);
  assertStringIncludes(ram.refused[0] ?? "", "cachelib (process 77) has /dev/dax0.0 mapped");
  assertEquals([ram.refused.length, machine.writes], [1, []] as unknown[]);
  machine.remove("/proc/77");
  assertEquals(ram.writes, await realRun(machine, toRam));
});
