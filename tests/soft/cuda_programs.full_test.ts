/** Programs of ordinary shape, as nvcc builds them with the shared runtime library, run unmodified on the software device. */

import { assertEquals } from "@std/assert";

import { softCudaFolder } from "../../ffi/build.ts";
import { DRIVER_PROGRAMS, expected, Workshop } from "./ptx/programs.ts";
import { toolMissing } from "./ptx/toolkit.ts";

const missing = toolMissing("nvcc");

for (const name of [...DRIVER_PROGRAMS, "library_sort"]) {
  const title = `${name}, built by nvcc with -cudart shared, prints what it should`;
  Deno.test({
    name: missing === null ? title : `${title} (not run: ${missing})`,
    ignore: missing !== null,
    fn: async () => {
      using workshop = new Workshop();
      const program = await workshop.runtimeProgram(name);
      const { code, output, errors } = await workshop.run(program, [], "profile=sm_86&memory=256MiB", softCudaFolder());
      assertEquals({ code, output }, { code: 0, output: expected(name) }, errors);
    },
  });
}
