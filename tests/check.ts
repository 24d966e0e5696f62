// deno-lint-ignore-file no-console
/**
 * `deno task check`: what a change must pass besides its tests. Every step runs; exit 1 when any failed.
 * @module
 */

Deno.chdir(new URL("..", import.meta.url));

interface Step {
  readonly name: string;
  /** Command lines; all must succeed. */
  readonly commands: readonly (readonly string[])[];
  /** Why it was not run, or null. */
  readonly missing: string | null;
}

const deno = Deno.execPath();

/** Every folder of C sources and headers. */
const C_SOURCES: readonly string[] = [
  ...["csrc", "csrc/api", "csrc/soft", "csrc/soft/nvme", "csrc/soft/oradax", "csrc/soft/cuda", "csrc/guardian"],
  ...["csrc/record/hooks"],
  ...["tests/c", "tests/c/nvme_cli", "tests/c/trap", "bench/c", "bench/peers/mem"],
];

/**
 * C that uses what both compilers add to the language: integers of 128 bits, ranges in initializers, empty variadic macros.
 * The build compiles it with warnings as errors and gcc; here it is only parsed, since the engine takes long to optimise.
 */
const EXTENDED_C_SOURCES: readonly string[] = ["csrc/ptx", "csrc/cudart"];

function filesIn(folders: readonly string[], ending: string): string[] {
  return folders.flatMap((folder) => {
    const names = Array.from(Deno.readDirSync(folder), (entry) => entry.name).filter((name) => name.endsWith(ending));
    return names.sort().map((name) => `${folder}/${name}`);
  });
}

/** What is documented to the last member: the domains that drive hardware, and what they stand on. */
function documentedFiles(): string[] {
  const files: string[] = [];
  const walk = (folder: string): void => {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      if (isDirectory) walk(`${folder}/${name}`);
      // Types of zod are not ours to document; the last three are of ffi alone.
      else if (name.endsWith(".ts") && !/^(packages|edit_distance\.d|agents|build|library)\.ts$/.test(name)) {
        files.push(`${folder}/${name}`);
      }
    }
  };
  const domains = ["core", "pci", "nvme", "gpu", "oradax", "memory", "cxl"].map((domain) => `src/${domain}`);
  for (const folder of [...domains, "ffi"]) walk(folder);
  return files.sort();
}

function has(command: string): boolean {
  try {
    return new Deno.Command(command, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

const C_FLAGS = [
  "-std=c11",
  "-O2",
  "-Wall",
  "-Wextra",
  "-Wpedantic",
  "-Wshadow",
  "-Werror",
  "-fvisibility=hidden",
  "-fPIC",
  "-Icsrc",
];

/** Compiles every source by itself, and every header by itself: each must stand alone. */
function compileStep(compiler: string, title: string): Step {
  const extended = [...C_FLAGS.filter((flag) => flag !== "-Wpedantic"), "-DBUSBAR_CUDART=13", "-fsyntax-only"];
  const header = ["-D_GNU_SOURCE", "-Wno-unused-function", "-fsyntax-only", "-x", "c"];
  const commands = [
    ...filesIn(C_SOURCES, ".c").map((file) => [compiler, ...C_FLAGS, "-c", "-o", "/dev/null", file]),
    ...filesIn(EXTENDED_C_SOURCES, ".c").map((file) => [compiler, ...extended, file]),
    // A header is no program: what it defines for others is unused in it, and the files that include it say _GNU_SOURCE.
    ...filesIn(C_SOURCES, ".h").map((file) => [compiler, ...C_FLAGS, ...header, file]),
    ...filesIn(EXTENDED_C_SOURCES, ".h").map((file) => [compiler, ...extended, ...header, file]),
  ];
  return { name: title, commands, missing: has(compiler) ? null : `there is no ${compiler}` };
}

const VALGRIND_HEADERS = "/usr/include/valgrind";

/** The recorder is compiled against valgrind's headers, whose way of writing C is not ours. */
function recorderStep(compiler: string): Step {
  const platform = ["VGA_amd64=1", "VGO_linux=1", "VGP_amd64_linux=1", "VGPV_amd64_linux_vanilla=1"].map((name) =>
    `-D${name}`
  );
  const flags = [
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Werror",
    "-fno-builtin",
    "-isystem",
    VALGRIND_HEADERS,
  ];
  const commands = filesIn(["csrc/record/valgrind"], ".c").map((file) => [
    compiler,
    ...flags,
    ...platform,
    "-c",
    "-o",
    "/dev/null",
    file,
  ]);
  const isX86 = Deno.build.arch === "x86_64";
  const missing = !has(compiler)
    ? `there is no ${compiler}`
    : isX86 && filesIn(["/usr/include"], "valgrind").length > 0
    ? null
    : "there is no valgrind for x86-64; the package valgrind has it";
  return { name: `C warnings, recorder, ${compiler}`, commands, missing };
}

const steps: readonly Step[] = [
  { name: "format", commands: [[deno, "fmt", "--check", "--quiet"]], missing: null },
  { name: "lint", commands: [[deno, "lint", "--quiet"]], missing: null },
  {
    name: "types",
    commands: [[deno, "check", "--quiet", "mod.ts", "src/", "tools/", "tests/", "bench/", "examples/"]],
    missing: null,
  },
  { name: "documentation", commands: [[deno, "doc", "--lint", "mod.ts", ...documentedFiles()]], missing: null },
  {
    name: "generated pages",
    commands: [[deno, "run", "-A", "--no-check", "tools/manual/docs.ts", "--check"]],
    missing: null,
  },
  { name: "lock file", commands: [[deno, "install", "--frozen", "--quiet"]], missing: null },
  {
    name: "rules",
    commands: [[deno, "test", "-A", "--no-check", "--quiet", "--reporter=dot", "tests/unit/rules_test.ts"]],
    missing: null,
  },
  compileStep("gcc", "C warnings, gcc"),
  compileStep("clang", "C warnings, clang"),
  recorderStep("gcc"),
  recorderStep("clang"),
  compileStep("aarch64-linux-gnu-gcc", "C warnings, aarch64"),
];

let failed = false;
const lines: string[] = [];
for (const step of steps) {
  if (step.missing !== null) {
    lines.push(`not run  ${step.name}: ${step.missing}`);
    continue;
  }
  let ok = true;
  for (const [command = "", ...args] of step.commands) {
    const output = new Deno.Command(command, { args, stdout: "piped", stderr: "piped" }).outputSync();
    if (output.success) continue;
    ok = false;
    console.log(`\n=== ${step.name}: ${[command, ...args].join(" ")}`);
    Deno.stdout.writeSync(output.stdout);
    Deno.stdout.writeSync(output.stderr);
  }
  failed ||= !ok;
  lines.push(`${ok ? "ok     " : "FAILED "}  ${step.name}`);
}
console.log(lines.join("\n"));
Deno.exit(failed ? 1 : 0);
