import { assertEquals, assertGreaterOrEqual, assertMatch } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { CudaError } from "../../src/gpu/results.ts";
import { formModules, FORMS } from "./ptx/cases.ts";
import { GpuRunner, profileFor } from "./ptx/gpu_runner.ts";
import { wrongForms } from "./ptx/runner.ts";

Deno.test.beforeAll(() => {
  using _gpu = soft(90);
});
Deno.test.afterAll(closeAll);

function soft(sm: number): Gpu {
  return Cuda.open(0, openCudaDriver(`soft:cuda?profile=sm_${sm}&memory=256MiB`));
}

Deno.test("there are at least 450 forms, and no two of a family and architecture share a name", () => {
  assertGreaterOrEqual(FORMS.length, 450);
  const names = FORMS.map((form) => `${form.family} sm_${form.sm} ${form.name}`);
  assertEquals(names.filter((name, index) => names.indexOf(name) !== index), []);
});

for (const module of formModules()) {
  Deno.test(`${module.forms.length} ${module.family} forms of sm_${module.sm} give what the model gives`, async () => {
    using gpu = soft(profileFor(module));
    assertEquals(await wrongForms(new GpuRunner(gpu), module), []);
  });
}

/** Instructions that are refused when the module is loaded, with the spelling that the message must hold. */
const REFUSED: readonly [string, string][] = [
  ["frobnicate.s32 %r0, %r1;", "frobnicate"],
  ["add.s33 %r0, %r0, %r1;", "s33"],
  ["add.rq.f32 %f0, %f0, %f1;", "rq"],
  ["add.sat.u64 %rd0, %rd0, %rd1;", "add"],
  ["add.u32 %r0, %undeclared, %r1;", "%undeclared"],
  ["add.u32 %r0, %r1;", "add"],
  ["add.u32 %rd0, %r0, %r1;", "%rd0"],
  ["mov.u32 %r0, %nosuchregister;", "%nosuchregister"],
  ["bra NOWHERE;", "NOWHERE"],
  ["call missing;", "missing"],
  ["ld.global.u32 %h0, [%rd0];", "%h0"],
  ["fma.f32 %f0, %f0, %f1, %f1;", "fma"],
  ["wgmma.fence.sync.aligned;", "wgmma"],
  ["tex.2d.v4.f32.f32 {%f0, %f0, %f0, %f0}, [image, {%f0, %f1}];", "tex"],
  ["mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f0}, {%r0}, {%r1}, {%f1};", "mma"],
  ["shfl.up.b32 %r0, %r0, 1, 0;", "shfl"],
  ["ld.mmio.relaxed.gpu.global.u32 %r0, [%rd0];", "mmio"],
];

for (const [instruction, spelling] of REFUSED) {
  Deno.test(`'${instruction}' is refused with its line and spelling`, () => {
    using gpu = soft(90);
    const text = `.version 8.4
.target sm_90
.address_size 64
.visible .entry refused(.param .u64 place)
{
  .reg .b16 %h<2>; .reg .b32 %r<2>; .reg .f32 %f<2>; .reg .b64 %rd<2>;
  ${instruction}
  ret;
}
`;
    try {
      using _module = gpu.module(text);
    } catch (error) {
      if (!(error instanceof CudaError)) throw error;
      assertEquals(error.result, 218);
      assertMatch(error.hint ?? "", /line 7\b/);
      assertEquals((error.hint ?? "").includes(spelling), true, error.hint ?? "");
      return;
    }
    throw new Error("it was loaded");
  });
}
