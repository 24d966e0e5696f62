/** Weak-memory mode over a thousand seeds. */

import { assertEquals } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { LITMUS, overSeeds, weakDevice } from "./ptx/litmus.ts";

Deno.test.beforeAll(() => {
  using _gpu = weakDevice(null);
});
Deno.test.afterAll(closeAll);

for (const { name, isSeen, run } of LITMUS) {
  if (isSeen) continue; // cuda_litmus_test.ts finds the seed
  Deno.test(`${name}: an old value is seen in none of 1,000 seeds`, async () => {
    assertEquals((await overSeeds(1, 1000, run)).times, 0);
  });
}
