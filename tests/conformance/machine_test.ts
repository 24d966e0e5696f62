/** The implementations of `Machine`. */

import { closeAll } from "../../ffi/library.ts";
import { localMachine, localMachineWith } from "../../ffi/machine.ts";
import { Mapping, pageSizeBytes } from "../../ffi/memory.ts";
import { readBarrier } from "../../ffi/mmio.ts";
import { localLoops } from "../../ffi/membench.ts";
import { openOradaxDriver } from "../../ffi/oradax_driver.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import { type Machine, TextMachine } from "../../src/core/machine.ts";
import { ifReadable } from "../../src/core/host.ts";
import { formatMachine, parseMachine } from "../../src/pci/machine_file.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { recordedMachine } from "../../src/pci/recorded_device.ts";
import { agentMachine } from "../soft/agent.ts";
import { NVME_FOLDER, nvmeMachine } from "../unit/machines.ts";
import {
  KEEPS_NOTHING_OPEN,
  type MachineImplementation,
  type MachineUnderTest,
  REGISTER_BYTES,
  registerFile,
  testMachine,
} from "./machine_conformance.ts";

// Libraries are opened before the first test, so that no test seems to leak one.
Deno.test.beforeAll(async () => {
  readBarrier();
  using memory = Mapping.anonymous(pageSizeBytes());
  await localLoops.prepareTable({ memory, offset: 0, sizeBytes: 4096 });
  ifReadable(() => openOradaxDriver("/nowhere/oradax1"));
  using file = localMachine.openNvmeAdmin("/dev/null");
  await file.execute(new Uint32Array(16), null, null, 1).catch(() => {});
  using agent = byAgent();
  agent.machine.host.list("/sys");
});
Deno.test.afterAll(closeAll);

function onDisk(machine: Machine): MachineUnderTest {
  const folder = Deno.realPathSync(Deno.makeTempDirSync());
  Deno.writeFileSync(`${folder}/resource0`, registerFile());
  return {
    machine,
    folder,
    registers: `${folder}/resource0`,
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

const inMemory = {
  folder: NVME_FOLDER,
  registers: `${NVME_FOLDER}/resource0`,
  [Symbol.dispose]: (): void => {},
};

/** A recording of the made-up machine with its BAR0, through the text that is saved. */
function recorded(): Machine {
  const host = nvmeMachine();
  const fn = readPciFunction(host, "0000:01:00.0");
  const pieces = [{ offset: 0, bytes: registerFile() }];
  const text = formatMachine(host, [fn], [{ device: fn.name, bar: 0, sizeBytes: REGISTER_BYTES, pieces }]);
  return recordedMachine(parseMachine(text, "saved.dump"));
}

const NO_WRITES = "a recording is not changed";
const NO_PROGRAM = "nothing runs on a recording";
const RECORDED: Readonly<Record<string, string>> = {
  "registers that are mapped to be written are written": NO_WRITES,
  "registers that were closed are refused": KEEPS_NOTHING_OPEN,
  "what a path is, is told; null where nothing is": "what stat says is not recorded",
  "memory is mapped zeroed, holds what is written to it, and is refused after it was closed": NO_PROGRAM,
  "a file is mapped, and what is written to it is in it": NO_PROGRAM,
  "loops run on memory and count what they did": NO_PROGRAM,
  "random updates made twice leave the table as it was": NO_PROGRAM,
  "an NVMe controller that is not there is absent, and what is none takes no command": NO_PROGRAM,
  "an accelerator that is not there is absent": NO_PROGRAM,
};

const ONLY_TEXT = "it has text interfaces only";
const TEXT: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.keys(RECORDED).map((point) => [point, ONLY_TEXT])),
  "registers are read in every width, at their offset in the file": ONLY_TEXT,
  "a part of the registers has the offsets of the whole": ONLY_TEXT,
  "an access that is not aligned or not inside is refused": ONLY_TEXT,
  "registers that are not there, or longer than the file, are an error that names the file": ONLY_TEXT,
};

/** An agent that sees a folder as its machine. */
function byAgent(): MachineUnderTest {
  const root = Deno.realPathSync(Deno.makeTempDirSync());
  Deno.mkdirSync(`${root}/sys/device`, { recursive: true });
  Deno.writeFileSync(`${root}/sys/device/resource0`, registerFile());
  const machine = agentMachine(root);
  return {
    machine,
    folder: "/sys/device",
    registers: "/sys/device/resource0",
    [Symbol.dispose](): void {
      machine[Symbol.dispose]();
      Deno.removeSync(root, { recursive: true });
    },
  };
}

const ELSEWHERE = "its memory is not memory of this process";

const IMPLEMENTATIONS: readonly MachineImplementation[] = [
  { name: "this machine", make: () => onDisk(localMachine), cannot: {} },
  {
    name: "this machine with other text interfaces",
    make: () => onDisk(localMachineWith(nvmeMachine())),
    cannot: {},
  },
  {
    name: "agent",
    make: byAgent,
    cannot: {
      "memory is mapped zeroed, holds what is written to it, and is refused after it was closed": ELSEWHERE,
      "a file is mapped, and what is written to it is in it": ELSEWHERE,
    },
  },
  { name: "recorded machine", make: () => ({ machine: recorded(), ...inMemory }), cannot: RECORDED },
  {
    name: "made-up machine",
    make: () => ({ machine: new TextMachine(nvmeMachine()), ...inMemory }),
    cannot: TEXT,
  },
  {
    name: "faulty double without faults",
    make: () => ({ machine: new TextMachine(new FaultyHost(nvmeMachine(), [])), ...inMemory }),
    cannot: TEXT,
  },
];

for (const implementation of IMPLEMENTATIONS) testMachine(implementation);
