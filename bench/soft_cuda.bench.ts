// deno-lint-ignore-file no-console
/**
 * How fast the software CUDA device is, on one core unless said, as ratios to plain C in the same run, with absolute figures
 * beside. M is a million thread-instructions a second, as PTX counts them: nine in a round of the hash loop, in C as well.
 *
 * A line that names a limit is marked `ok` or `below`; what needs more processors than there are is printed and not judged.
 */

import { BUSBAR_BENCH } from "../ffi/build.ts";
import { check, lazyLibrary } from "../ffi/library.ts";
import { openCudaDriver } from "../src/gpu/driver.ts";
import { Cuda } from "../src/gpu/cuda.ts";
import type { Gpu } from "../src/gpu/gpu.ts";
import { EMPTY, HASH, HASH_ROUND, hashOf, SAXPY_INSTRUCTIONS } from "./soft_cuda_kernels.ts";

const c = lazyLibrary({
  bb_bench_hash: { parameters: [/* lanes */ "u32", /* rounds */ "u32"], result: "u32" },
  bb_bench_one_processor: { parameters: [], result: "i32" },
  bb_bench_interpreter: { parameters: ["u32", "u32"], result: "u32" },
  bb_bench_saxpy: { parameters: ["u32", "f32", "buffer", "buffer"], result: "void" },
  bb_bench_matrix: { parameters: ["u32", "buffer", "buffer", "buffer"], result: "void" },
  bb_bench_wake_up: { parameters: ["u32", /* uint64_t *nanoseconds */ "buffer"], result: "i32" },
}, BUSBAR_BENCH)();

const TRIES = 5;
const THREADS = 256;
const fixture = (name: string): string =>
  Deno.readTextFileSync(new URL(`../tests/fixtures/ptx/${name}`, import.meta.url));

function open(settings: string): Gpu {
  return Cuda.open(0, openCudaDriver(`soft:cuda?memory=256MiB&${settings}`));
}

/** The shortest of some tries, in seconds. */
async function fastest(work: () => unknown): Promise<number> {
  let best = Infinity;
  for (let i = 0; i < TRIES; i++) {
    const start = performance.now();
    await work();
    best = Math.min(best, performance.now() - start);
  }
  return best / 1000;
}

/** A million thread-instructions a second of the hash loop. */
async function hashRate(settings: string, blocks: number, threads: number, rounds: number, step = 0): Promise<number> {
  using gpu = open(settings);
  using module = gpu.module(HASH);
  using out = gpu.allocate(4 * blocks * threads);
  const kernel = module.function("hash");
  const seconds = await fastest(async () => {
    kernel.launch({ grid: blocks, block: threads }, [out, rounds, step]);
    await gpu.synchronize({ timeoutMs: 60_000 });
  });
  const values = new Uint32Array((await out.read()).buffer);
  for (const thread of [0, 1, threads - 1]) {
    const lane = thread % threads;
    if (values[lane] !== hashOf(lane, rounds + step * (lane % 32))) {
      throw new Error("the kernel computed something else");
    }
  }
  const lanes = Array.from({ length: threads }, (_, lane) => rounds + step * (lane % 32));
  return HASH_ROUND * blocks * lanes.reduce((sum, one) => sum + one, 0) / seconds / 1e6;
}

let isBelow = false;

function line(name: string, value: string, limits: readonly { text: string; ok: boolean | null }[]): void {
  const judged = limits.map(({ text, ok }) => `${text} ${ok === null ? "(not judged)" : ok ? "ok" : "below"}`);
  isBelow ||= limits.some(({ ok }) => ok === false);
  console.log(`${name.padEnd(44)}${value.padStart(34)}   ${judged.join(", ")}`);
}

const rate = (millions: number): string => `${millions.toFixed(0)} M`;
const atLeast = (value: number, least: number, unit: string): { text: string; ok: boolean } => ({
  text: `≥ ${least.toLocaleString("en")}${unit}`,
  ok: value >= least,
});

async function hashes(): Promise<void> {
  const lanes = 64, cRounds = 400_000;
  const plain = HASH_ROUND * lanes * cRounds / await fastest(() => c.bb_bench_hash(lanes, cRounds)) / 1e6;
  line("hash loop, plain C, one lane after the other", rate(plain), []);
  for (const isa of ["baseline", "avx2", "avx512"]) {
    let full: number;
    try {
      full = await hashRate(`threads=1&isa=${isa}`, 1, THREADS, 200_000);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.includes(isa)) throw error;
      line(`hash loop, full warps, ${isa}`, `not run: ${error.message}`, []);
      continue;
    }
    const ratio = full / plain;
    const limits = isa === "avx2"
      ? [atLeast(ratio, 0.8, " × C"), atLeast(full, 2000, " M")]
      : isa === "baseline"
      ? [atLeast(full, 500, " M")]
      : [];
    line(`hash loop, full warps, ${isa}`, `${rate(full)}, ${ratio.toFixed(2)} × C`, limits);
  }
  const uneven = await hashRate("threads=1", 1, THREADS, 20_000, 5_000);
  line("hash loop, other trip counts in each lane", rate(uneven), [atLeast(uneven, 500, " M")]);

  const interpreted = HASH_ROUND * 8 * cRounds / await fastest(() => c.bb_bench_interpreter(8, cRounds)) / 1e6;
  const alone = await hashRate("threads=1", 1, 1, 400_000);
  line("hash loop, one lane", `${rate(alone)}, switch in C ${rate(interpreted)}`, [
    atLeast(alone / interpreted, 0.3, " × switch"),
  ]);

  const [one, two] = [
    await hashRate("threads=1", 16, THREADS, 30_000),
    await hashRate("threads=2", 16, THREADS, 30_000),
  ];
  const apart = await apartRate(16, THREADS, 30_000);
  // Two processors that are threads of one core, or that others use, give less than two: that is what two devices with one
  // thread each, which share nothing, get at the same time.
  line(
    "hash loop, two cores",
    `${rate(two)}, ${(two / one).toFixed(2)} × one, ${(two / apart).toFixed(2)} × two devices`,
    [
      { text: "≥ 1.8 × one", ok: apart / one >= 1.9 ? two / one >= 1.8 : null },
      atLeast(two / apart, 0.9, " × two devices"),
    ],
  );
}

/** The rate of two devices of one thread each that run at the same time, together. */
async function apartRate(blocks: number, threads: number, rounds: number): Promise<number> {
  using first = open("threads=1");
  using second = open("threads=1");
  const runs = [first, second].map((gpu) => {
    const module = gpu.module(HASH);
    return { gpu, kernel: module.function("hash"), out: gpu.allocate(4 * blocks * threads) };
  });
  const seconds = await fastest(async () => {
    for (const { kernel, out } of runs) kernel.launch({ grid: blocks, block: threads }, [out, rounds, 0]);
    for (const { gpu } of runs) await gpu.synchronize({ timeoutMs: 60_000 });
  });
  return 2 * HASH_ROUND * blocks * threads * rounds / seconds / 1e6;
}

async function saxpy(): Promise<void> {
  const n = 1 << 20;
  using gpu = open("threads=1");
  using module = gpu.module(fixture("saxpy_sm75.ptx"));
  using x = gpu.allocate(4 * n);
  using y = gpu.allocate(4 * n);
  const [hostX, hostY] = [new Float32Array(n).fill(1), new Float32Array(n).fill(2)];
  await x.write(new Uint8Array(hostX.buffer));
  await y.write(new Uint8Array(hostY.buffer));
  const kernel = module.function("saxpy");
  const seconds = await fastest(async () => {
    kernel.launch({ grid: n / THREADS, block: THREADS }, [n, 2, x, y]);
    await gpu.synchronize();
  });
  const [first] = new Float32Array((await y.read(4)).buffer);
  if (first !== 2 + 2 * TRIES) throw new Error(`saxpy left ${first}`);
  const inC = await fastest(() => c.bb_bench_saxpy(n, 2, new Uint8Array(hostX.buffer), new Uint8Array(hostY.buffer)));
  const millions = SAXPY_INSTRUCTIONS * n / seconds / 1e6;
  line("saxpy", `${rate(millions)}, ${(seconds / inC).toFixed(1)} × the time of C`, [atLeast(millions, 600, " M")]);
}

async function matrix(): Promise<void> {
  const n = 512;
  using gpu = open("threads=1");
  using module = gpu.module(fixture("matrix_sm75.ptx"));
  const values = Float32Array.from({ length: n * n }, (_, i) => i % 7 - 3);
  using a = gpu.allocate(4 * n * n);
  using product = gpu.allocate(4 * n * n);
  await a.write(new Uint8Array(values.buffer));
  const kernel = module.function("multiply_float");
  const seconds = await fastest(async () => {
    kernel.launch({ grid: [n / 16, n / 16], block: [16, 16] }, [a, a, product, n]);
    await gpu.synchronize({ timeoutMs: 60_000 });
  });
  const result = new Float32Array(n * n);
  const bytes = new Uint8Array(values.buffer);
  const inC = await fastest(() => c.bb_bench_matrix(n, bytes, bytes, new Uint8Array(result.buffer)));
  const got = new Float32Array((await product.read()).buffer);
  if (got.some((value, at) => value !== result[at])) throw new Error("the products differ");
  const operations = 2 * n ** 3 / 1e9;
  line(
    "tiled product of 512 × 512, float",
    `${(operations / seconds).toFixed(2)} GFLOP/s, C ${(operations / inC).toFixed(2)}`,
    [{ text: `${(seconds / inC).toFixed(1)} × the time of C`, ok: true }],
  );
}

/** On one processor: where the kernel puts a thread that wakes up decides more than what is measured. */
async function launches(): Promise<void> {
  check(c.bb_bench_one_processor(), "stay on one processor");
  using gpu = open("threads=1");
  using module = gpu.module(EMPTY);
  const kernel = module.function("empty");
  const count = 2000;
  const nanoseconds = new BigUint64Array(1);
  const { functions } = gpu.driver;
  const inC = await fastest(() => check(c.bb_bench_wake_up(count, new Uint8Array(nanoseconds.buffer)), "wake up"));
  const launched = await fastest(() => {
    for (let i = 0; i < count; i++) {
      kernel.launch({ grid: 1, block: 1 }, []);
      // The library's wait, of at most 50 ms; that of the class gives the event loop a turn as well.
      gpu.check(functions.waitStream(gpu.context, null, 50_000), "wait");
    }
  });
  line(
    "empty launch and wait, one processor",
    `${(launched / count * 1e6).toFixed(1)} µs, wake-up ${(inC / count * 1e6).toFixed(1)} µs`,
    [{ text: "≤ 3 × wake-up", ok: launched <= 3 * inC }],
  );
}

async function loads(): Promise<void> {
  const [, head = "", body = ""] = /^([\s\S]*?\.address_size 64)([\s\S]*)$/.exec(fixture("mathematics_sm75.ptx")) ?? [];
  const copies = 20;
  const names = /functions_double|functions_float|rounded|__cudart_\w+|__internal_\w+|\$L__BB/g;
  const text = head +
    Array.from({ length: copies }, (_, at) => body.replace(names, (name) => `${name}_${at}_`)).join("\n");
  using gpu = open("threads=1");
  const seconds = await fastest(() => gpu.module(text)[Symbol.dispose]());
  const megabytes = text.length / seconds / 1e6;
  line(`load ${(text.length / 1e6).toFixed(1)} MB of PTX`, `${megabytes.toFixed(0)} MB/s`, [
    atLeast(megabytes, 20, " MB/s"),
  ]);
}

await hashes();
await saxpy();
await matrix();
await loads();
await launches();
if (isBelow) console.log("\nsome figures are below what is asked");
