/**
 * What a broken controller does to the driver: the right error, in bounded time, and use again afterwards.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import type { ErrorCode } from "../../src/core/error.ts";
import { failsWith, noise, openController, type SoftController, withDriverLibraries } from "./nvme_device.ts";

withDriverLibraries();

/** An error has to come this soon, however slow the machine: every limit below it adds up to less. */
const SOON_MS = 10_000;

async function isUsable({ controller }: SoftController, what: string): Promise<void> {
  const data = noise(64 * 1024, 7);
  const back = new Uint8Array(data.length);
  await controller.namespace(1).write(100, data);
  await controller.namespace(1).read(100, back);
  assertEquals(back, data, what);
}

interface FaultCase {
  readonly fault: string;
  /** How the read that meets it ends; null when it does not mind. */
  readonly code: ErrorCode | null;
  readonly says?: string;
  /** Whether the controller had to be reset for it. */
  readonly resets: boolean;
  /** Completions that belonged to no command in flight; none if left out. Not looked at where a reset made new queues. */
  readonly strays?: number;
}

const READ_FAULTS: readonly FaultCase[] = [
  { fault: "drop,times=1", code: "timeout", says: "did not happen within 200 ms", resets: true },
  { fault: "hang,times=1", code: "timeout", resets: false },
  { fault: "phase,times=1", code: "timeout", resets: true },
  { fault: "cid=77,times=1", code: "timeout", resets: true },
  { fault: "late=600000,times=1", code: "timeout", resets: false },
  { fault: "duplicate,times=1", code: null, resets: false, strays: 1 },
  { fault: "sqhd=65535,times=1", code: null, resets: false },
  { fault: "latency=20000,times=1", code: null, resets: false },
  { fault: "status=0x281,times=1", code: "device-failed", says: "Unrecovered Read Error", resets: false },
  { fault: "status=0x4082,times=1", code: "device-failed", resets: false },
];

for (const { fault, code, says, resets, strays = 0 } of READ_FAULTS) {
  Deno.test(`a read that meets '${fault}' ends in ${code ?? "success"}, and the controller is of use again`, async () => {
    await using one = await openController();
    const { driver, soft, controller } = one;
    await isUsable(one, "before");
    soft.fault(`${fault},opcode=2`);
    const started = performance.now();
    const read = controller.namespace(1).read(0, new Uint8Array(4096), { timeoutMs: 200 });
    if (code === null) await read;
    else assertStringIncludes((await failsWith(code, fault, read)).message, says ?? "");
    assert(performance.now() - started < SOON_MS, `took ${performance.now() - started} ms`);
    assertEquals(soft.counter("faults") > 0n, true, "the fault happened");
    const enables = driver.resets;
    assertEquals(enables, resets ? 1 : 0, "controller resets");
    await isUsable(one, "after");
    const seen = driver.ioQueues.reduce((sum, pair) => sum + pair.strayCompletions, 0);
    if (!resets) assertEquals(seen, strays, "completions of nobody");
  });
}

Deno.test("a fatal status in the middle of I/O fails what is in flight at once, and a reset helps", async () => {
  await using one = await openController();
  const { soft, controller } = one;
  soft.fault("cfs,opcode=2");
  const reads = Array.from({ length: 8 }, () => controller.namespace(1).read(0, new Uint8Array(4096)));
  const started = performance.now();
  for (const result of await Promise.allSettled(reads)) {
    assert(result.status === "rejected");
    assertEquals(result.reason.code, "device-failed");
    assertStringIncludes(result.reason.message, "fatal status");
  }
  assert(performance.now() - started < SOON_MS);
  soft.fault("clear");
  await controller.reset();
  await isUsable(one, "after");
});

for (const fault of ["gone", "gone=bar", "gone=config", "gone=sigbus"]) {
  Deno.test(`a controller that vanishes by '${fault}' is reported as gone, at once and for good`, async () => {
    await using one = await openController();
    const { soft, controller } = one;
    const slow = "latency=50000,opcode=2";
    soft.fault(slow);
    const reads = Array.from({ length: 4 }, () => controller.namespace(1).read(0, new Uint8Array(4096)));
    const all = Promise.allSettled(reads);
    soft.fault(fault);
    const started = performance.now();
    for (const result of await all) {
      if (fault === "gone=config") {
        // Its registers still answer, so the reads may end well; the next look at the function does not.
        if (result.status === "rejected") assertEquals(result.reason.code, "device-gone");
        continue;
      }
      assert(result.status === "rejected", fault);
      assertEquals(result.reason.code, "device-gone", result.reason.message);
    }
    assert(performance.now() - started < SOON_MS);
    if (fault !== "gone=config") {
      await failsWith("device-gone", fault, controller.namespace(1).read(0, new Uint8Array(4096)));
    }
  });
}

for (const [fault, says] of [["no_ready", "CSTS.RDY = 1"], ["cfs,queue=admin", "fatal status"]] as const) {
  Deno.test(`a controller that does '${fault}' at the start ends in an error in bounded time`, async () => {
    const started = performance.now();
    const error = await failsWith(
      fault === "no_ready" ? "timeout" : "device-failed",
      fault,
      openController(`fault=${encodeURIComponent(fault)}`, { readyTimeoutMs: 300 }),
    );
    assertStringIncludes(error.message, says);
    assert(performance.now() - started < SOON_MS);
  });
}

for (const fault of ["no_unready", "no_shutdown"]) {
  Deno.test(`a controller that does '${fault}' is let go of in bounded time`, async () => {
    const one = await openController("", { readyTimeoutMs: 300 });
    one.soft.fault(fault);
    const started = performance.now();
    await one[Symbol.asyncDispose]();
    assert(performance.now() - started < 3000);
  });
}

Deno.test("a controller that nobody can reset gets no way into memory", async () => {
  await using one = await openController("", { readyTimeoutMs: 200 });
  const { soft, controller } = one;
  soft.fault("drop,opcode=2;no_unready");
  await failsWith("timeout", "the read", controller.namespace(1).read(0, new Uint8Array(4096), { timeoutMs: 100 }));
  await failsWith("timeout", "the next one", controller.namespace(1).read(0, new Uint8Array(4096)));
  assertEquals((soft.config[4] ?? 0) & 4, 0, "bus mastering is off");
});

Deno.test("garbage in identify pages ends in an error or in a value, never in a hang or a crash", async () => {
  await using one = await openController("seed=5");
  const { soft, controller } = one;
  soft.fault("corrupt=600,queue=admin,opcode=6");
  for (let i = 0; i < 50; i++) {
    const steps = [
      () => controller.identify(),
      () => controller.namespaceIds(),
      () => controller.namespace(1).geometry(),
      () => controller.namespace(1).read(0, new Uint8Array(4096), { timeoutMs: 1000 }),
    ];
    for (const step of steps) {
      await step().catch((error) =>
        assert(["device-failed", "out-of-range", "unsupported", "absent", "usage"].includes(error.code), error)
      );
    }
    await controller.reset();
  }
  soft.fault("clear");
  await controller.reset();
  await isUsable(one, "after");
});
