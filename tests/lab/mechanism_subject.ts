/**
 * Tests that fail on purpose: mechanism.full.test.ts runs this file and reads what is said about it. The numbers of the lines
 * that fail are named there.
 */

import { assertEquals } from "@std/assert";

import { machine } from "./lab.ts";

const lab = machine("nvme.yaml", import.meta.url);

lab.test("passes", async () => {
  await Deno.stdout.write(new TextEncoder().encode("printed in the guest\n"));
});

lab.test("fails", () => {
  assertEquals("found", "expected"); // FAILS HERE
});

lab.test("leaves a file open", async () => {
  await Deno.open("/dev/zero");
});

lab.hostTest("leaves a command running", async (guest) => {
  await guest.spawn(["sleep", "4321"]);
});

lab.hostTest("finds no such command", async (guest) => {
  assertEquals((await guest.run(["pgrep", "-xf", "sleep 4321"])).code, 1);
});

lab.test("panics", async () => {
  await Deno.writeTextFile("/proc/sysrq-trigger", "c");
  await new Promise((resolve) => setTimeout(resolve, 60_000));
});

lab.hostTest("has a new guest", async (guest) => {
  assertEquals((await guest.run(["true"])).code, 0);
});

lab.test("takes too long", async () => {
  await new Promise((resolve) => setTimeout(resolve, 60_000));
}, { timeoutMs: 1_000 });

lab.test("is not booted for a third time", () => {});
