/**
 * The CUDA toolkit, where it is installed.
 * @module
 */

/** Why a program of the toolkit cannot be used here, or null. */
export function toolMissing(program: "nvcc" | "ptxas"): string | null {
  try {
    const { success } = new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync();
    return success ? null : `${program} does not start`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `no ${program}`;
    throw error;
  }
}
