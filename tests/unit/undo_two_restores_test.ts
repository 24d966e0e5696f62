/** Two processes that restore the same journal at once. */

import { assert, assertEquals } from "@std/assert";

const KNOBS = 40;
const TURN = new URL("undo_tmpfs_subject.ts", import.meta.url).pathname;
const RESTORE = new URL("undo_two_restores_subject.ts", import.meta.url).pathname;

function subject(script: string, ...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

/** A process that is about to restore: `go` lets it, and gives what it said at its end. */
async function waiting(path: string, log: string): Promise<{ readonly go: () => Promise<string> }> {
  const child = subject(RESTORE, path, log);
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  const readAll = async (isEnough: () => boolean): Promise<void> => {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      said += part.value;
      if (isEnough()) return;
    }
  };
  await readAll(() => said.includes("ready\n"));
  return {
    go: async () => {
      const writer = child.stdin.getWriter();
      await writer.write(Uint8Array.of(10));
      await writer.close();
      await readAll(() => false);
      assertEquals((await child.status).code, 0, said);
      return said.replace("ready\n", "").trim();
    },
  };
}

Deno.test("two restores of one journal in two processes at once: each change is put back once, by one of them", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const knobs = `${folder}/knobs`;
    await Deno.mkdir(knobs);
    for (let i = 0; i < KNOBS; i++) await Deno.writeTextFile(`${knobs}/${i}`, `${i}`);
    const killed = subject(TURN, knobs, `${folder}/journals`, String(KNOBS - 1));
    await killed.stdin.close();
    assertEquals((await killed.output()).signal, "SIGKILL");
    const [journal] = await Array.fromAsync(Deno.readDir(`${folder}/journals`), ({ name }) => name);
    assert(journal !== undefined, "the killed run left no journal");

    const log = `${folder}/writes`;
    const path = `${folder}/journals/${journal}`;
    const two = await Promise.all([waiting(path, log), waiting(path, log)]);
    const said = await Promise.all(two.map(({ go }) => go()));

    for (let i = 0; i < KNOBS; i++) assertEquals(await Deno.readTextFile(`${knobs}/${i}`), `${i}`);
    const all = JSON.stringify(Array(KNOBS).fill("restored"));
    const [first = "", second = ""] = said[0] === all ? said : said.toReversed();
    assertEquals(first, all);
    // It came when the journal was gone, waited until it was, or gave up after a second.
    assert(["absent", "busy"].includes(second), second);
    const writers = (await Deno.readTextFile(log)).trimEnd().split("\n");
    assertEquals([writers.length, new Set(writers).size], [KNOBS, 1]);
    await Deno.stat(`${folder}/journals`).then(() => assert(false, "the journal stays"), () => {});
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
