/** The CUDA tables against NVIDIA's own header, where the toolkit is installed. */

import { assert, assertEquals } from "@std/assert";

import { findLibrary, SOFT_CUDA } from "../../ffi/build.ts";
import { GPU_ATTRIBUTES } from "../../src/gpu/attributes.ts";
import { CUDA_RESULTS } from "../../src/gpu/results.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const FOLDERS = [Deno.env.get("CUDA_HOME") ?? "", "/usr/local/cuda"].map((home) => `${home}/include`);

function headerFolder(): string | null {
  return FOLDERS.find((folder) => {
    try {
      return Deno.statSync(`${folder}/cuda.h`).isFile;
    } catch {
      return false;
    }
  }) ?? null;
}

const folder = headerFolder();

function test(name: string, body: (folder: string) => void | Promise<void>): void {
  if (folder === null) {
    Deno.test({ name: `${name} (not run: no cuda.h, which comes with the CUDA toolkit)`, ignore: true, fn: () => {} });
  } else Deno.test(name, () => body(folder));
}

/** The numbers of an enumeration in the header, by name without its prefix. */
function enumeration(include: string, prefix: string): Map<string, number> {
  const text = Deno.readTextFileSync(`${include}/cuda.h`);
  const rows = text.matchAll(new RegExp(`^\\s+${prefix}(\\w+)\\s*=\\s*(\\d+)`, "gm"));
  return new Map(Array.from(rows, ([, name = "", number]) => [name, Number(number)]));
}

/** Compiles C without linking; true when it is correct. */
async function compiles(include: string, source: string): Promise<boolean> {
  const args = ["-std=c11", "-fsyntax-only", "-x", "c", `-I${include}`, `-I${ROOT}/csrc`, "-"];
  const child = new Deno.Command(Deno.env.get("CC") || "cc", { args, stdin: "piped", stderr: "null" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(source));
  await writer.close();
  return (await child.status).success;
}

test("every result that cuda.h knows is in the table, by name and number, and no other", (include) => {
  const theirs = enumeration(include, "CUDA_ERROR_");
  assert(theirs.size > 90);
  const ours = new Map(Object.entries(CUDA_RESULTS).map(([number, { name }]) => [name, Number(number)]));
  assertEquals([...ours].sort(), [...theirs].sort());
});

test("every attribute in the table has cuda.h's number", (include) => {
  const theirs = enumeration(include, "CU_DEVICE_ATTRIBUTE_");
  for (const { name, number } of GPU_ATTRIBUTES) assertEquals(theirs.get(name), number, name);
});

test("every prototype in cuda_api.h is cuda.h's, and a wrong one is noticed", async (include) => {
  // cuda.h gives names a suffix; it declares the older functions too for those who ask for its insides.
  const source = (more: string): string =>
    `#define __CUDA_API_VERSION_INTERNAL
     #include <cuda.h>
     #include <cudaProfiler.h>
     #include "api/cuda_api.h"
     #define F(name, since, older, params, args) _Static_assert(_Generic(&name, CUresult (*) params: 1, default: 0), #name);
     #define F0(name, since) F(name, since, "", (void), ())
     BB_CUDA_FUNCTIONS(F, F0)
     ${more}`;
  assert(await compiles(include, source("")));
  assert(!await compiles(include, source('F(cuMemAlloc_v2, 3020, "", (CUdeviceptr *out, int size), (out, size))')));
});

test("structures in cuda_api.h have the sizes and places of cuda.h's", async (include) => {
  const places = [
    "sizeof(CUDA_MEMCPY2D)",
    "offsetof(CUDA_MEMCPY2D, dstXInBytes)",
    "sizeof(CUDA_MEMCPY3D)",
    "offsetof(CUDA_MEMCPY3D, dstDevice)",
    "offsetof(CUDA_MEMCPY3D, WidthInBytes)",
    "sizeof(CUlaunchConfig)",
    "offsetof(CUlaunchConfig, attrs)",
    "sizeof(CUlaunchAttribute)",
    "sizeof(CUctxCreateParams)",
  ];
  const print = (includes: string): string =>
    `${includes}
     #include <stdio.h>
     int main(void) { ${places.map((place) => `printf("%zu\\n", ${place});`).join(" ")} return 0; }`;
  const theirs = await output(include, print("#include <stddef.h>\n#include <cuda.h>"));
  assertEquals(await output(include, print('#include "api/cuda_api.h"')), theirs);
  assertEquals(theirs.split("\n").length, places.length + 1);
});

/** Compiles and runs a C program, and gives what it prints. */
async function output(include: string, source: string): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/a.c`, source);
    const args = ["-std=c11", `-I${include}`, `-I${ROOT}/csrc`, "-o", `${folder}/a`, `${folder}/a.c`];
    const built = await new Deno.Command(Deno.env.get("CC") || "cc", { args }).output();
    assert(built.success, new TextDecoder().decode(built.stderr));
    return new TextDecoder().decode((await new Deno.Command(`${folder}/a`).output()).stdout);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the software device knows the results of src/gpu/results.ts by number and name", () => {
  const source = Deno.readTextFileSync(`${ROOT}/csrc/soft/cuda/results.c`);
  const rows = Array.from(source.matchAll(/\{(\d+), "CUDA_ERROR_(\w+)", "([^"]*)"\}/g));
  const ours = rows.map(([, number, name]) => [Number(number), name]);
  const theirs = Object.entries(CUDA_RESULTS).map(([number, { name }]) => [Number(number), name]);
  assertEquals(ours, theirs);
});

Deno.test("the table has every function of specs' list, in its order, and the software device exports each", () => {
  const table = Deno.readTextFileSync(`${ROOT}/csrc/api/cuda_api.h`);
  const names = Array.from(table.matchAll(/ F0?\((\w+), \d+/g), ([, name = ""]) => name);
  assertEquals(names.length, new Set(names).size);
  assert(names.length >= 143, `${names.length}`);
  assertEquals([names[0], names[17], names[51], names[56]], [
    "cuInit",
    "cuModuleLoadData",
    "cuGetProcAddress",
    "cuMemcpyHtoDAsync_v2",
  ], "the steps begin there");
  const symbols = Object.fromEntries(names.map((name) => [name, { parameters: [], result: "i32" } as const]));
  Deno.dlopen(findLibrary(SOFT_CUDA), symbols).close();
});

/** How a C parameter of the table is passed: by the last word of its type. */
function passedAs(parameter: string): RegExp {
  if (/\*/.test(parameter)) return /^("buffer"|"pointer"|HOST)$/;
  const type = /^(?:const )?(.*) \w+$/.exec(parameter.trim())?.[1] ?? "";
  const handles: Readonly<Record<string, string>> = {
    CUcontext: "CONTEXT",
    CUmodule: "MODULE",
    CUfunction: "FUNCTION",
    CUstream: "STREAM",
    CUevent: "EVENT",
  };
  const words: Readonly<Record<string, string>> = {
    "CUresult": '"i32"',
    "int": '"i32"',
    "CUdevice": '"i32"',
    "size_t": '"u64"',
    "CUdeviceptr": '"u64"',
    "cuuint64_t": '"u64"',
    "unsigned long long": '"u64"',
    "unsigned char": '"u8"',
    "unsigned short": '"u16"',
  };
  return new RegExp(`^${handles[type] ?? words[type] ?? '"u32"'}$`);
}

Deno.test("every caller in ffi/cuda.ts passes what cuda_api.h declares, behind the context", () => {
  const table = Deno.readTextFileSync(`${ROOT}/csrc/api/cuda_api.h`);
  const rows = new Map(
    Array.from(table.matchAll(/F\((\w+), \d+, "\w*", \((.*?)\), \(/g), ([, name = "", list = ""]) => [name, list]),
  );
  const source = Deno.readTextFileSync(`${ROOT}/ffi/cuda.ts`).replace(/\/\*[\s\S]*?\*\//g, "");
  const callers = [...source.matchAll(/name: "bb_(cu[A-Z]\w+)",\s*parameters: \[([^\]]*)\]/g)];
  assert(callers.length > 60);
  for (const [, name = "", list = ""] of callers) {
    const [driver, context, ...ours] = list.split(",").map((one) => one.trim()).filter((one) => one !== "");
    const theirs = (rows.get(name) ?? "").split(",").filter((one) => one !== "");
    assertEquals([driver, context, ours.length], ["DRIVER", "CONTEXT", theirs.length], name);
    for (const [i, one] of ours.entries()) {
      assert(passedAs(theirs[i] ?? "").test(one), `${name}: ${theirs[i]} as ${one}`);
    }
  }
});
