/**
 * The transcript of all commands, with every way that each fails: the same whatever the way to the device.
 * @module
 */

import { assertEquals } from "@std/assert";

import { Deadline } from "../../src/core/deadline.ts";
import type { Type2Gpu } from "../../src/type2/client.ts";
import { commandNamed, COMMANDS } from "../../src/type2/commands.ts";
import { registerOffset } from "../../src/type2/registers.ts";
import { KERNELS } from "./type2_device.ts";

/** A text as DATA holds it. */
export const text = (words: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`${words}\0`);

/** What a command came to: result, RESULTs, and whatever was asked for. */
interface Outcome {
  readonly result: number;
  readonly results: readonly bigint[];
  readonly data: Uint8Array;
}

/** Runs a command as it stands in the table, whatever the client would say of it. */
export async function raw(
  gpu: Type2Gpu,
  name: string,
  params: bigint[] = [],
  data?: Uint8Array<ArrayBuffer>,
  session = 0,
  readBytes = 0,
): Promise<Outcome> {
  return await gpu.transport.submit(
    { code: commandNamed(name).code, params, session, data: data ?? null, readBytes },
    Deadline.after(20_000),
  );
}

/** Settings with which a device has every command. */
export const FABRIC: Readonly<Record<string, string>> = { dcd: String(8 << 20), gfam: "2", mhsld: "4", peers: "2" };
/** The same in a locator. */
export const ALL: string = Object.entries(FABRIC).map(([key, value]) => `${key}=${value}`).join("&");

/** The transcript: name, PARAMs, DATA, wanted result; `at` names what a RESULT0 was kept under. */
export async function transcript(gpu: Type2Gpu): Promise<string[]> {
  const lines: string[] = [];
  const kept = new Map<string, bigint>();
  const done = new Set<string>();
  const step = async (
    name: string,
    params: (bigint | string)[],
    wanted: number,
    more: { data?: Uint8Array<ArrayBuffer>; keep?: string; session?: string; zeroed?: number } = {},
  ): Promise<Outcome> => {
    const values = params.map((one) => typeof one === "bigint" ? one : kept.get(one) ?? 0n);
    const session = Number(kept.get(more.session ?? "") ?? 0n);
    const outcome = await raw(gpu, name, values, more.data, session, more.zeroed);
    assertEquals(outcome.result, wanted, `${name}(${params.join(", ")})`);
    // Of the command before nothing is left: neither where this one failed, nor where it has fewer results.
    const own = wanted === 0 ? commandNamed(name).results.length : 0;
    assertEquals(outcome.results.slice(own), new Array(4 - own).fill(0n), `${name} has results of another command`);
    if (more.zeroed !== undefined) {
      assertEquals(outcome.data, new Uint8Array(more.zeroed), `${name} leaves bytes in DATA`);
    }
    if (more.keep !== undefined) kept.set(more.keep, outcome.results[0] ?? 0n);
    done.add(name);
    lines.push(`${name} ${wanted}`);
    return outcome;
  };
  await step("NOP", [], 0);
  await step("INIT", [], 0);
  assertEquals((await step("GET_DEVICE_COUNT", [], 0)).results[0], 1n);
  await step("GET_DEVICE", [0n], 0);
  await step("GET_DEVICE", [1n], 101);
  await step("GET_DEVICE_NAME", [], 0);
  const props = await step("GET_DEVICE_PROPS", [], 0);
  assertEquals(props.results, [256n << 20n, 9n << 16n, 132n, 1024n]);
  assertEquals((await step("GET_TOTAL_MEM", [], 0)).results[0], 256n << 20n);
  await step("CTX_DESTROY", [], 201);
  await step("CTX_CREATE", [], 0);
  await step("CTX_SYNC", [], 0);
  await step("MEM_ALLOC", [0n], 1);
  await step("MEM_ALLOC", [(256n << 20n) + 1n], 2);
  await step("MEM_ALLOC", [0xffff_ffff_ffff_ffffn], 2);
  await step("MEM_ALLOC", [4097n], 0, { keep: "p" });
  await step("MEM_ALLOC", [4096n], 0, { keep: "q" });
  const p = kept.get("p") ?? 0n;
  assertEquals((await step("MEM_GET_INFO", [], 0)).results.slice(0, 2), [(256n << 20n) - 8193n, 256n << 20n]);
  await step("MEM_COPY_HTOD", ["p", 5n], 0, { data: text("four") });
  await step("MEM_COPY_HTOD", ["p", 0n], 0);
  await step("MEM_COPY_HTOD", ["p", 4098n], 1);
  await step("MEM_COPY_HTOD", [p - 1n, 1n], 1);
  await step("MEM_COPY_HTOD", [0xffff_ffff_ffff_fff0n, 32n], 1);
  await step("MEM_COPY_HTOD", ["p", (1n << 20n) + 1n], 1);
  await step("MEM_COPY_DTOH", ["p", 5n], 0);
  await step("MEM_COPY_DTOH", ["p", 0n], 0);
  await step("MEM_COPY_DTOH", ["p", 4098n], 1, { data: new Uint8Array(4098).fill(0xaa), zeroed: 4098 });
  await step("MEM_COPY_DTOH", ["p", (1n << 20n) + 1n], 1);
  await step("MEM_COPY_DTOD", ["q", "p", 4096n], 0);
  await step("MEM_COPY_DTOD", ["q", "p", 4097n], 1);
  await step("MEM_SET", ["q", 7n, 4096n, 0n], 0);
  await step("MEM_SET", ["q", 7n, 1024n, 4n], 0);
  await step("MEM_SET", ["q", 7n, 1025n, 4n], 1);
  await step("MEM_SET", ["q", 7n, 4n, 3n], 1);
  await step("MEM_SET", ["q", 7n, 1n << 62n, 4n], 1);
  await step("MODULE_LOAD_PTX", [], 800, { data: text("this is no PTX") });
  // What a driver would take for a fat binary, and read by the lengths that it states.
  await step("MODULE_LOAD_PTX", [], 800, {
    data: Uint8Array.of(0x50, 0xed, 0x55, 0xba, 1, 1, 16, 1, 255, 255, 255, 0),
  });
  await step("MODULE_LOAD_PTX", [], 0, { data: text(KERNELS), keep: "m" });
  await step("FUNC_GET", [9n], 400, { data: text("add") });
  await step("FUNC_GET", ["m"], 500, { data: text("") });
  await step("FUNC_GET", ["m"], 500, { data: text("subtract") });
  await step("FUNC_GET", ["m"], 0, { data: text("add"), keep: "f" });
  assertEquals((await step("FUNC_INFO", ["f"], 0)).results[0], 2n);
  await step("FUNC_INFO", [77n], 400);
  await step("FUNC_SET_ATTRIBUTE", ["f", 8n, 1024n], 0);
  await step("FUNC_SET_ATTRIBUTE", ["f", 99n, 1024n], 1);
  await step("FUNC_SET_ATTRIBUTE", [77n, 8n, 1024n], 400);
  const slots = new Uint8Array(new BigUint64Array([kept.get("q") ?? 0n, 3n]).buffer);
  const shape = (
    slotCount: bigint,
    x = 1n,
  ): bigint[] => [x | 1n << 32n, 1n | 32n << 32n, 1n | 1n << 32n, slotCount << 32n];
  await step("LAUNCH_KERNEL", ["f", ...shape(2n)], 0, { data: slots });
  await step("CTX_SYNC", [], 0);
  const { data } = await gpu.command("MEM_COPY_DTOH", [kept.get("q") ?? 0n, 8n], { readBytes: 8 });
  assertEquals([...new Uint32Array(data.slice().buffer)], [10, 10]);
  await step("LAUNCH_KERNEL", ["f", ...shape(1n)], 1, { data: slots });
  await step("LAUNCH_KERNEL", ["f", ...shape(3n)], 1, { data: slots });
  await step("LAUNCH_KERNEL", ["f", ...shape(513n)], 1, { data: slots });
  await step("LAUNCH_KERNEL", ["f", ...shape(2n, 0n)], 1, { data: slots });
  await step("LAUNCH_KERNEL", ["f", 1n | 1n << 32n, 1n | 1025n << 32n, 1n | 1n << 32n, 2n << 32n], 1, { data: slots });
  await step("LAUNCH_KERNEL", ["f", 1n | 1n << 32n, 1n | 64n << 32n, 64n | 1n << 32n, 2n << 32n], 1, { data: slots });
  await step("LAUNCH_KERNEL", [77n, ...shape(2n)], 400, { data: slots });
  await step("MODULE_GET_GLOBAL", ["m"], 0, { data: text("counter") });
  await step("MODULE_GET_GLOBAL", ["m"], 500, { data: text("counters") });
  await step("MODULE_GET_GLOBAL", [9n], 400, { data: text("counter") });
  await step("STREAM_CREATE", [1n], 0, { keep: "s" });
  await step("STREAM_SYNC", ["s"], 0);
  await step("STREAM_SYNC", [9n], 400);
  await step("STREAM_QUERY", ["s"], 0);
  await step("STREAM_QUERY", [0xffff_ffff_0000_0001n], 400);
  await step("EVENT_CREATE", [0n], 0, { keep: "e" });
  await step("EVENT_CREATE", [0n], 0, { keep: "e2" });
  await step("EVENT_RECORD", ["e", 0n], 0);
  await step("EVENT_RECORD", ["e2", 0n], 0);
  await step("EVENT_RECORD", [99n, 0n], 400);
  await step("EVENT_SYNC", ["e2"], 0);
  await step("EVENT_SYNC", [99n], 400);
  await step("EVENT_QUERY", ["e"], 0);
  await step("EVENT_QUERY", [0n], 400);
  await step("EVENT_ELAPSED", ["e", "e2"], 0);
  await step("EVENT_ELAPSED", ["e", 99n], 400);
  await step("STREAM_WAIT_EVENT", ["s", "e"], 0);
  await step("STREAM_WAIT_EVENT", [9n, "e"], 400);
  await step("EVENT_DESTROY", ["e"], 0);
  await step("EVENT_DESTROY", ["e"], 400);
  await step("STREAM_DESTROY", ["s"], 0);
  await step("STREAM_DESTROY", ["s"], 400);
  await step("STREAM_DESTROY", [0n], 400);
  await step("BULK_HTOD", [0n, "q", 4096n, 0n, 0n], 0);
  await step("BULK_HTOD", [0n, "q", 0n, 0n, 0n], 0);
  await step("BULK_HTOD", [0n, "q", 4097n, 0n, 0n], 1);
  await step("BULK_HTOD", [0n, "q", (64n << 20n) + 1n, 0n, 0n], 1);
  await step("BULK_HTOD", [gpu.transport.read64(registerOffset("COH_POOL_BASE")), "q", 8n, 0n, 0n], 1);
  await step("BULK_HTOD", [0n, "q", 8n, 5n, 0n], 400);
  await step("BULK_DTOH", ["q", 0n, 4096n, 0n, 0n], 0);
  await step("BULK_DTOH", ["q", 0xffff_ffff_ffff_f000n, 4096n, 0n, 0n], 1);
  await step("BULK_DTOH", ["q", 0n, 4097n, 0n, 0n], 1);
  await step("BULK_DTOD", ["p", "q", 4096n, 0n, 1n], 0);
  await step("BULK_DTOD", ["p", "q", 4097n, 0n, 0n], 1);
  for (const name of ["CACHE_FLUSH", "CACHE_INVALIDATE", "CACHE_WRITEBACK", "CACHE_PREFETCH"]) {
    await step(name, [0n, 4096n, 1n], 0);
    await step(name, [1n << 40n, 1n], 1);
  }
  assertEquals((await step("P2P_DISCOVER", [], 0)).results[0], 2n);
  assertEquals((await step("P2P_PEER_INFO", [1n], 0)).results, [2n, 16n << 20n, 1n, 0n]);
  await step("P2P_PEER_INFO", [2n], 1);
  await step("P2P_GPU_TO_MEM", [0n, 0n, 64n, 4096n], 0);
  await step("P2P_GPU_TO_MEM", [0n, 0n, 16n << 20n, 1n], 2);
  await step("P2P_MEM_TO_GPU", [0n, 64n, 0n, 4096n], 0);
  await step("P2P_MEM_TO_GPU", [0n, 0xffff_ffff_ffff_fff0n, 0n, 4096n], 2);
  await step("P2P_MEM_TO_MEM", [0n, 1n, 64n, 0n, 4096n], 0);
  await step("P2P_MEM_TO_MEM", [0n, 2n, 64n, 0n, 4096n], 2);
  await step("P2P_SYNC", [], 0);
  assertEquals((await step("P2P_STATUS", [], 0)).results.slice(0, 3), [2n, 3n, 3n * 4096n]);
  await step("COHERENT_ALLOC", [0n], 1);
  await step("COHERENT_ALLOC", [1n << 40n], 2);
  assertEquals(((await step("COHERENT_ALLOC", [5000n], 0, { keep: "c" })).results[0] ?? 1n) % 4096n, 0n);
  await step("COHERENT_FREE", [(kept.get("c") ?? 0n) + 4096n], 1);
  const pool = (await step("COHERENT_INFO", [], 0)).results;
  assertEquals((pool[1] ?? 0n) - (pool[2] ?? 0n), 8192n);
  await step("COHERENT_FREE", ["c"], 0);
  await step("COHERENT_FREE", ["c"], 1);
  await step("COHERENT_FENCE", [], 0);
  await step("SET_BIAS", [64n, 1n, 4096n << 8n | 1n], 0);
  assertEquals((await step("GET_BIAS", [4095n], 0)).results[0], 1n);
  assertEquals((await step("GET_BIAS", [4096n], 0)).results[0], 0n);
  await step("GET_BIAS", [1n << 40n], 1);
  await step("SET_BIAS", [0n, 64n, 2n], 1);
  await step("SET_BIAS", [0n, 64n, 100n << 8n], 1);
  await step("BIAS_FLIP", [0n, 4096n, 0n], 0);
  await step("BIAS_FLIP", [0n, 1n << 40n, 0n], 1);
  await step("COH_GET_STATS", [], 0);
  await step("COH_RESET_STATS", [], 0);
  assertEquals((await step("COH_GET_STATS", [], 0)).results, [0n, 0n, 0n, 0n]);
  await step("RANGE_ACQUIRE", [0n, 64n, 0n], 1);
  await step("RANGE_RELEASE", [0n, 64n, 0n], 1);
  const MIB = 1n << 20n, ANY = 0xffff_ffff_ffff_ffffn;
  assertEquals((await step("DCD_ADD", [ANY, 1n, 0n], 0)).results, [0n, 2n * MIB, 1n, 2n * MIB]);
  await step("DCD_ADD", [0n, 2n * MIB, 0n], 1);
  await step("DCD_ADD", [1n, 2n * MIB, 0n], 1);
  await step("DCD_ADD", [4n * MIB, 2n * MIB, 77n], 0);
  await step("DCD_ADD", [ANY, 4n * MIB, 0n], 2);
  await step("DCD_RELEASE", [4n * MIB, 2n * MIB, 78n], 1);
  await step("DCD_RELEASE", [4n * MIB, 4n * MIB, 0n], 1);
  await step("DCD_RELEASE", [4n * MIB, 2n * MIB, 77n], 0);
  assertEquals((await step("DCD_INFO", [], 0)).results, [8n * MIB, 2n * MIB, 6n * MIB, 1n]);
  await step("GFAM_GRANT", [0n, 0n, 4096n, 3n], 0);
  await step("GFAM_GRANT", [0n, 0n, 4096n, 16n], 1);
  await step("GFAM_GRANT", [0n, 0n, 4096n, 0n], 1);
  await step("GFAM_GRANT", [2n, 0n, 4096n, 1n], 1);
  for (let i = 1n; i < 16n; i++) await step("GFAM_GRANT", [1n, 4096n * i, 4096n, 1n], 0);
  await step("GFAM_GRANT", [1n, 0n, 64n, 1n], 2);
  await step("GFAM_REVOKE", [0n, 0n, 64n], 1);
  await step("GFAM_REVOKE", [0n, 0n, 4096n], 0);
  assertEquals((await step("GFAM_INFO", [], 0)).results, [2n, 15n, 16n, 3n]);
  assertEquals((await step("MHSLD_SET_HEAD", [3n], 0)).results[0], 3n);
  await step("MHSLD_SET_HEAD", [4n], 1);
  assertEquals((await step("MHSLD_INFO", [], 0)).results.slice(0, 2), [4n, 3n]);
  await step("SESSION_BEGIN", [], 0, { keep: "id" });
  await step("MEM_FREE", ["p"], 1, { session: "id" });
  await step("MEM_COPY_HTOD", ["p", 4n], 1, { session: "id", data: text("four") });
  await step("FUNC_GET", [0n], 400, { session: "id", data: text("add") });
  await step("SESSION_END", ["id"], 0);
  await step("MEM_ALLOC", [64n], 201, { session: "id" });
  await step("SESSION_END", ["id"], 400);
  await step("SESSION_END", [0n], 400);
  assertEquals((await step("DEVICE_ATTRIBUTE", [75n], 0)).results[0], 9n);
  await step("DEVICE_ATTRIBUTE", [0n], 1);
  await step("LOG_READ", [0n], 0);
  await step("LOG_READ", [2n], 1);
  gpu.transport.bar4?.set(text(KERNELS));
  await step("MODULE_LOAD_BULK", [0n, BigInt(text(KERNELS).length)], 0, { keep: "m2" });
  await step("MODULE_LOAD_BULK", [0n, 8n], 800);
  await step("MODULE_LOAD_BULK", [0n, 0n], 1);
  await step("MODULE_LOAD_BULK", [0n, 1n << 40n], 1);
  await step("MODULE_UNLOAD", ["m"], 0);
  await step("MODULE_UNLOAD", ["m"], 400);
  await step("FUNC_GET", ["m"], 400, { data: text("add") });
  await step("FUNC_INFO", ["f"], 400);
  await step("MEM_FREE", [p + 1n], 1);
  await step("MEM_FREE", ["p"], 0);
  await step("MEM_FREE", ["p"], 1);
  await step("CTX_DESTROY", [], 0);
  assertEquals((await step("MEM_GET_INFO", [], 0)).results[0], 256n << 20n);
  assertEquals(COMMANDS.map((row) => row.name).filter((name) => !done.has(name)), []);
  return lines;
}
