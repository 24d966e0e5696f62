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
  agent: {
    sources: [
      ...["accelerator", "buffer", "devices", "dispatch", "files", "handles", "hello", "journal"],
      ...["journal_file", "journal_lines", "json", "memory_loops", "path", "rights", "roll_back", "tree"],
    ].map((name) => `csrc/agent/${name}.c`).concat(
      ["fd", "membench", "memory", "mmio", "nvme_ioctl", "oradax"].map((name) => `csrc/${name}.c`),
    ),
    includes: ["csrc", "csrc/agent"],
    // What a frame may ask for at most: little, so that many are tried.
    libraries: ["-DMAX_ANONYMOUS=UINT64_C(1048576)", "-DMAX_LIMIT_US=100u", "-pthread"],
    maxBytes: 4096,
  },
  fatbin: {
    sources: ["csrc/soft/cuda/fatbin.c"],
    includes: ["csrc", "csrc/soft/cuda"],
    libraries: ["-ldl"],
    maxBytes: 8192,
  },
  nvme: {
    sources: ["csrc/soft", "csrc/soft/nvme", "tests/c/soft_nvme_driver.c"],
    includes: ["csrc", "tests/c"],
    libraries: ["-pthread", "-lm"],
    maxBytes: 2048,
  },
  // The driver is part of the program, so its functions are exported; each library says its ABI's version.
  type2: {
    sources: ["csrc/soft/type2", "csrc/soft/cuda", "csrc/ptx"],
    includes: ["csrc", "csrc/api"],
    libraries: ["-rdynamic", "-Wl,--allow-multiple-definition", "-ldl", "-lm", "-pthread"],
    maxBytes: 8192,
  },
};
