/**
 * Makes `busbar_nvme_layout.cuh` from the table of blocks, and `nvme.ptx` from `nvme.cu` by nvcc. Run it after changing
 * either: `deno run -A src/gpu/kernels/make.ts`.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { fileLayoutHeader } from "../nvme/file_layout.ts";
import { layoutHeader } from "../nvme/layout.ts";
import { residentLayoutHeader } from "../nvme/resident_layout.ts";

const FOLDER = new URL(".", import.meta.url).pathname;

/**
 * The oldest PTX that has `.mmio` (PTX ISA 9.7.9), so that drivers from CUDA 12.2 on take it. nvcc writes its own version;
 * the assembler is asked whether the text keeps to the older one.
 */
const PTX_VERSION = "8.2";
/** The oldest architecture that nvcc 13 knows. */
const TARGET = "sm_75";

async function must(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args, cwd: FOLDER }).output();
  if (success) return;
  throw new BusbarError("io", `${program}: ${new TextDecoder().decode(stderr)}`, { operation: "compile kernels" });
}

/**
 * What nvcc makes of kernels.
 *
 * @param source a file; the headers of this folder are found
 */
export async function compileKernels(source: string = `${FOLDER}nvme.cu`): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "busbar-kernels-" });
  try {
    const made = `${folder}/nvme.ptx`;
    await must("nvcc", "-ptx", `-arch=${TARGET}`, "-O3", "-I", FOLDER, "-o", made, source);
    // A hint of PTX 8.3, about bytes of a wide load that nobody uses, which earlier drivers do not know.
    const text = (await Deno.readTextFile(made)).replace(/^\/\/[^\n]*\n/gm, "").replace(/^\s*\n/gm, "")
      .replace(/^\s*\.pragma "used_bytes_mask[^\n]*\n/gm, "")
      // Names of static functions have a number in them that comes from where the source lies.
      .replace(/_INTERNAL_[0-9a-f]{8}_/g, "_INTERNAL_00000000_")
      .replace(/^\.version .*$/m, `.version ${PTX_VERSION}`);
    const whole = `// Made from ${source.split("/").at(-1)} by src/gpu/kernels/make.ts: do not edit.\n${text}`;
    await Deno.writeTextFile(made, whole);
    await must("ptxas", `-arch=${TARGET}`, "-o", `${folder}/nvme.cubin`, made);
    return whole;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The kernels: the library's own, and one that tests the header as others use it. */
export const KERNEL_SOURCES: readonly string[] = [
  `${FOLDER}nvme.cu`,
  `${FOLDER}files.cu`,
  `${FOLDER}resident.cu`,
  `${FOLDER}stamp.cu`,
  `${FOLDER}../../../tests/fixtures/gpu_nvme/own_kernel.cu`,
  `${FOLDER}../../../tests/fixtures/gpu_nvme/array_kernel.cu`,
];

if (import.meta.main) {
  await Deno.writeTextFile(`${FOLDER}busbar_nvme_layout.cuh`, layoutHeader());
  await Deno.writeTextFile(`${FOLDER}busbar_files_layout.cuh`, fileLayoutHeader());
  await Deno.writeTextFile(`${FOLDER}busbar_resident_layout.cuh`, residentLayoutHeader());
  for (const source of KERNEL_SOURCES) {
    await Deno.writeTextFile(source.replace(/cu$/, "ptx"), await compileKernels(source));
  }
}
