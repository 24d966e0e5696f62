/**
 * What the software CUDA driver's library does beside being a driver: it reads modules and tells what is in them.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import { SOFT_CUDA } from "./build.ts";
import { check, lazyLibrary } from "./library.ts";

const SYMBOLS = {
  bb_soft_cuda_inspect: {
    parameters: [
      /* image */ "buffer",
      /* size */ "u64",
      /* capability */ "u32",
      /* out */ "buffer",
      /* out_size */ "u64",
      /* needed */ "buffer",
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const symbols: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS, SOFT_CUDA);

const FIRST_ROOM_BYTES = 64 << 10;

/** What C tells of a module. */
export interface InspectedModule {
  /** What loading it would give: 0, or 200, 209, 218, 222. */
  readonly result: number;
  /** Lines of fields, as csrc/soft/cuda/soft_cuda.h lists them. */
  readonly rows: readonly (readonly string[])[];
}

/**
 * Reads PTX text or a fat binary as a device of this compute capability would.
 *
 * @param capability 10 × major + minor
 */
export function inspectModule(image: Uint8Array<ArrayBuffer>, capability: number): InspectedModule {
  if (image.length === 0) throw new BusbarError("malformed", "the file is empty");
  const needed = new BigUint64Array(1);
  for (let room = FIRST_ROOM_BYTES;;) {
    const out = new Uint8Array(room);
    const result = symbols().bb_soft_cuda_inspect(
      image,
      BigInt(image.length),
      capability,
      out,
      BigInt(out.length),
      needed,
    );
    if (result < 0) check(result, "inspect a CUDA module");
    const length = Number(needed[0] ?? 0n);
    if (length < room) {
      const lines = new TextDecoder().decode(out.subarray(0, length)).split("\n").filter((line) => line !== "");
      return { result, rows: lines.map((line) => line.split("\t")) };
    }
    room = length + 1;
  }
}
