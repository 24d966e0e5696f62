import { assert, assertEquals } from "@std/assert";

import { BUSBAR_SOFT, type LibrarySpec, SOFT_CUDA } from "../../ffi/build.ts";

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
const HARNESSES: readonly (readonly [string, string, LibrarySpec])[] = [
  ["the software controller", "tests/c/soft_nvme_harness.c", BUSBAR_SOFT],
  ["the software CUDA device", "tests/c/soft_cuda_harness.c", SOFT_CUDA],
];

for (
  const [name, flag] of [["ThreadSanitizer", "-fsanitize=thread"], [
    "AddressSanitizer and LeakSanitizer",
    "-fsanitize=address,undefined",
  ]] as const
) {
  const missing = !works(flag);
  const note = missing ? ` (not run: the compiler or this machine has no ${flag})` : "";
  for (const [device, harness, library] of HARNESSES) {
    Deno.test(`${device}, driven from C, is clean under ${name}${note}`, { ignore: missing }, () => {
      const folder = Deno.makeTempDirSync();
      try {
        const sources = [...library.folders.flatMap(cFiles), harness].map((file) => `${ROOT}/${file}`);
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
          "-o",
          program,
          ...sources,
          "-pthread",
          "-lm",
          "-ldl",
        ]);
        assert(built.success, built.text);
        const ran = run([program]);
        assertEquals([ran.success, ran.text], [true, "ok\n"] as unknown[]);
      } finally {
        Deno.removeSync(folder, { recursive: true });
      }
    });
  }
}
