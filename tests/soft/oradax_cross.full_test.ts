import { fetchCross, findCross } from "./cross.ts";
import { runHarness } from "./oradax_harness.ts";

for (const name of ["sparc64", "aarch64"] as const) {
  Deno.test(`the accelerator's self-test passes on ${name}, with Debian's compiler and emulator, fetched if need be`, async () => {
    if (findCross(name) === null) await fetchCross(name);
    const cross = findCross(name);
    if (cross === null) throw new Error(`the packages for ${name} hold no compiler or emulator`);
    runHarness([cross.compiler, "-static"], [cross.emulator], cross.env);
  });
}
