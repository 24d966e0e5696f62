/**
 * A kernel that stays: under weak memory (`BUSBAR_WEAK_SEEDS=500` tries a thousand seeds), under each
 * fault of the software controller, and in the ways that the daily test leaves out.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";

import type { ErrorCode } from "../../src/core/error.ts";
import { openDirect, withGpuLibraries } from "./gpu_nvme_device.ts";
import { firstFailingSeed, RESIDENT_PTX, residentDataTest, startResident, withoutFence } from "./gpu_resident.ts";
import { failsWith } from "./nvme_device.ts";

withGpuLibraries();

const SEEDS = Number(Deno.env.get("BUSBAR_WEAK_SEEDS") ?? 350);
/** Of which one at least must fail without the fence. */
const MOST_SEEDS = 300;

residentDataTest({ mode: "warp", queues: 2, depth: 14 });
residentDataTest({ mode: "warp", depth: 1 });
residentDataTest({ mode: "warp", doorbells: "shadow" });
residentDataTest({ mode: "warp", doorbells: "proxy" });
residentDataTest({ mode: "grid", tier: 3, depth: 64 });

for (const mode of ["warp", "grid"] as const) {
  Deno.test(`requests by ${mode} under weak memory: none of ${SEEDS} seeds fails`, async () => {
    assertEquals(await firstFailingSeed(mode, RESIDENT_PTX, 16, SEEDS), null);
  });
}

Deno.test("the fence between a command and its doorbell is missed when it is left out", async () => {
  assert(await firstFailingSeed("grid", withoutFence(RESIDENT_PTX), 1, MOST_SEEDS) !== null);
});

const TIMEOUT_MS = 150;
/** What a failing kernel may take at most, on a loaded machine: a time limit, a reset, and then some. */
const LIMIT_MS = 10_000;

/** Faults that end the kernel: every request in flight is told, and the next kernel works. */
const FAULTS: readonly (readonly [fault: string, code: ErrorCode, message: RegExp])[] = [
  ["drop,nth=40", "timeout", /no completion within 0\.15 s for a command of 8 blocks at \d+/],
  ["hang,nth=40", "timeout", /no completion within 0\.15 s for a command of 8 blocks at \d+/],
  ["late=3000000,nth=40", "timeout", /no completion within 0\.15 s/],
  ["phase,nth=40", "timeout", /no completion within 0\.15 s/],
  ["duplicate,nth=40", "device-failed", /a completion for command \d+, which is not in flight/],
  ["cid=60000,nth=40", "device-failed", /a completion for command 60000, which is not in flight/],
  ["sqhd=60000,nth=40", "device-failed", /SQHD 60000/],
  ["cfs,nth=40", "device-failed", /fatal/i],
];

for (const mode of ["warp", "grid"] as const) {
  Deno.test(`faults of the controller under requests by ${mode}: an error for each request, in bounded time, and it works again`, async () => {
    await using one = await openDirect("size=1MiB", { mode });
    for (const [fault, code, message] of FAULTS) {
      const resets = one.driver.resets;
      one.soft.fault(`${fault},queue=2`);
      {
        const resident = await startResident(one, { places: 16, timeoutMs: TIMEOUT_MS });
        const started = performance.now();
        let answered = 0;
        // Sixteen askers, each until it is refused: none may be left waiting.
        const asker = async (first: number): Promise<unknown> => {
          for (let i = first;; i = (i + 1) % 256) {
            try {
              assertEquals((await resident.read(BigInt(8 * i), 8)).length, 4096);
              answered++;
            } catch (error) {
              return error;
            }
          }
        };
        const errors = await Promise.all(Array.from({ length: 16 }, (_, i) => asker(i)));
        assert(performance.now() - started < LIMIT_MS, `${fault}: it took too long`);
        assert(answered > 0, fault);
        assertEquals(new Set(errors).size, 1, `${fault}: ${errors}`);
        const error = await failsWith(code, fault, Promise.reject(errors[0]));
        assertMatch(error.message, message, fault);
        assertEquals(resident.inFlight, 0);
        await resident[Symbol.asyncDispose]();
      }
      assertEquals([one.driver.resets > resets, one.soft.counter("dma_errors")], [true, 0n], fault);
      one.soft.fault("clear");
      await using again = await startResident(one);
      assertEquals((await again.read(0n, 8)).length, 4096, fault);
    }
  });
}

Deno.test("a controller that vanishes ends the kernel, and what comes later says so too", async () => {
  await using one = await openDirect("size=1MiB");
  const resident = await startResident(one, { timeoutMs: 60_000 });
  one.soft.fault("gone,nth=3,queue=2");
  const started = performance.now();
  const all = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => resident.read(BigInt(i), 1)));
  assert(performance.now() - started < LIMIT_MS);
  const reasons = all.flatMap((one) => one.status === "rejected" ? [one.reason] : []);
  assert(reasons.length > 0);
  for (const reason of reasons) await failsWith("device-gone", "gone", Promise.reject(reason));
  await failsWith("device-gone", "later", resident.read(0n, 1));
  await resident[Symbol.asyncDispose]();
});
