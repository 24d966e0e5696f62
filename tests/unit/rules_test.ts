import { assert, assertEquals } from "@std/assert";

import { findForbiddenImports, importsOf, projectFiles } from "./imports.ts";

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
  ];
  for (const [file, specifier, message] of planted) {
    const found = findForbiddenImports(new Map([[file, `import { x } from "${specifier}";\n`]]));
    assertEquals(found, message === null ? [] : [`${file}: ${message} (${specifier})`]);
  }
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
  for (const [file, text] of projectFiles(ROOT, /\.(ts|c|h|md|json|jsonc|yaml|yml|lock|sh|py)$|^\.ci\/run$/)) {
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
