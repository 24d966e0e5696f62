/**
 * check_p2p on a real kernel with a drive and no GPU: how far it goes, and that it leaves everything as it was.
 * For topology.test.ts.
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { thisMachine } from "../../src/core/host.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { findRegister, maskedValue } from "../../src/core/named_register.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { closeAll } from "../../ffi/library.ts";
import { Mapping } from "../../ffi/memory.ts";
import { MappedMmio } from "../../ffi/mmio.ts";
import { checkDisabled, writeTest } from "../../src/gpu/p2p/access.ts";
import type { P2pReport } from "../../src/gpu/p2p/report.ts";
import { openPciDevice } from "../../src/pci/open_device.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { lockFunction } from "../../src/pci/lock.ts";
import { configTables, openWritableBar, writeConfig, writeRegister } from "../../src/pci/register_access.ts";
import { parsePciAddress } from "../../src/core/pci_address.ts";
import { toolArgs } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";
import { controllerOf, output } from "./programs.ts";

const AQA = 0x24;
const DRIVER = "/sys/bus/pci/drivers/nvme";

async function addressOf(serial: string): Promise<string> {
  return await Deno.readTextFile(`/sys/class/nvme/${await controllerOf(serial)}/address`).then((text) => text.trim());
}

/** Configuration space of every function, and the drive's registers: what a write would show in. */
function stateOf(drive: string): Record<string, string> {
  const state: Record<string, string> = {};
  for (const name of thisMachine.list("/sys/bus/pci/devices")) {
    state[name] = thisMachine.readBytes(`/sys/bus/pci/devices/${name}/config`, 0, 4096).toHex();
  }
  const address = parsePciAddress(drive);
  using device = openPciDevice({ kind: "pci", text: drive, host: null, address });
  state.registers = device.bar(0, { sizeBytes: 0x1000 }).readBlock(0, 0x1000, 4).toHex();
  return state;
}

async function check(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<[number, P2pReport, string]> {
  const command = new Deno.Command(Deno.execPath(), { args: toolArgs("check_p2p", [...args, "--json"]), env });
  const { code, stdout, stderr } = await command.output();
  const said = new TextDecoder().decode(stderr);
  assert(stdout.length > 0, said);
  return [code, JSON.parse(new TextDecoder().decode(stdout)), said];
}

/** Runs `body` with the drive unbound and reset, and gives it back to the kernel. */
async function unbound(drive: string, body: (folder: string) => Promise<void>): Promise<void> {
  const folder = `/sys/bus/pci/devices/${drive}`;
  await Deno.writeTextFile(`${DRIVER}/unbind`, drive);
  try {
    await body(folder);
  } finally {
    await Deno.writeTextFile(`${DRIVER}/bind`, drive);
    closeAll();
  }
}

/** Registers the tests. */
export function checkP2pTests(lab: Lab): void {
  lab.test("check_p2p without a GPU: steps 1 to 4, what it could not tell, exit 3, and nothing is written", async () => {
    const drive = await addressOf("TOPO-C");
    const before = stateOf(drive);
    const [code, report] = await check([drive]);
    assertEquals(stateOf(drive), before);
    closeAll();
    assertEquals([code, report.verdict, report.level, report.gpu], [3, "unknown", "none", null] as unknown[]);
    assertEquals([...new Set(report.checks.map(({ step }) => step))], [1, 2, 3, 4, 5]);
    const outcomes = Object.fromEntries(report.checks.map(({ name, outcome }) => [name, outcome]));
    assertEquals(outcomes, {
      "drive": "pass",
      "GPU": "unknown",
      "path": "unknown",
      "ACS": "unknown",
      "IOMMU": "unknown",
      "lockdown": "pass",
      "mapping": "pass",
      "GPU driver": "unknown",
      "kernel": "unknown",
      "privilege": "pass",
      "CUDA": "unknown",
    });
    assertEquals(report.stopped, "step 5: CUDA does not start");
    assertMatch(report.summary, /^not determined: step 5, CUDA: there is no CUDA driver/);
    const group = report.checks.find(({ name }) => name === "IOMMU");
    const real = await Deno.readLink(`/sys/bus/pci/devices/${drive}/iommu_group`);
    assertStringIncludes(group?.text ?? "", `group ${real.split("/").at(-1)}`);
  });

  lab.test(
    "check_p2p's write test, made by the CPU: arrives, is put back, and is refused while the drive runs",
    async () => {
      const drive = await addressOf("TOPO-C");
      await unbound(drive, async (folder) => {
        const fn = readPciFunction(thisMachine, drive);
        using _lock = lockFunction(thisMachine, fn);
        using mapping = Mapping.file(`${folder}/resource0`, 0x4000, { writable: true });
        using bar0 = new MappedMmio("BAR0", mapping.registers, 0x4000);
        const written: number[] = [];
        const byCpu = (offset: number, value: number): Promise<void> => {
          written.push(offset);
          bar0.write32(offset, value);
          return Promise.resolve();
        };
        // Linux shut it down and left it enabled.
        const running = await writeTest(bar0, drive, byCpu);
        assertEquals([running.outcome, written], ["unknown", []] as unknown[]);
        assertStringIncludes(running.remedy ?? "", "/reset");
        await Deno.writeTextFile(`${folder}/reset`, "1");
        checkDisabled(bar0, drive);
        bar0.write32(AQA, 0x001f_000f);
        const passed = await writeTest(bar0, drive, byCpu);
        assertEquals(passed.outcome, "pass", passed.text);
        assertEquals([bar0.read32(AQA), written], [0x001f_000f, [AQA]] as unknown[]);
        const lost = await writeTest(bar0, drive, () => Promise.resolve());
        assertEquals([lost.outcome, bar0.read32(AQA)], ["fail", 0x001f_000f] as unknown[]);
      });
    },
    { timeoutMs: 120_000 },
  );

  lab.test(
    "check_p2p with the software CUDA device maps without a trace, writes once when told, and promises nothing",
    async () => {
      const drive = await addressOf("TOPO-C");
      const env = { BUSBAR_CUDA: "soft" };
      await unbound(drive, async (folder) => {
        await Deno.writeTextFile(`${folder}/reset`, "1");
        const before = stateOf(drive);
        const [code, mapped] = await check([drive], env);
        assertEquals([code, mapped.level, mapped.verdict], [3, "mapped", "unknown"] as unknown[]);
        assertStringIncludes(mapped.checks.at(-1)?.text ?? "", "nothing on the drive has been touched");
        assertEquals(stateOf(drive), before);
        const [, written] = await check([drive, "--write-test", "--read-test"], env);
        assertEquals([written.level, written.verdict], ["writes arrive", "unknown"]);
        assertEquals(written.stopped, "step 8: a read may lose the drive");
        assertEquals(stateOf(drive), before);
      });
      const [, bound] = await check([drive, "--write-test"], env);
      assertStringIncludes(bound.checks.at(-1)?.text ?? "", "the driver nvme has it");
    },
    { timeoutMs: 120_000, isLong: true },
  );

  lab.test("one register of configuration space is written as setpci sees it, one of a BAR as dump_bar0 does", async () => {
    const drive = await addressOf("TOPO-C");
    const locator = parseLocator(drive);
    assertThrows(() => openWritableBar(locator), BusbarError, "the driver nvme has it");
    await unbound(drive, async (folder) => {
      await Deno.writeTextFile(`${folder}/reset`, "1");
      const command = async (): Promise<number> => parseInt(await output("setpci", "-s", drive, "COMMAND"), 16);
      const before = await command();
      const fn = readPciFunction(thisMachine, drive);
      const register = findRegister(configTables(fn.config), "COMMAND");
      const INTX_DISABLE = 0x400;
      {
        using journal = new UndoJournal(thisMachine, { command: "lab test" });
        const wanted = BigInt(INTX_DISABLE & ~before);
        const value = maskedValue(register, BigInt(before), wanted, BigInt(INTX_DISABLE));
        writeConfig(journal, fn, register.offset, register.accessBytes, value);
        assertEquals(await command(), before ^ INTX_DISABLE);
        writeConfig(journal, fn, register.offset, register.accessBytes, BigInt(before));
      }
      assertEquals(await command(), before);
      using bar = openWritableBar(locator);
      writeRegister(bar.mmio, AQA, 4, 0x0003_0003n);
      using other = openPciDevice(locator);
      assertEquals(other.bar(0).read32(AQA), 0x0003_0003);
    });
  });
}
