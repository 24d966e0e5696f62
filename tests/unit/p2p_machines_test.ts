/** Steps 1 to 4 of check_p2p on the machines of tests/fixtures/machines, against the verdicts expected of them. */

import { assert, assertEquals } from "@std/assert";
import { parse } from "@std/yaml";

import { BusbarError } from "../../src/core/error.ts";
import type { Host } from "../../src/core/host.ts";
import { parsePciAddress } from "../../src/core/pci_address.ts";
import { checkP2p } from "../../src/gpu/p2p/chain.ts";
import { readMachineFile } from "../../src/pci/machine_file.ts";
import { CLASS_NVME, readPciFunction } from "../../src/pci/function.ts";
import { pciMachine, type PciMachineSpec } from "./pci_machine.ts";

interface Fixture extends PciMachineSpec {
  readonly recording?: string;
  readonly expect: readonly { from: string; to: string; class: string; writes: string }[];
}

const FOLDER = new URL("../fixtures/machines/", import.meta.url);

function hostOf(fixture: Fixture): Host {
  return fixture.recording === undefined
    ? pciMachine(fixture).host
    : readMachineFile(new URL(fixture.recording, FOLDER).pathname).host;
}

Deno.test("on every fixture with a GPU and a drive, the chain says what the pair's verdict says", async () => {
  let pairs = 0;
  for await (const { name } of Deno.readDir(FOLDER)) {
    if (!name.endsWith(".yaml")) continue;
    const fixture = parse(await Deno.readTextFile(new URL(name, FOLDER))) as unknown as Fixture;
    const host = hostOf(fixture);
    for (const { from, to, class: path, writes } of fixture.expect) {
      const [gpu, drive] = [readPciFunction(host, from), readPciFunction(host, to)];
      if (gpu.vendorId !== 0x10de || gpu.classCode >> 16 !== 3 || drive.classCode !== CLASS_NVME) continue;
      pairs++;
      const openCuda = (): never => {
        throw new BusbarError("unsupported", "no CUDA here");
      };
      const report = await checkP2p(parsePciAddress(to), { host, gpu: parsePciAddress(from), openCuda });
      const where = `${name}: ${from} to ${to}`;
      assertEquals(report.class, path, where);
      assertEquals(report.stopped, "step 5: CUDA does not start", where);
      const judged = report.checks.filter(({ step, name }) => (step === 2 || step === 3) && name !== "lockdown").map((
        { outcome },
      ) => outcome);
      assertEquals(judged.includes("fail"), writes === "no", where);
      assertEquals(judged.includes("fail") || judged.includes("unknown"), writes !== "yes", where);
      for (const { outcome, remedy, text, name: check } of report.checks) {
        assert(
          text !== "" && (outcome !== "fail" || remedy !== null || check === "drive"),
          `${where}: ${check}: ${text}`,
        );
      }
    }
  }
  assert(pairs >= 10, `${pairs} pairs of a GPU and a drive`);
});
