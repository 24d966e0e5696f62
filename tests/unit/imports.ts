/**
 * Which module may import which, and which may not import each other: the table of the design, as a check.
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

/** The files of the project that a file imports, as paths relative to the root, with the specifiers that name them. */
function importedFiles(file: string, source: string): { specifier: string; path: string }[] {
  return importsOf(source).filter((one) => one.startsWith(".")).map((specifier) => ({
    specifier,
    path: new URL(specifier, `file:///${file}`).pathname.slice(1),
  }));
}

/** The part of the project that a file belongs to: `src/nvme`, `ffi`, `tools`, … */
function partOf(path: string): string {
  const [first = "", second = ""] = path.split("/");
  return first === "src" ? `src/${second}` : first;
}

const DOMAIN: readonly string[] = ["src/pci", "ffi", "src/core"];

/** What each part may import besides itself. Parts of `src` that are not named are domains. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "src/core": [],
  "ffi": ["src/core"],
  "src/pci": ["ffi", "src/core"],
  "src/lab": ["src/core"],
  "src/sim": ["src/core"],
  "src/sweep": ["src/core"],
  "src/remote": ["ffi", "src/core"],
  "src/gpu": ["src/nvme", ...DOMAIN],
  "src/cxl": ["src/memory", ...DOMAIN],
  "src/type2": ["src/gpu", ...DOMAIN],
};

/** Parts that have an order inside, lowest first: a folder may import those before it. */
const INNER_ORDER: Readonly<Record<string, readonly string[]>> = {
  "src/nvme": ["tables", "queue", "driver", "jobs"],
};

/** Imports that break the rule, one sentence each. Tests and benches may import anything. */
export function findForbiddenImports(files: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  for (const [file, source] of files) {
    if (["tests", "bench"].includes(partOf(file))) continue;
    for (const { specifier, path } of importedFiles(file, source)) {
      const problem = forbids(file, path);
      if (problem !== null) found.push(`${file}: ${problem} (${specifier})`);
    }
  }
  return found;
}

function forbids(file: string, target: string): string | null {
  const [from, to] = [partOf(file), partOf(target)];
  if (from === to) return forbidsInside(from, file, target);
  if (to === "tools") return "nobody imports a tool";
  if (from !== "tools" && to === "src/remote") return "only tools import src/remote";
  if (["tools", "mod.ts", "examples"].includes(from)) {
    return ["tests", "bench"].includes(to) ? `${from} may not import ${to}` : null;
  }
  return (MAY_IMPORT[from] ?? DOMAIN).includes(to) ? null : `${from} may not import ${to}`;
}

function forbidsInside(part: string, file: string, target: string): string | null {
  const order = INNER_ORDER[part];
  if (order === undefined) return null;
  // A file beside the folders, such as mod.ts, stands above them all.
  const rank = (path: string): number => {
    const folder = path.slice(part.length + 1).split("/");
    return folder.length === 1 ? order.length : order.indexOf(folder[0] ?? "");
  };
  const name = (path: string): string => path.split("/").slice(0, part.split("/").length + 1).join("/");
  for (const path of [file, target]) if (rank(path) < 0) return `${name(path)} has no place in the order of ${part}`;
  return rank(target) <= rank(file) ? null : `${name(file)} may not import ${name(target)}`;
}

/** Circles of imports, types included, each as the way round: `a.ts -> b.ts -> a.ts`. */
export function findImportCircles(files: ReadonlyMap<string, string>): string[] {
  return findCircles(
    new Map([...files].map(([file, source]) => [file, importedFiles(file, source).map(({ path }) => path)])),
  );
}

/** One shortest circle for each set of nodes that all lead to each other. */
export function findCircles(edges: ReadonlyMap<string, readonly string[]>): string[] {
  return connectedSets(edges).map((set) => {
    const circles = [...set].map((start) => shortestWay(edges, set, start));
    const [shortest = []] = circles.toSorted((a, b) => a.length - b.length || a.join().localeCompare(b.join()));
    return shortest.join(" -> ");
  });
}

/** Tarjan's algorithm: the strongly connected components that hold a circle. */
function connectedSets(edges: ReadonlyMap<string, readonly string[]>): Set<string>[] {
  const sets: Set<string>[] = [];
  const order = new Map<string, number>(), low = new Map<string, number>();
  const open: string[] = [];
  const visit = (node: string): void => {
    order.set(node, order.size);
    low.set(node, order.size - 1);
    open.push(node);
    for (const next of (edges.get(node) ?? []).filter((one) => edges.has(one))) {
      if (!order.has(next)) visit(next);
      else if (!open.includes(next)) continue;
      low.set(node, Math.min(low.get(node) ?? 0, low.get(next) ?? 0));
    }
    if (low.get(node) !== order.get(node)) return;
    const set = new Set(open.splice(open.indexOf(node)));
    if (set.size > 1 || (edges.get(node) ?? []).includes(node)) sets.push(set);
  };
  for (const node of edges.keys()) if (!order.has(node)) visit(node);
  return sets;
}

/** The shortest way from a node back to itself inside its set. */
function shortestWay(
  edges: ReadonlyMap<string, readonly string[]>,
  set: ReadonlySet<string>,
  start: string,
): string[] {
  const ways: string[][] = [[start]];
  const seen = new Set<string>();
  for (const way of ways) {
    for (const next of (edges.get(way.at(-1) ?? "") ?? []).filter((one) => set.has(one))) {
      if (next === start) return [...way, start];
      if (seen.has(next)) continue;
      seen.add(next);
      ways.push([...way, next]);
    }
  }
  return [];
}
