/**
 * What the tools that are typed most load before they do anything: no package and no domain that the call does not use. A module that is
 * needed now and then is imported where it is needed.
 */

import { assert, assertEquals } from "@std/assert";

import { projectFiles } from "./imports.ts";

const ROOT = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");

/** Of each tool, the folders of other domains that it is made of. All else of `src` is loaded on demand. */
const DOMAINS: Readonly<Record<string, readonly string[]>> = {
  list: ["src/core", "src/pci"],
  dump_bar0: ["src/core", "src/pci", "src/nvme/tables", "src/nvme/driver/watch.ts"],
  nvme_identify: ["src/core", "src/pci", "src/nvme"],
};

/** The packages that they cannot do without: arguments, colours, and "did you mean". */
const PACKAGES: ReadonlySet<string> = new Set([
  "commander",
  "@commander-js/extra-typings",
  "@std/fmt/colors",
  "npm:deno-std@1.4.0/text/levenshtein_distance.js",
]);

/** More of them are slower; whoever adds one says why here. */
const MOST_MODULES = 135;

/** What is loaded with a module: not types, and not what `import()` brings later. */
function loadedWith(source: string): string[] {
  const code = source.split("\n").filter((line) => !/^\s*(\/\/|\*)/.test(line)).join("\n");
  const statement = /^(?:import|export)\s+(?!type\b)(?:[\w\s{},*$]*?\sfrom\s*)?["']([^"']+)["']/gm;
  return [...code.matchAll(statement)].map(([, specifier]) => specifier ?? "");
}

/** Files of the project and names of packages that a tool loads. */
function graphOf(tool: string, files: ReadonlyMap<string, string>): Set<string> {
  const found = new Set<string>();
  const visit = (path: string): void => {
    if (found.has(path)) return;
    found.add(path);
    for (const specifier of loadedWith(files.get(path) ?? "")) {
      if (specifier.startsWith(".")) visit(new URL(specifier, `file:///${path}`).pathname.slice(1));
      else found.add(specifier);
    }
  };
  visit(tool);
  return found;
}

Deno.test("list, dump_bar0 and nvme_identify load nothing that a plain call does not use", () => {
  const files = projectFiles(ROOT);
  for (const [tool, folders] of Object.entries(DOMAINS)) {
    const graph = [...graphOf(`tools/${tool}.ts`, files)];
    const own = graph.filter((path) => files.has(path));
    assert(own.length > 50, `${tool}: only ${own.length} modules were found`);
    const foreign = own.filter((path) =>
      path.startsWith("src/") && !folders.some((folder) => path === folder || path.startsWith(`${folder}/`))
    );
    assertEquals(foreign, [], `${tool}: modules of domains that it does not need`);
    assertEquals(own.filter((path) => path.startsWith("tools/render/chart/")), [], `${tool}: charts`);
    const packages = graph.filter((path) => !files.has(path) && !path.endsWith(".json"));
    assertEquals(packages.filter((name) => !PACKAGES.has(name)), [], `${tool}: packages`);
    assert(own.length <= MOST_MODULES, `${tool}: ${own.length} modules`);
  }
});

Deno.test("imports of types, of comments and on demand do not count as loaded, all others do", () => {
  const source = [
    'import type { A } from "./type.ts";',
    ' * import { x } from "./comment.ts";',
    'const { b } = await import("./later.ts");',
    'import {\n  one,\n  type Two,\n} from "./lines.ts";',
    'import "./effect.ts";',
    'export { three } from "./again.ts";',
    'export * from "./all.ts";',
  ];
  assertEquals(loadedWith(source.join("\n")), ["./lines.ts", "./effect.ts", "./again.ts", "./all.ts"]);
});
