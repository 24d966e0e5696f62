import { findCross } from "./cross.ts";
import { runHarness } from "./oradax_harness.ts";

// These build with sanitizers, or for another processor, whatever the suite says: once is enough.
const again = Deno.env.get("BUSBAR_VARIANT") === "asan";
const COMPILER = (Deno.env.get("CC") || "cc").split(/\s+/);

Deno.test("the accelerator's binding and driver, from C, are clean under AddressSanitizer", { ignore: again }, () => {
  runHarness([...COMPILER, "-fsanitize=address,undefined"]);
});

Deno.test("the accelerator's binding and driver, from C, are clean under ThreadSanitizer", { ignore: again }, () => {
  runHarness([...COMPILER, "-fsanitize=thread"]);
});

for (const name of ["sparc64", "aarch64"] as const) {
  const cross = findCross(name);
  const reason = cross === null ? ` (not run: no ${name}-linux-gnu-gcc and qemu-${name}; test:full fetches them)` : "";
  const what = name === "sparc64" ? "big-endian" : "with NEON loops";
  Deno.test(
    `the accelerator's self-test passes on ${name}, ${what}${reason}`,
    { ignore: again || cross === null },
    () => {
      if (cross !== null) runHarness([cross.compiler, "-static"], [cross.emulator], cross.env);
    },
  );
}
