import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { closeAll } from "../../ffi/library.ts";
import { Mapping } from "../../ffi/memory.ts";
import mmioPtx from "../../src/gpu/kernels/mmio.ptx" with { type: "text" };
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { CudaError } from "../../src/gpu/results.ts";

Deno.test.beforeAll(() => {
  using _gpu = soft();
  using _memory = Mapping.anonymous(4096);
});
Deno.test.afterAll(closeAll);

function soft(settings = ""): Gpu {
  return Cuda.open(0, openCudaDriver(settings === "" ? "soft" : `soft:cuda?${settings}`));
}

function floats(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  return new Float32Array(bytes.buffer);
}

const fixture = (name: string): string => Deno.readTextFileSync(new URL(`../fixtures/ptx/${name}`, import.meta.url));

/** The result of a driver's failure, or null. */
async function resultOf(body: () => unknown): Promise<number | null> {
  try {
    await body();
    return null;
  } catch (error) {
    if (error instanceof CudaError) return error.result;
    throw error;
  }
}

Deno.test("a GPU tells who it is, and that it is none", () => {
  using gpu = soft("bus=0x42&memory=16MiB&cc=86");
  assertEquals(gpu.name, "busbar software CUDA device");
  assertEquals(gpu.driver.isSoftware, true);
  assertEquals(gpu.address, { domain: 0, bus: 0x42, device: 0, function: 0 });
  assertEquals(gpu.memoryBytes, 16 << 20);
  assertEquals(gpu.capability, "8.6");
  assertEquals(gpu.cuda.version, 13000);
  assertEquals(gpu.attribute("WARP_SIZE"), 32);
  assertEquals(gpu.attribute(100_000), null, "an attribute that the driver does not know is unknown, not a failure");
  assertEquals(gpu.uuid, `GPU-${"62757362-6172-2d73-6f66-747761726500"}`);
});

Deno.test("devices are found by ordinal and by PCI address", async () => {
  using cuda = Cuda.start(openCudaDriver("soft:cuda?devices=2"));
  assertEquals(cuda.count, 2);
  using second = cuda.gpu("0000:66:00.0");
  assertEquals(second.device, 1);
  assertEquals(await resultOf(() => cuda.gpu(2)), 101);
  assertEquals(await resultOf(() => cuda.gpu("0000:01:00.0")), 101);
});

Deno.test("memory goes there and back, also in part, and is refused beyond its end", async () => {
  using gpu = soft("memory=1MiB");
  using buffer = gpu.allocate(8192);
  const bytes = crypto.getRandomValues(new Uint8Array(8192));
  await buffer.write(bytes);
  assertEquals(await buffer.read(), bytes);
  assertEquals(await buffer.read(100, 5000), bytes.slice(5000, 5100));
  using other = gpu.allocate(4096);
  await other.copyFrom(buffer);
  assertEquals(await other.read(), bytes.slice(0, 4096));
  await assertRejects(() => buffer.write(bytes, 1), BusbarError, "8192 bytes at 1");
  buffer.fill(0xdead_beef, 4);
  await gpu.synchronize();
  assertEquals(new Set(new Uint32Array((await buffer.read()).buffer)), new Set([0xdead_beef]));
  assertEquals(gpu.freeMemoryBytes, (1 << 20) - 8192 - 4096);
  assertEquals(await resultOf(() => gpu.allocate(1 << 20)), 2);
  assertThrows(() => gpu.allocate(0), BusbarError);
});

for (const name of ["saxpy_sm75.ptx", "saxpy_sm100.ptx"]) {
  Deno.test(`${name}, as nvcc compiled it, computes what the CPU computes`, async () => {
    const cc = name.includes("100") ? "100" : "75";
    using gpu = soft(`cc=${cc}`);
    using module = gpu.module(fixture(name));
    const count = 1000;
    const xs = Float32Array.from({ length: count }, (_, i) => Math.fround(i / 7));
    const ys = Float32Array.from({ length: count }, (_, i) => Math.fround(Math.sin(i)));
    using x = gpu.allocate(4 * count);
    using y = gpu.allocate(4 * count);
    await x.write(new Uint8Array(xs.buffer));
    await y.write(new Uint8Array(ys.buffer));
    const factor = Math.fround(2.3);
    module.function("saxpy").launch({ grid: Math.ceil(count / 128), block: 128 }, [count, factor, x, y]);
    await gpu.synchronize();
    const result = floats(await y.read());
    for (let i = 0; i < count; i++) {
      // A fused multiply-add rounds once; f64 holds the product of two f32 exactly, so rounding its sum twice is rarely off.
      const exact = factor * (xs[i] ?? 0) + (ys[i] ?? 0);
      assert(Math.abs((result[i] ?? NaN) - exact) <= Math.abs(exact) * 2 ** -24 + 2 ** -149, `element ${i}`);
    }
  });
}

Deno.test("arguments are checked against the kernel's parameters", () => {
  using gpu = soft("cc=75");
  using module = gpu.module(fixture("saxpy_sm75.ptx"));
  const saxpy = module.function("saxpy");
  const shape = { grid: 1, block: 1 };
  using x = gpu.allocate(4);
  assertThrows(() => saxpy.launch(shape, [1, 2, x]), BusbarError, "takes 4 arguments, not 3");
  assertThrows(() => saxpy.launch(shape, [x, 2, x, x]), BusbarError, "cannot hold an address");
  assertThrows(() => saxpy.launch(shape, [2 ** 32, 2, x, x]), BusbarError, "4294967296 does not fit");
  assertThrows(() => saxpy.launch(shape, [1, 2n, x, x]), BusbarError, "not bigint");
  assertThrows(() => saxpy.launch({ grid: 0, block: 1 }, [1, 2, x, x]), BusbarError, "a grid or block of 0");
  assertThrows(() => module.function("saxpi"), BusbarError, "500 NOT_FOUND");
});

Deno.test("PTX that the assembler refuses is named by line", () => {
  using gpu = soft("cc=75&version=12020");
  const body = (line: string): string =>
    `.version 8.0\n.target sm_70\n.address_size 64\n.entry k()\n{\n${line}\nret;\n}\n`;
  const error = assertThrows(() => gpu.module(body("frobnicate.u32 %r1;")), CudaError);
  assertEquals(error.result, 218);
  assertStringIncludes(error.message, "line 6; error   : 'frobnicate.u32': unknown instruction");
  for (
    const [line, why] of [
      ["mov.u32 %r1, 5;", "%r1"],
      ["bra nowhere;", "'nowhere'"],
      ["tex.2d.v4.s32.s32 {%r1, %r2, %r3, %r4}, [t, {%r1, %r2}];", "tex"],
      [".reg .b32 %r<2>; ld.param.u32 %r1, [p];", "'p'"],
      [".reg .b32 %r<2>; st.global.u32 %r1, %r1;", "line 6"],
    ]
  ) {
    assertStringIncludes(assertThrows(() => gpu.module(body(line ?? "")), CudaError).message, why ?? "");
  }
  assertEquals(assertThrows(() => gpu.module(".version 9.0\n.target sm_70\n"), CudaError).result, 222);
  assertStringIncludes(
    assertThrows(() => gpu.module(".version 8.0\n.target sm_90\n"), CudaError).message,
    "above the device's compute capability",
  );
  assertEquals(assertThrows(() => gpu.module("hello"), CudaError).result, 200);
  assertEquals(assertThrows(() => gpu.module(new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 0])), CudaError).result, 209);
});

Deno.test("random bytes and cut-off text never load as PTX, and never end the process", () => {
  using gpu = soft();
  const text = fixture("saxpy_sm75.ptx");
  for (let length = text.indexOf(".visible") + 20; length < text.lastIndexOf("}"); length += 7) {
    assertThrows(() => gpu.module(text.slice(0, length)), BusbarError);
  }
  for (let round = 0; round < 300; round++) {
    const at = Math.floor(Math.random() * text.length);
    const spoilt = text.slice(0, at) + String.fromCharCode(32 + Math.floor(Math.random() * 95)) + text.slice(at + 1);
    try {
      gpu.module(spoilt)[Symbol.dispose]();
    } catch (error) {
      assert(error instanceof BusbarError, String(error));
    }
  }
});

/** A kernel that runs until *flag is not zero, and then puts 7 behind it. */
const WAITER = `.version 7.0\n.target sm_70\n.address_size 64
.visible .entry waiter(.param .u64 flag)
{
  .reg .pred %p<2>; .reg .b32 %r<3>; .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [flag];
again:
  ld.volatile.global.u32 %r1, [%rd1];
  setp.eq.u32 %p1, %r1, 0;
  @%p1 bra again;
  mov.u32 %r2, 7;
  st.global.u32 [%rd1+4], %r2;
  ret;
}`;

Deno.test("a kernel runs while the host goes on, and sees what the host writes to pinned memory", async () => {
  using gpu = soft();
  using module = gpu.module(WAITER);
  using flag = gpu.allocatePinned(8);
  using stream = gpu.stream();
  module.function("waiter").launch({ grid: 1, block: 1, stream }, [flag]);
  assertEquals(stream.isDone, false);
  const timeout = await assertRejects(
    () => stream.synchronize({ timeoutMs: 20 }),
    BusbarError,
    "did not happen within",
  );
  assertEquals(timeout.code, "timeout");
  flag.bytes[0] = 1;
  await stream.synchronize();
  assertEquals(flag.bytes[4], 7);
});

Deno.test("closing a GPU ends a kernel that loops for ever", () => {
  using gpu = soft();
  const module = gpu.module(WAITER);
  const flag = gpu.allocate(8);
  module.function("waiter").launch({ grid: 1, block: 1, stream: gpu.stream() }, [flag]);
});

Deno.test("a signal ends a wait", async () => {
  using gpu = soft();
  using module = gpu.module(WAITER);
  using flag = gpu.allocatePinned(8);
  using stream = gpu.stream();
  module.function("waiter").launch({ grid: 1, block: 1, stream }, [flag]);
  const signal = AbortSignal.timeout(20);
  await assertRejects(() => stream.synchronize({ signal }));
  flag.bytes[0] = 1;
});

Deno.test("events are reached in order, measure time, and hold streams back", async () => {
  using gpu = soft();
  using module = gpu.module(WAITER);
  using flag = gpu.allocatePinned(8);
  using first = gpu.stream();
  using second = gpu.stream();
  using start = gpu.event();
  using end = gpu.event();
  start.record(first);
  module.function("waiter").launch({ grid: 1, block: 1, stream: first }, [flag]);
  end.record(first);
  second.waitFor(end);
  using buffer = gpu.allocate(4);
  buffer.fill(9, 4, second);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals(second.isDone, false);
  assertThrows(() => end.millisecondsSince(start), CudaError, "600 NOT_READY");
  flag.bytes[0] = 1;
  await second.synchronize();
  assertEquals((await buffer.read())[0], 9);
  await end.synchronize();
  assert(end.millisecondsSince(start) >= 15, `${end.millisecondsSince(start)} ms`);
});

Deno.test("a kernel's fault is reported by the next wait, stays, and ends with the context", async () => {
  using cuda = Cuda.start(openCudaDriver("soft"));
  {
    using gpu = cuda.gpu();
    using module = gpu.module(mmioPtx);
    module.function("mmio_write32").launch({ grid: 1, block: 1 }, [0x1000n, 1]);
    assertEquals(await resultOf(() => gpu.synchronize()), 700);
    assertEquals(await resultOf(() => gpu.allocate(4096)), 700);
  }
  using gpu = cuda.gpu();
  using module = gpu.module(mmioPtx);
  using buffer = gpu.allocate(8);
  module.function("mmio_write32").launch({ grid: 1, block: 1 }, [buffer.address + 1n, 1]);
  assertEquals(await resultOf(() => gpu.synchronize()), 716);
});

Deno.test("registered memory is reached by kernels, once, and not after", async () => {
  using gpu = soft();
  using memory = Mapping.anonymous(8192);
  const bytes = memory.bytes();
  using module = gpu.module(mmioPtx);
  {
    using registered = gpu.register(memory.pointer, 8192, true);
    assertEquals(await resultOf(() => gpu.register(memory.pointer, 4096)), 712);
    module.function("mmio_write32").launch({ grid: 1, block: 1 }, [registered.address + 0x24n, 0x001f_001f]);
    await gpu.synchronize();
    assertEquals(bytes.slice(0x24, 0x28), Uint8Array.of(0x1f, 0, 0x1f, 0));
    using result = gpu.allocatePinned(4);
    module.function("mmio_read32").launch({ grid: 1, block: 1 }, [registered.address + 0x24n, result]);
    await gpu.synchronize();
    assertEquals(result.bytes, Uint8Array.of(0x1f, 0, 0x1f, 0));
  }
  assertEquals(await resultOf(() => gpu.deviceAddressOf(memory.pointer)), 1);
});

Deno.test("a range that is not mapped cannot be registered", async () => {
  using gpu = soft();
  const memory = Mapping.anonymous(4096);
  const { pointer } = memory;
  memory[Symbol.dispose]();
  assertEquals(await resultOf(() => gpu.register(pointer, 4096, true)), 1);
});

Deno.test("everything is inert after it was closed", async () => {
  const gpu = soft();
  const buffer = gpu.allocate(4096);
  const pinned = gpu.allocatePinned(4096);
  const module = gpu.module(mmioPtx);
  const kernel = module.function("mmio_write32");
  const view = pinned.bytes;
  gpu[Symbol.dispose]();
  gpu[Symbol.dispose]();
  buffer[Symbol.dispose]();
  assertEquals([view.length, pinned.bytes.length], [0, 0]);
  await assertRejects(() => buffer.read(), BusbarError, "closed");
  assertThrows(() => kernel.launch({ grid: 1, block: 1 }, [0n, 0]), BusbarError, "closed");
  assertThrows(() => gpu.allocate(1), BusbarError, "closed");
});

Deno.test("several devices are open at once, each with its own settings, memory and faults", async () => {
  using old = soft("profile=sm_75&memory=1MiB&bus=0x10");
  using recent = soft("profile=sm_100&memory=2MiB&bus=0x20");
  assertEquals([old.capability, recent.capability], ["7.5", "10.0"]);
  assertEquals([old.address.bus, recent.address.bus], [0x10, 0x20]);
  assertEquals([old.memoryBytes, recent.memoryBytes], [1 << 20, 2 << 20]);
  using mine = old.allocate(4096);
  using yours = recent.allocate(4096);
  assert(mine.address !== yours.address);
  await mine.write(new Uint8Array(4096).fill(1));
  await yours.write(new Uint8Array(4096).fill(2));
  assertEquals([(await mine.read())[4095], (await yours.read())[4095]], [1, 2]);
  // A pointer of one is nothing in the other, and only that one has the fault.
  using module = recent.module(mmioPtx);
  module.function("mmio_write32").launch({ grid: 1, block: 1 }, [mine.address, 5]);
  const fault = await assertRejects(() => recent.synchronize(), CudaError);
  assertEquals(fault.result, 700);
  assertStringIncludes(fault.hint ?? "", "mmio_write32");
  assertStringIncludes(fault.hint ?? "", `0x${mine.address.toString(16)}`);
  assertEquals((await mine.read(4))[0], 1, "untouched");
});

Deno.test("a device is opened by its locator", () => {
  using gpu = Cuda.open("soft:cuda?profile=sm_86&devices=2&device=1&memory=4MiB");
  assertEquals([gpu.device, gpu.capability, gpu.memoryBytes], [1, "8.6", 4 << 20]);
  assertEquals(gpu.attribute("MULTIPROCESSOR_COUNT"), 28);
  assertThrows(() => Cuda.open("soft:nvme"), BusbarError, "is no CUDA device");
  assertThrows(() => Cuda.open("soft:cuda?profil=sm_86"), BusbarError, "no setting");
  assertThrows(() => Cuda.open("soft:cuda?profile=sm_12"), BusbarError, "profile='sm_12' is no value for it");
  assertThrows(() => Cuda.open("cuda:/nowhere/libcuda.so.1?device=1"), BusbarError, "/nowhere/libcuda.so.1");
});

Deno.test("device memory can lie in a file", async () => {
  const file = await Deno.makeTempFile();
  try {
    await Deno.truncate(file, 1 << 20);
    using gpu = Cuda.open(`soft:cuda?memory=1MiB&memory-file=${encodeURIComponent(file)}`);
    using buffer = gpu.allocate(4096);
    await buffer.write(new Uint8Array(4096).fill(0x5a));
    const bytes = await Deno.readFile(file);
    assertEquals(bytes.indexOf(0x5a) % 512, 0);
    assertEquals(bytes.filter((byte) => byte === 0x5a).length, 4096);
    assertThrows(() => Cuda.open(`soft:cuda?memory=2MiB&memory-file=${encodeURIComponent(file)}`), BusbarError);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("each way not to have a driver has its own explanation", async () => {
  const missing = assertThrows(() => openCudaDriver("/nowhere/libcuda.so.1"), BusbarError);
  assertEquals(missing.code, "library");
  assertStringIncludes(missing.message, "/nowhere/libcuda.so.1");
  const usual = assertThrows(() => openCudaDriver(""), BusbarError);
  assertStringIncludes(usual.message, "libcuda.so.1");
  assertThrows(() => openCudaDriver("soft:nvme"), BusbarError, "nothing that BUSBAR_CUDA can open");
  assertThrows(() => openCudaDriver("soft:cuda?speed=9"), BusbarError, "no setting");
  for (const code of [3, 34, 100, 304, 800, 801, 803, 999]) {
    assertEquals(await resultOf(() => soft(`fail=cuInit:${code}`)), code);
  }
});

Deno.test("a library that lacks a function names the version that has it; older names do as well", async () => {
  // A driver of CUDA 9.2, in as far as this test needs one.
  const source = `
    int cuInit(unsigned f) { return f != 0; }
    int cuDriverGetVersion(int *v) { return *v = 9020, 0; }
    int cuDeviceGetUuid(char *u, int d) { for (int i = 0; i < 16; i++) u[i] = i + d; return 0; }`;
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/old.c`, source);
    const args = ["-shared", "-fPIC", "-o", `${folder}/libcuda.so.1`, `${folder}/old.c`];
    assert((await new Deno.Command(Deno.env.get("CC") || "cc", { args, env: { LD_PRELOAD: "" } }).output()).success);
    using driver = openCudaDriver(`${folder}/libcuda.so.1`);
    using cuda = Cuda.start(driver);
    assertEquals(cuda.version, 9020);
    const error = assertThrows(() => cuda.gpu(), BusbarError);
    assertEquals(error.code, "library");
    const { functions } = driver;
    assertEquals(functions.cuModuleGetLoadingMode(null, new Uint8Array(4)), -38);
    const uuid = new Uint8Array(16);
    assertEquals(functions.cuDeviceGetUuid_v2(null, uuid, 1), 0, "cuDeviceGetUuid answers for it");
    assertEquals(uuid[15], 16);
    assertEquals([driver.has("cuDeviceGetUuid_v2"), driver.has("cuMemAlloc_v2")], [true, false]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
