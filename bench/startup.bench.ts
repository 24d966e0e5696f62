/**
 * How long whole processes take that do little, beside `lspci`: what is typed dozens of times a day. The floor beside them is Deno
 * with an empty file, and with nothing but the parser of arguments.
 */

const folder = Deno.makeTempDirSync();
const root = new URL("..", import.meta.url).pathname;

/** A file that does nothing but load what it names. */
function loads(name: string, source: string): string {
  const file = `${folder}/${name}.ts`;
  Deno.writeTextFileSync(file, source);
  return file;
}

const parser = import.meta.resolve("commander");
const deno = [Deno.execPath(), "run", "-A", "--config", `${root}deno.json`];
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  "lspci": ["lspci"],
  "deno, an empty file": [...deno, loads("empty", "")],
  "deno, an empty file, no code cache": [...deno, "--no-code-cache", loads("empty", "")],
  "deno, commander alone": [...deno, loads("parser", `import ${JSON.stringify(parser)};`)],
  "deno, commander alone, no code cache": [...deno, "--no-code-cache", loads("parser", `import "${parser}";`)],
  "list": [...deno, `${root}tools/list.ts`],
  "dump_bar0 soft:nvme": [...deno, `${root}tools/dump_bar0.ts`, "soft:nvme"],
  "nvme_identify soft:nvme": [...deno, `${root}tools/nvme_identify.ts`, "soft:nvme"],
};

async function run([program = "", ...args]: readonly string[]): Promise<void> {
  const { code } = await new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "null" }).output();
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}`);
}

for (const [name, command] of Object.entries(COMMANDS)) {
  let isThere = true;
  try {
    // The caches are warm then, and the C libraries built.
    await run(command);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    isThere = false;
  }
  Deno.bench({ name, group: "start-up", baseline: name === "lspci", ignore: !isThere, n: 20, warmup: 3 }, async () => {
    await run(command);
  });
}

addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
