/**
 * Kernels that nvcc compiled, with what they must compute: the expected values are computed here, or by exact arithmetic.
 * @module
 */

import { assertAlmostEquals, assertEquals } from "@std/assert";

import type { Gpu } from "../../../src/gpu/gpu.ts";
import type { GpuBuffer } from "../../../src/gpu/memory.ts";
import type { GpuModule, LaunchOptions } from "../../../src/gpu/module.ts";
import { Random } from "./values.ts";

type Numbers = Int32Array | Uint32Array | BigUint64Array | Float32Array | Float64Array | Uint8Array | Uint16Array;
type Argument = Numbers | number;

/** A case: the fixture's name, and what to do with its module. */
export interface KernelCase {
  /** The file, without `_smNN.ptx`. */
  readonly file: string;
  readonly title: string;
  run(kernels: Kernels, sm: number): Promise<void>;
}

/** Launches kernels of a module; arrays are copied there and back. */
export class Kernels {
  readonly #gpu: Gpu;
  readonly #module: GpuModule;

  constructor(gpu: Gpu, module: GpuModule) {
    this.#gpu = gpu;
    this.#module = module;
  }

  /** After it, each array holds what the kernel left in it. */
  async launch(name: string, shape: LaunchOptions, ...values: Argument[]): Promise<void> {
    using stack = new DisposableStack();
    const buffers = new Map<Numbers, GpuBuffer>();
    for (const value of values) {
      if (typeof value === "number" || buffers.has(value)) continue;
      const buffer = stack.use(this.#gpu.allocate(value.byteLength));
      await buffer.write(bytesOf(value));
      buffers.set(value, buffer);
    }
    const kernel = this.#module.function(name);
    kernel.launch(shape, values.map((value) => typeof value === "number" ? value : buffers.get(value) ?? 0));
    await this.#gpu.synchronize({ timeoutMs: 30_000 });
    for (const [value, buffer] of buffers) bytesOf(value).set(await buffer.read());
  }
}

function bytesOf(values: Numbers): Uint8Array<ArrayBuffer> {
  return new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
}

function integers(seed: string, count: number, least: number, most: number): number[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => least + random.below(most - least + 1));
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/** The product of matrices of small integers, which is exact in every order of addition. */
const MATRIX: KernelCase = {
  file: "matrix",
  title: "a matrix product by tiles",
  async run(kernels): Promise<void> {
    const n = 37;
    const a = integers("a", n * n, -8, 8), b = integers("b", n * n, -8, 8);
    const expected = a.map((_, at) =>
      sum(Array.from({ length: n }, (_, k) => (a[Math.floor(at / n) * n + k] ?? 0) * (b[k * n + at % n] ?? 0)))
    );
    const shape = { grid: [3, 3], block: [16, 16] };
    const single = new Float32Array(n * n), double = new Float64Array(n * n);
    await kernels.launch("multiply_float", shape, Float32Array.from(a), Float32Array.from(b), single, n);
    await kernels.launch("multiply_double", shape, Float64Array.from(a), Float64Array.from(b), double, n);
    assertEquals([...single], expected);
    assertEquals([...double], expected);
  },
};

const REDUCTION: KernelCase = {
  file: "reduction",
  title: "sums by shuffles, shared memory and votes",
  async run(kernels): Promise<void> {
    const values = integers("sum", 5000, -1_000_000, 1_000_000);
    const result = new BigUint64Array(1);
    await kernels.launch("sum_shuffle", { grid: 7, block: 160 }, Int32Array.from(values), result, values.length);
    assertEquals(BigInt.asIntN(64, result[0] ?? 0n), BigInt(sum(values)));

    const quarters = integers("quarters", 1000, -400, 400).map((value) => value / 4);
    const parts = new Float32Array(8);
    const shape = { grid: 8, block: 128, sharedBytes: 512 };
    await kernels.launch("sum_shared", shape, Float32Array.from(quarters), parts, quarters.length);
    assertEquals([...parts], Array.from(parts, (_, block) => sum(quarters.slice(128 * block, 128 * block + 128))));

    const counts = new Int32Array(4);
    const bits = [...integers("bits", 200, 0, 1), ...Array(100).fill(1), ...Array(100).fill(0)];
    await kernels.launch("count_votes", { grid: 4, block: 100 }, Int32Array.from(bits), counts, bits.length);
    const votes = [0, 1, 2, 3].map((block) => {
      const odd = sum(bits.slice(100 * block, 100 * block + 100));
      return odd * 4 + (odd === 100 ? 2 : 0) + (odd > 0 ? 1 : 0);
    });
    assertEquals([...counts], votes);
  },
};

const LIBRARY: KernelCase = {
  file: "library",
  title: "scan, sort and reduction of CUB",
  async run(kernels): Promise<void> {
    const values = integers("scan", 256, -1000, 1000);
    const [inclusive, exclusive, total] = [new Int32Array(256), new Int32Array(256), new Int32Array(2)];
    const shape = { grid: 2, block: 64 };
    await kernels.launch("library_scan", shape, Int32Array.from(values), inclusive, exclusive, total);
    const blocks = [values.slice(0, 128), values.slice(128)];
    assertEquals([...inclusive], blocks.flatMap((block) => block.map((_, at) => sum(block.slice(0, at + 1)))));
    assertEquals([...exclusive], blocks.flatMap((block) => block.map((_, at) => sum(block.slice(0, at)))));
    assertEquals([...total], blocks.map(sum));

    const keys = integers("keys", 256, 0, 2 ** 32 - 2).map((key, at) => at % 9 === 0 ? 77 : key);
    const sorted = Uint32Array.from(keys), places = Int32Array.from(keys, (_, at) => at);
    await kernels.launch("library_sort", shape, sorted, places);
    const ordered = [0, 128].flatMap((first) =>
      keys.slice(first, first + 128).map((key, at) => ({ key, at: first + at })).sort((a, b) =>
        a.key - b.key || a.at - b.at
      )
    );
    assertEquals([...sorted], ordered.map(({ key }) => key));
    assertEquals([...places], ordered.map(({ at }) => at), "equal keys keep their order");

    const least = new Int32Array(2);
    await kernels.launch("library_reduce", shape, Int32Array.from(values), least);
    assertEquals([...least], blocks.map((block) => Math.min(...block)));
  },
};

const HISTOGRAM: KernelCase = {
  file: "histogram",
  title: "a histogram, a scan and a sort of our own",
  async run(kernels): Promise<void> {
    const bytes = integers("bytes", 3000, 0, 255).map((byte) => byte % 7 === 0 ? 200 : byte);
    const bins = new Uint32Array(256);
    await kernels.launch("histogram", { grid: 5, block: 96 }, Uint8Array.from(bytes), bins, bytes.length);
    assertEquals([...bins], Array.from(bins, (_, bin) => bytes.filter((byte) => byte === bin).length));
    const sorted = new Uint8Array(bytes.length);
    await kernels.launch("counting_sort", { grid: 1, block: 256 }, bins, sorted);
    assertEquals([...sorted], bytes.toSorted((a, b) => a - b));
  },
};

function ackermann(m: number, n: number): number {
  if (m === 0) return n + 1;
  return n === 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

function fibonacci(n: number): number {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

const CALLS: KernelCase = {
  file: "calls",
  title: "recursion, virtual calls and calls through pointers",
  async run(kernels): Promise<void> {
    const arguments_ = integers("recursion", 40, 0, 11);
    const results = new Int32Array(80);
    await kernels.launch("recursion", { grid: 1, block: 40 }, Int32Array.from(arguments_), results);
    assertEquals([...results], arguments_.flatMap((n) => [fibonacci(n), ackermann(n % 3, n % 5)]));

    const kinds = integers("kinds", 50, 0, 2);
    const areas = new Int32Array(50);
    await kernels.launch("virtual_calls", { grid: 1, block: 50 }, Int32Array.from(kinds), areas);
    assertEquals(
      [...areas],
      kinds.map((kind, at) => [at * at * 10 + 4, at * 3 * 10 + 4, Math.trunc(at * 6 / 2) * 10 + 3][kind] ?? 0),
    );

    const pointed = new Int32Array(50);
    await kernels.launch("pointer_calls", { grid: 1, block: 50 }, Int32Array.from(kinds), pointed);
    assertEquals([...pointed], kinds.map((kind, at) => [at + 7, at - 7, at * 7][kind] ?? 0));
  },
};

const WIDE: KernelCase = {
  file: "wide",
  title: "128-bit integers",
  async run(kernels): Promise<void> {
    const random = new Random("wide");
    const count = 32;
    const pairs = Array.from({ length: count }, (_, at) => {
      const a = at === 0 ? (1n << 128n) - 1n : random.bits(128 - random.below(40));
      const b = random.bits(1 + random.below(128)) | 1n;
      return { a: BigInt.asUintN(128, a), b };
    });
    const low = (value: bigint): bigint => value & 0xffff_ffff_ffff_ffffn;
    const split = (value: bigint): bigint[] => [low(value), low(value >> 64n)];
    const results = new BigUint64Array(16 * count);
    const given = BigUint64Array.from(pairs.flatMap(({ a, b }) => [...split(a), ...split(b)]));
    await kernels.launch("wide_operations", { grid: 1, block: count }, given, results);
    const expected = pairs.flatMap(({ a, b }) => {
      const shift = b & 127n;
      const signed = BigInt.asIntN(128, a) / BigInt.asIntN(128, b >> 70n | 1n);
      return [a + b, a - b, a * b, a / b, a % b, a >> shift, a << shift, signed].flatMap(split);
    });
    assertEquals([...results], expected);
  },
};

const ATOMICS: KernelCase = {
  file: "atomics",
  title: "atomics of C++ and of CUDA",
  async run(kernels): Promise<void> {
    const values = integers("atomics", 300, -500, 500);
    const n = values.length;
    for (const name of ["old_atomics", "new_atomics"]) {
      // As `struct Counters`: total, a hole, wide, least, most, sum, ring, bits, locked.
      const counters = new Int32Array(10);
      counters[4] = 2 ** 31 - 1;
      counters[5] = -(2 ** 31);
      await kernels.launch(name, { grid: 3, block: 128 }, counters, Int32Array.from(values), n);
      const seen = new Uint32Array(counters.buffer);
      assertEquals([seen[0], seen[2], seen[3]], [n, n, n], name);
      assertEquals([counters[4], counters[5]], [Math.min(...values), Math.max(...values)], name);
      assertEquals(new Float32Array(counters.buffer)[6], n / 4, name);
      assertEquals(seen[7], n % 7, name);
      assertEquals(seen[8], values.reduce((bits, value) => bits | 1 << (value & 31), 0) >>> 0, name);
      assertEquals(seen[9], 0, name);
    }
    const result = new Uint32Array(1);
    await kernels.launch("message", { grid: 2, block: 32 }, new Uint32Array(1), new Uint32Array(1), result, 60);
    assertEquals(result[0], sum(Array.from({ length: 60 }, (_, at) => at * at)));
  },
};

const TILES: KernelCase = {
  file: "grid",
  title: "tiles of a cooperative group",
  async run(kernels): Promise<void> {
    const values = integers("tiles", 64, -100, 100);
    const results = new Int32Array(16);
    await kernels.launch("tiles", { grid: 1, block: 64 }, Int32Array.from(values), results);
    const expected = Array.from({ length: 8 }, (_, tile) => {
      const own = values.slice(8 * tile, 8 * tile + 8);
      return [sum(own), own.reduce((bits, value, at) => bits | (value & 1) << at, 0)];
    });
    assertEquals([...results], expected.flat());
  },
};

const COPIES: KernelCase = {
  file: "copies",
  title: "asynchronous copies in stages, and in part",
  async run(kernels): Promise<void> {
    const stages = 5;
    const values = integers("copies", stages * 64 * 4, -1000, 1000);
    const results = new Int32Array(64);
    await kernels.launch("staged_sum", { grid: 1, block: 64 }, Int32Array.from(values), results, stages);
    const expected = Array.from(results, (_, thread) =>
      sum(Array.from({ length: stages }, (_, stage) => {
        const [x = 0, y = 0, z = 0, w = 0] = values.slice(4 * (stage * 64 + 63 - thread));
        return x - y + z * w;
      })));
    assertEquals([...results], expected);

    const numbers = integers("partial", 256, 1, 100);
    const reversed = new Float32Array(256);
    await kernels.launch("partial_copy", { grid: 1, block: 64 }, Float32Array.from(numbers), reversed, 150);
    assertEquals([...reversed], numbers.map((value, at) => at < 150 ? value : 0).reverse());
  },
};

const DOUBLE_FUNCTIONS: readonly ((x: number) => number)[] = [
  Math.sin,
  Math.cos,
  (x) => Math.exp(x / 16),
  (x) => Math.log(Math.abs(x) + 1),
  (x) => (Math.abs(x) + 0.5) ** 1.75,
  Math.tanh,
  (x) => Math.atan2(x, 3),
  Math.cbrt,
  (x) => Math.sqrt(Math.abs(x)),
  (x) => 1 / (x + 0.25),
];

const FLOAT_FUNCTIONS: readonly ((x: number) => number)[] = [
  Math.sin,
  (x) => Math.exp(x / 16),
  (x) => Math.log(Math.abs(x) + 1),
  (x) => (Math.abs(x) + 0.5) ** 1.75,
  (x) => Math.sin(x / 64),
  (x) => Math.exp(x / 16),
  (x) => 1 / Math.sqrt(Math.abs(x) + 1),
];

const MATHEMATICS: KernelCase = {
  file: "mathematics",
  title: "the mathematical library",
  async run(kernels): Promise<void> {
    const n = 64;
    const values = [0, 1, -1, 0.5, 100000.25, -31415.5, ...integers("x", n - 6, -4000, 4000).map((x) => x / 32)];
    const double = new Float64Array(10 * n), single = new Float32Array(8 * n);
    const shape = { grid: 1, block: n };
    await kernels.launch("functions_double", shape, Float64Array.from(values), double, n);
    await kernels.launch("functions_float", shape, Float32Array.from(values), single, n);
    const near = (got: number | undefined, want: number, relative: number, what: string): void => {
      if (Math.abs(want) > 2 ** 127 && !Number.isFinite(got)) return;
      assertAlmostEquals(got ?? NaN, want, Math.max(Math.abs(want) * relative, relative / 100), what);
    };
    for (const [at, x] of values.entries()) {
      for (const [index, f] of DOUBLE_FUNCTIONS.entries()) {
        near(double[index * n + at], f(x), 2e-15, `double ${f} of ${x}`);
      }
      for (const [index, f] of FLOAT_FUNCTIONS.entries()) {
        near(single[index * n + at], f(Math.fround(x)), index === 4 ? 1e-4 : 2e-6, `float ${f} of ${x}`);
      }
    }
  },
};

export const KERNEL_CASES: readonly KernelCase[] = [
  MATRIX,
  REDUCTION,
  LIBRARY,
  HISTOGRAM,
  CALLS,
  WIDE,
  ATOMICS,
  TILES,
  COPIES,
  MATHEMATICS,
];
