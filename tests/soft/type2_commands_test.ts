/** Every command of the Type 2 GPU: what it gives and how it fails, the same in this process and over a shared file. */

import { assert, assertEquals, assertRejects } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { COMMANDS } from "../../src/type2/commands.ts";
import { SoftType2 } from "../../ffi/soft_type2.ts";
import { Type2Gpu } from "../../src/type2/client.ts";
import { openType2, softType2Settings } from "../../src/type2/open.ts";
import { registerOffset } from "../../src/type2/registers.ts";
import { SoftTransport } from "../../src/type2/soft_transport.ts";
import { failures } from "./type2_failures.ts";
import { KERNELS, Served, withType2Libraries } from "./type2_device.ts";
import { ALL, FABRIC, raw, text, transcript } from "./type2_transcript.ts";

withType2Libraries();

/** Results that a table row names and no software driver gives, with the reason. */
const NEVER = ["CTX_CREATE 2 (the software driver makes contexts without limit)"];

Deno.test("every command succeeds and fails as it should, alike in this process and over a shared file", async () => {
  using inProcess = openType2(`soft:type2?memory=256MiB&${ALL}`);
  const wanted = await transcript(inProcess);
  using others = openType2("soft:type2?memory=16MiB");
  using fork = openType2("soft:type2?profile=v2-J&memory=16MiB");
  const ranges = await Promise.all(
    ["RANGE_ACQUIRE", "RANGE_RELEASE"].map(async (name) => `${name} ${(await raw(fork, name, [0n, 64n, 1n])).result}`),
  );
  const seen = new Set([...wanted, ...await failures(others), ...ranges]);
  // Result 3 is of the test without a backend: it needs a device without a backend.
  const named = COMMANDS.flatMap(({ name, errors }) =>
    [0, ...errors].filter((code) => code !== 3).map((code) => `${name} ${code}`)
  );
  assertEquals(named.filter((one) => !seen.has(one)), NEVER.map((one) => one.replace(/ \(.*/, "")));
  await using served = Served.start(FABRIC);
  using shared = served.open();
  assertEquals(await transcript(shared), wanted);
});

Deno.test("memory that another session freed is zero when it is given out, not when a kernel that runs meanwhile ends", async () => {
  using gpu = openType2("soft:type2?memory=16MiB");
  const { bar4 } = gpu.transport;
  assert(bar4 !== null);
  const size = 64n;
  const ask = async (name: string, params: bigint[], session = 0, data?: Uint8Array<ArrayBuffer>): Promise<bigint> => {
    const { result, results } = await raw(gpu, name, params, data, session);
    assertEquals(result, 0, name);
    return results[0] ?? 0n;
  };
  bar4.fill(0xee, 0, Number(size));
  const old = await ask("MEM_ALLOC", [size]);
  await ask("BULK_HTOD", [0n, old, size]);
  await ask("MEM_FREE", [old]);

  const session = Number(await ask("SESSION_BEGIN", []));
  const module = await ask("MODULE_LOAD_PTX", [], session, text(KERNELS));
  const waitFor = await ask("FUNC_GET", [module], session, text("wait_for"));
  const flag = await ask("MEM_ALLOC", [4n], session);
  const one = 1n << 32n;
  const slots = new Uint8Array(BigUint64Array.of(flag).buffer);
  await ask("LAUNCH_KERNEL", [waitFor, 1n | one, 1n | one, 1n | one, one, 0n], session, slots);
  // The kernel waits in the default stream; what comes next does not wait for it.
  const fresh = await ask("MEM_ALLOC", [size], session);
  const stream = await ask("STREAM_CREATE", [1n], session);
  const back = 4096;
  const read = async (): Promise<number[]> => {
    await ask("BULK_DTOH", [fresh, BigInt(back), size, stream], session);
    return [...new Set(bar4.subarray(back, back + Number(size)))];
  };
  assertEquals(await read(), [0]);
  bar4.fill(0x11, 0, Number(size));
  await ask("BULK_HTOD", [0n, fresh, size, stream], session);
  await ask("BULK_HTOD", [0n, flag, 4n, stream], session);
  await ask("CTX_SYNC", [], session);
  assertEquals(await read(), [0x11]);
});

Deno.test("without a backend memory commands give 3, and what needs none still answers", async () => {
  using gpu = openType2("soft:type2?backend=none");
  for (const row of COMMANDS) {
    if (row.needsReady) assertEquals((await raw(gpu, row.name, [4096n])).result, 3, row.name);
  }
  assertEquals((await raw(gpu, "GET_DEVICE_COUNT")).results[0], 0n);
  assertEquals(gpu.info().status, 0);
});

Deno.test("a reset drops allocations, modules and contexts: READY alone, no command, counters 0", async () => {
  using device = SoftType2.open("soft:type2", softType2Settings(new Map([["memory", String(16 << 20)]])).settings);
  using gpu = new Type2Gpu(new SoftTransport(device, "v2"));
  const register = (name: string): number => gpu.transport.read32(registerOffset(name));
  await gpu.begin();
  await gpu.allocate(4096);
  await gpu.load(KERNELS);
  await gpu.command("CACHE_PREFETCH", [0n, 4096n]);
  assertEquals([register("STATUS"), register("CMD_STATUS")], [9, 3]);
  const epoch = register("EPOCH");
  device.reset();
  assertEquals([register("STATUS"), register("CMD_STATUS"), register("CMD_RESULT"), register("EPOCH")], [
    1,
    0,
    0,
    epoch + 1,
  ]);
  assertEquals(gpu.info().freeBytes, gpu.info().totalBytes);
  assertEquals((await raw(gpu, "COH_GET_STATS")).results, [0n, 0n, 0n, 0n]);
  assertEquals((await raw(gpu, "FUNC_GET", [0n], text("add"))).result, 400);
});

Deno.test("strict: 3 before INIT, 201 before CTX_CREATE", async () => {
  using gpu = openType2("soft:type2?strict=1&memory=16MiB");
  assertEquals((await raw(gpu, "MEM_ALLOC", [64n])).result, 3);
  await raw(gpu, "INIT");
  assertEquals((await raw(gpu, "MEM_ALLOC", [64n])).result, 201);
  await raw(gpu, "CTX_CREATE");
  assertEquals((await raw(gpu, "MEM_ALLOC", [64n])).result, 0);
});

Deno.test("the first generation has no features, the fork has its own numbers", async () => {
  using v1 = openType2("soft:type2?profile=v1&memory=16MiB&dcd=8MiB");
  for (const row of COMMANDS) {
    if (row.feature !== "common" && row.feature !== "EXTENSION") {
      assertEquals((await raw(v1, row.name)).result, 1, row.name);
    }
  }
  assertEquals(v1.generation.profile.name, "v1");
  using fork = openType2("soft:type2?profile=v2-J&memory=16MiB&dcd=8MiB");
  assertEquals([fork.generation.profile.name, fork.generation.caps], ["v2-J", 0x5b]);
  assertEquals((await fork.command("CACHE_PREFETCH", [0n, 4096n])).results[0], 4096n);
  assertEquals((await raw(fork, "CACHE_PREFETCH", [0n, 4096n])).result, 1); // 83 is another command there
  assertEquals((await fork.command("RANGE_ACQUIRE", [60n, 8n, 1n])).results[0], 2n);
});

Deno.test("an error names command, parameters and result, and PTX that does not load its line", async () => {
  await using gpu = openType2("soft:type2?memory=16MiB");
  await assertRejects(() => gpu.free(0x123n), BusbarError, "MEM_FREE(0x123) gives 1 INVALID_VALUE");
  const bad = KERNELS.replace("add.u32 %r4", "frobnicate.u32 %r4");
  const error = await assertRejects(() => gpu.load(bad), BusbarError, "800 INVALID_PTX");
  assert(error.message.includes("frobnicate"), error.message);
  await assertRejects(
    () => gpu.load(KERNELS).then((module) => gpu.function(module, "none")),
    BusbarError,
    "no kernel 'none'",
  );
});

Deno.test("structures are passed by value, and module variables copied", async () => {
  await using gpu = openType2("soft:type2?memory=16MiB");
  await gpu.begin();
  const module = await gpu.load(KERNELS);
  const to = await gpu.allocate(12);
  const fields = new Uint8Array(Uint32Array.of(11, 12, 13).buffer);
  await gpu.launch(await gpu.function(module, "shaped"), { grid: [1, 1, 1], block: [1, 1, 1], sharedBytes: 0 }, [
    7,
    fields,
    { address: to },
  ]);
  await gpu.synchronize();
  assertEquals([...new Uint32Array((await gpu.read(to, 12)).buffer)], [7, 11, 13]);
  const { results } = await gpu.command("MODULE_GET_GLOBAL", [BigInt(module.index)], { data: text("counter") });
  assertEquals(results[1], 4n);
  assertEquals([...await gpu.read(results[0] ?? 0n, 4)], [5, 0, 0, 0]);
  await assertRejects(() => gpu.read(results[0] ?? 0n, 5), BusbarError, "INVALID_VALUE");
});
