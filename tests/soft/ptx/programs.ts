/**
 * C and CUDA programs that are built and run on the software device, as other people's programs are: by their library search
 * path alone.
 * @module
 */

import { findLibrary, SOFT_CUDA } from "../../../ffi/build.ts";

const FIXTURES = new URL("../../fixtures/cuda/", import.meta.url).pathname;

/** The programs that have a version for the driver API, and fat binaries that are committed. */
export const DRIVER_PROGRAMS: readonly string[] = [
  "constants",
  "cooperative",
  "errors",
  "managed",
  "matmul",
  "occupancy",
  "printing",
  "reduction",
  "streams",
  "vector_add",
];

/** How a program ended. */
export interface Outcome {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** Runs a program; output is text. */
export async function run(
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args], env }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, output: text(stdout), errors: text(stderr) };
}

async function build(program: string, args: readonly string[]): Promise<void> {
  // Sanitizers that are preloaded are for what is tested, not for compilers: nvcc ends by SIGSEGV with them.
  const { code, errors } = await run(program, args, { LD_PRELOAD: "" });
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${errors}`);
}

/** A folder for a test file's programs, with the software driver under the name that programs look for. */
export class Workshop implements Disposable {
  readonly folder: string;
  readonly #library: string;

  constructor() {
    this.folder = Deno.makeTempDirSync({ prefix: "busbar-cuda-" });
    this.#library = `${this.folder}/libcuda.so.1`;
    Deno.symlinkSync(findLibrary(SOFT_CUDA), this.#library);
  }

  /** Builds the version of a program for the driver API. */
  async driverProgram(name: string): Promise<string> {
    const out = `${this.folder}/${name}_driver`;
    const compiler = Deno.env.get("CC") ?? "cc";
    const flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror"];
    await build(compiler, [...flags, "-o", out, `${FIXTURES}driver/${name}.c`, this.#library]);
    return out;
  }

  /** Builds it so that the loader looks its library up by name, in LD_LIBRARY_PATH: for drivers other than the software one. */
  async namedDriverProgram(
    name: string,
    source: string = `${FIXTURES}driver/${name}.c`,
    ...more: string[]
  ): Promise<string> {
    const out = `${this.folder}/${name}_named`;
    const library = [`-L${this.folder}`, "-l:libcuda.so.1"];
    await build(Deno.env.get("CC") ?? "cc", ["-std=gnu11", "-O1", ...more, "-o", out, source, ...library]);
    return out;
  }

  /** Builds a program for the runtime with nvcc, linked with the shared runtime library. */
  async runtimeProgram(name: string): Promise<string> {
    const out = `${this.folder}/${name}`;
    const target = ["-gencode", "arch=compute_75,code=compute_75"];
    await build("nvcc", ["-cudart", "shared", ...target, "-o", out, `${FIXTURES}programs/${name}.cu`]);
    return out;
  }

  /** Runs one on a software device. `folder` is where its libraries are. */
  async run(
    program: string,
    args: readonly string[],
    settings: string,
    folder: string = this.folder,
  ): Promise<Outcome> {
    return await run(program, args, { LD_LIBRARY_PATH: folder, BUSBAR_SOFT_CUDA: settings });
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

/** What a program must print. */
export function expected(name: string): string {
  return Deno.readTextFileSync(`${FIXTURES}programs/${name}.expected`);
}

/** A committed fat binary: `zstd`, `lz4` or `plain`. */
export function fatbin(name: string, compression: string): string {
  return `${FIXTURES}fatbins/${name}.${compression}.fatbin`;
}
