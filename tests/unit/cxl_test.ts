import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";

import { Deadline } from "../../src/core/deadline.ts";
import { BusbarError, errnoError } from "../../src/core/error.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import type { Host } from "../../src/core/host.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { checkInvalidationGate, invalidationGate } from "../../src/cxl/gate.ts";
import { planRegion, type RegionRequest } from "../../src/cxl/plan.ts";
import { createRegion, destroyRegion, regionSteps } from "../../src/cxl/region.ts";
import { readCxl } from "../../src/cxl/topology.ts";
import { readDaxDevice } from "../../src/memory/devdax.ts";
import { daxToDevdax, daxToSystemRam } from "../../src/memory/dax_mode.ts";
import { CxlMachine, DEVICE_BYTES } from "./cxl_machine.ts";

const wait = (): { deadline: Deadline } => ({ deadline: Deadline.after(5000) });

async function withJournal<T>(host: Host, body: (journal: UndoJournal) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir();
  try {
    using journal = new UndoJournal(host, { command: "test", folder: `${folder}/journals` });
    return await body(journal);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function planned(machine: CxlMachine, request: RegionRequest = {}): ReturnType<typeof planRegion> {
  return planRegion(readCxl(machine), request);
}

Deno.test("the hierarchy is read: windows, ways to the devices, what is free", () => {
  const { windows, memdevs, ports } = readCxl(new CxlMachine());
  assertEquals(windows.map((one) => [one.name, one.ways, one.granularityBytes, one.bridges]), [
    ["decoder0.0", 2, 1024, ["port2", "port1"]],
    ["decoder0.1", 1, 256, ["port2"]],
    ["decoder0.2", 1, 256, ["port1"]],
  ]);
  assertEquals(memdevs.map((one) => [one.name, one.serial, one.freeRamBytes, one.freePmemBytes, one.path]), [
    ["mem0", 2n, DEVICE_BYTES, 0n, ["port1", "endpoint3"]],
    ["mem1", 1n, DEVICE_BYTES, 0n, ["port2", "endpoint4"]],
    ["mem2", 3n, 0n, DEVICE_BYTES, ["port2", "port5", "endpoint6"]],
  ]);
  assertEquals(ports.find((port) => port.name === "port5"), { name: "port5", device: "0000:22:00.0", parent: "port2" });
});

Deno.test("a plan chooses what was left out, and puts devices into the order that the window addresses", () => {
  const machine = new CxlMachine();
  assertEquals(planned(machine, { type: "ram" }), {
    window: "decoder0.0",
    region: "region0",
    type: "ram",
    sizeBytes: 2n * DEVICE_BYTES,
    granularityBytes: 1024,
    targets: [{ memdev: "mem1", decoder: "decoder4.0" }, { memdev: "mem0", decoder: "decoder3.0" }],
    uuid: null,
  });
  assertEquals(planned(machine, { memdevs: ["mem0"] }).window, "decoder0.2");
  assertEquals(planned(machine, { memdevs: ["0x1"], granularityBytes: 4096 }).granularityBytes, 4096);
  const pmem = planned(machine, { memdevs: ["mem2"] });
  assertEquals([pmem.type, pmem.window, pmem.uuid?.length], ["pmem", "decoder0.1", 36]);
});

Deno.test("what cannot work is refused with the reason, before anything is written", () => {
  const machine = new CxlMachine();
  const cases: [RegionRequest, BusbarError["code"], string][] = [
    [{ ways: 5 }, "usage", "an interleave over 5 devices does not exist"],
    [{ memdevs: ["mem9"] }, "absent", "mem9: no such memory device"],
    [{ memdevs: ["mem0", "mem0"] }, "usage", "a memory device is named twice"],
    [{ window: "decoder9.9" }, "absent", "decoder9.9: no such window"],
    [{ window: "decoder0.1", memdevs: ["mem0"] }, "usage", "decoder0.1 sends addresses to port2; mem0 under port1"],
    [{ window: "decoder0.0", memdevs: ["mem0"], ways: 1 }, "usage", "is interleaved over 2 host bridges"],
    [{ window: "decoder0.0", type: "ram", granularityBytes: 256 }, "usage", "every 1024 bytes"],
    [{ memdevs: ["mem0"], granularityBytes: 300 }, "usage", "granularity of 300 bytes does not exist"],
    [{ memdevs: ["mem0"], sizeBytes: 0n }, "usage", "a region of 0 B is not possible"],
    [{ memdevs: ["mem0"], sizeBytes: 300n << 20n }, "usage", "multiples of 256 MiB"],
    [{ memdevs: ["mem0"], sizeBytes: 512n << 20n }, "out-of-range", "mem0 has 256 MiB of ram free"],
    [{ memdevs: ["mem0"], type: "pmem" }, "busy", "mem0 has 0 B of pmem free"],
    [{ window: "decoder0.1" }, "usage", "both volatile and persistent memory is possible here"],
  ];
  for (const [request, code, text] of cases) {
    const error = assertThrows(() => planned(machine, request), BusbarError, text);
    assertEquals([error.code, error.hint !== null], [code, true], text);
  }
  assertEquals(machine.writes, []);
});

Deno.test("under a hypervisor the commit would be refused: said before, unless the kernel has the test option", async () => {
  const machine = new CxlMachine();
  assertEquals(invalidationGate(machine).open, true);
  machine.file("/proc/cpuinfo", "flags\t\t: fpu hypervisor sse2\n");
  const error = await withJournal(
    machine,
    (journal) =>
      Promise.resolve(assertThrows(() => checkInvalidationGate(journal, machine), BusbarError, "nothing was written")),
  );
  const lines: string[] = [];
  using dry = new UndoJournal(machine, { command: "test", dryRun: (line) => lines.push(line) });
  checkInvalidationGate(dry, machine);
  assertStringIncludes(lines.join(), "would be refused: no region can be created here");
  assert(error.hint?.includes("hypervisor=off") && error.hint.includes("CONFIG_CXL_REGION_INVALIDATION_TEST=y"));
  machine.file("/boot/config-6.12.0-test", "# CONFIG_CXL_REGION_INVALIDATION_TEST is not set\n");
  assertEquals(invalidationGate(machine).open, false);
  machine.file("/boot/config-6.12.0-test", "CONFIG_CXL_REGION_INVALIDATION_TEST=y\n");
  assertEquals(invalidationGate(machine).open, true);
});

/** What a volatile region over mem0 writes, in order. */
const WRITES = [
  "/sys/devices/system/memory/auto_online_blocks=offline",
  "/sys/bus/cxl/devices/decoder0.2/create_ram_region=region0",
  "/sys/bus/cxl/devices/region0/interleave_granularity=256",
  "/sys/bus/cxl/devices/region0/interleave_ways=1",
  "/sys/bus/cxl/devices/region0/size=0x10000000",
  "/sys/bus/cxl/devices/decoder3.0/mode=ram",
  "/sys/bus/cxl/devices/decoder3.0/dpa_size=0x10000000",
  "/sys/bus/cxl/devices/region0/target0=decoder3.0",
  "/sys/bus/cxl/devices/region0/commit=1",
  "/sys/bus/cxl/drivers/cxl_region/bind=region0",
  "/sys/devices/system/memory/memory114/state=online_movable",
  "/sys/devices/system/memory/memory115/state=online_movable",
  "/sys/devices/system/memory/auto_online_blocks=online",
];

Deno.test("a driver that takes a new dax device late is waited for: its memory comes up movable all the same", async () => {
  const machine = new CxlMachine();
  machine.driverDelayMs = 50;
  await withJournal(machine, async (journal) => {
    await createRegion(journal, machine, planned(machine, { memdevs: ["mem0"] }), { ...wait(), use: "system-ram" });
    journal.keepChanges();
  });
  assertEquals(machine.writes, WRITES);
});

Deno.test("a region that was devdax leaves its name with no driver; one whose name somebody left there becomes system RAM", async () => {
  const machine = new CxlMachine();
  const make = async (use: "devdax" | "system-ram"): Promise<string | undefined> =>
    await withJournal(machine, async (journal) => {
      const [device] = await createRegion(journal, machine, planned(machine, { memdevs: ["mem0"] }), {
        ...wait(),
        use,
      });
      journal.keepChanges();
      return device?.mode;
    });
  assertEquals([await make("devdax"), [...machine.devdaxNames]], ["devdax", ["dax0.0"]]);
  await withJournal(machine, async (journal) => {
    const topology = readCxl(machine);
    const [region] = topology.regions;
    assert(region !== undefined);
    await destroyRegion(journal, machine, topology, region, wait());
    journal.keepChanges();
  });
  assertEquals([...machine.devdaxNames], []);
  machine.devdaxNames.add("dax1.0");
  assertEquals(await make("system-ram"), "system-ram");
});

Deno.test("a region is created by these writes, its memory comes up movable, and a dry run lists the same ones", async () => {
  const machine = new CxlMachine();
  const plan = planned(machine, { memdevs: ["mem0"] });
  const said: string[] = [];
  const dry = new UndoJournal(machine, { command: "test", dryRun: (line) => said.push(line) });
  await createRegion(dry, machine, plan, { ...wait(), use: "system-ram" });
  dry[Symbol.dispose]();
  assertEquals(machine.writes, []);
  const listed = said.map((line) => /write '(.*)' to (.*)$/.exec(line)).map((match) => `${match?.[2]}=${match?.[1]}`);
  // The memory blocks do not exist before.
  assertEquals(listed, WRITES.filter((line) => !line.includes("/memory11")));
  await withJournal(machine, async (journal) => {
    const [device] = await createRegion(journal, machine, plan, { ...wait(), use: "system-ram" });
    assertEquals([device?.name, device?.mode, device?.targetNode], ["dax0.0", "system-ram", 2]);
    journal.keepChanges();
  });
  assertEquals(machine.writes, WRITES);
  const [region] = readCxl(machine).regions;
  assertEquals([region?.memdevs, region?.committed, region?.enabled, region?.daxDevices], [
    ["mem0"],
    true,
    true,
    ["dax0.0"],
  ]);
  assertThrows(() => planned(machine, { memdevs: ["mem0"] }), BusbarError, "mem0 has 0 B of ram free");
});

Deno.test("a failure at any step of creation is undone in order, and nothing is left", async () => {
  const request = { window: "decoder0.0", type: "ram" } as const;
  const steps = regionSteps(planned(new CxlMachine(), request));
  assertEquals(steps.map((step) => step.name), [
    "create",
    "granularity",
    "ways",
    "size",
    "mode of decoder4.0",
    "reserve mem1",
    "mode of decoder3.0",
    "reserve mem0",
    "attach mem1",
    "attach mem0",
    "commit",
    "bind",
  ]);
  for (const step of steps) {
    for (const errno of [6, 13, 16, 22]) {
      const machine = new CxlMachine();
      const target = step.change?.write ?? step.inside;
      const path = target?.path ?? "";
      const host = new FaultyHost(machine, [{
        call: "writeText",
        path,
        times: 1,
        error: errnoError(errno, "write", { path }),
      }]);
      const plan = planRegion(readCxl(host), request);
      await withJournal(host, async (journal) => {
        const error = await assertRejects(
          () => createRegion(journal, host, plan, { ...wait(), use: "system-ram" }),
          BusbarError,
        );
        assertStringIncludes(error.message, `region0: step '${step.name}' failed (writing '`);
        assertStringIncludes(error.message, `${path}: cannot write`);
        assert(error.hint !== null);
        if (errno === 13) assertEquals(error.code, "permission");
        assertEquals(journal.path, null, "the journal is empty");
      });
      assertEquals(machine.traces, [], `${step.name}, ${errno}`);
      assertEquals(machine.readText("/sys/devices/system/memory/auto_online_blocks"), "online");
      // What undoes stands in the reverse order of what did.
      const undone = machine.writes.slice(machine.writes.length / 2).filter((line) =>
        /target\d=\n|dpa_size=0x0{16}|delete/.test(line)
      );
      const order = undone.map((line) => line.includes("target") ? 1 : line.includes("dpa_size") ? 2 : 3);
      assertEquals(order, order.toSorted());
    }
  }
});

Deno.test("a failure after the region came up, in its memory, is undone too", async () => {
  const machine = new CxlMachine();
  const path = "/sys/devices/system/memory/memory115/state";
  const host = new FaultyHost(machine, [{ call: "writeTextSlowly", path, error: errnoError(12, "write", { path }) }]);
  await withJournal(host, async (journal) => {
    const error = await assertRejects(
      () =>
        createRegion(journal, host, planRegion(readCxl(host), { memdevs: ["mem0"] }), { ...wait(), use: "system-ram" }),
      BusbarError,
      "memory115 (128 MiB at 0x398000000, node 2) cannot be taken into use",
    );
    assertStringIncludes(error.message, "undone: state of memory114, driver of region0, decoders of region0, target 0");
  });
  assertEquals(machine.traces, []);
  assertEquals(machine.readText("/sys/devices/system/memory/auto_online_blocks"), "online");
});

async function created(machine: CxlMachine, request: RegionRequest = { memdevs: ["mem0"] }): Promise<void> {
  await withJournal(machine, async (journal) => {
    await createRegion(journal, machine, planned(machine, request), { ...wait(), use: "system-ram" });
    journal.keepChanges();
  });
  machine.writes.length = 0;
}

Deno.test("destroying takes memory out of use first, and leaves nothing", async () => {
  const machine = new CxlMachine();
  await created(machine);
  await withJournal(machine, async (journal) => {
    const topology = readCxl(machine);
    const [region] = topology.regions;
    assert(region !== undefined);
    await destroyRegion(journal, machine, topology, region, wait());
  });
  assertEquals(machine.writes, [
    "/sys/devices/system/memory/memory115/state=offline",
    "/sys/devices/system/memory/memory114/state=offline",
    "/sys/bus/dax/drivers/kmem/unbind=dax0.0",
    "/sys/bus/cxl/drivers/cxl_region/unbind=region0",
    "/sys/bus/cxl/devices/region0/commit=0",
    "/sys/bus/cxl/devices/region0/target0=\n",
    "/sys/bus/cxl/devices/decoder3.0/dpa_size=0",
    "/sys/bus/cxl/devices/decoder0.2/delete_region=region0",
  ]);
  assertEquals(machine.traces, []);
});

Deno.test("memory that cannot be taken out of use is named, and what was is taken into use again", async () => {
  const machine = new CxlMachine();
  await created(machine);
  const path = "/sys/devices/system/memory/memory114/state";
  const host = new FaultyHost(machine, [{ call: "writeTextSlowly", path, error: errnoError(16, "write", { path }) }]);
  await withJournal(host, async (journal) => {
    const topology = readCxl(host);
    const [region] = topology.regions;
    assert(region !== undefined);
    const error = await assertRejects(
      () => destroyRegion(journal, host, topology, region, wait()),
      BusbarError,
      "memory114 (128 MiB at 0x390000000, node 2) cannot be taken out of use",
    );
    assertEquals(error.code, "busy");
  });
  assertEquals(machine.writes.at(-1), "/sys/devices/system/memory/memory115/state=online_movable");
  assertEquals(readCxl(machine).regions[0]?.enabled, true);
});

Deno.test("a region that programs map is not destroyed, and one of persistent memory only with its serial number", async () => {
  const machine = new CxlMachine();
  await created(machine);
  machine.file("/proc/77/comm", "cachelib\n").file(
    "/proc/77/maps",
    "7f00-7f01 rw-s 00000000 00:06 12                 /dev/dax0.0\n",
  );
  const destroy = async (options: { erase?: string; force?: boolean }): Promise<void> =>
    await withJournal(machine, async (journal) => {
      const topology = readCxl(machine);
      const [region] = topology.regions;
      assert(region !== undefined);
      await destroyRegion(journal, machine, topology, region, { ...wait(), ...options });
    });
  const error = await assertRejects(() => destroy({}), BusbarError, "cachelib (process 77) has /dev/dax0.0 mapped");
  assertEquals([error.code, machine.writes], ["busy", []] as unknown[]);
  await destroy({ force: true });
  machine.remove("/proc/77");
  await created(machine, { memdevs: ["mem2"] });
  const refused = await assertRejects(() => destroy({}), BusbarError, "its contents could not be found again");
  assertEquals(refused.hint, "--erase=0x3 says that they may go");
  await assertRejects(() => destroy({ erase: "0x4" }), BusbarError);
  assertEquals(machine.writes, []);
  await destroy({ erase: "3" });
  assertEquals(machine.traces, []);
});

Deno.test("a dax device goes from system RAM to devdax and back, with new memory held back until it is movable", async () => {
  const machine = new CxlMachine();
  await created(machine);
  await withJournal(machine, async (journal) => {
    await daxToDevdax(journal, machine, readDaxDevice(machine, "dax0.0"), wait());
    assertEquals(readDaxDevice(machine, "dax0.0").mode, "devdax");
    journal.keepChanges();
  });
  assertEquals(machine.writes, [
    "/sys/devices/system/memory/memory115/state=offline",
    "/sys/devices/system/memory/memory114/state=offline",
    "/sys/bus/dax/drivers/kmem/unbind=dax0.0",
    "/sys/bus/dax/drivers/kmem/remove_id=dax0.0",
    "/sys/bus/dax/drivers/device_dax/new_id=dax0.0",
  ]);
  machine.writes.length = 0;
  await withJournal(machine, async (journal) => {
    await daxToSystemRam(journal, machine, readDaxDevice(machine, "dax0.0"), wait());
    assertEquals(machine.writes, [
      "/sys/devices/system/memory/auto_online_blocks=offline",
      "/sys/bus/dax/drivers/device_dax/unbind=dax0.0",
      "/sys/bus/dax/drivers/device_dax/remove_id=dax0.0",
      "/sys/bus/dax/drivers/kmem/new_id=dax0.0",
      "/sys/devices/system/memory/auto_online_blocks=online",
      "/sys/devices/system/memory/memory114/state=online_movable",
      "/sys/devices/system/memory/memory115/state=online_movable",
    ]);
  });
  // Not kept: rolled back, it is a devdax again.
  assertEquals(readDaxDevice(machine, "dax0.0").mode, "devdax");
});
