/** What is on a machine: kernel names, sizes, users, changes between two looks; names as locators. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { parse } from "@std/yaml";

import { BusbarError } from "../../src/core/error.ts";
import { Unknown } from "../../src/core/fact.ts";
import type { Host } from "../../src/core/host.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { parsePciNames } from "../../src/pci/ids.ts";
import { type InventoryDevice, readInventory } from "../../src/pci/inventory.ts";
import { inventoryChanges } from "../../src/pci/inventory_changes.ts";
import { controllersOf, namespaceNames, pciLocatorOf } from "../../src/pci/kernel_names.ts";
import { readMachineFile } from "../../src/pci/machine_file.ts";
import { command } from "../../tools/list.ts";
import { inventoryJson, inventoryLines, inventorySchema } from "../../tools/render/pci/inventory.ts";
import { MadeUpMachine } from "./machines.ts";
import { pciMachine, type PciMachineSpec } from "./pci_machine.ts";
import { schemaErrors } from "./schema.ts";

const NVME = "010802";
const NAMES = parsePciNames("", null);

const SPEC = {
  functions: [
    { at: "00:01.0", id: "8086:347a", kind: "root-port" as const, buses: [1, 1] as const, link: [4, 4, 4, 4] as const },
    { at: "01:00.0", id: "144d:a80a", class: NVME, link: [1, 4, 4, 4] as const, driver: "nvme", node: 1, group: 7 },
    { at: "00:02.0", id: "8086:347b", kind: "root-port" as const, buses: [2, 2] as const, link: [4, 8, 4, 8] as const },
    { at: "02:00.0", id: "15b3:1021", class: "020000", link: [4, 8, 4, 8] as const, driver: "mlx5_core" },
    { at: "00:03.0", id: "144d:1000", class: "050210", kind: "integrated" as const, driver: "cxl_pci" },
  ],
};

const DRIVE = "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0";
const CARD = "/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0";

/** A whole machine: what it does not have is absent. */
function machineWithNames(): MadeUpMachine {
  const machine = new MadeUpMachine();
  const { host } = pciMachine(SPEC);
  for (const name of host.list("/sys/bus/pci/devices")) {
    const folder = host.realPath(`/sys/bus/pci/devices/${name}`);
    machine.link(`/sys/bus/pci/devices/${name}`, folder);
    for (const file of ["config", "resource", "numa_node", "power_state"]) {
      machine.file(`${folder}/${file}`, host.readBytes(`${folder}/${file}`, 0, 4096));
    }
    for (const link of ["driver", "iommu_group"]) {
      try {
        machine.link(`${folder}/${link}`, host.readLink(`${folder}/${link}`));
      } catch (error) {
        assert(error instanceof BusbarError);
      }
    }
    machine.file(`${folder}/power/runtime_status`, "active\n");
  }
  machine.link("/sys/class/nvme/nvme3", `${DRIVE}/nvme/nvme3`)
    .file(`${DRIVE}/nvme/nvme3/model`, "PM9A3                 \n").file(
      `${DRIVE}/nvme/nvme3/firmware_rev`,
      "GDC5602Q\n",
    )
    .file(`${DRIVE}/nvme/nvme3/transport`, "pcie\n")
    .file(`${DRIVE}/nvme/nvme3/nvme0c3n1/size`, "0\n").file(`${DRIVE}/nvme/nvme3/nvme0c3n2/size`, "0\n")
    .link("/sys/class/hwmon/hwmon0", `${DRIVE}/nvme/nvme3/hwmon0`)
    .file(`${DRIVE}/nvme/nvme3/hwmon0/temp1_input`, "40850\n");
  for (const [name, sectors] of [["nvme0n1", "1953525168"], ["nvme0n2", "8"]] as const) {
    const folder = `/sys/devices/virtual/nvme-subsystem/nvme-subsys0/${name}`;
    machine.link(`/sys/class/block/${name}`, folder).file(`${folder}/size`, `${sectors}\n`)
      .file(`${folder}/dev`, name === "nvme0n1" ? "259:0\n" : "259:1\n");
  }
  machine.file("/proc/self/mountinfo", "29 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n").file(
    "/proc/swaps",
    "Filename\n",
  );
  machine.link("/sys/class/net/eth7", `${CARD}/net/eth7`).file(`${CARD}/net/eth7/type`, "1\n")
    .file(`${CARD}/net/eth7/operstate`, "up\n").link(`${CARD}/net/eth7/master`, "../../../../../virtual/net/bond0")
    .link("/sys/class/net/lo", "/sys/devices/virtual/net/lo").file("/sys/devices/virtual/net/lo/type", "772\n")
    .file("/sys/class/net/bonding_masters", "bond0\n");
  machine.link("/sys/bus/cxl/devices/mem0", "/sys/devices/pci0000:00/0000:00:03.0/mem0")
    .file("/sys/devices/pci0000:00/0000:00:03.0/mem0/ram/size", "0x10000000\n")
    .file("/sys/devices/pci0000:00/0000:00:03.0/mem0/pmem/size", "0x20000000\n");
  const dax = "/sys/devices/platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0/dax0.0";
  machine.link("/sys/bus/dax/devices/dax0.0", dax).file(`${dax}/size`, "268435456\n").file(`${dax}/target_node`, "2\n")
    .link(`${dax}/driver`, "../../../../bus/dax/drivers/kmem");
  return machine;
}

function devicesOf(host: Host): Map<string, InventoryDevice> {
  return new Map(readInventory(host).devices.map((device) => [device.id, device]));
}

Deno.test("each function has the kernel's names, sizes and users; what is no PCI function has a row of its own", () => {
  const devices = devicesOf(machineWithNames());
  assertEquals([...devices.keys()], [
    ...["0000:00:01.0", "0000:00:02.0", "0000:00:03.0", "0000:01:00.0", "0000:02:00.0"],
    ...["lo", "dax0.0"],
  ]);
  const drive = devices.get("0000:01:00.0");
  assertEquals(drive?.kind, "nvme");
  assertEquals(drive?.names, ["nvme3", "nvme0n1", "nvme0n2"]);
  assertEquals(drive?.model, "PM9A3");
  assertEquals(drive?.sizeBytes, 1_953_525_176n * 512n);
  assertEquals(drive?.firmware, "GDC5602Q");
  assertEquals([drive?.numaNode, drive?.iommuGroup, drive?.driver], [1, "7", "nvme"]);
  assertEquals(drive?.users, ["nvme0n1 is mounted on /srv"]);
  assertEquals(devices.get("0000:02:00.0")?.users, ["eth7 is part of bond0", "eth7 is up"]);
  assertEquals(devices.get("0000:00:03.0")?.names, ["mem0"]);
  assertEquals(devices.get("0000:00:03.0")?.sizeBytes, 3n << 28n);
  const dax = devices.get("dax0.0");
  assertEquals([dax?.numaNode, dax?.driver, dax?.sizeBytes], [2, "kmem", 1n << 28n] as unknown[]);
  assertEquals(devices.get("0000:00:01.0")?.names, null, "a port has no name, and that is known");
});

Deno.test("a drive's temperature is a command to it: read only when asked for, and never of one that sleeps", () => {
  const machine = machineWithNames();
  const temperature = (askDevices: boolean): unknown =>
    readInventory(machine, { askDevices }).devices.find(({ id }) => id === "0000:01:00.0")?.temperature;
  assert(temperature(false) instanceof Unknown);
  assertEquals(temperature(true), 40_850);
  machine.file(`${DRIVE}/power/runtime_status`, "suspended\n");
  assert(temperature(true) instanceof Unknown);
});

Deno.test("the size of a namespace whose blocks the kernel cannot use is not known, and not 0", () => {
  const machine = machineWithNames();
  const size = (): unknown => devicesOf(machine).get("0000:01:00.0")?.sizeBytes;
  assertEquals(size(), 1_953_525_176n * 512n);
  machine.file(`${machine.realPath("/sys/class/block/nvme0n2")}/size`, "0\n");
  const unknown = size();
  assert(unknown instanceof Unknown);
  assertStringIncludes(unknown.reason, "cannot use the blocks of nvme0n2");
});

Deno.test("of a recording, names, sizes and users are not recorded, and never none", () => {
  const drive = devicesOf(pciMachine(SPEC).host).get("0000:01:00.0");
  for (const fact of [drive?.names, drive?.sizeBytes, drive?.firmware, drive?.temperature, drive?.users]) {
    assert(fact instanceof Unknown, String(fact));
  }
});

const FIXTURES = new URL("../fixtures/machines/", import.meta.url);

Deno.test("every function of every described machine is listed, and the JSON keeps to its schema", () => {
  const schema = inventorySchema();
  const names = [...Deno.readDirSync(FIXTURES)].map(({ name }) => name).filter((name) => name.endsWith(".yaml"));
  assert(names.length >= 20);
  for (const name of names) {
    const spec = parse(Deno.readTextFileSync(new URL(name, FIXTURES))) as Partial<PciMachineSpec>;
    // One is a recording, which has a test of its own.
    if (spec.functions === undefined) continue;
    const { host } = pciMachine({ ...spec, functions: spec.functions });
    const { devices, problems } = readInventory(host);
    assertEquals(devices.map(({ id }) => id), host.list("/sys/bus/pci/devices"), name);
    assertEquals(devices.length, spec.functions.length, name);
    assertEquals(schemaErrors(schema, inventoryJson(host.name, devices, NAMES, problems)), "", name);
  }
});

Deno.test("every function of a machine that lspci printed is listed, and the JSON keeps to its schema", () => {
  const schema = inventorySchema();
  const { host } = readMachineFile(new URL("cloud-virtual-machine.txt", FIXTURES).pathname);
  const { devices, problems } = readInventory(host);
  const text = Deno.readTextFileSync(new URL("cloud-virtual-machine.txt", FIXTURES));
  const functions = text.match(/^[0-9a-f:]{7,12}\.[0-7] /gm)?.map((line) => line.trim().padStart(12, "0000:"));
  assertEquals(devices.map(({ id }) => id), functions);
  assertEquals(schemaErrors(schema, inventoryJson(host.name, devices, NAMES, problems)), "");
  const machine = machineWithNames();
  assertEquals(schemaErrors(schema, inventoryJson(machine.name, readInventory(machine).devices, NAMES, [])), "");
});

Deno.test("a line is never longer than the terminal, and what is cut ends with a mark", () => {
  const { devices } = readInventory(machineWithNames());
  const whole = inventoryLines(devices, NAMES, null);
  const cut = inventoryLines(devices, NAMES, 100);
  assert(whole.some((line) => [...line].length > 100));
  for (const line of cut.slice(1)) assert([...line].length <= 100, line);
  assertStringIncludes(cut.join("\n"), "…");
  assert(!whole.join("\n").includes("…"));
});

Deno.test("what came, went or changed between two looks is told with both values", () => {
  const machine = machineWithNames();
  const before = readInventory(machine).devices;
  assertEquals(inventoryChanges(before, readInventory(machine).devices), []);
  machine.remove(CARD);
  machine.links.delete("/sys/bus/pci/devices/0000:02:00.0");
  machine.links.delete("/sys/class/net/eth7");
  machine.file("/proc/self/mountinfo", "");
  const changes = inventoryChanges(before, readInventory(machine).devices);
  // The port above the card has lost its link, too.
  assertEquals(changes.map(({ change, device }) => [change, device.id]), [
    ["went", "0000:02:00.0"],
    ["changed", "0000:00:02.0"],
    ["changed", "0000:01:00.0"],
  ]);
  assertEquals(changes[2]?.values, [{ name: "users", before: "nvme0n1 is mounted on /srv", after: "none" }]);
});

Deno.test("a device that cannot be read is a problem told, and the others are listed", () => {
  const machine = new FaultyHost(machineWithNames(), [
    { call: "readBytes", path: /0000:01:00.0.config$/, error: new BusbarError("permission", "no") },
  ]);
  const { devices, problems } = readInventory(machine);
  assertEquals(problems.length, 1);
  assertEquals(devices.some(({ id }) => id === "0000:01:00.0"), false);
  assertEquals(devices.some(({ id }) => id === "0000:02:00.0"), true);
});

Deno.test("a machine without PCI still has its other devices", () => {
  const machine = new MadeUpMachine();
  machine.link("/sys/class/net/lo", "/sys/devices/virtual/net/lo").file("/sys/devices/virtual/net/lo/type", "772\n");
  const { devices, problems } = readInventory(machine);
  assertEquals([devices.map(({ id }) => id), problems], [["lo"], ["made-up machine has no PCI"]]);
});

Deno.test("kernel names are locators: of a controller, a namespace, a partition, a CXL memory device", () => {
  const machine = machineWithNames();
  const address = (text: string): unknown => {
    const located = pciLocatorOf(parseLocator(text), machine, "test");
    return located.kind === "pci" ? located.address : located.kind;
  };
  const drive = { domain: 0, bus: 1, device: 0, function: 0 };
  for (const text of ["nvme3", "/dev/nvme3", "nvme0n1", "/dev/nvme0n1", "/dev/nvme0n1p2"]) {
    assertEquals(address(text), drive);
  }
  assertEquals(address("mem0"), { domain: 0, bus: 0, device: 3, function: 0 });
  assertEquals(controllersOf(machine, "/dev/nvme0n2"), ["nvme3"]);
  const absent = assertThrows(() => address("nvme9"), BusbarError);
  assertEquals([absent.code, absent.hint], ["absent", "busbar list shows the devices and their names"]);
  // A second path to the shared namespace: neither is taken.
  machine.link("/sys/class/nvme/nvme4", `${CARD}/nvme/nvme4`).file(`${CARD}/nvme/nvme4/nvme0c4n1/size`, "0\n");
  assertEquals(assertThrows(() => address("nvme0n1"), BusbarError).code, "usage");
  assertEquals(namespaceNames(["nvme0c3n1", "nvme0n1", "nvme0c4n10", "hwmon0", "ng0n1"]), ["nvme0n1", "nvme0n10"]);
});

Deno.test("list declares what it takes", () => {
  assertEquals(
    command.options.map(({ long }) => long).filter((long) => long === "--watch" || long === "--wide").length,
    2,
  );
});
