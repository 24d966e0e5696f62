/** PTX that nvcc made for four architectures computes what it should, whatever the number of threads. */

import { closeAll } from "../../ffi/library.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { KERNEL_CASES, Kernels } from "./ptx/kernel_cases.ts";
import { ROUNDED_CASES } from "./ptx/rounded_cases.ts";

const TARGETS = [75, 86, 90, 100];

function soft(sm: number): Gpu {
  return Cuda.open(0, openCudaDriver(`soft:cuda?profile=sm_${sm}&memory=256MiB`));
}

Deno.test.beforeAll(() => {
  using _gpu = soft(90);
});
Deno.test.afterAll(closeAll);

function fixture(file: string, sm: number): string | null {
  try {
    return Deno.readTextFileSync(new URL(`../fixtures/ptx/${file}_sm${sm}.ptx`, import.meta.url));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

for (const { file, title, run } of [...KERNEL_CASES, ...ROUNDED_CASES]) {
  for (const sm of TARGETS) {
    const text = fixture(file, sm);
    if (text === null) continue;
    Deno.test(`${title}: PTX of sm_${sm}`, async () => {
      using gpu = soft(sm);
      using module = gpu.module(text);
      await run(new Kernels(gpu, module), sm);
    });
  }
}
