/**
 * What is fuzzed: a C file each with libFuzzer's entry, built by Debian's clang with the files that it needs.
 * @module
 */

/** A fuzz target in C: `tests/fuzz/NAME.c`, with the corpus `tests/fuzz/corpus/NAME`. */
export interface FuzzTarget {
  /** Other C files, or folders of them, from the checkout's root. */
  readonly sources: readonly string[];
  readonly includes: readonly string[];
  readonly libraries: readonly string[];
  /** The longest input in bytes. */
  readonly maxBytes: number;
}

export const FUZZ_TARGETS: Readonly<Record<string, FuzzTarget>> = {
  ptx: {
    sources: ["csrc/ptx"],
    includes: ["csrc", "csrc/ptx"],
    libraries: ["-lm", "-pthread"],
    maxBytes: 8192,
  },
  fatbin: {
    sources: ["csrc/soft/cuda/fatbin.c"],
    includes: ["csrc", "csrc/soft/cuda"],
    libraries: ["-ldl"],
    maxBytes: 8192,
  },
};
