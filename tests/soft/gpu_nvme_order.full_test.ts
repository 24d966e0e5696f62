/** Kernels under a thousand seeds of weak memory. */

import { assertEquals } from "@std/assert";

import { withGpuLibraries } from "./gpu_nvme_device.ts";
import { firstFailingSeed, KERNELS, MODES } from "./gpu_nvme_weak.ts";

withGpuLibraries();

for (const mode of MODES) {
  Deno.test(`${mode} under weak memory: none of 1,000 seeds fails`, async () => {
    assertEquals(await firstFailingSeed(mode, KERNELS, 1, 1000), null);
  });
}
