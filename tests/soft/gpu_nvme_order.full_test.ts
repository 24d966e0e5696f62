/** Kernels under weak memory: a fixed share of the thousand seeds. `BUSBAR_WEAK_SEEDS=1000` tries them all. */

import { assertEquals } from "@std/assert";

import { withGpuLibraries } from "./gpu_nvme_device.ts";
import { firstFailingSeed, KERNELS, MODES } from "./gpu_nvme_weak.ts";

withGpuLibraries();

const SEEDS = Number(Deno.env.get("BUSBAR_WEAK_SEEDS") ?? 150);

for (const mode of MODES) {
  Deno.test(`${mode} under weak memory: none of ${SEEDS} seeds fails`, async () => {
    assertEquals(await firstFailingSeed(mode, KERNELS, 16, SEEDS), null);
  });
}
