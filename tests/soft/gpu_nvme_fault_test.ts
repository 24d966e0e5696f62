/** What a kernel and its host do with a controller that fails: a clear error in bounded time, and then it works again. */

import { assert, assertEquals, assertMatch } from "@std/assert";

import { BusbarError, type ErrorCode } from "../../src/core/error.ts";
import type { DirectMode, DirectOptions } from "../../src/gpu/nvme/direct_job.ts";
import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import { type DirectController, openDirect, withGpuLibraries } from "./gpu_nvme_device.ts";
import { failsWith } from "./nvme_device.ts";

withGpuLibraries();

const TIMEOUT_MS = 150;
/** What a failing run may take at most, on a loaded machine: a time limit, a reset, and then some. */
const LIMIT_MS = 10_000;

/** A fault, and the error that says so. */
interface Case {
  readonly fault: string;
  readonly code: ErrorCode;
  readonly message: RegExp;
  /** Whether the controller must have been reset. */
  readonly isReset: boolean;
}

const CASES: readonly Case[] = [
  {
    fault: "drop,nth=40",
    code: "timeout",
    message: /no completion within 0\.15 s for Read of 8 blocks at \d+/,
    isReset: true,
  },
  {
    fault: "hang,nth=40",
    code: "timeout",
    message: /no completion within 0\.15 s for Read of 8 blocks at \d+/,
    isReset: true,
  },
  { fault: "late=3000000,nth=40", code: "timeout", message: /no completion within 0\.15 s/, isReset: true },
  { fault: "phase,nth=40", code: "timeout", message: /no completion within 0\.15 s/, isReset: true },
  {
    fault: "duplicate,nth=40",
    code: "device-failed",
    message: /a completion for command \d+, which is not in flight/,
    isReset: true,
  },
  {
    fault: "cid=60000,nth=40",
    code: "device-failed",
    message: /a completion for command 60000, which is not in flight/,
    isReset: true,
  },
  { fault: "sqhd=60000,nth=40", code: "device-failed", message: /SQHD 60000/, isReset: true },
  { fault: "cfs,nth=40", code: "device-failed", message: /fatal/i, isReset: true },
  {
    fault: "status=0x281,nth=40",
    code: "device-failed",
    message: /Read of 8 blocks at \d+ failed: Unrecovered Read Error/,
    isReset: false,
  },
];

const range = (
  one: DirectController,
): { namespace: typeof one.geometry; lba: bigint; blocks: bigint; transferBlocks: number } => ({
  namespace: one.geometry,
  lba: 0n,
  blocks: one.geometry.blocks,
  transferBlocks: 8,
});

async function works(one: DirectController): Promise<void> {
  const pattern = new BlockPattern(5, one.geometry.blockBytes);
  await one.direct.run({ ...range(one), operation: "write", pattern });
  const { mismatch, transfers } = await one.direct.run({ ...range(one), operation: "read", pattern });
  assertEquals([mismatch, transfers], [null, Number(one.geometry.blocks) / 8]);
}

for (const mode of ["thread", "warp", "grid"] as const satisfies readonly DirectMode[]) {
  Deno.test(`faults of the controller under ${mode}: an error that says what, in bounded time, and it works again`, async () => {
    await using one = await openDirect("size=1MiB", { mode });
    await works(one);
    for (const { fault, code, message, isReset } of CASES) {
      const resets = one.driver.resets;
      one.soft.fault(`${fault},queue=2`);
      const started = performance.now();
      const job = { ...range(one), operation: "read", timeoutMs: TIMEOUT_MS } as const;
      const error = await failsWith(code, fault, one.direct.run(job));
      assert(performance.now() - started < LIMIT_MS, `${fault}: it took too long`);
      assertMatch(error.message, message, fault);
      assertEquals(one.driver.resets > resets, isReset, `${fault}: ${one.driver.resets - resets} resets`);
      assertEquals(one.soft.counter("dma_errors"), 0n);
      one.soft.fault("clear");
      await works(one);
    }
  });
}

for (
  const options of [{ mode: "warp", doorbells: "shadow" }, {
    mode: "grid",
    queues: 3,
  }] as const satisfies readonly DirectOptions[]
) {
  Deno.test(`after a lost command all queues begin anew: ${JSON.stringify(options)}`, async () => {
    await using one = await openDirect("size=1MiB", options);
    await works(one);
    one.soft.fault("drop,nth=20,queue=2");
    await failsWith("timeout", "drop", one.direct.run({ ...range(one), operation: "read", timeoutMs: TIMEOUT_MS }));
    await works(one);
  });
}

Deno.test("a completion that is late, but in time, is no error", async () => {
  await using one = await openDirect("size=1MiB", { mode: "warp" });
  one.soft.fault("late=50000,every=50,queue=2");
  await works(one);
  assertEquals(one.driver.resets, 0);
});

Deno.test("a controller that vanishes ends the kernel, and the next run says so too", async () => {
  await using one = await openDirect("size=1MiB", { mode: "warp" });
  one.soft.fault("gone,nth=40,queue=2");
  const job = { ...range(one), operation: "read", timeoutMs: 60_000 } as const;
  const started = performance.now();
  await failsWith("device-gone", "gone", one.direct.run(job));
  assert(performance.now() - started < LIMIT_MS);
  const again = await one.direct.run(job).then(() => null, (error: unknown) => error);
  assert(again instanceof BusbarError, `${again}`);
});

Deno.test("an interrupted job ends what is in flight, and needs no reset", async () => {
  await using one = await openDirect("size=1MiB", { mode: "grid", queues: 2 });
  one.soft.fault("latency=20000,queue=io");
  const stop = new AbortController();
  const reason = new BusbarError("interrupted", "ended by the test");
  setTimeout(() => stop.abort(reason), 30);
  const job = { ...range(one), operation: "read", durationMs: 60_000, signal: stop.signal } as const;
  const error = await failsWith("interrupted", "aborted", one.direct.run(job));
  assertEquals(error, reason);
  assertEquals(one.driver.resets, 0);
  one.soft.fault("clear");
  await works(one);
});

Deno.test("what cannot be is refused with a remedy, and leaves nothing behind", async () => {
  for (
    const [options, code, nvme] of [
      [{ mode: "warp", depth: 33 }, "usage", "size=1MiB"],
      [{ mode: "warp", depth: 0 }, "usage", "size=1MiB"],
      [{ mode: "grid", queues: 9, depth: 9 }, "usage", "size=1MiB&queues=8"],
      [{ mode: "thread", depth: 300 }, "usage", "size=1MiB&mqes=255"],
      [{ gpu: "&fail=cuMemHostRegister_v2:800" }, "permission", "size=1MiB"],
      [{ gpu: "&fail=cuMemHostRegister_v2:801" }, "unsupported", "size=1MiB"],
      [{ gpu: "&fail=cuMemHostRegister_v2:1" }, "usage", "size=1MiB"],
    ] as const
  ) {
    const error = await failsWith(code, JSON.stringify(options), openDirect(nvme, options).then(() => {}));
    assert((error.hint ?? "") !== "", `${JSON.stringify(options)}: ${error.message}: no remedy`);
  }
  await using one = await openDirect("size=1MiB");
  const job = { ...range(one), operation: "read" } as const;
  await failsWith("out-of-range", "beyond the end", one.direct.run({ ...job, lba: 1n }));
  await failsWith("out-of-range", "no blocks", one.direct.run({ ...job, blocks: 0n }));
  await works(one);
});
