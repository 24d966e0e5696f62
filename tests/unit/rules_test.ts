import { assert, assertEquals } from "@std/assert";

import { findCCircles, symbolsOf, usesOf } from "./c_symbols.ts";
import { findForbiddenImports, findImportCircles, importsOf, projectFiles } from "./imports.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

Deno.test("imports go down only: tools, domains, pci, ffi, core", () => {
  assertEquals(findForbiddenImports(projectFiles(ROOT)), []);
});

Deno.test("a planted upward or sideways import is found", () => {
  const planted: readonly [string, string, string | null][] = [
    ["src/core/x.ts", "../pci/device.ts", "src/core may not import src/pci"],
    ["src/core/x.ts", "../../ffi/mmio.ts", "src/core may not import ffi"],
    ["ffi/x.ts", "../src/pci/device.ts", "ffi may not import src/pci"],
    ["src/pci/x.ts", "../nvme/registers.ts", "src/pci may not import src/nvme"],
    ["src/nvme/x.ts", "../gpu/x.ts", "src/nvme may not import src/gpu"],
    ["src/nvme/x.ts", "../../tools/run.ts", "nobody imports a tool"],
    ["src/lab/x.ts", "../../ffi/mmio.ts", "src/lab may not import ffi"],
    ["src/sim/x.ts", "../pci/device.ts", "src/sim may not import src/pci"],
    ["src/gpu/x.ts", "../nvme/registers.ts", null],
    ["src/cxl/x.ts", "../memory/x.ts", null],
    ["src/nvme/x.ts", "../../ffi/mmio.ts", null],
    ["src/nvme/x.ts", "../core/error.ts", null],
    ["tools/x.ts", "../src/nvme/registers.ts", null],
    ["tools/render/x.ts", "../run.ts", null],
    ["mod.ts", "./src/pci/device.ts", null],
    ["mod.ts", "./tools/run.ts", "nobody imports a tool"],
    ["src/memory/x.ts", "../oradax/x.ts", "src/memory may not import src/oradax"],
    ["src/nvme/x.ts", "../remote/x.ts", "only tools import src/remote"],
    ["mod.ts", "./src/remote/x.ts", "only tools import src/remote"],
    ["tools/x.ts", "../src/remote/x.ts", null],
    ["src/remote/x.ts", "../core/host.ts", null],
    ["src/remote/x.ts", "../pci/x.ts", "src/remote may not import src/pci"],
    ["src/sweep/x.ts", "../sim/x.ts", "src/sweep may not import src/sim"],
    ["src/type2/x.ts", "../gpu/x.ts", null],
    ["src/gpu/x.ts", "../type2/x.ts", "src/gpu may not import src/type2"],
    ["src/nvme/tables/x.ts", "../queue/x.ts", "src/nvme/tables may not import src/nvme/queue"],
    ["src/nvme/queue/x.ts", "../driver/x.ts", "src/nvme/queue may not import src/nvme/driver"],
    ["src/nvme/driver/x.ts", "../jobs/x.ts", "src/nvme/driver may not import src/nvme/jobs"],
    ["src/nvme/driver/x.ts", "../mod.ts", "src/nvme/driver may not import src/nvme/mod.ts"],
    ["src/nvme/mod.ts", "./jobs/x.ts", null],
    ["src/nvme/jobs/x.ts", "../tables/x.ts", null],
    ["src/nvme/jobs/x.ts", "../other/x.ts", "src/nvme/other has no place in the order of src/nvme"],
    ["examples/x.ts", "../mod.ts", null],
    ["examples/x.ts", "../tools/x.ts", "nobody imports a tool"],
    ["tools/x.ts", "../tests/needs.ts", "tools may not import tests"],
  ];
  for (const [file, specifier, message] of planted) {
    const found = findForbiddenImports(new Map([[file, `import { x } from "${specifier}";\n`]]));
    assertEquals(found, message === null ? [] : [`${file}: ${message} (${specifier})`]);
  }
});

Deno.test("no files import each other in a circle, types included", () => {
  assertEquals(findImportCircles(projectFiles(ROOT)), []);
});

Deno.test("a planted circle is found, and its shortest way round is named", () => {
  const planted = new Map([
    ["src/x/a.ts", `import { b } from "./b.ts";`],
    ["src/x/b.ts", `import type { C } from "./c.ts";\nimport "../y/d.ts";`],
    ["src/x/c.ts", `export { e } from "./e.ts";\nimport "./a.ts";`],
    ["src/x/e.ts", `const a = await import("./a.ts");`],
    ["src/y/d.ts", `import "./outside.ts"; // import "../x/a.ts"`],
    ["src/y/self.ts", `import "./self.ts";`],
  ]);
  assertEquals(findImportCircles(planted), [
    "src/x/a.ts -> src/x/b.ts -> src/x/c.ts -> src/x/a.ts",
    "src/y/self.ts -> src/y/self.ts",
  ]);
  planted.set("src/x/b.ts", "");
  planted.delete("src/y/self.ts");
  assertEquals(findImportCircles(planted), []);
});

Deno.test("no C files of a library use each other in a circle", () => {
  const files = projectFiles(ROOT, /\.c$/);
  assertEquals(findCCircles(files), []);
  // The test would also pass if it saw no uses at all.
  const uses = usesOf(files).get("csrc/soft/nvme/nvme.c") ?? [];
  assert(
    uses.includes("csrc/soft/nvme/execute.c") && uses.includes("csrc/soft/device.c"),
    `it found ${uses.join(", ")}`,
  );
});

Deno.test("a planted circle in C is found: through a function, a table, and a folder below", () => {
  const planted = new Map([
    ["lib/x/a.c", "int a_value;\nint a_run(int x) {\n  return b_run(x);\n}\n"],
    ["lib/x/b.c", "const struct table b_table[2] = {{1}};\nint b_run(int x) { return c_run(x); }\n"],
    ["lib/x/c.c", '#include <a_run.h>\n/* a_run */ int c_run(int x) { return x + "a_run"[0]; }\n'],
    ["lib/x/y/d.c", "static int a_run(int x) { return x; }\nint d_run(void) { return b_table[0].x + a_run(1); }\n"],
    ["other/x/e.c", "int e_run(void) { return a_run(1) + d_run(); }\nint c_run(int x) { return x; }\n"],
  ]);
  assertEquals(findCCircles(planted), []);
  planted.set("lib/x/c.c", "int c_run(int x) { return x + a_value; }\n");
  assertEquals(findCCircles(planted), ["lib/x/a.c -> lib/x/b.c -> lib/x/c.c -> lib/x/a.c"]);
  planted.set("lib/x/c.c", "int c_run(int x) { return x; }\n");
  planted.set("lib/x/b.c", "const struct table b_table[2] = {{1}};\nint b_run(int x) {\n  return d_run();\n}\n");
  assertEquals(findCCircles(planted), ["lib/x/b.c -> lib/x/y/d.c -> lib/x/b.c"]);
});

Deno.test("what a C file defines for others is found in every form it is written", () => {
  const source = `#define LOCAL __attribute__((cold)) static inline\n` +
    `extern int outside;\nenum { ONE };\nstruct point {\n  int x;\n};\nLOCAL int hidden(void) { return ONE; }\n` +
    `static const char *const names[] = {"a"};\nint shown(int a,\n          int b) {\n  return a + b;\n}\n` +
    `uint8_t *pointer(void) { return 0; }\nconst struct point corner = {1};\nint table[2][3] = {{0}};\nint later(void);\n` +
    `__attribute__((visibility("default"))) int32_t bb_open(void) { return later(); }\n`;
  const { exported } = symbolsOf(source);
  assertEquals([...exported].sort(), ["bb_open", "corner", "pointer", "shown", "table"]);
});

Deno.test("imports are found in every form they are written", () => {
  const source =
    `import "./a.ts";\nimport x, { y } from './b.ts';\nexport * from "./c.ts";\nconst d = await import("./d.ts");\n` +
    `import type { E } from "./e.ts";\nexport {\n  f,\n} from "./f.ts";\n// import "./no.ts"\n * import { z } from "./no.ts";\n`;
  assertEquals(importsOf(source), ["./a.ts", "./b.ts", "./c.ts", "./d.ts", "./e.ts", "./f.ts"]);
});

Deno.test("no file names a package registry or mirror, a path of somebody's machine, or what it was made with", () => {
  // Assembled here, so that this file does not hold them.
  const hosts = [["registry", "npmjs"], ["deb", "debian"], ["jsr", "io"], ["dl", "deno"], ["security", "debian"]].map((
    parts,
  ) => parts.join("."));
  const places = [["", "work", ""], ["", "root", ".cache"]].map((parts) => parts.join("/"));
  for (const [file, text] of projectFiles(ROOT, /^(?!.*\.fatbin$)/)) {
    for (const host of [...hosts, ...places]) assert(!text.includes(host), `${file} holds '${host}'`);
  }
});

Deno.test("every name that types/std.d.ts declares exists in the module it names", async () => {
  const declarations = await Deno.readTextFile(`${ROOT}/types/std.d.ts`);
  const modules = [...declarations.matchAll(/declare module "([^"]+)" \{([\s\S]*?)\n\}/g)];
  assert(modules.length > 0);
  for (const [, name = "", body = ""] of modules) {
    const module: Record<string, unknown> = await import(name);
    for (const [, declared = ""] of body.matchAll(/^\s+export (?:abstract )?(?:class|function|const) (\w+)/gm)) {
      assert(declared in module, `${name} has no '${declared}'`);
    }
  }
});

Deno.test("the ABI version is the same in the header and in the loader", async () => {
  const header = await Deno.readTextFile(`${ROOT}/csrc/busbar.h`);
  const loader = await Deno.readTextFile(`${ROOT}/ffi/library.ts`);
  const inHeader = /#define BB_ABI_VERSION (\d+)/.exec(header)?.[1];
  assertEquals(/ABI_VERSION = (\d+)/.exec(loader)?.[1], inHeader);
  assert(inHeader !== undefined);
});
