/** What the pages show in `console` blocks comes out when it is typed. What needs a lab machine is in tests/lab/console. */

import { assert, assertEquals, assertMatch } from "@std/assert";

import { type ConsoleBlock, consoleBlocks, difference, labCommand } from "../console.ts";
import { projectFiles } from "../unit/imports.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** The whole demo is a test of its own; a command that installs something or fetches is none of the daily run. */
const ELSEWHERE = /\btask (?:demo|test|lab setup)\b/;

/** The cache of Deno, where the commands find it although their caches are elsewhere. */
const { denoDir }: { denoDir: string } = JSON.parse(
  new TextDecoder().decode((await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output()).stdout),
);

/** Lines that the pages leave out: docs/README.md says so. */
const IS_ABOUT_RUNNING = /^(?:busbar: building |Task \w+ )/;

/** Runs a block's commands in one folder, as somebody in the checkout would type them. */
async function differences(block: ConsoleBlock, folder: string): Promise<string[]> {
  await Deno.mkdir(`${folder}/bin`, { recursive: true });
  const deno = `#!/bin/sh\nexec '${Deno.execPath()}' "$@"\n`;
  await Deno.writeTextFile(`${folder}/bin/deno`, deno, { mode: 0o755 });
  const found: string[] = [];
  for (const { command, output } of block.commands) {
    const { stdout } = await new Deno.Command("bash", {
      args: ["-c", `exec 2>&1; ${command.replaceAll("/tmp/", `${folder}/`)}`],
      cwd: ROOT,
      env: {
        PATH: `${folder}/bin:${Deno.env.get("PATH")}`,
        NO_COLOR: "1",
        XDG_STATE_HOME: `${folder}/state`,
        XDG_RUNTIME_DIR: folder,
        // Guests of others are none of the page's.
        ...(/\btask lab\b/.test(command) ? { XDG_CACHE_HOME: `${folder}/cache`, DENO_DIR: denoDir } : {}),
        COLUMNS: "140",
      },
      stdin: "null",
    }).output();
    const printed = new TextDecoder().decode(stdout).replaceAll(`${folder}/`, "/tmp/").trimEnd();
    const lines = printed === "" ? [] : printed.split("\n").filter((line) => !IS_ABOUT_RUNNING.test(line));
    const problem = difference(lines, output, block.options);
    if (problem !== null) found.push(`${block.place}: $ ${command}: ${problem}`);
  }
  return found;
}

const pages = projectFiles(ROOT, /^(README|docs\/.*)\.md$|\.md$/);

for (const [path, text] of pages) {
  const blocks = consoleBlocks(path, text).filter(({ options, commands }) =>
    !options.includes("not-run") &&
    commands.every(({ command }) => labCommand(command) === null && !ELSEWHERE.test(command))
  );
  if (blocks.length === 0) continue;
  Deno.test(`${path}: what its console blocks type prints what they show`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const found: string[] = [];
      for (const block of blocks) found.push(...await differences(block, folder));
      assertEquals(found, []);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("there are blocks for most tools", () => {
  const all = [...pages].flatMap(([path, text]) => consoleBlocks(path, text));
  assert(all.length > 30, `${all.length}`);
  for (const { place, commands } of all) assert(commands.length > 0, `${place} types nothing`);
});

Deno.test("a planted wrong digit in a page is found, and a line too many, too few or in another place", async () => {
  const page = await Deno.readTextFile(`${ROOT}/docs/tools/dump_bar0.md`);
  const folder = await Deno.makeTempDir();
  const tried = async (text: string): Promise<string[]> => {
    const [block] = consoleBlocks("planted.md", text);
    return block === undefined ? ["no block"] : await differences(block, folder);
  };
  try {
    assertEquals(await tried(page), []);
    const wrong = page.replace(/0x004008300f0103ff/, "0x004008300f0103fe");
    assert(wrong !== page);
    const [problem = ""] = await tried(wrong);
    assertMatch(
      problem,
      /^planted\.md:\d+: \$ deno run .*: line \d+ of the page is '.*0103fe.*', printed is '.*0103ff/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  assertEquals(difference(["a 1 ms", "b"], ["a 20 ms", "b"]), null);
  assertEquals(difference(["a", "x", "y", "b"], ["a", "…", "b"]), null);
  assertEquals(difference(["a", "b"], ["a"]), "the page ends before 'b'");
  assertEquals(difference(["a"], ["a", "b"]), "line 2 of the page is 'b', printed is '(nothing more)'");
  assertEquals(difference(["b", "a"], ["a", "b"]), "line 1 of the page is 'a', printed is 'b'");
  assertEquals(difference(["7 of 9"], ["7 of 8"]), "line 1 of the page is '7 of 8', printed is '7 of 9'");
  assertEquals(difference(["7 of 9"], ["7 of 8"], ["numbers"]), null);
  assertEquals(difference(["file /x/y: 3"], ["file …: 3"]), null);
});
