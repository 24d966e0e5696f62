import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";

import { Deadline, pause, SLICE_MS, waitFor, yieldToEventLoop } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";

Deno.test("a deadline counts down, gives slices, and says what did not happen", () => {
  const far = Deadline.after(10_000);
  assert(!far.expired && far.sliceMs === SLICE_MS && far.remainingMs > 9000);
  far.check("nothing");
  const past = Deadline.after(0);
  assert(past.expired && past.sliceMs === 0);
  const error = assertThrows(() => past.check("CSTS.RDY = 1", "0000:01:00.0", "reset it"), BusbarError);
  assertEquals(error.message, "0000:01:00.0: CSTS.RDY = 1 did not happen within 0 ms");
  assertEquals([error.code, error.hint], ["timeout", "reset it"]);
  for (const limit of [-1, NaN]) assertThrows(() => Deadline.after(limit), BusbarError);
  assert(!Deadline.after(Infinity).expired);
});

Deno.test("waitFor returns what was found, looks once more after the deadline, and times out", async () => {
  let looks = 0;
  assertEquals(
    await waitFor(() => ++looks > 3 ? looks : undefined, { deadline: Deadline.after(5000), what: "four looks" }),
    4,
  );
  assertEquals(await waitFor(() => 7, { deadline: Deadline.after(0), what: "at once" }), 7);
  await assertRejects(
    () => waitFor(() => undefined, { deadline: Deadline.after(20), what: "never" }),
    BusbarError,
    "never did not happen",
  );
});

Deno.test("pause and yieldToEventLoop end at once when the signal is aborted, with its reason", async () => {
  const controller = new AbortController();
  const reason = new BusbarError("interrupted", "ended by SIGINT");
  setTimeout(() => controller.abort(reason), 20);
  const started = performance.now();
  assertEquals(await assertRejects(() => pause(60_000, controller.signal), BusbarError), reason);
  assert(performance.now() - started < 2000);
  await assertRejects(() => pause(60_000, controller.signal), BusbarError);
  await assertRejects(() => yieldToEventLoop(controller.signal), BusbarError);
  await yieldToEventLoop();
});
