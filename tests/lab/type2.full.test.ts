/** A CXL Type 2 GPU in a guest with a stock QEMU and kernel: ivshmem memory that the host serves. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { cudaShimFolder } from "../../ffi/build.ts";
import { SoftType2 } from "../../ffi/soft_type2.ts";
import { serveSharedFile } from "../../src/type2/open.ts";
import { expected, fatbin, run, Workshop } from "../soft/ptx/programs.ts";
import { toolMissing } from "../soft/ptx/toolkit.ts";
import { runTool } from "../soft/tool.ts";
import { machine, unproven } from "./lab.ts";
import { listTests } from "./list.ts";
import { lspciLinesTest } from "./lspci_lines.ts";

/** The ivshmem function. */
const ADDRESS = "0000:00:01.0";
const ROOT = new URL("../..", import.meta.url).pathname;
/** Both sides see the checkout at the same path. */
const PROGRAMS = `${ROOT}build/type2-programs`;
/** Programs for the driver API, with fat binaries that are committed. */
const NAMES = ["vector_add", "matmul", "reduction", "streams", "printing"] as const;

/** Why there are no programs for the runtime; a guest sees the host's nvcc, or none. */
const nvccMissing = toolMissing("nvcc");
const ENV = { LD_LIBRARY_PATH: `${ROOT}build/cuda-shim` };

const lab = machine("type2.yaml", import.meta.url);

listTests(unproven(lab));
lspciLinesTest(unproven(lab));
let device: SoftType2 | null = null;
Deno.test.afterAll(() => device?.[Symbol.dispose]());

lab.hostTest("the host serves the guest's shared memory as a Type 2 GPU, and builds the programs", async (guest) => {
  using workshop = new Workshop();
  await Deno.mkdir(PROGRAMS, { recursive: true });
  for (const name of NAMES) await Deno.copyFile(await workshop.namedDriverProgram(name), `${PROGRAMS}/${name}`);
  if (nvccMissing === null) {
    for (const name of NAMES) await Deno.copyFile(await workshop.runtimeProgram(name), `${PROGRAMS}/${name}.cudart`);
  }
  const include = [`-I${ROOT}csrc`, "-pthread"];
  const program = await workshop.namedDriverProgram("type2_program", `${ROOT}tests/c/type2_program.c`, ...include);
  await Deno.copyFile(program, `${PROGRAMS}/type2_program`);
  cudaShimFolder();
  const path = `${guest.record.folder}/disks/gpu`;
  device = serveSharedFile(new Map([["memory", String(256 << 20)], ["adopt", "1"]]), { path, sizeBytes: 64 << 20 });
});

lab.test("cxl_gpu info shows the device behind the ivshmem function", async () => {
  await Deno.writeTextFile(`/sys/bus/pci/devices/${ADDRESS}/enable`, "1");
  const { code, stdout, stderr } = await runTool("cxl_gpu", ["info", ADDRESS, "--json"]);
  assertEquals(code, 0, stderr);
  const info = JSON.parse(stdout);
  assertEquals([info.generation, info.transport, info.capability], ["v2", "shared memory", 90]);
});

lab.test("cxl_gpu run computes saxpy in the guest", async () => {
  const ptx = `${ROOT}tests/fixtures/ptx/saxpy_sm75.ptx`;
  const folder = await Deno.makeTempDir();
  await Deno.writeFile(`${folder}/x`, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer));
  const args = ["run", ADDRESS, ptx, "saxpy", "--block", "32", "--arg", "u32:4", "--arg", "f32:2.5"];
  const { code, stdout, stderr } = await runTool("cxl_gpu", [...args, "--in", `f32:${folder}/x`, "--out", "f32:4"]);
  assertEquals({ code, stdout }, { code: 0, stdout: "2.5 5 7.5 10\n" }, stderr);
});

lab.test("CUDA programs for the driver API run unmodified in the guest, and print what they print on the host", async () => {
  for (const name of NAMES) {
    const { code, output, errors } = await run(`${PROGRAMS}/${name}`, [fatbin(name, "plain")], ENV);
    assertEquals({ code, output }, { code: 0, output: expected(name) }, `${name}: ${errors}`);
  }
});

const runtimeTitle = "CUDA programs built by nvcc with -cudart shared run unmodified in the guest, and print the same";
if (nvccMissing !== null) {
  Deno.test({ name: `${runtimeTitle} (not run: ${nvccMissing})`, ignore: true, fn: () => {} });
} else {
  unproven(lab).test(runtimeTitle, async () => {
    for (const name of NAMES) {
      const { code, output, errors } = await run(`${PROGRAMS}/${name}.cudart`, [], ENV);
      assertEquals({ code, output }, { code: 0, output: expected(name) }, `${name}: ${errors}`);
    }
  });
}

const poolLab = unproven(lab);
let copiesBefore = 0;
const copies = (): number =>
  [0x22, 0x23, 0x24, 0x70, 0x71, 0x72].reduce((sum, code) => sum + (device?.count(code) ?? 0), 0);

poolLab.hostTest("copies are counted before the next program", () => {
  copiesBefore = copies();
  return Promise.resolve();
});

poolLab.test("a kernel sums what a program of the guest wrote into pinned memory", async () => {
  const { code, output, errors } = await run(`${PROGRAMS}/type2_program`, ["pool", "100000"], ENV);
  assertEquals({ code, output }, { code: 0, output: "equal\n" }, errors);
});

poolLab.hostTest("and no command of it was a copy", () => {
  assertEquals(copies(), copiesBefore);
  return Promise.resolve();
});

lab.hostTest("and on the host nothing of it is left allocated", () => {
  assert(device !== null);
  const free = device.read(0x148, 8), total = device.read(0x140, 8);
  assertEquals(free, total);
  assert(device.count(0x40) > 0, "kernels were launched");
  assertStringIncludes(device.name, "disks/gpu");
  return Promise.resolve();
});
