import { assertEquals } from "@std/assert";
import fc from "fast-check";

import { Recurrence } from "../../src/sim/engine/recurrence.ts";
import { Flag, RequestBatch } from "../../src/sim/engine/request.ts";

Deno.test("two recurrences in one pass end as each by itself: random requests, batches, windows, one stream and several", () => {
  const flags = fc.constantFrom(
    Flag.Program | Flag.Place | Flag.Load,
    Flag.Program | Flag.Place | Flag.Load | Flag.Depends,
    Flag.Program | Flag.Place,
    Flag.Program,
    0,
  );
  const request = fc.record({
    gap: fc.constantFrom(0, 1, 7, 300),
    route: fc.nat(3),
    flags,
    extra: fc.constantFrom(0, 0, 50),
  });
  fc.assert(
    fc.property(
      fc.array(fc.array(request, { minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 3 }),
      (batches, window, streams) => {
        const [less, more] = [Float64Array.of(100, 100, 100, 100), Float64Array.of(100, 110, 300, 350)];
        const both = [new Recurrence(window, 40), new Recurrence(window, 40)] as const;
        const each = [new Recurrence(window, 40), new Recurrence(window, 40)] as const;
        let now = 40;
        for (const [n, requests] of batches.entries()) {
          const batch = new RequestBatch();
          for (const [i, one] of requests.entries()) {
            // The first batch has one stream, as a program that has not started its threads.
            const stream = n === 0 ? 0 : i % streams;
            batch.add(now += one.gap, stream, one.route, one.flags, one.extra, 0, 0, 1);
          }
          Recurrence.runBoth(both[0], both[1], batch, less, more, batch.extra);
          each[0].run(batch, less, batch.extra);
          each[1].run(batch, more, batch.extra);
          assertEquals([both[0].end, both[1].end], [each[0].end, each[1].end]);
        }
      },
    ),
    { numRuns: 500, seed: 31 },
  );
});
