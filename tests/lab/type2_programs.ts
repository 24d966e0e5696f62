/**
 * CUDA programs in a guest, on the Type 2 GPU that this process serves: by the guest's library alone, without Deno there.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { cudaShimFolder } from "../../ffi/build.ts";
import type { SoftType2 } from "../../ffi/soft_type2.ts";
import type { Guest, RunResult } from "../../src/lab/guest.ts";
import { expected, fatbin, Workshop } from "../soft/ptx/programs.ts";
import { toolMissing } from "../soft/ptx/toolkit.ts";
import { unless } from "../needs.ts";
import type { Lab } from "./lab.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
/** Both sides see the checkout at the same path. */
const FOLDER = `${ROOT}build/type2-programs`;
/** Programs for the driver API, with fat binaries that are committed, and for the runtime, built where nvcc is. */
const NAMES = ["vector_add", "matmul", "reduction", "streams", "printing"] as const;
/** The program of tests/c/type2_program.c. */
export const PROGRAM: string = `${FOLDER}/type2_program`;
/** What leads a program to the guest's library. */
export const GUEST_ENV: Readonly<Record<string, string>> = { LD_LIBRARY_PATH: `${ROOT}build/cuda-shim` };

const nvccMissing = toolMissing("nvcc");
const LIMITS = { timeoutMs: 600_000 };
/** Commands that copy between host and device, or on it. */
const COPIES = [0x22, 0x23, 0x24, 0x70, 0x71, 0x72];

/** Whether a program was built after its source was last changed: each machine's file needs the same ones. */
async function isBuilt(program: string, source: string): Promise<boolean> {
  try {
    return ((await Deno.stat(program)).mtime ?? 0) > ((await Deno.stat(source)).mtime ?? 0);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function build(): Promise<void> {
  using workshop = new Workshop();
  await Deno.mkdir(FOLDER, { recursive: true });
  const put = async (name: string, source: string, make: () => Promise<string>): Promise<void> => {
    const program = `${FOLDER}/${name}`;
    if (await isBuilt(program, source)) return;
    // A program that runs cannot be written over, a name can be given to another.
    await Deno.copyFile(await make(), `${program}.new`);
    await Deno.rename(`${program}.new`, program);
  };
  const fixtures = `${ROOT}tests/fixtures/cuda`;
  for (const name of NAMES) {
    await put(name, `${fixtures}/driver/${name}.c`, () => workshop.namedDriverProgram(name));
    if (nvccMissing !== null) continue;
    await put(`${name}.cudart`, `${fixtures}/programs/${name}.cu`, () => workshop.runtimeProgram(name));
  }
  const source = `${ROOT}tests/c/type2_program.c`, flags = [`-I${ROOT}csrc`, "-pthread"];
  await put("type2_program", source, () => workshop.namedDriverProgram("type2_program", source, ...flags));
  cudaShimFolder();
}

/** Runs a program of the guest to its end. */
export async function runProgram(guest: Guest, ...argv: string[]): Promise<RunResult> {
  return await guest.run(argv, { env: GUEST_ENV, timeoutMs: 300_000 });
}

/** Starts a program of the guest, and waits until it has printed a line. */
export async function startProgram(guest: Guest, ...argv: string[]): Promise<{
  /** Kills it, unless it ended, and returns all that it printed. */
  readonly end: (how: "kill" | "wait") => Promise<string>;
}> {
  const process = await guest.spawn(argv, { env: GUEST_ENV });
  const errors = new Response(process.stderr).text();
  const reader = process.stdout.getReader();
  const decoder = new TextDecoder();
  let text = "";
  const read = async (): Promise<boolean> => {
    const { value, done } = await reader.read();
    if (value !== undefined) text += decoder.decode(value, { stream: true });
    return !done;
  };
  while (!text.includes("\n") && await read());
  return {
    end: async (how) => {
      if (how === "kill") await process.kill("KILL");
      while (await read());
      await process.status;
      await errors;
      return text;
    },
  };
}

/**
 * Registers the programs.
 *
 * @param device what serves this guest
 */
export function programTests(lab: Lab, device: () => SoftType2 | null): void {
  const served = (): SoftType2 => {
    const one = device();
    assert(one !== null);
    return one;
  };
  const inUse = (): bigint => served().read(0x140, 8) - served().read(0x148, 8);

  lab.hostTest("the host builds programs for the guest, which has no compiler", build, LIMITS);

  lab.hostTest(
    "CUDA programs for the driver API run unmodified in the guest, and print what they print on the host",
    async (guest) => {
      for (const name of NAMES) {
        const { code, stdout, stderr } = await runProgram(guest, `${FOLDER}/${name}`, fatbin(name, "plain"));
        assertEquals({ code, stdout }, { code: 0, stdout: expected(name) }, `${name}: ${stderr}`);
      }
    },
    LIMITS,
  );

  const runtimeTitle =
    "CUDA programs built by nvcc with -cudart shared run unmodified in the guest, and print the same";
  if (nvccMissing !== null) {
    Deno.test({ ...unless(nvccMissing, runtimeTitle), fn: () => {} });
  } else {
    lab.hostTest(runtimeTitle, async (guest) => {
      for (const name of NAMES) {
        const { code, stdout, stderr } = await runProgram(guest, `${FOLDER}/${name}.cudart`);
        assertEquals({ code, stdout }, { code: 0, stdout: expected(name) }, `${name}: ${stderr}`);
      }
    }, LIMITS);
  }

  lab.hostTest(
    "a kernel sums what a program of the guest wrote into pinned memory, and no command was a copy",
    async (guest) => {
      const copies = (): number => COPIES.reduce((sum, code) => sum + served().count(code), 0);
      const before = copies(), launches = served().count(0x40);
      const { code, stdout, stderr } = await runProgram(guest, PROGRAM, "pool", "100000");
      assertEquals({ code, stdout }, { code: 0, stdout: "equal\n" }, stderr);
      assertEquals([copies() - before, served().count(0x40) - launches], [0, 1]);
    },
    LIMITS,
  );

  lab.hostTest(
    "two processes in the guest, four threads and a child of each: no byte of another's",
    async (guest) => {
      const runs = ["0", "1000"].map((seed) => runProgram(guest, PROGRAM, "many", "20", seed));
      for (const { code, stdout, stderr } of await Promise.all(runs)) {
        assertEquals({ code, stdout }, { code: 0, stdout: "ok\n" }, stderr);
      }
    },
    LIMITS,
  );

  lab.hostTest(
    "a program of the guest that is killed: the next one runs, and memory is whole again",
    async (guest) => {
      for (const mode of ["busy", "wait"]) {
        const program = await startProgram(guest, PROGRAM, mode);
        assert(inUse() > 0n);
        assertStringIncludes(await program.end("kill"), "\n");
        const { code, stdout, stderr } = await runProgram(guest, PROGRAM, "copy", "3000000");
        assertEquals({ code, stdout }, { code: 0, stdout: "equal\n" }, `after ${mode}: ${stderr}`);
        assertEquals(inUse(), 0n);
      }
    },
    LIMITS,
  );
}
