/**
 * `gpu_nvme paths` on a drive that the kernel's driver has: the kernel's ways, then those through VFIO, and back.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { thisMachine } from "../../src/core/host.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import { toolArgs } from "../soft/tool.ts";
import { blockDevice } from "./controllers.ts";
import type { Lab } from "./lab.ts";

const NVME = "0000:01:00.0";

/** Registers the test of all ways in one run. */
export function gpuNvmePathsTest(lab: Lab): void {
  lab.test(
    "every way from the kernel's drive to a GPU is measured in one run, and the kernel has it again",
    async () => {
      await blockDevice(NVME, 1);
      const args = toolArgs("gpu_nvme", [NVME, "paths", "--block-size", "64KiB", "--duration", "300ms", "--json"]);
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
      const { ways } = JSON.parse(new TextDecoder().decode(stdout));
      for (const { name, missing, figures } of ways) {
        if (name === "kernel's P2PDMA" || name === "cuFile") continue;
        assert(Number(figures?.bytes) > 0, `${name}: ${missing}`);
      }
      assertEquals(ways.length, 9);
      assertEquals(readPciFunction(thisMachine, NVME).driver, "nvme");
    },
    { timeoutMs: 240_000 },
  );
}
