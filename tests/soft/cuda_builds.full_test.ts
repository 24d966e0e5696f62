/** All forms and all kernels give the same in each build of the engine, and with one, two and eight threads. */

import { assertEquals } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { formModules } from "./ptx/cases.ts";
import { GpuRunner, profileFor } from "./ptx/gpu_runner.ts";
import { KERNEL_CASES, Kernels } from "./ptx/kernel_cases.ts";
import { ROUNDED_CASES } from "./ptx/rounded_cases.ts";
import { wrongForms } from "./ptx/runner.ts";

function open(sm: number, isa: string, threads: number): Gpu {
  return Cuda.open(0, openCudaDriver(`soft:cuda?profile=sm_${sm}&memory=256MiB&isa=${isa}&threads=${threads}`));
}

Deno.test.beforeAll(() => {
  using _gpu = open(90, "baseline", 1);
});
Deno.test.afterAll(closeAll);

/** Why this processor cannot run a build, or null. */
function missing(isa: string): string | null {
  if (isa === "baseline") return null;
  try {
    using _gpu = open(90, isa, 1);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const VARIANTS: readonly (readonly [string, number])[] = [
  ["baseline", 1],
  ["baseline", 8],
  ["avx2", 1],
  ["avx2", 2],
  ["avx2", 8],
  ["avx512", 1],
  ["avx512", 2],
];

for (const [isa, threads] of VARIANTS) {
  const why = missing(isa);
  const title = `all forms and kernels in the ${isa} build with ${threads} threads`;
  Deno.test({
    name: why === null ? title : `${title} (not run: ${why})`,
    ignore: why !== null,
    fn: async () => {
      for (const module of formModules()) {
        using gpu = open(profileFor(module), isa, threads);
        assertEquals(await wrongForms(new GpuRunner(gpu), module), []);
      }
      for (const { file, run } of [...KERNEL_CASES, ...ROUNDED_CASES]) {
        for (const sm of [75, 100]) {
          using gpu = open(sm, isa, threads);
          using module = gpu.module(
            await Deno.readTextFile(new URL(`../fixtures/ptx/${file}_sm${sm}.ptx`, import.meta.url)),
          );
          await run(new Kernels(gpu, module), sm);
        }
      }
    },
  });
}
