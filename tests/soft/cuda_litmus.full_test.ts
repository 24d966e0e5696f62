/** Weak-memory mode over a thousand seeds. */

import { assertEquals, assertGreater } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { LITMUS, overSeeds, weakDevice } from "./ptx/litmus.ts";

Deno.test.beforeAll(() => {
  using _gpu = weakDevice(null);
});
Deno.test.afterAll(closeAll);

for (const { name, isSeen, run } of LITMUS) {
  Deno.test(`${name}: an old value is seen in ${isSeen ? "some" : "none"} of 1,000 seeds`, async () => {
    const { seeds, times } = await overSeeds(1, 1000, run);
    if (isSeen) assertGreater(seeds, 0);
    else assertEquals(times, 0);
  });
}
