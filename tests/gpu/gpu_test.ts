/** The CUDA binding on a GPU. Skipped by name, with the reason, where there is none. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";

import { Mapping } from "../../ffi/memory.ts";
import { BusbarError } from "../../src/core/error.ts";
import { formatPciAddress } from "../../src/core/pci_address.ts";
import { CUDA_LIBRARIES, openCudaDriver } from "../../src/gpu/driver.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import mmioPtx from "../../src/gpu/kernels/mmio.ptx" with { type: "text" };
import { CudaError } from "../../src/gpu/results.ts";

/** Why there is no GPU to test on, or null. */
function whyNot(): string | null {
  try {
    using _cuda = Cuda.start(openCudaDriver(""));
    return null;
  } catch (error) {
    if (error instanceof BusbarError) return error.message;
    throw error;
  }
}

const reason = whyNot();

function test(name: string, body: (gpu: Gpu) => void | Promise<void>): void {
  if (reason !== null) return Deno.test({ name: `${name} (not run: ${reason})`, ignore: true, fn: () => {} });
  Deno.test({
    name,
    // The driver opens files and starts threads of its own, which stay.
    sanitizeResources: false,
    sanitizeOps: false,
    fn: async () => {
      using gpu = Cuda.open(0, openCudaDriver(""));
      await body(gpu);
    },
  });
}

const saxpyPtx = Deno.readTextFileSync(new URL("../fixtures/ptx/saxpy_sm75.ptx", import.meta.url));

test("the driver is NVIDIA's, and nvidia-smi names the same GPU", async (gpu) => {
  assert(CUDA_LIBRARIES.includes(gpu.driver.name) && !gpu.driver.isSoftware);
  const args = [`--id=${formatPciAddress(gpu.address)}`, "--query-gpu=name,uuid", "--format=csv,noheader"];
  const output = await new Deno.Command("nvidia-smi", { args }).output();
  assertEquals(new TextDecoder().decode(output.stdout).trim(), `${gpu.name}, ${gpu.uuid}`);
});

test("memory goes there and back, from ordinary and from pinned memory", async (gpu) => {
  const bytes = new Uint8Array(1 << 20).map((_, i) => i * 7 + (i >> 8));
  using buffer = gpu.allocate(bytes.length);
  await buffer.write(bytes);
  assertEquals(await buffer.read(), bytes);
  using pinned = gpu.allocatePinned(bytes.length);
  using stream = gpu.stream();
  buffer.queueRead(pinned, stream);
  await stream.synchronize();
  assertEquals(pinned.bytes, bytes);
});

test("a kernel that nvcc compiled computes what the CPU computes", async (gpu) => {
  using module = gpu.module(saxpyPtx);
  const count = 100_000;
  const values = Float32Array.from({ length: count }, (_, i) => i);
  using x = gpu.allocate(4 * count);
  using y = gpu.allocate(4 * count);
  await x.write(new Uint8Array(values.buffer));
  await y.write(new Uint8Array(values.buffer));
  module.function("saxpy").launch({ grid: Math.ceil(count / 256), block: 256 }, [count, 3, x, y]);
  await gpu.synchronize();
  const result = new Float32Array((await y.read()).buffer);
  assertEquals(result, values.map((value) => 4 * value));
});

test("an error in PTX comes with the assembler's line", (gpu) => {
  const error = assertThrows(() => gpu.module(saxpyPtx.replace("mul.wide.s32", "mul.wise.s32")), CudaError);
  assertEquals(error.result, 218);
  assertMatch(error.message, /line \d+/);
});

test("registered host memory is reached by a kernel", async (gpu) => {
  using memory = Mapping.anonymous(4096);
  using registered = gpu.register(memory.pointer, 4096);
  using module = gpu.module(mmioPtx);
  module.function("mmio_write32").launch({ grid: 1, block: 1 }, [registered.address + 8n, 0x1234_5678]);
  await gpu.synchronize();
  assertEquals(memory.bytes().slice(8, 12), Uint8Array.of(0x78, 0x56, 0x34, 0x12));
});

test("a kernel's fault is reported by the next wait", async (gpu) => {
  const module = gpu.module(mmioPtx);
  module.function("mmio_write32").launch({ grid: 1, block: 1 }, [16n, 1]);
  const error = await gpu.synchronize().then(() => null, (thrown) => thrown);
  assert(error instanceof CudaError && error.result >= 700);
});
