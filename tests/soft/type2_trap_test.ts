/** Programs on a function whose registers and DATA trap, by the guest's library: as by vfio-user, without a hypervisor. */

import { assertEquals } from "@std/assert";

import { cudaShimFolder, findLibrary, SOFT_CUDA, SOFT_TYPE2 } from "../../ffi/build.ts";
import { expected, fatbin, type Outcome, run, Workshop } from "./ptx/programs.ts";
import { withType2Libraries } from "./type2_device.ts";

withType2Libraries();

const ROOT = new URL("../..", import.meta.url).pathname;
const ignore = Deno.build.arch !== "x86_64" || (Deno.env.get("LD_PRELOAD") ?? "") !== "";
const note = ignore ? " (not run: it needs x86-64, and a program without other preloaded libraries)" : "";

Deno.test(
  `registers and DATA that trap: programs print the same, with as few copies as can be${note}`,
  {
    ignore,
  },
  async () => {
    using workshop = new Workshop();
    const flags = [`-I${ROOT}csrc`, `-I${ROOT}csrc/api`];
    const preload = `${workshop.folder}/trap.so`, library = findLibrary(SOFT_TYPE2);
    const warnings = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"];
    const sources = [`${ROOT}tests/c/type2_trap.c`, library];
    const built = await run(Deno.env.get("CC") ?? "cc", [
      ...warnings,
      "-shared",
      "-fPIC",
      ...flags,
      "-o",
      preload,
      ...sources,
      "-ldl",
    ]);
    assertEquals(built.code, 0, built.errors);
    await Deno.mkdir(`${workshop.folder}/sysfs`);
    const env = {
      LD_LIBRARY_PATH: cudaShimFolder(),
      LD_PRELOAD: preload,
      CXL_GPU: "0000:00:01.0",
      TYPE2_TRAP_DRIVER: findLibrary(SOFT_CUDA),
      TYPE2_TRAP_FOLDER: `${workshop.folder}/sysfs`,
      XDG_RUNTIME_DIR: workshop.folder,
    };
    const outcome = (output: string, errors: string): Outcome => ({ code: 0, output, errors });
    const printing = await workshop.namedDriverProgram("printing");
    const printed = await run(printing, [fatbin("printing", "plain")], env);
    assertEquals(printed, outcome(expected("printing"), "0 copies, 2 launches\n"));
    const source = `${ROOT}tests/c/type2_program.c`;
    const program = await workshop.namedDriverProgram("program", source, ...flags, "-pthread");
    // Through DATA, and through BAR4, which is memory.
    for (const size of [8191, 3 * (1 << 20) + 5]) {
      assertEquals(await run(program, ["copy", String(size)], env), outcome("equal\n", "2 copies, 0 launches\n"));
    }
    assertEquals(await run(program, ["pool", "1000"], env), outcome("equal\n", "0 copies, 1 launches\n"));
  },
);
