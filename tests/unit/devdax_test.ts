import { assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import { daxUses, listDaxDevices, listNamespaces, readDaxDevice } from "../../src/memory/devdax.ts";
import { DAX_FOLDER, daxMachine, makeSystemRam } from "./dax_machines.ts";
import { MadeUpMachine } from "./machines.ts";

Deno.test("a dax device is read with size, alignment, mode, addresses, nodes and the namespace behind it", () => {
  const [device, ...others] = listDaxDevices(daxMachine());
  assertEquals(others, []);
  assertEquals(device, {
    name: "dax0.0",
    path: "/dev/dax0.0",
    folder: DAX_FOLDER,
    sizeBytes: 250n << 20n,
    alignBytes: 2n << 20n,
    mode: "devdax",
    driver: "device_dax",
    address: 0x1_0060_0000n,
    ranges: [{ start: 0x1_0060_0000n, end: 0x1_1000_0000n }],
    targetNode: 0,
    numaNode: 0,
    region: {
      id: 0,
      folder: DAX_FOLDER.replace(/\/dax0\.0$/, ""),
      sizeBytes: 250n << 20n,
      availableBytes: null,
      alignBytes: 2n << 20n,
      provider: "nvdimm",
      source: "namespace0.0",
    },
  });
});

Deno.test("mode follows the driver; a device without one is disabled, addresses hidden from users are null", () => {
  const machine = daxMachine();
  makeSystemRam(machine);
  assertEquals(readDaxDevice(machine, "/dev/dax0.0").mode, "system-ram");
  machine.links.delete(`${DAX_FOLDER}/driver`);
  assertEquals(readDaxDevice(machine, "dax0.0").mode, "disabled");
  machine.file(`${DAX_FOLDER}/target_node`, "-1\n");
  const denied = new BusbarError("permission", "no");
  const host = new FaultyHost(machine, [
    { call: "readText", path: `${DAX_FOLDER}/resource`, error: denied },
    { call: "readText", path: /mapping0/, error: denied },
  ]);
  const { address, ranges, targetNode } = readDaxDevice(host, "dax0.0");
  assertEquals([address, ranges, targetNode], [null, [], null]);
});

Deno.test("devices are ordered by number, and one that vanishes while it is read is left out", () => {
  const machine = daxMachine();
  for (const name of ["dax10.0", "dax2.1"]) {
    const folder = `/sys/devices/platform/hmem.0/${name}`;
    machine.link(`/sys/bus/dax/devices/${name}`, `../../../devices/platform/hmem.0/${name}`)
      .file(`${folder}/size`, "0x40000000\n").file(`${folder}/align`, "2097152\n");
  }
  machine.link("/sys/bus/dax/devices/dax5.0", "../../../devices/gone");
  assertEquals(listDaxDevices(machine).map(({ name }) => name), ["dax0.0", "dax2.1", "dax10.0"]);
  assertEquals(listDaxDevices(machine)[1]?.sizeBytes, 1n << 30n);
});

Deno.test("a device that does not exist: what there is, and the command that would make one", () => {
  const missing = (machine: MadeUpMachine): [string, string | null] => {
    const error = assertThrows(() => readDaxDevice(machine, "/dev/dax7.0"), BusbarError);
    assertEquals(error.code, "absent");
    return [error.message, error.hint];
  };
  assertEquals(missing(new MadeUpMachine()), [
    "/dev/dax7.0: no such dax device; this machine has no dax device",
    "the machine needs an NVDIMM or CXL memory; ndctl list -NRD and cxl list -MDR show them",
  ]);
  const [message, hint] = missing(daxMachine());
  assertEquals(message, "/dev/dax7.0: no such dax device; there is /dev/dax0.0");
  assertEquals(
    hint,
    "ndctl create-namespace -f -e namespace1.0 -m devdax makes one of namespace1.0 (mode fsdax, 256 MiB) and erases it",
  );
  const cxl = new MadeUpMachine().file("/sys/bus/cxl/devices/mem0/serial", "0x1\n");
  assertEquals(missing(cxl)[1], "cxl create-region -t ram -d decoder0.0 mem0 makes one of a CXL memory device");
});

Deno.test("a number that sysfs does not write that way is an error that names the file", () => {
  const machine = daxMachine().file(`${DAX_FOLDER}/size`, "many\n");
  const error = assertThrows(() => listDaxDevices(machine), BusbarError);
  assertEquals([error.code, error.path], ["malformed", `${DAX_FOLDER}/size`]);
});

Deno.test("users: the kernel as RAM, processes by descriptor and mapping, the namespace", () => {
  const machine = daxMachine();
  machine.file("/proc/812/comm", "bench_tpcc\n").link("/proc/812/fd/5", "/dev/dax0.0");
  machine.file("/proc/812/maps", "7f0000000000-7f0000200000 rw-s 00000000 00:06 146   /dev/dax0.0\n");
  assertEquals(daxUses(machine, readDaxDevice(machine, "dax0.0")), [
    { kind: "open", text: "bench_tpcc (process 812) has /dev/dax0.0 open" },
    { kind: "mapped", text: "bench_tpcc (process 812) has /dev/dax0.0 mapped" },
    { kind: "namespace", text: "dax0.0 is the contents of namespace0.0" },
  ]);
  makeSystemRam(machine);
  assertEquals(
    daxUses(machine, readDaxDevice(machine, "dax0.0"))[0]?.text,
    "the kernel uses the memory of dax0.0 as system RAM of node 0",
  );
});

Deno.test("namespaces with ndctl's names for their modes, the block device found behind its holder", () => {
  assertEquals(listNamespaces(daxMachine()).map(({ name, mode, blockDevice }) => [name, mode, blockDevice]), [
    ["namespace0.0", "devdax", null],
    ["namespace1.0", "fsdax", "pmem1"],
  ]);
});
