import { assertEquals } from "@std/assert";

import { nextInStream, startOfStream, STREAM_PERIOD } from "../../src/memory/random_stream.ts";

Deno.test("jumping to a position gives what stepping there gives", () => {
  let a = 1n;
  for (let n = 0n; n < 2000n; n++) {
    assertEquals(startOfStream(n), a);
    a = nextInStream(a);
  }
});

Deno.test("the stream has the period that HPC Challenge publishes, and no part of it has", () => {
  assertEquals(startOfStream(STREAM_PERIOD), 1n);
  assertEquals(startOfStream(STREAM_PERIOD + 5n), startOfStream(5n));
  assertEquals(startOfStream(-1n), startOfStream(STREAM_PERIOD - 1n));
  assertEquals(nextInStream(startOfStream(STREAM_PERIOD - 1n)), 1n);
  // The jump is not 1 for everything: it steps on at 2^63.
  assertEquals(startOfStream(63n), 1n << 63n);
  assertEquals(startOfStream(64n), 7n);
});
