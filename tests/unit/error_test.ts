import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { compilerKilled } from "../../src/core/compiler_end.ts";
import {
  BusbarError,
  errnoError,
  errnoName,
  errnoOf,
  EXIT_STATUS,
  isBusbarError,
  systemError,
} from "../../src/core/error.ts";

Deno.test("every code has one of the exit statuses of the table", () => {
  for (const [code, status] of Object.entries(EXIT_STATUS)) {
    assert([1, 2, 3, 70, 129, 130, 143].includes(status), code);
    assertEquals(new BusbarError(code as keyof typeof EXIT_STATUS, "x").exitStatus, status);
  }
});

Deno.test("an error number becomes name, text and code; an unknown one keeps its number", () => {
  const busy = errnoError(16, "bind", { path: "0000:01:00.0", hint: "unbind it" });
  assertEquals(busy.message, "0000:01:00.0: cannot bind: device or resource busy (EBUSY)");
  assertEquals([busy.code, busy.operation, busy.path, busy.hint], ["busy", "bind", "0000:01:00.0", "unbind it"]);
  assertEquals(errnoName(9999), "errno 9999");
  assertEquals(errnoError(9999, "ioctl").message, "cannot ioctl: unknown error (errno 9999)");
});

Deno.test("what Deno throws becomes the code that its error number says", () => {
  const cases: readonly [() => unknown, string][] = [
    [() => Deno.readTextFileSync("/nonexistent/file"), "absent"],
    [() => Deno.readTextFileSync("/tmp"), "usage"],
    [() => Deno.readDirSync("/proc/self/stat").next(), "absent"],
    [() => Deno.writeTextFileSync("/proc/version", "x"), Deno.uid() === 0 ? "io" : "permission"],
  ];
  for (const [act, code] of cases) {
    let thrown: unknown = null;
    try {
      act();
    } catch (error) {
      thrown = error;
    }
    assertEquals(systemError(thrown, "read", "/x").code, code, String(thrown));
  }
});

Deno.test("a BusbarError passes through systemError unchanged, and anything else keeps its text", () => {
  const original = new BusbarError("busy", "taken");
  assert(systemError(original, "read", "/x") === original);
  const wrapped = systemError(new TypeError("odd"), "read", "/x", "look");
  assertEquals([wrapped.code, wrapped.message, wrapped.hint], ["io", "/x: cannot read: odd", "look"]);
  assertEquals(errnoOf("text"), null);
  assertEquals(errnoOf(new Error("Bad thing (os error 22)")), 22);
});

Deno.test("isBusbarError tells codes apart", () => {
  const error = new BusbarError("absent", "gone");
  assert(isBusbarError(error) && isBusbarError(error, "busy", "absent") && !isBusbarError(error, "busy"));
  assert(!isBusbarError(new Error("gone")));
});

Deno.test("a process that ended between opening its /proc file and reading it is absent", async () => {
  const child = new Deno.Command("sleep", { args: ["60"] }).spawn();
  using file = await Deno.open(`/proc/${child.pid}/stat`);
  child.kill("SIGKILL");
  await child.status;
  let thrown: unknown = null;
  try {
    await file.read(new Uint8Array(100));
  } catch (error) {
    thrown = error;
  }
  assertEquals(systemError(thrown, "read", "/proc/1/stat").code, "absent", String(thrown));
});

Deno.test("a compiler that was killed did not judge the source", () => {
  assertEquals(compilerKilled("SIGKILL", ""), "the compiler was ended by SIGKILL");
  assertStringIncludes(
    compilerKilled(null, "gcc: fatal error: Killed signal terminated program cc1\ncompilation terminated.") ?? "",
    "cc1 was ended by a signal (Killed)",
  );
  assertStringIncludes(
    compilerKilled(
      null,
      "clang: error: unable to execute command: Killed\nclang: error: clang frontend command failed",
    ) ?? "",
    "ended by a signal (Killed)",
  );
  assertEquals(compilerKilled(null, "x.c:1:1: error: unknown type name 'x'"), null);
});
