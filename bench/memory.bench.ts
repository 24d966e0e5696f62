// deno-lint-ignore-file no-console
/**
 * `deno run -A bench/memory.bench.ts [--size 128MiB] [--rounds 21] [--memory ivshmem:ADDRESS]`: membench beside plain C, in turns on the same
 * memory, and the ratio of their medians, by processor time: the turns of other programs are nobody's. Then what it costs
 * to open and map each kind of memory that this machine has, and for a file the system calls alone.
 * @module
 */

import { Chase, prepareTable, Stream, UpdateStream } from "../ffi/membench.ts";
import { Mapping } from "../ffi/memory.ts";
import { parseBytes } from "../src/core/units.ts";
import { localMachine } from "../ffi/machine.ts";
import { BusbarError } from "../src/core/error.ts";
import { MemoryBackend, parseMemory } from "../src/memory/backend.ts";
import { startOfStream } from "../src/memory/random_stream.ts";

function option(name: string, otherwise: string): string {
  const at = Deno.args.indexOf(name);
  return at < 0 ? otherwise : Deno.args[at + 1] ?? otherwise;
}

const size = Number(parseBytes(option("--size", "128MiB")));
const rounds = Number(option("--rounds", "21"));
const SECONDS = 0.2;

const folder = Deno.makeTempDirSync();
const file = `${folder}/peer.so`;
const source = new URL("peers/mem/mem.c", import.meta.url).pathname;
// The copy stays the loop that is written: as a call of memcpy it would use stores past the cache.
const flags = ["-O3", "-fno-tree-loop-distribute-patterns", "-shared", "-fPIC", "-o", file, source];
const compiled = new Deno.Command("cc", { args: flags, stderr: "inherit" }).outputSync();
if (!compiled.success) throw new Error("the peer does not compile");

const PEER = {
  parameters: [/* memory */ "pointer", /* bytes */ "u64", /* seconds */ "f64"],
  result: "f64",
  nonblocking: true,
} as const;
const plain = Deno.dlopen(file, { peer_copy: PEER, peer_chase: PEER, peer_gups: PEER });
using mapping = Mapping.anonymous(size);
mapping.bytes().fill(1);

async function peer(what: "copy" | "chase" | "gups"): Promise<number> {
  return await plain.symbols[`peer_${what}`](mapping.pointer, BigInt(size), SECONDS);
}

async function ours(what: "copy" | "chase" | "gups"): Promise<number> {
  const whole = { memory: mapping, offset: 0, sizeBytes: size };
  const half = size / 2;
  let slice: () => Promise<{ count: number; cpuNanoseconds: number }>;
  if (what === "copy") {
    const stream = new Stream("copy", { ...whole, sizeBytes: half }, { ...whole, offset: half, sizeBytes: half });
    slice = () => stream.slice(-1);
  } else if (what === "chase") {
    const chase = await Chase.prepare(whole, 256, 1n, () => {});
    slice = () => chase.slice(-1);
  } else {
    await prepareTable(whole);
    const updates = new UpdateStream(whole, startOfStream(0n), null);
    slice = () => updates.slice(1e9, -1);
  }
  let [count, nanoseconds] = [0, 0];
  while (nanoseconds < SECONDS * 1e9) {
    const done = await slice();
    count += done.count;
    nanoseconds += done.cpuNanoseconds;
  }
  return count / nanoseconds * 1e9;
}

for (const what of ["copy", "chase", "gups"] as const) {
  const [mine, theirs]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    theirs.push(await peer(what));
    mine.push(await ours(what));
  }
  const [a, b] = [median(mine), median(theirs)];
  console.log(
    `${what.padEnd(6)} ours ${a.toExponential(3)}/s  plain C ${b.toExponential(3)}/s  ratio ${(a / b).toFixed(3)}`,
  );
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

const gigabyte = `${folder}/gigabyte`;
Deno.writeFileSync(gigabyte, new Uint8Array());
Deno.truncateSync(gigabyte, 2 ** 30);
function bestMs(body: () => void): number {
  return Math.min(...Array.from({ length: 20 }, () => {
    const start = performance.now();
    body();
    return performance.now() - start;
  }));
}
/** The dax devices of this machine, by the names that membench takes. */
function daxDevices(): string[] {
  try {
    return localMachine.host.list("/sys/bus/dax/devices").map((name) => `dax:/dev/${name}`);
  } catch (error) {
    if (error instanceof BusbarError) return [];
    throw error;
  }
}

const more = option("--memory", "");
const dax = daxDevices();
if (dax.length === 0) console.log("open a dax device          not run: this machine has none");
for (const word of [`mmap:${gigabyte}`, "anonymous", "huge", "numa:0", ...dax, ...more === "" ? [] : [more]]) {
  const open = (): void => {
    // A device is mapped whole, whatever its size.
    using _backend = MemoryBackend.open(parseMemory(word, 1n << 30n), localMachine);
  };
  const name = word.split("/")[0] ?? word;
  try {
    open();
    console.log(`open 1 GiB of ${name.padEnd(9)} ${bestMs(open).toFixed(3)} ms`);
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    console.log(`open 1 GiB of ${name.padEnd(9)} not run: ${error.message}`);
  }
}
const bare = bestMs(() => Mapping.file(gigabyte, 2 ** 30, { writable: true })[Symbol.dispose]());
console.log(`open 1 GiB: open, mmap, munmap, close alone ${bare.toFixed(3)} ms`);
plain.close();
Deno.removeSync(folder, { recursive: true });
