/** The public face: how large it is, that each name has an example, and that nothing in it needs busbar's import map. */

import { assert, assertEquals } from "@std/assert";

import denoJson from "../../deno.json" with { type: "json" };
import denoJsrJson from "../../deno.jsr.json" with { type: "json" };
import { importsOf, projectFiles } from "./imports.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** The file that names npm packages, for the library. */
const PACKAGES = "src/core/packages.ts";

interface DocSymbol {
  readonly name: string;
  readonly declarations: readonly { readonly jsDoc?: { readonly doc?: string; readonly tags?: readonly DocTag[] } }[];
}

interface DocTag {
  readonly kind: string;
  readonly doc?: string;
}

/** What `deno doc` says of a module. */
async function symbolsOf(file: string): Promise<readonly DocSymbol[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["doc", "--json", file], cwd: ROOT }).output();
  const { nodes }: { nodes: Record<string, { symbols: readonly DocSymbol[] }> } = JSON.parse(
    new TextDecoder().decode(stdout),
  );
  return Object.values(nodes).flatMap((node) => node.symbols);
}

Deno.test("the root face has at most forty names, each with a sentence and an example that imports it from busbar", async () => {
  const symbols = await symbolsOf("mod.ts");
  assert(symbols.length >= 30 && symbols.length <= 40, `${symbols.length} names`);
  for (const { name, declarations } of symbols) {
    assert(declarations.some(({ jsDoc }) => (jsDoc?.doc ?? "").length > 10), `${name} has no sentence`);
    const examples = declarations.flatMap(({ jsDoc }) => jsDoc?.tags ?? []).filter(({ kind }) => kind === "example");
    // `deno test --doc` runs every block that is marked so (suite doc).
    const runs = examples.some(({ doc = "" }) => doc.includes("```ts\n") && new RegExp(`\\b${name}\\b`).test(doc));
    assert(runs, `${name} has no example that names it`);
  }
});

Deno.test("every domain that is exported has a hand-written mod.ts, with no star and at most a hundred names", async () => {
  for (const [name, path] of Object.entries(denoJson.exports)) {
    const text = await Deno.readTextFile(`${ROOT}/${path}`);
    assert(!/export \*/.test(text), `${path} exports a star`);
    if (name === ".") continue;
    assertEquals(path, `./src/${name.slice(2)}/mod.ts`);
    const symbols = await symbolsOf(path);
    assert(symbols.length <= 100, `${path} has ${symbols.length} names`);
  }
});

Deno.test("the library imports nothing by a name of busbar's import map, and names npm packages in one file only", () => {
  const files = [...projectFiles(ROOT)].filter(([path]) => path === "mod.ts" || /^(src|ffi)\//.test(path));
  assert(files.length > 100);
  for (const [path, text] of files) {
    for (const specifier of importsOf(text)) {
      // Tests of a lab machine are written into the guest with the import map at hand.
      const isOwn = specifier.startsWith(".") || specifier.startsWith("node:");
      assert(isOwn || (path === PACKAGES && specifier.startsWith("npm:")), `${path} imports ${specifier}`);
    }
  }
});

Deno.test("the versions in that file are those of deno.json", async () => {
  const named = importsOf(await Deno.readTextFile(`${ROOT}/${PACKAGES}`)).filter((one) => one.startsWith("npm:"));
  assertEquals(new Set(named).size, 3);
  const mapped: readonly string[] = Object.values(denoJson.imports);
  for (const specifier of named) assert(mapped.includes(specifier), `${specifier} is not in deno.json`);
});

Deno.test("deno.jsr.json names the same modules of the standard library, each where JSR has it", () => {
  const names = (imports: Readonly<Record<string, string>>): string[] =>
    Object.keys(imports).filter((name) => name.startsWith("@std/")).sort();
  assertEquals(names(denoJsrJson.imports), names(denoJson.imports));
  for (const [name, place] of Object.entries(denoJsrJson.imports)) {
    const [, scope = "", part = "", rest = ""] = /^(@std)\/([^/]+)(\/.*)?$/.exec(name) ?? [];
    assertEquals(place, `jsr:${scope}/${part}@1${rest}`);
  }
});
