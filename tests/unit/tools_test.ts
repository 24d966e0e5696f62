/** Every tool's command line, as it is declared. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import { TOOLS } from "../../tools/manual/catalog.ts";

/** A command and its subcommands, each with its full name. */
function all(command: CommandUnknownOpts, before = ""): [string, CommandUnknownOpts][] {
  const name = `${before}${command.name()}`;
  return [[name, command], ...command.commands.flatMap((one) => all(one, `${name} `))];
}

Deno.test("every tool and every subcommand shows its help, and says what it does", async () => {
  for (const [name, { load }] of Object.entries(TOOLS)) {
    const { command } = await load();
    assertEquals(command.name(), name, "a tool is called as its file");
    for (const [path, one] of all(command)) {
      // Rendered, not only declared: commander prints default values as JSON, which a bigint is not.
      const help = one.helpInformation();
      assertStringIncludes(help, "Usage: ", path);
      assert(one.description() !== "", `${path} has no description`);
      for (const option of one.options) assert(option.description !== "", `${path} ${option.flags}: no description`);
    }
  }
});
