// deno-lint-ignore-file no-console
/**
 * Lints the documentation of the public face: `mod.ts`, the modules of the domains, and every file of a type that a public
 * name mentions. A face of forty names mentions types that it does not name itself; those are documented where they are.
 * @module
 */

const ROOT = new URL("..", import.meta.url).pathname;
const face = Object.values(
  (JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`)) as { exports: Record<string, string> }).exports,
);

/** What the linter says of these files, without colours. */
function lint(files: readonly string[]): string {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["doc", "--lint", ...files],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  });
  const { success, stderr } = command.outputSync();
  return success ? "" : new TextDecoder().decode(stderr);
}

function* sources(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(`${ROOT}${folder}`)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* sources(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

/** Which files export each type. */
const exporters = new Map<string, string[]>();
for (const path of [...sources("src"), ...sources("ffi")]) {
  const text = Deno.readTextFileSync(`${ROOT}${path}`);
  for (
    const [, name = ""] of text.matchAll(/^export (?:abstract )?(?:interface|type|class|const|enum|function) (\w+)/gm)
  ) {
    exporters.set(name, [...exporters.get(name) ?? [], path]);
  }
}

const files = new Set(face);
let said = lint([...files]);
for (let before = 0; said !== "" && before < files.size;) {
  before = files.size;
  for (const [, name = ""] of said.matchAll(/references private type '(\w+)/g)) {
    for (const path of exporters.get(name) ?? []) files.add(path);
  }
  if (files.size > before) said = lint([...files]);
}
if (said !== "") {
  console.error(said);
  Deno.exitCode = 1;
}
