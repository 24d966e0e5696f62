/** The guest's CUDA library over a shared file: the suite for every CUDA driver, and programs that know nothing of it. */

import { assert, assertEquals } from "@std/assert";

import { cudaShimFolder } from "../../ffi/build.ts";
import { closeAll } from "../../ffi/library.ts";
import { openCudaDriver } from "../../src/gpu/driver.ts";
import { cudaConformance } from "../conformance/cuda/suite.ts";
import { expected, fatbin, run, Workshop } from "./ptx/programs.ts";
import { Served } from "./type2_device.ts";

let served: Served | null = null;
let workshop: Workshop | null = null;
function theWorkshop(): Workshop {
  assert(workshop !== null);
  return workshop;
}

Deno.test.beforeAll(() => {
  served = Served.start();
  workshop = new Workshop();
  Deno.env.set("CXL_GPU", served.path);
  served.open()[Symbol.dispose]();
});
Deno.test.afterAll(async () => {
  Deno.env.delete("CXL_GPU");
  workshop?.[Symbol.dispose]();
  closeAll();
  await served?.[Symbol.asyncDispose]();
});

/** What the protocol has no way to say. */
const CANNOT: Readonly<Record<string, string>> = {
  "host memory: it is registered once, unregistered once, and known meanwhile":
    "a guest's ordinary pages are out of the device's reach: 801",
  "managed memory is one address for host and kernel":
    "the device is in this process, so BAR4 cannot be mapped where the device has it",
  "modules: kernels, variables and parameters by name; an unknown one is 500, bad text 218 with its line":
    "the protocol has one result for PTX that does not load, and lists no kernels",
  "kernels: the layout of parameters, and what a launch may look like": "occupancy is not asked for by a command",
  "stream memory operations: a stream waits for a value, and writes one": "there is no such command",
  "functions are found by name and version": "there are no per-thread default streams",
};

cudaConformance({
  name: "the guest's CUDA library",
  open: () => openCudaDriver(`cuda:${cudaShimFolder()}/libcuda.so.1`),
  reason: null,
  cannot: CANNOT,
});

/** Programs for the driver API whose calls the protocol has. */
const PROGRAMS = ["vector_add", "matmul", "reduction", "printing", "streams", "constants"] as const;

Deno.test("programs made for the software device print the same through the guest's library, and leave nothing", async () => {
  await using own = Served.start({}, 128 << 20);
  const env = { LD_LIBRARY_PATH: cudaShimFolder(), CXL_GPU: own.path };
  for (const name of PROGRAMS) {
    const program = await theWorkshop().namedDriverProgram(name);
    const { code, output, errors } = await run(program, [fatbin(name, "plain")], env);
    assertEquals({ code, output }, { code: 0, output: expected(name) }, `${name}: ${errors}`);
  }
  using gpu = own.open();
  // The next program would end the last one's session, so one more runs.
  await run(await theWorkshop().namedDriverProgram("vector_add"), [fatbin("vector_add", "plain")], env);
  const { totalBytes, freeBytes } = await gpu.memory();
  assertEquals(freeBytes, totalBytes);
});
