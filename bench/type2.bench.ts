// deno-lint-ignore-file no-console
/**
 * How fast the Type 2 GPU is: command round trips, copies, the guest's library and the coherency engine, as ratios to plain C
 * in the same run. A line that names a goal is marked `ok` or `below`; goals are for two idle processors.
 */

import { BUSBAR_BENCH, cudaShimFolder } from "../ffi/build.ts";
import { cString, lazyLibrary } from "../ffi/library.ts";
import { Mapping } from "../ffi/memory.ts";
import { SoftCoherency } from "../ffi/soft_type2.ts";
import { measureType2, type Type2Speed } from "../src/type2/measure.ts";
import { openType2 } from "../src/type2/open.ts";

const c = lazyLibrary({
  bb_bench_ping_pong_ns: { parameters: ["u32"], result: "f64" },
  bb_bench_type2_round_ns: { parameters: ["pointer", "u32"], result: "f64" },
  bb_bench_memcpy_ns: { parameters: ["u64", "u32"], result: "f64" },
  bb_bench_table_ns: { parameters: ["u64", "u64"], result: "f64" },
  bb_bench_cached_call_ns: { parameters: ["buffer", "u32"], result: "f64" },
}, BUSBAR_BENCH)();

const MIB = 1 << 20;
const SIZES = [4096, 64 << 10, MIB, 16 * MIB, 64 * MIB, 1024 * MIB];
/** A path that lies there while a process serves it. */
const PATH = `${Deno.makeTempDirSync({ dir: "/dev/shm" })}/gpu`;

function judge(what: string, value: number, unit: string, goal: number, isLess: boolean): void {
  const fits = isLess ? value <= goal : value >= goal;
  console.log(
    `${what}: ${value.toFixed(2)}${unit} (goal ${isLess ? "at most" : "at least"} ${goal}${unit}) ${
      fits ? "ok" : "below"
    }`,
  );
}

function describe(way: string, { command, copies }: Type2Speed): void {
  console.log(`${way}: a command ${command.medianUs.toFixed(1)} us, 90 % within ${command.p90Us.toFixed(1)} us`);
  for (const { sizeBytes, writeBytesPerS, readBytesPerS } of copies) {
    // Each byte is moved twice: into BAR4 or DATA, and on to the device.
    const twice = sizeBytes / (2 * c.bb_bench_memcpy_ns(BigInt(sizeBytes), 3)) * 1e9;
    const name = `  ${sizeBytes / 1024} KiB`;
    const ratios = [writeBytesPerS, readBytesPerS].map((rate) => (rate / twice).toFixed(2));
    console.log(
      `${name}: ${(writeBytesPerS / 1e6).toFixed(0)} and ${(readBytesPerS / 1e6).toFixed(0)} MB/s, ` +
        `${ratios.join(" and ")} of memcpy twice (goal for bulk 0.8)`,
    );
  }
}

/** Processor time that a process used, in seconds: utime and stime of /proc/PID/stat, in ticks of 1/100 s. */
function processorSeconds(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function serve(...more: string[]): Promise<Deno.ChildProcess> {
  const tool = new URL("../tools/cxl_gpu.ts", import.meta.url).pathname;
  const args = [
    "run",
    "-A",
    "--no-check",
    tool,
    "serve",
    "--file",
    `${PATH},size=256MiB`,
    "--memory",
    "1100MiB",
    ...more,
  ];
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "inherit" }).spawn();
  const reader = child.stdout.getReader();
  for (let text = ""; !text.includes("qemu");) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the server ended");
    text += new TextDecoder().decode(value);
  }
  await reader.cancel();
  return child;
}

async function idlePercent(pid: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const before = processorSeconds(pid);
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  return 10 * (processorSeconds(pid) - before);
}

console.log(`${navigator.hardwareConcurrency} processors, load ${Deno.loadavg()[0]?.toFixed(1)}`);
{
  using gpu = openType2("soft:type2?memory=1100MiB&bar4=256MiB");
  describe("in process", await measureType2(gpu, SIZES));
}
const plain = await serve();
{
  using gpu = openType2(`type2:${PATH}`);
  describe("shared file", await measureType2(gpu, SIZES));
  using mapping = Mapping.file(PATH, 4096, { writable: true });
  const pointer = Deno.UnsafePointer.of(mapping.bytes(0, 4096));
  c.bb_bench_type2_round_ns(pointer, 1000);
  const trip = c.bb_bench_type2_round_ns(pointer, 20_000), bare = c.bb_bench_ping_pong_ns(20_000);
  console.log(`both spinning: a command ${trip.toFixed(0)} ns, a cache line there and back ${bare.toFixed(0)} ns`);
  judge("  ratio", trip / bare, "", 3, true);
  Deno.env.set("CXL_GPU", PATH);
  const cached = c.bb_bench_cached_call_ns(cString(`${cudaShimFolder()}/libcuda.so.1`), 1_000_000);
  judge("a call that the guest's library answers by itself", cached, " ns", 200, true);
}
judge("idle, plain", await idlePercent(plain.pid), " % of a processor", 3, true);
plain.kill("SIGTERM");
await plain.status;
const folder = PATH.slice(0, PATH.lastIndexOf("/"));
const woken = await serve("--doorbell", `${folder}/bell`);
judge("idle, with a doorbell", await idlePercent(woken.pid), " % of a processor", 0.5, true);
woken.kill("SIGTERM");
await woken.status;
await Deno.remove(folder, { recursive: true });
{
  // 16 MiB of memory is as many lines; each request is a write by one of two domains.
  const lines = 16 * MIB / 64, count = 4 * MIB;
  using engine = new SoftCoherency(lines);
  const requests = Uint16Array.from({ length: count }, (_, i) => (i & 1) << 8 | 3);
  const places = new BigUint64Array(count);
  let random = 1;
  for (const i of places.keys()) {
    random = Math.imul(random, 1664525) + 1013904223 >>> 0;
    places[i] = BigInt(random % lines);
  }
  engine.run(requests, places);
  const started = performance.now();
  engine.run(requests, places);
  const each = (performance.now() - started) * 1e6 / count;
  const bare = c.bb_bench_table_ns(BigInt(lines), BigInt(count));
  console.log(`the engine: ${each.toFixed(1)} ns a request; a bare hash table ${bare.toFixed(1)} ns an update`);
  judge("  ratio", bare / each, "", 0.3, false);
}
