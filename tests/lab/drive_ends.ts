/**
 * A tool that is ended while a drive works for it behind an IOMMU: the drive goes back to its driver, and nobody writes into the
 * memory that was freed.
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
const STATUS = { SIGINT: 130, SIGTERM: 143, SIGKILL: 137 } as const;
/** More than the tool had for its data and queues. */
const CANARY_BYTES = 64 << 20;

/** What is ended. */
interface Ended {
  readonly what: string;
  readonly tool: readonly [name: string, ...options: string[]];
  /** What it prints once reads are under way. */
  readonly begun: RegExp;
}

const TIMELINE = ["--timeline", "-", "--interval", "200ms"] as const;
/** The second row: the first may have begun before the first read came back. */
const TWO_ROWS = /(?:^bench,.*\n){2}/m;

/** The loop of jobs, polling and with interrupts, and kernels of a GPU. */
const ENDED: Readonly<Record<"loop" | "interrupts" | "kernels", Ended>> = {
  loop: { what: "the loop of a job has 32 reads in flight", tool: ["nvme_io", ...TIMELINE], begun: TWO_ROWS },
  interrupts: {
    what: "the loop of a job waits for interrupts",
    tool: ["nvme_io", "--interrupts", ...TIMELINE],
    begun: TWO_ROWS,
  },
  kernels: { what: "a kernel has 32 reads in flight", tool: ["gpu_nvme"], begun: /tier 1/ },
};

async function sum(device: string): Promise<string> {
  const text = await must("sh", "-c", `dd if=${device} iflag=direct status=none bs=65536 count=64 | sha256sum`);
  return new TextDecoder().decode(text).slice(0, 64);
}

/** Ends the tool while it has reads in flight, and watches the memory that it had. */
async function endInTheMiddle({ tool: [name, ...options], begun }: Ended, signal: keyof typeof STATUS): Promise<void> {
  using faults = IommuFaults.watch(NVME);
  assert(faults !== null, "the kernel's log cannot be read");
  const args = ["bench", "--random", "1", "--block-size", "64KiB", "--depth", "32", "--duration", "120s", ...options];
  const child = new Deno.Command(Deno.execPath(), {
    args: toolArgs(name, [NVME, ...args]),
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; !begun.test(text);) {
    const { value, done } = await reader.read();
    assert(!done, `${name} ended: ${done ? await errors : ""}`);
    text += value;
  }
  await pause(1000);
  child.kill(signal);
  const { code } = await child.status;
  await reader.cancel();
  assertEquals(code, STATUS[signal], await errors);
  if (signal !== "SIGKILL") assertStringIncludes(await errors, `ended by ${signal}`);
  {
    using canary = Mapping.anonymous(CANARY_BYTES, { populate: true });
    await watchCanary(canary.bytes(), 3000);
  }
  assertEquals(faults.take(), [], "accesses that the IOMMU stopped");
}

/** Registers what must hold when a signal ends a tool in the middle of its reads. */
export function driveEndTest(lab: Lab, which: keyof typeof ENDED, signal: keyof typeof STATUS): void {
  const ended = ENDED[which];
  lab.test(
    `${signal} while ${ended.what}: the kernel's driver has the drive again, and nobody writes into freed memory`,
    async () => {
      const before = await sum(await blockDevice(NVME, 1));
      {
        using journal = new UndoJournal(thisMachine, { command: "lab test" });
        bindVfio(journal, thisMachine, readPciFunction(thisMachine, NVME));
        await endInTheMiddle(ended, signal);
      }
      assertEquals(readPciFunction(thisMachine, NVME).driver, "nvme", "the kernel has it again");
      assertEquals(await sum(await blockDevice(NVME, 1)), before, "read by the kernel's driver");
      closeAll();
    },
    { timeoutMs: 240_000 },
  );
}
