import { assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { findRegister, maskedValue } from "../../src/core/named_register.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { NVME_REGISTERS } from "../../src/nvme/tables/registers.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { configTables, configValue, refuseHeld, writeConfig } from "../../src/pci/register_access.ts";
import { nvmeConfig, nvmeMachine } from "./machines.ts";

const NVME = [{ prefix: "", base: 0, layout: NVME_REGISTERS }];

const X = { name: "x", configEnds: null };

Deno.test("a register is found by name in any case, and by offset; its width is its own unless another is given", () => {
  for (const text of ["AQA", "aqa", "0x24", "36"]) {
    const { name, offset, accessBytes, row } = findRegister(NVME, text);
    assertEquals([name, offset, accessBytes, row?.name], ["AQA", 0x24, 4, "AQA"] as unknown[]);
  }
  assertEquals(findRegister(NVME, "ASQ").accessBytes, 8);
  // A part of a register is not explained as the whole.
  assertEquals(findRegister(NVME, "ASQ", 4).row, null);
  assertEquals(findRegister(NVME, "0x1000"), { name: null, offset: 0x1000, accessBytes: 4, row: null });
  assertThrows(() => findRegister(NVME, "AQB"), BusbarError, "there is no register 'AQB'");
});

Deno.test("only the bits under the mask change, and a value outside of it is refused", () => {
  const register = findRegister(NVME, "AQA");
  assertEquals(maskedValue(register, 0x001f_001fn, 0x7n, 0xfffn), 0x001f_0007n);
  assertEquals(maskedValue(register, 0x001f_001fn, 0x7n, null), 7n);
  assertThrows(() => maskedValue(register, 0n, 0x1000n, 0xfffn), BusbarError, "0x1000 does not fit 0xfff");
  assertThrows(() => maskedValue(register, 0n, 1n << 32n, null), BusbarError, "does not fit");
});

Deno.test("registers of configuration space have the capability's name before theirs", () => {
  const tables = configTables(nvmeConfig());
  assertEquals(findRegister(tables, "COMMAND").offset, 4);
  assertEquals(findRegister(tables, "PM.PMCSR").offset, 0x44);
  assertEquals(configValue(nvmeConfig(), 0, 2, X), 0x1b36n);
  assertThrows(() => configValue(nvmeConfig().subarray(0, 64), 0x44, 2, X), BusbarError, "only 64 bytes");
  assertThrows(() => configValue(nvmeConfig(), 0x1000, 4, X), BusbarError, "not in configuration space");
});

Deno.test("a configuration register is written in one write of its width, and kept", () => {
  const machine = nvmeMachine();
  const fn = readPciFunction(machine, "0000:01:00.0");
  const folder = Deno.makeTempDirSync();
  try {
    {
      using journal = new UndoJournal(machine, { command: "test", folder: `${folder}/journals` });
      writeConfig(journal, fn, 4, 2, 0x0002n);
    }
    assertEquals(machine.writes, ["/sys/bus/pci/devices/0000:01:00.0/config@4=0200"]);
    assertEquals(Array.from(Deno.readDirSync(folder)).filter(({ isFile }) => isFile), []);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
  assertThrows(() => refuseHeld(fn, "config", false), BusbarError, "the driver nvme has it");
  refuseHeld(fn, "config", true);
});
