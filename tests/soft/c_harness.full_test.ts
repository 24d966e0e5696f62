import { assert, assertEquals } from "@std/assert";

import { BUSBAR_SOFT, type LibrarySpec, SOFT_CUDA, SOFT_TYPE2 } from "../../ffi/build.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const COMPILER = (Deno.env.get("CC") || "cc").split(/\s+/);

function cFiles(folder: string): string[] {
  return Array.from(Deno.readDirSync(`${ROOT}/${folder}`), (entry) => `${folder}/${entry.name}`)
    .filter((name) => name.endsWith(".c")).sort();
}

function run(command: readonly string[]): { success: boolean; text: string } {
  const [program = "", ...args] = command;
  const output = new Deno.Command(program, { args, env: { LD_PRELOAD: "" } }).outputSync();
  return {
    success: output.success,
    text: new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr),
  };
}

/** True when a program built with the sanitizer also starts; without ptrace or with odd address spaces some do not. */
function works(flag: string): boolean {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${folder}/empty.c`, "int main(void) { return 0; }\n");
    const built = run([...COMPILER, flag, "-o", `${folder}/empty`, `${folder}/empty.c`]);
    return built.success && run([`${folder}/empty`]).success;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** What is driven, and the program that does it. */
interface Harness {
  readonly device: string;
  readonly file: string;
  readonly libraries: readonly LibrarySpec[];
  /** Flags of the linker besides those that all have. */
  readonly flags: readonly string[];
  /** The arguments of each run. */
  readonly runs: readonly (readonly string[])[];
}

/** How long a hostile guest goes on, in each of its ways; BUSBAR_HOSTILE_SECONDS=60 is what the device was judged by. */
const HOSTILE_SECONDS = Deno.env.get("BUSBAR_HOSTILE_SECONDS") ?? "8";

const HARNESSES: readonly Harness[] = [
  {
    device: "the software controller",
    file: "tests/c/soft_nvme_harness.c",
    libraries: [BUSBAR_SOFT],
    flags: [],
    runs: [[]],
  },
  {
    device: "the software CUDA device",
    file: "tests/c/soft_cuda_harness.c",
    libraries: [SOFT_CUDA],
    flags: [],
    runs: [[]],
  },
  {
    device: "the software Type 2 GPU with a hostile guest",
    file: "tests/c/soft_type2_harness.c",
    libraries: [SOFT_TYPE2, SOFT_CUDA],
    // The driver is part of the program, so its functions are exported; each library says its ABI's version.
    flags: ["-rdynamic", "-Wl,--allow-multiple-definition"],
    runs: ["own", "same", "trap"].map((mode) => ["", HOSTILE_SECONDS, mode]),
  },
];

for (
  const [name, flag] of [["ThreadSanitizer", "-fsanitize=thread"], [
    "AddressSanitizer and LeakSanitizer",
    "-fsanitize=address,undefined",
  ]] as const
) {
  const missing = !works(flag);
  const note = missing ? ` (not run: the compiler or this machine has no ${flag})` : "";
  for (const { device, file, libraries, flags, runs } of HARNESSES) {
    Deno.test(`${device}, driven from C, is clean under ${name}${note}`, { ignore: missing }, () => {
      const folder = Deno.makeTempDirSync();
      try {
        const folders = libraries.flatMap((library) => library.folders);
        const sources = [...folders.flatMap(cFiles), file].map((name) => `${ROOT}/${name}`);
        const program = `${folder}/harness`;
        const built = run([
          ...COMPILER,
          "-std=c11",
          "-g",
          "-O1",
          "-Wall",
          "-Wextra",
          "-Werror",
          flag,
          `-I${ROOT}/csrc`,
          `-I${ROOT}/csrc/api`,
          "-o",
          program,
          ...sources,
          "-pthread",
          "-lm",
          "-ldl",
          ...flags,
        ]);
        assert(built.success, built.text);
        for (const args of runs) {
          const ran = run([program, ...args]);
          assertEquals([ran.success, ran.text], [true, "ok\n"] as unknown[], args.join(" "));
        }
      } finally {
        Deno.removeSync(folder, { recursive: true });
      }
    });
  }
}
