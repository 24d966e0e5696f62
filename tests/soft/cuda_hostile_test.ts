/** Modules that are damaged, endless or immense are refused with a reason and, for text, a line; nothing else happens. */

import { assert, assertEquals, assertMatch } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { CudaError } from "../../src/gpu/results.ts";
import { Random } from "./ptx/values.ts";

function soft(settings = ""): Gpu {
  return Cuda.open(0, openCudaDriver(`soft:cuda?profile=sm_100&memory=16MiB&log=none${settings}`));
}

Deno.test.beforeAll(() => {
  using _gpu = soft();
});
Deno.test.afterAll(closeAll);

const fixture = (path: string): Uint8Array<ArrayBuffer> =>
  Deno.readFileSync(new URL(`../fixtures/${path}`, import.meta.url));

/** What loading a module may end with besides success: damaged, no PTX for this device, refused, too new, no memory. */
const REFUSALS = [2, 200, 209, 218, 222];

/** Loads an image; the result of the driver, and what it said. */
function load(gpu: Gpu, image: string | Uint8Array<ArrayBuffer>): { result: number; words: string } {
  try {
    using _module = gpu.module(image);
    return { result: 0, words: "" };
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    return { result: error.result, words: error.hint ?? "" };
  }
}

/** Some bytes changed, taken out, doubled or put elsewhere. */
function mutated(bytes: Uint8Array<ArrayBuffer>, random: Random): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array<ArrayBuffer>[] = [bytes];
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
    const from = random.below(whole.length), to = Math.min(whole.length, from + 1 + random.below(40));
    const piece = whole.slice(from, to);
    switch (random.below(5)) {
      case 0:
        whole[from] = random.below(256);
        parts.splice(0, parts.length, whole);
        break;
      case 1:
        whole[from] = (whole[from] ?? 0) ^ 1 << random.below(8);
        parts.splice(0, parts.length, whole);
        break;
      case 2:
        parts.splice(0, parts.length, whole.slice(0, from), whole.slice(to));
        break;
      case 3:
        parts.splice(0, parts.length, whole.slice(0, to), piece, whole.slice(to));
        break;
      default: {
        const place = random.below(whole.length);
        parts.splice(0, parts.length, whole.slice(0, place), piece, whole.slice(place));
      }
    }
  }
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0) + 1);
  parts.reduce((at, part) => (result.set(part, at), at + part.length), 0);
  return result;
}

const TEXTS = [
  "ptx/calls_sm75.ptx",
  "ptx/copies_sm90.ptx",
  "ptx/reduction_sm100.ptx",
  "ptx/litmus_store_buffering.ptx",
];
const FATBINS = [
  "cuda/fatbins/constants.zstd.fatbin",
  "cuda/fatbins/managed.lz4.fatbin",
  "cuda/fatbins/errors.plain.fatbin",
];

for (const path of [...TEXTS, ...FATBINS]) {
  Deno.test(`${path}, damaged in 100 ways, loads or is refused`, () => {
    using gpu = soft();
    const bytes = fixture(path);
    const random = new Random(path);
    const results = new Map<number, number>();
    for (let i = 0; i < 100; i++) {
      const { result, words } = load(gpu, mutated(bytes, random));
      results.set(result, (results.get(result) ?? 0) + 1);
      assert(result === 0 || REFUSALS.includes(result), `result ${result}: ${words}`);
      if (result === 218) assertMatch(words, /line \d+/);
    }
    assertEquals(load(gpu, path.endsWith(".ptx") ? new TextDecoder().decode(bytes) : bytes).result, 0);
    assert(results.size > 1, "all alike");
  });
}

Deno.test("a fat binary cut short anywhere is refused or runs what is whole", () => {
  using gpu = soft();
  const bytes = fixture("cuda/fatbins/errors.zstd.fatbin");
  for (let size = 4; size < bytes.length; size += 7) {
    // What is missing is zeros, so that nothing behind the image is read by the container's own length.
    const image = new Uint8Array(bytes.length);
    image.set(bytes.subarray(0, size));
    const { result } = load(gpu, image);
    assert(result === 0 || REFUSALS.includes(result), `${size} bytes: ${result}`);
  }
});

const HEAD = ".version 8.4\n.target sm_75\n.address_size 64\n";
const kernel = (body: string): string => `${HEAD}.visible .entry k()\n{\n${body}\nret;\n}\n`;

/** Texts that ask for more than a parser should give. */
const IMMENSE: readonly [string, () => string][] = [
  ["100,000 braces in each other", () => kernel(`${"{".repeat(100_000)}${"}".repeat(100_000)}`)],
  [
    "100,000 parentheses in each other",
    () => kernel(`.reg .b32 %r<2>;\nmov.u32 %r0, ${"(".repeat(100_000)}1${")".repeat(100_000)};`),
  ],
  ["4,000,000,000 registers", () => kernel(".reg .b32 %r<4000000000>;")],
  [
    "90,000,000 registers in 90 lines",
    () => kernel(Array.from({ length: 90 }, (_, at) => `.reg .b64 %a${at}_<1000000>;`).join("\n")),
  ],
  ["a name of a million letters", () => kernel(`.reg .b32 ${"x".repeat(1_000_000)};\nmov.u32 %nothing, 1;`)],
  ["a string of a million letters without an end", () => kernel(`.pragma "${"x".repeat(1_000_000)};`)],
  ["a comment without an end", () => `${HEAD}/* ${"x".repeat(100_000)}`],
  ["an array of 2^63 elements", () => `${HEAD}.global .u64 a[9223372036854775808];\n`],
  ["shared memory of 2^40 bytes", () => kernel(".shared .b8 a[1099511627776];")],
  ["local memory of 2^40 bytes", () => kernel(".local .b8 a[1099511627776];")],
  ["a parameter of 2^31 bytes", () => `${HEAD}.visible .entry k(.param .align 8 .b8 p[2147483648])\n{\nret;\n}\n`],
  ["an alignment of 3", () => `${HEAD}.global .align 3 .b8 a[4];\n`],
  ["a number of 400 digits", () => kernel(`.reg .b64 %r<2>;\nmov.u64 %r0, ${"9".repeat(400)};`)],
  ["more initial values than elements", () => `${HEAD}.global .u32 a[2] = {1, 2, 3};\n`],
  ["bytes that are no text", () => `${HEAD}\u0001\u0002\u007f`],
  ["a file that ends in a kernel", () => `${HEAD}.visible .entry k()\n{\n.reg .b32 %r<2>;\nmov.u32 %r0`],
];

for (const [name, make] of IMMENSE) {
  Deno.test(`${name}: refused with a line, soon`, () => {
    using gpu = soft();
    const { result, words } = load(gpu, make());
    assertEquals(result, 218, words);
    assertMatch(words, /line \d+/);
    assert(words.length < 4000, "the message is no copy of the input");
    assertEquals(load(gpu, kernel("")).result, 0, "the next module loads");
  });
}

Deno.test("more global memory than the device has is out of memory, and the next module loads", () => {
  using gpu = soft();
  assertEquals(load(gpu, `${HEAD}.global .b8 a[1048576][1048576];\n`).result, 2);
  assertEquals(load(gpu, kernel("")).result, 0);
});

Deno.test("no text at all, a newer version, a newer target", () => {
  using gpu = Cuda.open(0, openCudaDriver("soft:cuda?profile=sm_75&memory=16MiB&log=none"));
  assertEquals(load(gpu, "").result, 200);
  assertEquals(load(gpu, "\n\n  hello").result, 200);
  assertEquals(load(gpu, `.version 99.0\n.target sm_75\n.address_size 64\n`).result, 222);
  assertEquals(load(gpu, `.version 8.4\n.target sm_90\n.address_size 64\n`).result, 218);
  assertEquals(load(gpu, new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, ...Array(120).fill(0)])).result, 209);
});

/** A kernel that does not end, or faults, and the result of the wait for it. */
const ENDINGS: readonly [string, string, string, number][] = [
  ["an endless loop", "budget=100000", "LOOP: bra LOOP;", 702],
  ["endless recursion", "budget=100000000", "call again;", 714],
  [
    "a barrier that half of the threads never reach",
    "",
    "setp.lt.u32 %p0, %r0, 32; @%p0 bra WAIT; LOOP: ld.volatile.global.u32 %r1, [%rd0]; setp.eq.u32 %p0, %r1, 0; @%p0 bra LOOP; WAIT: bar.sync 0;",
    702,
  ],
  ["a barrier that nobody can complete", "", "bar.sync 1, 128;", 719],
  ["trap", "", "trap;", 719],
  ["a load from address 0", "", "mov.u64 %rd1, 0; ld.global.u32 %r1, [%rd1];", 700],
  ["a load that is not aligned", "", "ld.global.u32 %r1, [%rd0+2];", 716],
  ["a store behind the end of an allocation", "", "st.global.u32 [%rd0+4096], %r0;", 700],
  ["a store behind the end of shared memory", "", "st.shared.u32 [tile+4096], %r0;", 700],
  ["a call through a pointer to nowhere", "", "mov.u64 %rd1, 12345; P: .callprototype _ (); call %rd1, (), P;", 718],
];

for (const [name, settings, body, expected] of ENDINGS) {
  Deno.test(`${name} ends with ${expected}, and the device still works`, async () => {
    const limit = settings === "" ? "&budget=1000000" : `&${settings}`;
    using gpu = soft(limit);
    using module = gpu.module(`${HEAD}
.func again() { call again; ret; }
.visible .entry k(.param .u64 place)
{
  .reg .b32 %r<4>; .reg .b64 %rd<4>; .reg .pred %p<2>; .shared .align 4 .b8 tile[64];
  ld.param.u64 %rd0, [place];
  mov.u32 %r0, %tid.x;
  ${body}
  ret;
}
`);
    using buffer = gpu.allocate(4096);
    buffer.fill(0);
    module.function("k").launch({ grid: 1, block: 64 }, [buffer]);
    const fault = await gpu.synchronize({ timeoutMs: 20_000 }).then(() => null, (error: unknown) => error);
    assert(fault instanceof CudaError, `${fault}`);
    assertEquals(fault.result, expected);
    using other = soft();
    using memory = other.allocate(16);
    await memory.write(new Uint8Array(16).fill(7));
    assertEquals([...await memory.read()], Array(16).fill(7));
  });
}
