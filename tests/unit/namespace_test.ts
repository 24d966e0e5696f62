/** Namespaces of persistent memory: plans, steps, undo. What the kernel does with the writes is tested in the lab. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { createNamespace, createSteps, destroyNamespace, namespaceUses } from "../../src/memory/namespace.ts";
import { type NamespacePlan, type NamespaceRequest, planNamespace } from "../../src/memory/namespace_plan.ts";
import { findNamespace, readPersistentMemory } from "../../src/memory/namespaces.ts";
import { namespaceListJson, namespaceListLines, namespaceListSchema } from "../../tools/render/memory/namespaces.ts";
import { MemoryDisk } from "./memory_disk.ts";
import { NamespaceMachine } from "./namespace_machine.ts";
import { schemaErrors } from "./schema.ts";

const FREE = { isClaimed: (): boolean => false };

function plan(machine: NamespaceMachine, request: Partial<NamespaceRequest>): NamespacePlan {
  return planNamespace(machine, readPersistentMemory(machine), { mode: "devdax", ...request });
}

/** Everything but the contents of the files that only take writes. */
function stateOf(machine: NamespaceMachine): string {
  const { regions, namespaces } = readPersistentMemory(machine);
  const names = namespaces.map((one) => ({ ...one, holder: one.holder?.replace(/\.\d+$/, "") ?? null }));
  const media = [...machine.media].filter(([, bytes]) => bytes.some((byte) => byte !== 0)).map(([name]) => name);
  const raw = machine.readText("/sys/bus/nd/devices/namespace0.0/force_raw");
  return JSON.stringify([regions, names, media, raw], (_key, value) => typeof value === "bigint" ? `${value}` : value);
}

function open(machine: NamespaceMachine): UndoJournal {
  return new UndoJournal(machine, { command: "test", folder: "/run/test", disk: new MemoryDisk() });
}

function make(journal: UndoJournal, machine: NamespaceMachine, request: Partial<NamespaceRequest>): void {
  createNamespace(journal, machine, plan(machine, request), { ...FREE, erase: request.target });
}

function destroy(journal: UndoJournal, machine: NamespaceMachine, name: string): void {
  const memory = readPersistentMemory(machine);
  const namespace = findNamespace(memory, name);
  const hasLabels = memory.regions.find((one) => one.name === namespace.region)?.hasLabels === true;
  destroyNamespace(journal, machine, namespace, hasLabels, { ...FREE, erase: name });
}

Deno.test("regions and namespaces are read, and JSON is what its schema says", () => {
  const memory = readPersistentMemory(new NamespaceMachine());
  assertEquals(memory.regions.map((one) => [one.name, one.hasLabels, one.provider, one.largestFreeBytes, one.dimms]), [
    ["region0", false, "nvdimm", 0n, ["nmem0"]],
    ["region1", true, "nvdimm", 256n << 20n, ["nmem1"]],
  ]);
  assertEquals(memory.namespaces.map((one) => [one.name, one.mode, one.device]), [[
    "namespace0.0",
    "raw",
    "/dev/pmem0",
  ]]);
  const uses = new Map([["namespace0.0", ["pmem0 is mounted on /x"]]]);
  assertEquals(schemaErrors(namespaceListSchema(), namespaceListJson(memory, uses)), "");
  assertStringIncludes(namespaceListLines(memory, uses).join("\n"), "namespace0.0: pmem0 is mounted on /x");
});

Deno.test("what cannot be made is refused with the reason, before anything is written", () => {
  const machine = new NamespaceMachine();
  const cases: [Partial<NamespaceRequest>, string, string][] = [
    [{ target: "region7" }, "absent", "no such region; there is region0, region1"],
    [{ target: "namespace7.0" }, "absent", "no such namespace"],
    [{ target: "region0", sizeBytes: 16n << 20n }, "usage", "keeps its size"],
    [{ target: "region1", sizeBytes: 512n << 20n }, "out-of-range", "do not fit"],
    [{ target: "region1", sizeBytes: 20n << 20n }, "out-of-range", "no multiple of 16 MiB"],
    [{ target: "region1", sizeBytes: 0n }, "out-of-range", "no multiple of 16 MiB"],
    [{ target: "region1", alignBytes: 8192n }, "unsupported", "cannot be aligned to 8 KiB"],
    [{ target: "region1", mode: "raw", map: "mem" }, "usage", "neither an alignment nor a page map"],
  ];
  for (const [request, code, text] of cases) {
    const error = assertThrows(() => plan(machine, request), BusbarError);
    assertStringIncludes(error.message, text);
    assertEquals(error.code, code);
  }
  machine.file("/sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region1/read_only", "1\n");
  assertThrows(() => plan(machine, { target: "region1" }), BusbarError, "read-only");
  machine.remove("/sys/bus/nd/drivers/dax_pmem");
  assertThrows(() => plan(machine, { target: "namespace0.0" }), BusbarError, "dax_pmem is not loaded");
  machine.file("/sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0/namespace0.0/mode", "safe\n");
  assertThrows(() => plan(machine, { target: "namespace0.0", mode: "raw" }), BusbarError, "mode sector");
  assertEquals(machine.writes, []);
  const none = new NamespaceMachine();
  none.remove("/sys/bus/nd/devices");
  assertThrows(() => plan(none, {}), BusbarError, "no region of persistent memory");
});

Deno.test("a dry run lists the writes that are made, and none is made without the namespace's name", () => {
  for (const target of ["namespace0.0", "region1"]) {
    const machine = new NamespaceMachine();
    const before = stateOf(machine);
    const lines: string[] = [];
    using dry = new UndoJournal(machine, { command: "test", dryRun: (line) => lines.push(line) });
    createNamespace(dry, machine, plan(machine, { target }), FREE);
    assertEquals([machine.writes, stateOf(machine)], [[], before]);
    assertEquals(lines.some((line) => line.includes("would be refused")), target === "namespace0.0");
    using journal = open(machine);
    if (target === "namespace0.0") {
      const error = assertThrows(
        () => createNamespace(journal, machine, plan(machine, { target }), FREE),
        BusbarError,
      );
      assertEquals([error.code, machine.writes], ["usage", []]);
    }
    make(journal, machine, { target });
    const listed = lines.filter((line) => line.includes("write '")).map((line) => /to (\S+)$/.exec(line)?.[1]);
    assertEquals(machine.writes.map((write) => /^[^=@]+/.exec(write)?.[0]), listed);
    journal.keepChanges();
  }
});

Deno.test("a failure at any step of creation is undone in order, whatever was there", () => {
  for (const target of ["namespace0.0", "region1"]) {
    for (const isDevdax of target === "region1" ? [false] : [false, true]) {
      const total = createSteps(plan(prepared(isDevdax), { target }), () => "u").length;
      // Refused, or done and then interrupted: the description is on the medium by then.
      for (let failing = 0; failing < 2 * total; failing++) {
        const isDone = failing >= total;
        const machine = prepared(isDevdax);
        const before = stateOf(machine);
        const behave = machine.onWrite;
        let count = 0;
        machine.onWrite = (path, text): void => {
          const isHit = count++ === failing % total;
          if (!isHit || isDone) behave(path, text);
          if (isHit) throw new BusbarError("io", "injected", { path });
        };
        using journal = open(machine);
        const error = assertThrows(() => make(journal, machine, { target }), BusbarError, "injected");
        assert(!error.message.includes("COULD NOT"), error.message);
        assertEquals(stateOf(machine), before, `${target}, devdax before: ${isDevdax}, write ${failing}`);
      }
    }
  }
});

/** The machine, with namespace0.0 as devdax or raw. */
function prepared(isDevdax: boolean): NamespaceMachine {
  const machine = new NamespaceMachine();
  if (!isDevdax) return machine;
  using journal = open(machine);
  make(journal, machine, { target: "namespace0.0" });
  journal.keepChanges();
  return machine;
}

Deno.test("destroying: undone at each step until the label goes; raw memory without labels stays what it is", () => {
  for (const name of ["namespace0.0", "namespace1.0"]) {
    const ready = (): NamespaceMachine => {
      const machine = new NamespaceMachine();
      using journal = open(machine);
      make(journal, machine, { target: name === "namespace0.0" ? name : "region1" });
      journal.keepChanges();
      return machine;
    };
    for (let failing = 0; failing < 20; failing++) {
      const machine = ready();
      const before = stateOf(machine);
      const behave = machine.onWrite;
      let count = 0;
      machine.onWrite = (path, text): void => {
        if (count++ === failing && !path.endsWith("/size")) throw new BusbarError("io", "injected", { path });
        behave(path, text);
      };
      using journal = open(machine);
      try {
        destroy(journal, machine, name);
      } catch (error) {
        assert(error instanceof BusbarError && !error.message.includes("COULD NOT"), String(error));
        assertEquals(stateOf(machine), before, `${name}, write ${failing}`);
        continue;
      }
      journal.keepChanges();
      const left = readPersistentMemory(machine).namespaces.filter((one) => one.name === name);
      assertEquals(left.map(({ mode }) => mode), name === "namespace0.0" ? ["raw"] : []);
      assert(failing >= 7, `it ended behind write ${failing}`);
      break;
    }
  }
  const machine = new NamespaceMachine();
  using journal = open(machine);
  assertThrows(() => destroy(journal, machine, "namespace0.0"), BusbarError, "raw memory already");
  // The label cannot be removed: what was done is said, and the same command ends it.
  make(journal, machine, { target: "region1" });
  journal.keepChanges();
  const behave = machine.onWrite;
  machine.onWrite = (path, text): void => {
    if (path.endsWith("/size")) throw new BusbarError("io", "label area", { path });
    behave(path, text);
  };
  const error = assertThrows(() => destroy(journal, machine, "namespace1.0"), BusbarError, "was taken apart");
  assertStringIncludes(error.hint ?? "", "namespace destroy namespace1.0 --erase namespace1.0");
  machine.onWrite = behave;
  destroy(journal, machine, "namespace1.0");
  assertEquals(readPersistentMemory(machine).namespaces.some(({ name }) => name === "namespace1.0"), false);
});

Deno.test("in use it is refused, and nothing overrules that: mounted, swap, held by the kernel, system RAM, mapped", () => {
  const machine = new NamespaceMachine();
  machine.file("/proc/swaps", "Filename\tType\n/dev/pmem0 partition 1 0 -2\n");
  using journal = open(machine);
  const error = assertThrows(() => make(journal, machine, { target: "namespace0.0" }), BusbarError, "swap space");
  assertEquals([error.code, machine.writes], ["busy", []]);
  machine.file("/proc/swaps", "Filename\tType\n");
  const [namespace] = readPersistentMemory(machine).namespaces;
  assert(namespace !== undefined);
  assertStringIncludes(namespaceUses(machine, namespace, () => true).join(), "held by the kernel");
  assertEquals(namespaceUses(machine, namespace, () => false), []);
});
