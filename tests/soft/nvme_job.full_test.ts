/** A job of many transfers takes no more memory than one of few. */

import { assert } from "@std/assert";

import { runIoJob } from "../../src/nvme/jobs/io_job.ts";
import { Timeline } from "../../src/nvme/jobs/timeline.ts";
import { openController, withDriverLibraries } from "./nvme_device.ts";

withDriverLibraries();

Deno.test("the memory of a job does not grow with its length: four million transfers, with a timeline", async () => {
  await using one = await openController("size=4MiB", { ioQueues: 4 });
  const namespace = await one.controller.namespace(1).geometry();
  const run = async (transfers: number): Promise<number> => {
    let rows = 0;
    const timeline = new Timeline(0, performance.now(), 100, () => rows++);
    await runIoJob(one.driver, {
      namespace,
      readShare: 1,
      lba: 0n,
      blocks: namespace.blocks,
      transferBlocks: 1,
      depth: 128,
      queues: 4,
      threads: 2,
      randomSeed: 1,
      transfers,
      onProgress: (done) => timeline.update(done, performance.now()),
    });
    return Deno.memoryUsage().rss;
  };
  // The first run finds the pages that every run needs.
  const before = await run(200_000);
  const after = await run(4_000_000);
  // A number kept for each transfer would be 32 MB. The runtime's own heap moves by some.
  assert(after - before < 16 << 20, `${((after - before) / 2 ** 20).toFixed(1)} MiB more`);
});
