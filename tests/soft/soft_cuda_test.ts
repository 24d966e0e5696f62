/** The tool soft_cuda: programs on the software driver, and what it tells of PTX. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { softCudaFolder } from "../../ffi/build.ts";
import { documentSchema } from "../../tools/cli/run.ts";
import { ptxSchema } from "../../tools/render/gpu/soft_cuda.ts";
import { schemaErrors } from "../unit/schema.ts";
import { badInputIsExplained, runTool } from "./tool.ts";

const FIXTURE = new URL("../fixtures/ptx/saxpy_sm75.ptx", import.meta.url).pathname;
const INCLUDE = new URL("../../csrc", import.meta.url).pathname;

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Compiles a C program against the software driver. */
async function compile(folder: string, source: string, ...more: string[]): Promise<string> {
  await Deno.writeTextFile(`${folder}/program.c`, source);
  const driver = `${softCudaFolder()}/libcuda.so.1`;
  const args = ["-std=c11", "-D_GNU_SOURCE", `-I${INCLUDE}`, "-o", `${folder}/program`, `${folder}/program.c`, ...more];
  const output = await new Deno.Command(Deno.env.get("CC") || "cc", {
    args: args.map((one) => one === "DRIVER" ? driver : one),
    env: { LD_PRELOAD: "" },
  }).output();
  assert(output.success, new TextDecoder().decode(output.stderr));
  return `${folder}/program`;
}

/** A program that calls the driver itself: saxpy from a file, and what device it ran on. */
const SAXPY = `
#include "api/cuda_api.h"
#include <stdio.h>
#include <stdlib.h>
#define DECLARE(name, since, older, params, args) CUresult name params;
#define DECLARE0(name, since) CUresult name(void);
BB_CUDA_FUNCTIONS(DECLARE, DECLARE0)
#define MUST(call) do { int r = (call); if (r != 0) { printf("%s: %d\\n", #call, r); return 1; } } while (0)
int main(int count, char **arguments) {
  CUcontext context; CUmodule module; CUfunction saxpy; CUdeviceptr x, y;
  int major, minor, devices, n = 64; float a = 2, values[64], back[64];
  (void)count;
  MUST(cuInit(0)); MUST(cuDeviceGetCount(&devices)); MUST(cuDeviceComputeCapability(&major, &minor, 0));
  MUST(cuCtxCreate_v2(&context, 0, 0)); MUST(cuModuleLoad(&module, arguments[1]));
  MUST(cuModuleGetFunction(&saxpy, module, "saxpy")); MUST(cuMemAlloc_v2(&x, 256)); MUST(cuMemAlloc_v2(&y, 256));
  for (int i = 0; i < n; i++) values[i] = (float)i;
  MUST(cuMemcpyHtoD_v2(x, values, 256)); MUST(cuMemcpyHtoD_v2(y, values, 256));
  void *params[] = {&n, &a, &x, &y};
  MUST(cuLaunchKernel(saxpy, 2, 1, 1, 32, 1, 1, 0, NULL, params, NULL));
  MUST(cuMemcpyDtoH_v2(back, y, 256));
  printf("%d devices, %d.%d, %.0f\\n", devices, major, minor, back[63]);
  MUST(cuCtxDestroy_v2(context));
  return 7;
}`;

Deno.test("a program that calls the driver runs unmodified, on the device that was asked for, and its status is kept", () =>
  inFolder(async (folder) => {
    const program = await compile(folder, SAXPY, "DRIVER");
    const one = await runTool("soft_cuda", ["run", "--profile", "sm_86", "--", program, FIXTURE]);
    assertEquals([one.code, one.stdout], [7, "1 devices, 8.6, 189\n"], one.stderr);
    const two = await runTool("soft_cuda", [
      "run",
      "--device",
      "soft:cuda?devices=2&profile=sm_100",
      "--",
      program,
      FIXTURE,
    ]);
    assertEquals([two.code, two.stdout], [7, "2 devices, 10.0, 189\n"], two.stderr);
    const failing = await runTool("soft_cuda", [
      "run",
      "--device",
      "soft:cuda?fail=cuMemAlloc_v2:2",
      "--",
      program,
      FIXTURE,
    ]);
    assertEquals(failing.code, 1);
    assertMatch(failing.stdout, /^cuMemAlloc_v2.*: 2\n$/);
  }));

Deno.test("ptx --count shows how many threads ran each line", () =>
  inFolder(async (folder) => {
    const program = await compile(folder, SAXPY.replace("return 7;", "return 0;"), "DRIVER");
    const { code, stdout, stderr } = await runTool("soft_cuda", ["ptx", "--count", FIXTURE, "--", program, FIXTURE]);
    assertEquals(code, 0, stderr);
    const line = stdout.split("\n").find((text) => text.includes("\tfma.rn.f32"));
    assertMatch(line ?? "", /^ *64 +\tfma\.rn\.f32/);
  }));

Deno.test("a program with the static CUDA runtime is refused in one line that says how to build it", () =>
  inFolder(async (folder) => {
    const source = `__attribute__((section(".nv_fatbin"), used)) static int code = 1;\nint main(void) { return 0; }\n`;
    const fixed = await compile(folder, source);
    const refused = await runTool("soft_cuda", ["run", "--", fixed]);
    assertEquals(refused.code, 3, refused.stderr);
    assertEquals(refused.stderr.trimEnd().split("\n").length, 1);
    assertStringIncludes(refused.stderr, "-cudart shared");
    // The same code beside the driver among its libraries is a program of the driver API.
    const shared = await compile(folder, source, "-Wl,--no-as-needed", "DRIVER");
    assertEquals((await runTool("soft_cuda", ["run", "--", shared])).code, 0);
  }));

Deno.test("ptx lists kernels and instructions; what is not known has its line, spelling and exit status 1", () =>
  inFolder(async (folder) => {
    const good = await runTool("soft_cuda", ["ptx", "--profile", "sm_75", FIXTURE, "--json"]);
    assertEquals(good.code, 0, good.stderr);
    const document = JSON.parse(good.stdout);
    assertEquals(schemaErrors(ptxSchema(), document), "");
    assertEquals([document.target, document.kernels[0].name, document.problems], ["sm_75", "saxpy", []]);
    const fma = document.instructions.find((one: { spelling: string }) => one.spelling === "fma.rn.f32");
    assertEquals(fma?.exactness, "exact");
    const bad = (await Deno.readTextFile(FIXTURE)).replace("fma.rn.f32", "wgmma.f32").replace(
      "mul.wide.s32",
      "mul.wid\u001b.s32",
    );
    await Deno.writeTextFile(`${folder}/bad.ptx`, bad);
    const { code, stdout } = await runTool("soft_cuda", ["ptx", "--profile", "sm_75", `${folder}/bad.ptx`]);
    assertEquals(code, 1);
    assertMatch(stdout, /line \d+: .*wgmma\.f32/);
    assert(!stdout.includes("\u001b"), "what the file holds does not reach the terminal as it is");
  }));

Deno.test("bad input of soft_cuda ptx is explained", () =>
  badInputIsExplained("soft_cuda", [
    [["ptx", "/nowhere/a.ptx"], 3, "absent", "/nowhere/a.ptx"],
    [["ptx", "--profile", "sm_12", FIXTURE], 2, "usage", "there is no profile 'sm_12'"],
    [["ptx", "--count", FIXTURE], 2, "usage", "--count needs a command"],
  ], documentSchema("soft_cuda", [ptxSchema()])));
