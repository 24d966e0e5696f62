/**
 * A tool that is ended in the middle of a kernel, with commands in flight: the drive goes back to its driver.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { Mapping } from "../../ffi/memory.ts";
import { pause } from "../../src/core/deadline.ts";
import { thisMachine } from "../../src/core/host.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { bindVfio } from "../../src/pci/bind.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { IommuFaults } from "../../src/pci/iommu_faults.ts";
import { toolArgs } from "../soft/tool.ts";
import { watchCanary } from "./canary.ts";
import { blockDevice, must } from "./controllers.ts";
import type { Lab } from "./lab.ts";

const NVME = "0000:01:00.0";
const ENDS = [["SIGINT", 130], ["SIGTERM", 143], ["SIGKILL", 137]] as const;
/** More than the tool had for its data and queues. */
const CANARY_BYTES = 64 << 20;

async function sum(device: string): Promise<string> {
  const text = await must("sh", "-c", `dd if=${device} iflag=direct status=none bs=65536 count=64 | sha256sum`);
  return new TextDecoder().decode(text).slice(0, 64);
}

/** Ends the tool while its kernel has reads in flight, and watches the memory that it had. */
async function endInTheMiddle(signal: Deno.Signal, status: number): Promise<void> {
  using faults = IommuFaults.watch(NVME);
  assert(faults !== null, "the kernel's log cannot be read");
  const args = ["bench", "--random", "1", "--block-size", "64KiB", "--depth", "32", "--duration", "120s"];
  const child = new Deno.Command(Deno.execPath(), {
    args: toolArgs("gpu_nvme", [NVME, ...args]),
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; !text.includes("tier 1");) {
    const { value, done } = await reader.read();
    assert(!done, `gpu_nvme ended: ${done ? await errors : ""}`);
    text += value;
  }
  await pause(2000);
  child.kill(signal);
  const { code } = await child.status;
  await reader.cancel();
  assertEquals(code, status, await errors);
  if (signal !== "SIGKILL") assertStringIncludes(await errors, `ended by ${signal}`);
  {
    using canary = Mapping.anonymous(CANARY_BYTES, { populate: true });
    await watchCanary(canary.bytes(), 3000);
  }
  assertEquals(faults.take(), [], "accesses that the IOMMU stopped");
}

/** Registers each signal, while kernels have reads in flight. */
export function gpuNvmeSignalTests(lab: Lab): void {
  for (const [signal, status] of ENDS) {
    lab.test(
      `${signal} in the middle of a kernel: the kernel's driver has the drive again, and nobody writes into freed memory`,
      async () => {
        const before = await sum(await blockDevice(NVME, 1));
        {
          using journal = new UndoJournal(thisMachine, { command: "lab test" });
          bindVfio(journal, thisMachine, readPciFunction(thisMachine, NVME));
          await endInTheMiddle(signal, status);
        }
        assertEquals(readPciFunction(thisMachine, NVME).driver, "nvme", "the kernel has it again");
        assertEquals(await sum(await blockDevice(NVME, 1)), before, "read by the kernel's driver");
        closeAll();
      },
      { timeoutMs: 240_000 },
    );
  }
}
