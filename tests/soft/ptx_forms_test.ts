import { assertEquals, assertGreaterOrEqual, assertMatch } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { CudaError } from "../../src/gpu/results.ts";
import { type FormModule, formModules, FORMS } from "./ptx/cases.ts";
import { type KernelLaunch, type KernelRunner, wrongForms } from "./ptx/runner.ts";

Deno.test.beforeAll(() => {
  using _gpu = soft(90);
});
Deno.test.afterAll(closeAll);

function soft(sm: number): Gpu {
  return Cuda.open(0, openCudaDriver(`soft:cuda?profile=sm_${sm}&memory=256MiB`));
}

/** Places in one buffer, as far apart as the device's own allocations. */
const ALIGNMENT = 256;

/** Kernels on a GPU: all inputs and outputs of a module lie in one buffer, and all launches are queued at once. */
class GpuRunner implements KernelRunner {
  readonly #gpu: Gpu;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  async run(ptx: string, launches: readonly KernelLaunch[]): Promise<Uint8Array<ArrayBuffer>[]> {
    const inputs = new Map<Uint8Array, number>();
    let end = 0;
    const place = (bytes: Uint8Array): number => {
      const offset = end;
      end = Math.ceil((end + bytes.length) / ALIGNMENT) * ALIGNMENT;
      return offset;
    };
    for (const { input } of launches) if (!inputs.has(input)) inputs.set(input, place(input));
    const outputs = launches.map(({ output }) => place(output));
    const image = new Uint8Array(end);
    for (const [input, offset] of inputs) image.set(input, offset);
    for (const [index, { output }] of launches.entries()) image.set(output, outputs[index]);

    using memory = this.#gpu.allocate(end);
    using module = this.#gpu.module(ptx);
    await memory.write(image);
    for (const [index, { kernel, grid, block, input, rows }] of launches.entries()) {
      const from = memory.address + BigInt(inputs.get(input) ?? 0);
      module.function(kernel).launch({ grid, block }, [from, memory.address + BigInt(outputs[index] ?? 0), rows]);
    }
    await this.#gpu.synchronize({ timeoutMs: 60_000 });
    const result = await memory.read();
    return launches.map(({ output }, index) =>
      result.slice(outputs[index] ?? 0, (outputs[index] ?? 0) + output.length)
    );
  }
}

/** The least device that has everything of a module. */
function profileFor(module: FormModule): number {
  return [75, 86, 90, 100].find((sm) => sm >= module.sm) ?? 100;
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
