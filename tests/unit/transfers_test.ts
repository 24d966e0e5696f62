/** What tools that move blocks say of them: no more than was moved, and no more than the commands can tell. */

import { assertEquals } from "@std/assert";

import { Histogram } from "../../src/core/histogram.ts";
import { amountMoved, missingPercentiles, timesJson } from "../../tools/render/nvme/transfers.ts";

const plan = { transferBlocks: 256, namespace: { blockBytes: 512 } } as unknown as Parameters<typeof amountMoved>[0];

Deno.test("a last transfer that is shorter is not counted as a whole one", () => {
  assertEquals(amountMoved(plan, { transfers: 2, bytes: 262_144 }), "2 × 128 KiB");
  assertEquals(amountMoved(plan, { transfers: 1, bytes: 32_768 }), "32 KiB in 1 transfers of at most 128 KiB");
});

Deno.test("a percentile that so few commands cannot tell is null, and the text says how many it needs", () => {
  const histogram = new Histogram();
  for (let i = 1; i <= 20; i++) histogram.add(1000 * i);
  assertEquals(missingPercentiles(histogram, [50, 99, 99.9], "command"), "20 commands: 99 % needs 100");
  assertEquals(Object(timesJson(histogram, [50, 99]).percentiles)["99"], null);
  assertEquals(typeof Object(timesJson(histogram, [50, 99]).percentiles)["50"], "number");
  for (let i = 0; i < 80; i++) histogram.add(5000);
  assertEquals(missingPercentiles(histogram, [50, 99], "command"), null);
});
