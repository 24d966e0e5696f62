/**
 * Failures that need a device in a state of its own: a kernel that runs, a fault, and tables that are full.
 * @module
 */

import { assertEquals } from "@std/assert";

import type { Type2Gpu } from "../../src/type2/client.ts";
import { KERNELS } from "./type2_device.ts";
import { raw, text } from "./type2_transcript.ts";

const ONE = 1n << 32n;

/** One command after the other in a session; what came of each is kept as `NAME result`. */
class Steps {
  readonly lines: string[] = [];
  readonly #gpu: Type2Gpu;
  session = 0;

  constructor(gpu: Type2Gpu) {
    this.#gpu = gpu;
  }

  async run(name: string, params: readonly bigint[], wanted: number, data?: Uint8Array<ArrayBuffer>): Promise<bigint> {
    // What a command before had in a PARAM counts, so all are written.
    const all = Array.from({ length: 8 }, (_, i) => params[i] ?? 0n);
    const { result, results } = await raw(this.#gpu, name, all, data, this.session);
    assertEquals(result, wanted, `${name}(${params.join(", ")})`);
    this.lines.push(`${name} ${result}`);
    return results[0] ?? 0n;
  }

  /** A session of its own with the kernels in it. */
  async begin(): Promise<bigint> {
    this.session = 0;
    this.session = Number(await this.run("SESSION_BEGIN", [], 0));
    return await this.run("MODULE_LOAD_PTX", [], 0, text(KERNELS));
  }

  /** Ends it. */
  async end(): Promise<void> {
    const session = BigInt(this.session);
    this.session = 0;
    await this.run("SESSION_END", [session], 0);
  }

  /** Launches a kernel of one thread. */
  async launch(kernel: bigint, slots: readonly bigint[], wanted = 0): Promise<void> {
    const shape = [1n | ONE, 1n | ONE, 1n | ONE, BigInt(slots.length) * ONE];
    await this.run("LAUNCH_KERNEL", [kernel, ...shape], wanted, new Uint8Array(BigUint64Array.from(slots).buffer));
  }
}

/** What runs is not ready: 600, also when a thousand launches wait. */
async function notReady(steps: Steps, gpu: Type2Gpu): Promise<void> {
  const module = await steps.begin();
  const waitFor = await steps.run("FUNC_GET", [module], 0, text("wait_for"));
  const flag = await steps.run("MEM_ALLOC", [4n], 0);
  const [start, end] = [await steps.run("EVENT_CREATE", [], 0), await steps.run("EVENT_CREATE", [], 0)];
  const other = await steps.run("STREAM_CREATE", [1n], 0);
  await steps.run("EVENT_RECORD", [start], 0);
  await steps.launch(waitFor, [flag]);
  await steps.run("EVENT_RECORD", [end], 0);
  await steps.run("CTX_SYNC", [], 600);
  await steps.run("STREAM_SYNC", [0n], 600);
  await steps.run("STREAM_QUERY", [0n], 600);
  await steps.run("EVENT_QUERY", [end], 600);
  await steps.run("EVENT_SYNC", [end], 600);
  await steps.run("EVENT_ELAPSED", [start, end], 600);
  await steps.run("BULK_DTOH", [flag, 0n, 4n, 9n], 400);
  await steps.run("BULK_DTOD", [flag, flag, 4n, 9n], 400);
  for (let i = 1; i < 1024; i++) await steps.launch(waitFor, [flag]);
  await steps.launch(waitFor, [flag], 600);
  gpu.transport.bar4?.fill(1, 0, 4);
  await steps.run("BULK_HTOD", [0n, flag, 4n, other], 0);
  await steps.run("EVENT_SYNC", [end], 0);
  while ((await raw(gpu, "CTX_SYNC", [], undefined, steps.session)).result === 600);
  await steps.end();
}

/** A kernel failed: all that the session then does with its context gives 700, until it ends. */
async function faulted(steps: Steps): Promise<void> {
  const module = await steps.begin();
  const add = await steps.run("FUNC_GET", [module], 0, text("add"));
  const memory = await steps.run("MEM_ALLOC", [64n], 0);
  const event = await steps.run("EVENT_CREATE", [], 0);
  await steps.run("EVENT_RECORD", [event], 0);
  await steps.launch(add, [16n, 1n]);
  await steps.run("CTX_SYNC", [], 700);
  const after: readonly [string, readonly bigint[]][] = [
    ["STREAM_SYNC", [0n]],
    ["STREAM_QUERY", [0n]],
    ["EVENT_SYNC", [event]],
    ["EVENT_QUERY", [event]],
    ["MEM_COPY_HTOD", [memory, 4n]],
    ["MEM_COPY_DTOH", [memory, 4n]],
    ["MEM_COPY_DTOD", [memory, memory, 4n]],
    ["MEM_SET", [memory, 0n, 4n, 1n]],
    ["BULK_HTOD", [0n, memory, 4n]],
    ["BULK_DTOH", [memory, 0n, 4n]],
    ["BULK_DTOD", [memory, memory, 4n]],
  ];
  for (const [name, params] of after) await steps.run(name, params, 700);
  await steps.launch(add, [memory, 1n], 700);
  await steps.end();
}

/** Every table of a session and of the device filled: 2; and a place that was freed is there again. */
async function full(steps: Steps, gpu: Type2Gpu): Promise<void> {
  const many = Array.from({ length: 257 }, (_, i) => `.visible .entry k${i}() { ret; }`);
  const ptx = text(`.version 6.0\n.target sm_52\n.address_size 64\n${many.join("\n")}`);
  await steps.begin();
  const module = await steps.run("MODULE_LOAD_PTX", [], 0, ptx);
  for (let i = 0; i < 256; i++) await steps.run("FUNC_GET", [module], 0, text(`k${i}`));
  await steps.run("FUNC_GET", [module], 2, text("k256"));
  for (let i = 2; i < 64; i++) await steps.run("MODULE_LOAD_PTX", [], 0, text(KERNELS));
  await steps.run("MODULE_LOAD_PTX", [], 2, text(KERNELS));
  gpu.transport.bar4?.set(text(KERNELS));
  await steps.run("MODULE_LOAD_BULK", [0n, BigInt(text(KERNELS).length)], 2);
  for (let i = 0; i < 64; i++) await steps.run("STREAM_CREATE", [], 0);
  await steps.run("STREAM_CREATE", [], 2);
  for (let i = 0; i < 1024; i++) await steps.run("EVENT_CREATE", [], 0);
  await steps.run("EVENT_CREATE", [], 2);
  await steps.run("STREAM_DESTROY", [3n], 0);
  assertEquals(await steps.run("STREAM_CREATE", [], 0), 3n);
  await steps.end();
  // Session 0 is the guest's own.
  for (let i = 1; i < 64; i++) await steps.run("SESSION_BEGIN", [], 0);
  await steps.run("SESSION_BEGIN", [], 2);
  steps.session = 0x7fff_ffff;
  await steps.run("CTX_CREATE", [], 201);
}

/** Runs them on a device that nobody else uses. Returns `NAME result` of each command. */
export async function failures(gpu: Type2Gpu): Promise<string[]> {
  const steps = new Steps(gpu);
  await notReady(steps, gpu);
  await faulted(steps);
  await full(steps, gpu);
  return steps.lines;
}
