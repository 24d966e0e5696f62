/**
 * Which module may import which: the table of ARCHITECTURE.md, as a check.
 * @module
 */

/** The text of the project's files, by path relative to the root. Built and fetched folders are left out. */
export function projectFiles(root: string, names: RegExp = /\.ts$/): Map<string, string> {
  const files = new Map<string, string>();
  const walk = (folder: string): void => {
    for (const entry of Deno.readDirSync(`${root}/${folder}`)) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if ([".git", "build", "dist", "node_modules", "cov"].includes(entry.name)) continue;
      if (entry.isDirectory) walk(path);
      else if (names.test(path)) files.set(path, Deno.readTextFileSync(`${root}/${path}`));
    }
  };
  walk("");
  return files;
}

/** The specifiers that a module imports, in order. Comment lines do not count. */
export function importsOf(source: string): string[] {
  const code = source.split("\n").filter((line) => !/^\s*(\/\/|\*)/.test(line)).join("\n");
  const pattern =
    /(?:^|[\s;])(?:import|export)\s*(?:[\w\s{},*$]*?\sfrom\s*)?["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g;
  return [...code.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? "");
}

/** The part of the project that a file belongs to: `src/nvme`, `ffi`, `tools`, … */
function partOf(path: string): string {
  const [first = "", second = ""] = path.split("/");
  return first === "src" ? `src/${second}` : first;
}

/** What each part may import besides itself. Parts of `src` that are not named are domains. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "src/core": [],
  "ffi": ["src/core"],
  "src/pci": ["ffi", "src/core"],
  "src/lab": ["src/core"],
  "src/sim": ["src/core"],
  "src/gpu": ["src/nvme", "src/pci", "ffi", "src/core"],
  "src/cxl": ["src/memory", "src/pci", "ffi", "src/core"],
};

const DOMAIN: readonly string[] = ["src/pci", "ffi", "src/core"];

/** Imports that break the rule, one sentence each. Tests and benches may import anything. */
export function findForbiddenImports(files: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  for (const [file, source] of files) {
    const from = partOf(file);
    if (from === "tests" || from === "bench") continue;
    for (const specifier of importsOf(source).filter((one) => one.startsWith("."))) {
      const to = partOf(new URL(specifier, `file:///${file}`).pathname.slice(1));
      const problem = forbids(from, to);
      if (problem !== null) found.push(`${file}: ${problem} (${specifier})`);
    }
  }
  return found;
}

function forbids(from: string, to: string): string | null {
  if (from === to) return null;
  if (to === "tools") return "nobody imports a tool";
  if (from === "tools" || from === "mod.ts") return to === "tests" ? `${from} may not import ${to}` : null;
  return (MAY_IMPORT[from] ?? DOMAIN).includes(to) ? null : `${from} may not import ${to}`;
}
