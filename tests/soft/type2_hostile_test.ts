/** A guest that changes PARAMs, CMD, DONE, DATA and BAR4 while commands run; the long test repeats it under sanitizers. */

import { assertEquals } from "@std/assert";

import { findLibrary, SOFT_CUDA, SOFT_TYPE2 } from "../../ffi/build.ts";
import { run } from "./ptx/programs.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

Deno.test("a hostile guest does no harm: the device goes on, another guest's memory stays, nothing is left", async () => {
  const folder = await Deno.makeTempDir();
  const program = `${folder}/guest`, library = findLibrary(SOFT_TYPE2);
  const include = [`-I${ROOT}csrc`, `-I${ROOT}csrc/api`];
  const flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", ...include];
  const sources = [`${ROOT}tests/c/soft_type2_harness.c`, library];
  const built = await run(Deno.env.get("CC") ?? "cc", [...flags, "-o", program, ...sources, "-pthread"], {
    LD_PRELOAD: "",
  });
  // A linker may warn of what the sanitizers' own library uses.
  assertEquals(built.code, 0, built.errors);
  for (const mode of ["own", "trap"]) {
    const { code, output, errors } = await run(program, [findLibrary(SOFT_CUDA), "1", mode, "3"]);
    assertEquals({ code, output }, { code: 0, output: "ok\n" }, `${mode}: ${errors}`);
  }
  await Deno.remove(folder, { recursive: true });
});
