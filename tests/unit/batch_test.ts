/** Reading in batches: what a batch answers, what code that reads one file at a time gets of it, and how many are needed. */

import { assert, assertEquals, assertThrows } from "@std/assert";

import { BatchedReads } from "../../src/core/batched_reads.ts";
import { BusbarError, errnoError } from "../../src/core/error.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import { type Host, ifPresent } from "../../src/core/host.ts";
import { linkAt, namesIn, realPathOf, sizeOf, textOf } from "../../src/core/host_requests.ts";
import { readCxl } from "../../src/cxl/topology.ts";
import { driverChecks } from "../../src/gpu/p2p/driver_checks.ts";
import { environmentOf } from "../../src/memory/bench_environment.ts";
import { blocksOfNode } from "../../src/memory/blocks.ts";
import { readCounters } from "../../src/memory/counters.ts";
import { listDaxDevices } from "../../src/memory/devdax.ts";
import { readTierState } from "../../src/memory/tiers.ts";
import { examineMachine } from "../../src/pci/doctor.ts";
import { PCI_DEVICES, readPciFunction, readPciFunctions } from "../../src/pci/function.ts";
import { formatMachine, parseMachine } from "../../src/pci/machine_file.ts";
import { readTopology } from "../../src/pci/topology.ts";
import { CxlMachine } from "./cxl_machine.ts";
import { MadeUpMachine, NVME_FOLDER, nvmeMachine } from "./machines.ts";
import { manyFunctions } from "./many_functions.ts";
import { pciMachine, pciMachineText } from "./pci_machine.ts";
import { TiersMachine } from "./tiers_machine.ts";

/** Counts batches and the calls that were in none. */
function counted<T>(host: Host, read: (host: Host) => T): { result: T; batches: number; single: readonly string[] } {
  const counting = new FaultyHost(host, []);
  const result = read(counting);
  return { result, batches: counting.batches.length, single: counting.singleCalls };
}

Deno.test("the topology of a machine with 300 functions is read in at most 12 batches, and nothing outside of one", () => {
  const functions = manyFunctions(300);
  const virtual = functions.at(-1)?.at ?? "";
  const entry = pciMachineText({ functions }).split("\n").find((line) => line.includes(`devices/${virtual}"`)) ?? "";
  const folder = /"([^"]+)"$/.exec(entry)?.[1] ?? "";
  const text = pciMachineText({ functions, cpu: { vendor_id: "GenuineIntel" } }) +
    `#link "${folder}/physfn" "../0000:0b:00.0"\n#file "${folder}/vendor" "0x144d"\n#file "${folder}/device" "0x1234"\n`;
  const { host } = parseMachine(text, "made-up.txt");
  const { result, batches, single } = counted(host, readTopology);
  const unprivileged = functions.filter(({ readable }) => readable === 64).length;
  assertEquals([result.nodes.length, result.problems.length, result.rootComplexes.length], [300, unprivileged, 2]);
  assertEquals(single, []);
  assert(batches <= 12, `${batches} batches`);
  assertEquals(result.nodes.find((node) => node.function.name === virtual)?.function.deviceId, 0x1234);
  // What is written of it for a recording, too.
  const written = counted(host, (one) => formatMachine(one, result.nodes.map((node) => node.function), []));
  assertEquals(written.single, []);
  assert(written.batches <= 12, `${written.batches} batches`);
});

Deno.test("what a function's batches say is what was there, function by function, also where one vanishes", () => {
  const { host } = pciMachine({ functions: manyFunctions(40) });
  const names = host.list(PCI_DEVICES);
  assertEquals(readPciFunctions(host, names), names.map((name) => readPciFunction(host, name)));
  const machine = nvmeMachine();
  const vanishing = new FaultyHost(machine, [{
    path: `${PCI_DEVICES}/0000:01:00.0/numa_node`,
    action: () => machine.remove(NVME_FOLDER),
  }]);
  const [bridge, gone, absent] = readPciFunctions(vanishing, ["0000:00:03.0", "0000:01:00.0", "0000:09:00.0"]);
  assert(bridge !== undefined && !(bridge instanceof BusbarError));
  assert(gone instanceof BusbarError && absent instanceof BusbarError);
  assertEquals([gone.code, absent.code], ["device-gone", "absent"]);
});

Deno.test("a virtual function that vanishes before its IDs are read is gone, not one without IDs", () => {
  const machine = nvmeMachine().link(`${NVME_FOLDER}/physfn`, "../0000:01:00.1").file(
    `${NVME_FOLDER}/vendor`,
    "0x144d",
  );
  machine.file(`${NVME_FOLDER}/device`, "0xa80a");
  assertEquals(readPciFunction(machine, "01:00.0").deviceId, 0xa80a);
  const vanishing = new FaultyHost(machine, [{ path: /\/vendor$/, action: () => machine.remove(NVME_FOLDER) }]);
  assertEquals(assertThrows(() => readPciFunction(vanishing, "01:00.0"), BusbarError).code, "device-gone");
});

Deno.test("other readers of a whole machine need few batches too, and read little outside of them", () => {
  const readers: readonly [string, Host, (host: Host) => unknown, batches: number, single: number][] = [
    ["doctor", pciMachine({ functions: manyFunctions(30) }).host, examineMachine, 4, 0],
    ["tiers", new TiersMachine(), readTierState, 2, 0],
    ["counters", new TiersMachine(), (host) => ifPresent(() => readCounters(host, 0)), 1, 0],
    ["CXL", new CxlMachine(), readCxl, 2, 1],
    ["dax", daxMachine(), listDaxDevices, 3, 1],
    ["benchmark environment", new TiersMachine(), environmentOf, 1, 0],
    ["GPU driver", pciMachine({ functions: manyFunctions(3) }).host, (host) => driverChecks(host, null), 1, 0],
    ["memory blocks", blocksMachine(), (host) => assertEquals(blocksOfNode(host, 0).length, 50), 2, 2],
  ];
  for (const [what, host, read, mostBatches, mostSingle] of readers) {
    const { batches, single } = counted(host, read);
    assert(batches <= mostBatches, `${what}: ${batches} batches`);
    assert(single.length <= mostSingle, `${what}: ${single.join(", ")}`);
  }
});

function daxMachine(): MadeUpMachine {
  const machine = new MadeUpMachine();
  for (let i = 0; i < 20; i++) {
    const parent = `/sys/devices/platform/hmem.${i}`;
    const folder = `${parent}/dax${i}.0`;
    machine.link(`/sys/bus/dax/devices/dax${i}.0`, folder).link(`${folder}/driver`, "/sys/bus/dax/drivers/device_dax")
      .file(`${folder}/size`, "4096\n").file(`${folder}/align`, "4096\n").file(`${folder}/mapping0/start`, "0x1000\n")
      .file(`${folder}/mapping0/end`, "0x1fff\n").file(`${parent}/dax_region/id`, `${i}\n`)
      .file(`${parent}/dax_region/size`, "4096\n").file(`${parent}/dax_region/align`, "4096\n");
  }
  return machine;
}

function blocksMachine(): MadeUpMachine {
  const machine = new MadeUpMachine().file("/sys/devices/system/memory/block_size_bytes", "8000000\n");
  for (let i = 0; i < 50; i++) {
    const folder = `/sys/devices/system/memory/memory${i}`;
    machine.file(`${folder}/state`, i % 2 ? "online\n" : "offline\n").file(`${folder}/valid_zones`, "Normal\n")
      .link(`/sys/devices/system/node/node0/memory${i}`, folder);
  }
  return machine;
}

Deno.test("fetched answers are given out; errors are thrown where they are asked for; the rest is asked of the machine", () => {
  const machine = new MadeUpMachine().file("/sys/a", "1\n").file("/sys/b", "2\n").link("/sys/l", "a");
  const host = new FaultyHost(machine, [{ path: "/sys/b", call: "readText", error: errnoError(13, "read", {}) }]);
  const reads = new BatchedReads(host);
  reads.fetch([textOf("/sys/a"), textOf("/sys/b"), textOf("/sys/c"), linkAt("/sys/l"), realPathOf("/sys/l")]);
  reads.fetch([namesIn("/sys"), { call: "readBytes", path: "/sys/a", offset: 0, sizeBytes: 1 }]);
  reads.fetch([]);
  machine.file("/sys/a", "changed\n");
  assertEquals([reads.readText("/sys/a"), reads.readLink("/sys/l"), reads.realPath("/sys/l")], ["1", "a", "/sys/a"]);
  assertEquals(assertThrows(() => reads.readText("/sys/b"), BusbarError).code, "permission");
  assertEquals(assertThrows(() => reads.readText("/sys/c"), BusbarError).code, "absent");
  assertEquals(reads.list("/sys"), ["a", "b", "l"]);
  assertEquals([...reads.readBytes("/sys/a", 0, 1)], [0x31]);
  assertEquals([host.batches, host.singleCalls], [[5, 2], []]);
  assertEquals([...reads.readBytes("/sys/a", 0, 7)].length, 7);
  assertEquals(host.singleCalls, ["readBytes /sys/a"]);
});

Deno.test("a question that was fetched twice: the first answer to who asks first, the last to all others", () => {
  const machine = new MadeUpMachine().file("/sys/a", "1");
  const reads = new BatchedReads(machine);
  for (const text of ["1", "2", "3"]) {
    machine.file("/sys/a", text);
    reads.fetch([textOf("/sys/a")]);
  }
  assertEquals([1, 2, 3].map(() => reads.readText("/sys/a")), ["1", "3", "3"]);
  machine.file("/sys/a", "4");
  reads.fetchNew([textOf("/sys/a"), sizeOf("/sys/a"), sizeOf("/sys/a")]);
  assertEquals([reads.readText("/sys/a"), reads.sizeBytes("/sys/a")], ["3", 1]);
});

Deno.test("a tree answers for every file and link in it, and for those that are not there", () => {
  const machine = new MadeUpMachine().link("/sys/class/x/one", "../../devices/one").file("/sys/devices/one/size", "5\n")
    .file("/sys/devices/one/danger", "boom").link("/sys/devices/one/driver", "/sys/bus/none");
  const host = new FaultyHost(machine, []);
  const reads = new BatchedReads(host);
  reads.fetch([{ call: "readTree", path: "/sys/class/x", depth: 1, followLinks: true, files: ["size"] }]);
  assert(!host.calls.includes("readBytes /sys/class/x/one/danger"));
  const calls = host.calls.length;
  assertEquals(reads.list("/sys/class/x"), ["one"]);
  assertEquals(reads.readText("/sys/class/x/one/size"), "5");
  assertEquals(reads.readLink("/sys/class/x/one/driver"), "/sys/bus/none");
  assertEquals(assertThrows(() => reads.readText("/sys/class/x/one/align"), BusbarError).code, "absent");
  assertEquals(host.calls.length, calls, "nothing was asked again");
  assertEquals(reads.readText("/sys/class/x/one/danger"), "boom");
});

Deno.test("writes go to the machine itself", async () => {
  const machine = new MadeUpMachine().file("/sys/a", "1");
  const reads = new BatchedReads(machine);
  reads.writeText("/sys/a", "2");
  reads.writeBytes("/sys/a", 0, Uint8Array.of(0x33));
  await reads.writeTextSlowly("/sys/a", "4");
  reads.makeFolder("/sys/f");
  reads.removeFolder("/sys/f");
  assertEquals(machine.writes, ["/sys/a=2", "/sys/a@0=33", "/sys/a=4", "mkdir /sys/f", "rmdir /sys/f"]);
});
