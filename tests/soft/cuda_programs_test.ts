/**
 * Programs for the driver API run unmodified with committed fat binaries in every compression, on every kind of device, and
 * print what was computed for them elsewhere (tests/fixtures/cuda/expected.py).
 */

import { assertEquals } from "@std/assert";

import { DRIVER_PROGRAMS, expected, fatbin, Workshop } from "./ptx/programs.ts";

let workshop: Workshop;
Deno.test.beforeAll(() => {
  workshop = new Workshop();
});
Deno.test.afterAll(() => workshop[Symbol.dispose]());

/** Every kind of device, and every compression. */
const VARIANTS = [["sm_75", "zstd"], ["sm_86", "lz4"], ["sm_90", "plain"], ["sm_100", "zstd"]] as const;

for (const name of DRIVER_PROGRAMS) {
  Deno.test(`${name}, for the driver API, prints what it should`, async () => {
    const program = await workshop.driverProgram(name);
    for (const [profile, compression] of VARIANTS) {
      const settings = `profile=${profile}&memory=64MiB`;
      const { code, output, errors } = await workshop.run(program, [fatbin(name, compression)], settings);
      const want = expected(name === "errors" ? "errors_driver" : name);
      assertEquals({ code, output }, { code: 0, output: want }, `${profile}, ${compression}: ${errors}`);
    }
  });
}
