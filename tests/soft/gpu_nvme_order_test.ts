/** The order in which kernels write: doorbells as they reach a page that traps, and commands under weak memory. */

import { assert, assertEquals } from "@std/assert";

import type { DirectDriver } from "../../src/gpu/nvme/direct_job.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { BlockPattern } from "../../src/nvme/jobs/pattern.ts";
import type { QueueRings } from "../../src/nvme/queue/rings.ts";
import { softGpu, withGpuLibraries } from "./gpu_nvme_device.ts";
import { firstFailingSeed, KERNELS, MODES, withoutFence } from "./gpu_nvme_weak.ts";
import { openController, type SoftController } from "./nvme_device.ts";
import { type Access, TrappedPage } from "./page_trap.ts";

withGpuLibraries();

/** Of the thousand that `gpu_nvme_order.full_test.ts` tries. */
const SEEDS = 15;

/** The driver, with rings whose doorbells lie on a page that counts accesses; what is stored there is passed on. */
class TrappedDriver implements Disposable {
  readonly driver: DirectDriver;
  readonly page: TrappedPage = new TrappedPage(8192);
  /** Memory as the debugger sees it: looking there is no access that traps. */
  readonly #memory: Deno.FsFile = Deno.openSync("/proc/self/mem", { read: true });
  readonly #base: bigint = BigInt(Deno.UnsafePointer.value(this.page.mmio.pointer));
  readonly #last = new Map<number, number>();
  #rings: QueueRings | null = null;
  #isEnding = false;
  readonly #forwarding: Promise<void>;

  constructor({ driver }: SoftController) {
    const trapped = this.page.mmio;
    this.driver = {
      name: driver.name,
      maxEntries: driver.maxEntries,
      pageBytes: driver.pageBytes,
      allocDma: (sizeBytes) => driver.allocDma(sizeBytes),
      mapDma: (memory, sizeBytes) => driver.mapDma(memory, sizeBytes),
      execute: (...args) => driver.execute(...args),
      reset: () => driver.reset(),
      checkAlive: () => driver.checkAlive(),
      lendQueue: async (options) => {
        const queue = await driver.lendQueue(options);
        this.#rings = queue.rings;
        return {
          rings: { ...queue.rings, registers: trapped },
          get isLive() {
            return queue.isLive;
          },
          renew: () => queue.renew(),
          [Symbol.asyncDispose]: () => queue[Symbol.asyncDispose](),
        };
      },
    };
    this.#forwarding = this.#forward();
  }

  async #forward(): Promise<void> {
    while (!this.#isEnding) {
      for (const offset of this.#rings === null ? [] : [this.#rings.tailDoorbell, this.#rings.headDoorbell]) {
        const bytes = new Uint8Array(4);
        this.#memory.seekSync(this.#base + BigInt(offset), Deno.SeekMode.Start);
        this.#memory.readSync(bytes);
        const value = new DataView(bytes.buffer).getUint32(0, true);
        if (value === (this.#last.get(offset) ?? 0)) continue;
        this.#last.set(offset, value);
        this.#rings?.registers.write32(offset, value);
      }
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#forwarding;
  }

  [Symbol.dispose](): void {
    this.#memory.close();
    this.page[Symbol.dispose]();
  }
}

for (const mode of MODES) {
  Deno.test(`doorbells of ${mode} are aligned stores of 4 bytes, nothing reads them, and there is one for each batch`, async () => {
    await using one = await openController("size=1MiB", { lentQueues: 1 });
    using trapped = new TrappedDriver(one);
    using gpu = softGpu("&threads=1");
    let accesses: Access[] = [];
    let doorbells = 0;
    try {
      await using direct = await NvmeDirect.open(trapped.driver, gpu, { mode, depth: 8 });
      const namespace = await one.controller.namespace(1).geometry();
      const pattern = new BlockPattern(1, namespace.blockBytes);
      const job = { namespace, lba: 0n, blocks: 320n, transferBlocks: 8, pattern } as const;
      trapped.page.take();
      const results = [
        await direct.run({ ...job, operation: "write" }),
        await direct.run({ ...job, operation: "read" }),
      ];
      accesses = trapped.page.take();
      assertEquals(results.map(({ transfers, mismatch }) => [transfers, mismatch]), [[40, null], [40, null]]);
      doorbells = results.reduce((sum, { tailRings, headRings }) => sum + tailRings + headRings, 0);
    } finally {
      await trapped.end();
    }
    const [tail, head] = [0x1008 + 8, 0x100c + 8];
    assertEquals(
      new Set(accesses.map(({ offset, width, isWrite }) => `${offset} ${width} ${isWrite}`)),
      new Set([`${tail} 4 true`, `${head} 4 true`]),
    );
    assertEquals(accesses.length, doorbells, "each doorbell that a kernel counted, and no other access");
    assert(doorbells < 160, `${doorbells} doorbells for 80 commands`);
    assertEquals([one.soft.counter("doorbell_errors"), one.soft.counter("dma_errors")], [0n, 0n]);
  });
}

Deno.test("the trace of a kernel's accesses to registers: tails go up by what was stored, heads by what was taken", async () => {
  const file = await Deno.makeTempFile({ prefix: "busbar-trace-" });
  try {
    await using one = await openController("size=1MiB", { lentQueues: 1 });
    using gpu = softGpu(`&trace=${encodeURIComponent(file)}`);
    await using direct = await NvmeDirect.open(one.driver, gpu, { mode: "grid", depth: 64 });
    const namespace = await one.controller.namespace(1).geometry();
    await direct.run({ namespace, lba: 0n, blocks: namespace.blocks, transferBlocks: 8, operation: "read" });
    const lines: { access: string; address: string; width: number; value: string }[] = (await Deno.readTextFile(file))
      .trim().split("\n").map((line) => JSON.parse(line));
    const addresses = [...new Set(lines.map(({ address }) => BigInt(address)))].toSorted();
    assertEquals(addresses.length, 2);
    assertEquals((addresses[1] ?? 0n) - (addresses[0] ?? 0n), 4n);
    assert(lines.every(({ access, width }) => access === "write" && width === 4));
    // 256 slots for 64 commands in flight, and rings of twice as many: 256 commands end where 256 is the index.
    for (const address of addresses) {
      const values = lines.filter((line) => BigInt(line.address) === address).map(({ value }) => Number(BigInt(value)));
      assertEquals(values, values.toSorted((a, b) => a - b), "they only grow");
      assertEquals([new Set(values).size, values.at(-1)], [values.length, 256]);
    }
  } finally {
    await Deno.remove(file);
  }
});

for (const mode of MODES) {
  Deno.test(`${mode} under weak memory: no seed of ${SEEDS} fails; without the fence before the doorbell one does`, async () => {
    assertEquals(await firstFailingSeed(mode, KERNELS, 1, SEEDS), null);
    assert(await firstFailingSeed(mode, withoutFence(KERNELS), 1, SEEDS) !== null, "nobody missed the fence");
  });
}
