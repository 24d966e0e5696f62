/** Kernels under weak memory: a thousand seeds in all modes together. `BUSBAR_WEAK_SEEDS` takes another number for each. */

import { assertEquals } from "@std/assert";

import { withGpuLibraries } from "./gpu_nvme_device.ts";
import { firstFailingSeed, KERNELS, MODES } from "./gpu_nvme_weak.ts";

withGpuLibraries();

const SEEDS = Number(Deno.env.get("BUSBAR_WEAK_SEEDS") ?? 334);

for (const mode of MODES) {
  Deno.test(`${mode} under weak memory: none of ${SEEDS} seeds fails`, async () => {
    assertEquals(await firstFailingSeed(mode, KERNELS, 16, SEEDS), null);
  });
}
