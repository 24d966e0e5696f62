/** Guests and processes of one device kept apart; a server that is killed; files made, taken over and deleted. */

import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";

import { cudaShimFolder } from "../../ffi/build.ts";
import { BusbarError } from "../../src/core/error.ts";
import { openType2, serveSharedFile } from "../../src/type2/open.ts";
import type { Type2Gpu } from "../../src/type2/client.ts";
import { fatbin, Workshop } from "./ptx/programs.ts";
import { runTool } from "./tool.ts";
import { KERNELS, Served, startServer, withType2Libraries } from "./type2_device.ts";

withType2Libraries();

const SHAPE = { grid: [1, 1, 1], block: [1, 1, 1], sharedBytes: 0 } as const;

/** Writes and reads back words of its own, many times. */
async function ownWords(gpu: Type2Gpu, seed: number, rounds: number): Promise<void> {
  await gpu.begin();
  const pointer = await gpu.allocate(256);
  for (let round = 0; round < rounds; round++) {
    const words = Uint32Array.from({ length: 64 }, (_, i) => Math.imul(seed + round, 2654435761) + i);
    await gpu.write(pointer, new Uint8Array(words.buffer));
    assertEquals(new Uint32Array((await gpu.read(pointer, 256)).buffer), words);
  }
  await gpu.end();
}

Deno.test("two guests at once: no byte of the other's, and the other's pointers give 700", async () => {
  await using one = Served.start({ memory: String(16 << 20) }, 16 << 20);
  await using two = Served.start({ memory: String(16 << 20) }, 16 << 20);
  using first = one.open(), second = two.open();
  await Promise.all([ownWords(first, 1, 500), ownWords(second, 2, 500)]);
  await first.begin();
  await second.begin();
  const theirs = await first.allocate(64);
  await assertRejects(() => second.read(theirs, 4), BusbarError, "INVALID_VALUE");
  const add = await second.function(await second.load(KERNELS), "add");
  await second.launch(add, SHAPE, [{ address: theirs }, 1]);
  await assertRejects(() => second.synchronize(), BusbarError, "700 LAUNCH_FAILED");
  assertEquals(await first.read(theirs, 4), new Uint8Array(4));
});

Deno.test("two sessions of one guest: one's fault and pointers are not the other's", async () => {
  await using served = Served.start({ memory: String(16 << 20) }, 16 << 20);
  using first = served.open(), second = served.open();
  await Promise.all([ownWords(first, 1, 200), ownWords(second, 2, 200)]);
  await first.begin();
  await second.begin();
  const theirs = await first.allocate(64);
  await assertRejects(() => second.free(theirs), BusbarError, "INVALID_VALUE");
  const add = await second.function(await second.load(KERNELS), "add");
  await second.launch(add, SHAPE, [{ address: theirs }, 1]);
  await assertRejects(() => second.synchronize(), BusbarError, "700");
  await assertRejects(() => second.allocate(64), BusbarError, "700");
  await first.free(theirs);
  await second.end();
  await second.begin();
  await second.allocate(64);
});

Deno.test("a kernel sums what was written into the pool: no copy is among the commands", async () => {
  await using served = Served.start({ memory: String(16 << 20) }, 16 << 20);
  using gpu = served.open();
  await gpu.begin();
  const offset = Number((await gpu.command("COHERENT_ALLOC", [4096n])).results[0]);
  const { bar4 } = gpu.transport;
  assert(bar4 !== null);
  const words = new Uint32Array(bar4.buffer, bar4.byteOffset + offset, 4);
  words.set([10, 20, 30, 40]);
  const add = await gpu.function(await gpu.load(KERNELS), "add");
  const address = gpu.transport.read64(0xf38) + BigInt(offset);
  await gpu.launch(add, { ...SHAPE, block: [4, 1, 1] }, [{ address }, 5]);
  await gpu.synchronize();
  assertEquals([...words], [15, 25, 35, 45]);
  for (const code of [0x22, 0x23, 0x24, 0x70, 0x71, 0x72]) assertEquals(served.device.count(code), 0);
});

Deno.test("serve killed in a kernel: an error within 2 s; the next takes the file over, handles are void, and it leaves nothing", async () => {
  const folder = await Deno.makeTempDir({ dir: "/dev/shm" });
  const path = `${folder}/gpu`;
  const server = await startServer(path, "--limit", "60s");
  assertEquals(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
  using gpu = openType2(`type2:${path}`);
  await gpu.begin();
  const flag = await gpu.allocate(4);
  await gpu.launch(await gpu.function(await gpu.load(KERNELS), "wait_for"), SHAPE, [{ address: flag }]);
  const waiting = assertRejects(() => gpu.synchronize(), BusbarError, "silent");
  server.kill("SIGKILL");
  const killed = performance.now();
  assertEquals((await waiting).code, "device-gone");
  assert(performance.now() - killed < 2000);
  await server.status;
  const next = await startServer(path);
  await assertRejects(() => gpu.allocate(4), BusbarError, "started anew");
  using again = openType2(`type2:${path}`);
  await again.begin();
  await again.allocate(4);
  const { stderr, code } = await runTool("cxl_gpu", ["serve", "--file", `${path},size=16MiB`]);
  assertEquals(code, 3);
  assertMatch(stderr, /another server has this file\n {2}hint: /);
  next.kill("SIGTERM");
  assertEquals((await next.status).code, 143);
  await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
  await Deno.remove(folder);
});

Deno.test("a reset from outside: the file still says how it is used, old clients are told, new ones work", async () => {
  await using served = Served.start({ memory: String(16 << 20) }, 16 << 20);
  using before = served.open();
  await before.begin();
  await before.allocate(4096);
  served.device.reset();
  await assertRejects(() => before.allocate(4), BusbarError, "started anew");
  using after = served.open();
  await after.begin();
  assertEquals((await after.memory()).freeBytes, 16n << 20n);
});

Deno.test("a program that is killed: the next one runs, and memory is whole again", async () => {
  await using served = Served.start({ memory: String(64 << 20) }, 16 << 20);
  using workshop = new Workshop();
  const env = { LD_LIBRARY_PATH: cudaShimFolder(), CXL_GPU: served.path };
  const source = `${workshop.folder}/holder.c`;
  await Deno.writeTextFile(
    source,
    `#include "api/cuda_api.h"
#include <stdio.h>
#include <unistd.h>
CUresult cuInit(unsigned int); CUresult cuCtxCreate_v2(CUcontext *, unsigned int, CUdevice);
CUresult cuMemAlloc_v2(CUdeviceptr *, size_t); CUresult cuMemHostAlloc(void **, size_t, unsigned int);
int main(void) {
  CUcontext context; CUdeviceptr memory; void *pinned;
  if (cuInit(0) || cuCtxCreate_v2(&context, 0, 0) || cuMemAlloc_v2(&memory, 1 << 20) || cuMemHostAlloc(&pinned, 4096, 0)) return 1;
  puts("holds"); fflush(stdout);
  for (;;) pause();
}`,
  );
  const include = new URL("../../csrc", import.meta.url).pathname;
  const built = await workshop.namedDriverProgram("holder", source, `-I${include}`);
  const holder = new Deno.Command(built, { env, stdout: "piped" }).spawn();
  const reader = holder.stdout.getReader();
  assertStringIncludes(new TextDecoder().decode((await reader.read()).value), "holds");
  await reader.cancel();
  using gpu = served.open();
  const { totalBytes } = gpu.info();
  assertEquals(totalBytes - gpu.info().freeBytes, 1n << 20n);
  holder.kill("SIGKILL");
  await holder.status;
  const program = await workshop.namedDriverProgram("vector_add");
  const next = await new Deno.Command(program, { args: [fatbin("vector_add", "plain")], env }).output();
  assertEquals(next.code, 0);
  assertEquals((await gpu.memory()).freeBytes, totalBytes);
  assertEquals((await gpu.command("COHERENT_INFO")).results[2], gpu.transport.read64(0x308));
});

Deno.test("a file that is cut short is an error of its guest; the server and the others go on", async () => {
  await using one = Served.start({ memory: String(16 << 20) }, 16 << 20);
  await using two = Served.start({ memory: String(16 << 20) }, 16 << 20);
  await Deno.truncate(one.path, 4096);
  for (let i = 0; i < 100 && one.device.problem === null; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals(one.device.problem, "the file was cut short");
  assertThrows(() => one.open(), BusbarError, "4096 bytes");
  using gpu = two.open();
  await ownWords(gpu, 3, 3);
});

Deno.test("files that no server made, of others or of another size, and links are refused and stay", async () => {
  const folder = await Deno.makeTempDir({ dir: "/dev/shm" });
  const serve = (path: string): unknown =>
    serveSharedFile(new Map([["backend", "none"]]), { path, sizeBytes: 16 << 20 });
  await Deno.writeFile(`${folder}/mine`, new Uint8Array(16 << 20), { mode: 0o600 });
  assertThrows(() => serve(`${folder}/mine`), BusbarError, "no server made");
  await Deno.writeFile(`${folder}/open`, new Uint8Array(16), { mode: 0o644 });
  assertThrows(() => serve(`${folder}/open`), BusbarError, "not this user's alone");
  await Deno.symlink(`${folder}/mine`, `${folder}/link`);
  assertThrows(() => serve(`${folder}/link`), BusbarError);
  assertThrows(() => serve(`${folder}/none/gpu`), BusbarError, "no such file");
  const left: string[] = [];
  for await (const entry of Deno.readDir(folder)) left.push(entry.name);
  assertEquals(left.sort(), ["link", "mine", "open"]);
  await Deno.remove(folder, { recursive: true });
});
