/** The model of the coherency engine, explored whole by spin; and that its invariants can fail. */

import { assert, assertEquals, assertMatch } from "@std/assert";

import { withNeeds } from "../needs.ts";

const MODEL = new URL("../models/type2.pml", import.meta.url).pathname;

/** Explores a model. Returns what the explorer printed. */
async function explore(model: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "busbar-spin-" });
  const run = async (program: string, ...args: string[]): Promise<string> => {
    const output = await new Deno.Command(program, { args, cwd: folder }).output();
    const text = new TextDecoder().decode(output.stdout) + new TextDecoder().decode(output.stderr);
    assert(output.success || program === "./pan", `${program}: ${text}`);
    return text;
  };
  try {
    await Deno.writeTextFile(`${folder}/model.pml`, model);
    await run("spin", "-a", "model.pml");
    await run(Deno.env.get("CC") ?? "cc", "-O0", "-o", "pan", "pan.c");
    return await run("./pan", "-m100000", "-w20");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  ...withNeeds("spin finds no error in 2 lines and 3 domains, and explores all of the model", "spin"),
  fn: async () => {
    const said = await explore(await Deno.readTextFile(MODEL));
    assertMatch(said, /errors: 0/);
    assert(Number(/(\d+) states, stored/.exec(said)?.[1]) > 100, said);
    assert(!/max search depth too small/.test(said), said);
    // A loop without an end has one statement that is never reached: its end.
    assertEquals([...said.matchAll(/state \d+, "([^"]*)"/g)].map((one) => one[1]), ["-end-"]);
  },
});

Deno.test({
  ...withNeeds("a model that forgets to write modified data back, or to invalidate, is caught", "spin"),
  fn: async () => {
    const model = await Deno.readTextFile(MODEL);
    const mutants = [
      model.replace(":: else -> write_back(l); take(l, d, S)", ":: else -> take(l, d, S)"),
      model.replace("invalidate_others(l, d); take(l, d, M)", "take(l, d, M)"),
      model.replace("inline drop(l, d) {\n  write_back(l);", "inline drop(l, d) {"),
    ];
    for (const mutant of mutants) {
      assert(mutant !== model);
      assertMatch(await explore(mutant), /errors: [1-9]/);
    }
  },
});
