/** Schemas of all tools: valid for two validators, named, and fit by what the tool prints when it is called wrongly. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import { TOOLS } from "../../tools/manual/catalog.ts";
import { schemaErrors } from "../unit/schema.ts";
import { runTool } from "./tool.ts";

/** A command that prints JSON, as it is typed (`sweep run`), and the one that prints its schema: itself, or one above it. */
interface Printing {
  readonly words: readonly string[];
  readonly schemaOf: readonly string[] | null;
}

function printing(
  command: CommandUnknownOpts,
  above: readonly string[] = [],
  before: Printing["schemaOf"] = null,
): Printing[] {
  const has = (option: string): boolean => command.options.some(({ long }) => long === option);
  const words = [...above, command.name()];
  const schemaOf = has("--json-schema") ? words : before;
  return [
    ...(has("--json") ? [{ words, schemaOf }] : []),
    ...command.commands.flatMap((one) => printing(one, words, schemaOf)),
  ];
}

Deno.test("each command that prints JSON has a schema, which both validators take, and which its error documents fit", async (t) => {
  const commands = (await Promise.all(Object.values(TOOLS).map(({ load }) => load()))).flatMap(({ command }) =>
    printing(command)
  );
  assert(commands.length > 25, `${commands.length} commands`);
  const schemas = new Map<string, object>();
  for (const { words: [name = "", ...words], schemaOf } of commands) {
    await t.step([name, ...words].join(" "), async () => {
      assert(schemaOf !== null, "it has no schema");
      const key = schemaOf.join(" ");
      const schema = schemas.get(key) ??
        JSON.parse((await runTool(name, [...schemaOf.slice(1), "--json-schema"])).stdout);
      schemas.set(key, schema);
      assertMatch(schema.$id, new RegExp(name));
      assert(schemaErrors(schema, { schema: "another/1" }) !== "", "a document of another tool does not fit");
      const { code, stdout, stderr } = await runTool(name, [...words, "--json", "--no-such-option"]);
      assertEquals(code, 2, stderr);
      const document = JSON.parse(stdout);
      assertEquals([schemaErrors(schema, document), document.error.code], ["", "usage"]);
    });
  }
});
