import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import type { Host } from "../../src/core/host.ts";
import { TextMachine } from "../../src/core/machine.ts";
import { parsePciAddress } from "../../src/core/pci_address.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { openPciDevice } from "../../src/pci/open_device.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { enableMemory } from "../../src/pci/enable.ts";
import { MadeUpMachine, NVME_FOLDER, nvmeConfig, nvmeMachine } from "./machines.ts";

const BRIDGE_FOLDER = "/sys/devices/pci0000:00/0000:00:03.0";

/** An unbound controller with memory decoding off, on a machine that treats `enable` as Linux does. */
function sleepingMachine(): MadeUpMachine {
  const config = nvmeConfig();
  config[4] = 0x00;
  const machine = nvmeMachine().file(`${NVME_FOLDER}/config`, config).file(`${NVME_FOLDER}/enable`, "0\n");
  machine.links.delete(`${NVME_FOLDER}/driver`);
  machine.onWrite = (path, text): void => {
    if (path !== `${NVME_FOLDER}/enable`) return;
    const now = machine.readBytes(`${NVME_FOLDER}/config`, 0, 4096).slice();
    // pci_enable_device sets the decode bits; pci_disable_device clears only bus master.
    if (text === "1") now[4] = (now[4] ?? 0) | 0x02;
    else now[4] = (now[4] ?? 0) & ~0x04;
    machine.file(`${NVME_FOLDER}/config`, now);
  };
  return machine;
}

function enable(machine: Host, body: (journal: UndoJournal) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    using device = openPciDevice(
      { kind: "pci", text: "01:00.0", host: null, address: parsePciAddress("01:00.0") },
      { machine: new TextMachine(machine) },
    );
    using journal = new UndoJournal(machine, { command: "test", folder: `${folder}/j` });
    enableMemory(journal, device);
    body(journal);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function command(machine: Host, folder = NVME_FOLDER): number {
  return machine.readBytes(`${folder}/config`, 4, 1)[0] ?? -1;
}

Deno.test("memory decoding is turned on through `enable`, and count and COMMAND are both put back", () => {
  const machine = sleepingMachine();
  enable(machine, () => {
    assertEquals([command(machine), machine.readText(`${NVME_FOLDER}/enable`)], [0x02, "1"] as unknown[]);
  });
  assertEquals([command(machine), machine.readText(`${NVME_FOLDER}/enable`)], [0x00, "0"] as unknown[]);
});

Deno.test("a bridge that the kernel turns on with it is put back too", () => {
  const machine = sleepingMachine().file(`${BRIDGE_FOLDER}/enable`, "0\n");
  const bridge = machine.readBytes(`${BRIDGE_FOLDER}/config`, 0, 4096).slice();
  bridge[4] = 0;
  machine.file(`${BRIDGE_FOLDER}/config`, bridge).file(
    `${BRIDGE_FOLDER}/resource`,
    "0x0 0x0 0x0\n".repeat(14) + "0xfe000000 0xfe0fffff 0x200\n",
  );
  const enableFunction = machine.onWrite;
  machine.onWrite = (path, text): void => {
    enableFunction(path, text);
    if (path !== `${NVME_FOLDER}/enable` || text !== "1") return;
    machine.file(`${BRIDGE_FOLDER}/enable`, "1\n");
    const now = bridge.slice();
    now[4] = 0x06;
    machine.file(`${BRIDGE_FOLDER}/config`, now);
  };
  enable(machine, () => assertEquals(command(machine, BRIDGE_FOLDER), 0x06));
  assertEquals(
    [command(machine, BRIDGE_FOLDER), machine.readText(`${BRIDGE_FOLDER}/enable`)],
    [0x00, "0"] as unknown[],
  );
});

Deno.test("nothing is written when memory decoding is on already", () => {
  const machine = nvmeMachine();
  enable(machine, (journal) => assertEquals(journal.path, null));
  assertEquals(machine.writes, []);
});

Deno.test("each case in which `enable` cannot help is refused before anything is written", () => {
  const cases: readonly [string, string, (machine: MadeUpMachine) => void][] = [
    ["busy", "the driver nvme holds it", (machine) => machine.link(`${NVME_FOLDER}/driver`, "../nvme")],
    ["unsupported", "counts it as enabled (1)", (machine) => machine.file(`${NVME_FOLDER}/enable`, "1\n")],
    [
      "unreachable",
      "all ones",
      (machine) => machine.file(`${NVME_FOLDER}/config`, new Uint8Array(4096).fill(0xff).with(4, 0xfd)),
    ],
  ];
  for (const [code, message, change] of cases) {
    const machine = sleepingMachine();
    change(machine);
    assertEquals(assertThrows(() => enable(machine, () => {}), BusbarError, message).code, code);
    assertEquals(machine.writes, []);
  }
});

Deno.test("a dry run tells what would be written although a driver has the function, and that it would be refused", () => {
  const machine = sleepingMachine();
  machine.link(`${NVME_FOLDER}/driver`, "../nvme");
  const lines: string[] = [];
  using journal = new UndoJournal(machine, { command: "test", dryRun: (line) => lines.push(line) });
  enableMemory(journal, { function: readPciFunction(machine, "0000:01:00.0"), host: machine });
  assertStringIncludes(lines[0] ?? "", "would be refused: ");
  assert(lines.some((line) => line.startsWith("PCI enable count of ")), lines.join("\n"));
  assertEquals(machine.writes, []);
});

Deno.test("a kernel that does not turn decoding on is told from one that does", () => {
  const machine = sleepingMachine();
  machine.onWrite = (): void => {};
  const error = assertThrows(
    () => enable(machine, () => {}),
    BusbarError,
    "memory decoding stayed off (COMMAND 0x0000)",
  );
  assertEquals(error.code, "unreachable");
  assertEquals(machine.readText(`${NVME_FOLDER}/enable`), "0");
  assert(machine.writes.length === 2);
});
