/** `sweep` as its users run it: any tool with `--json`, checked before it starts, and no point twice. */

import { assertEquals, assertStringIncludes } from "@std/assert";

import { statusSchema, sweepSchema } from "../../tools/render/sweep/sweep_schema.ts";
import { schemaErrors } from "../unit/schema.ts";
import { runTool } from "./tool.ts";

Deno.test("points of a tool run in processes of their own; a failed one keeps its error; nothing runs twice", async () => {
  const folder = await Deno.makeTempDir();
  const grid = `${folder}/grid.yaml`;
  const write = (more: string): Promise<void> =>
    Deno.writeTextFile(
      grid,
      `tool: dump_bar0\narguments: ["soft:nvme"]\nparameters:\n  width: [4, 8]\n${more}report: { fields: [registers.VS.value] }\n`,
    );
  await write("  bar: [0, 5]\nwhere: [bar == 0 or width == 8]\n");
  const run = async (
    ...args: string[]
  ): Promise<{ code: number; document: Record<string, unknown>; stderr: string }> => {
    const { code, stdout, stderr } = await runTool("sweep", [...args, "--json"]);
    return { code, document: JSON.parse(stdout), stderr };
  };
  const first = await run("run", grid);
  assertEquals([first.code, first.document.done, first.document.failed], [1, 2, 1], first.stderr);
  assertEquals(schemaErrors(sweepSchema("sweep", "sweep/1"), first.document), "");
  const files = async (): Promise<(Date | null)[]> => {
    const names = (await Array.fromAsync(Deno.readDir(`${folder}/grid.results`))).map(({ name }) => name).sort();
    return await Promise.all(names.map(async (name) => (await Deno.stat(`${folder}/grid.results/${name}`)).mtime));
  };
  const before = await files();
  const again = await run("run", grid);
  assertEquals([again.code, again.document, await files()], [1, first.document, before]);
  const status = await run("status", grid);
  assertEquals(schemaErrors(statusSchema(), status.document), "");
  assertEquals([status.document.points, status.document.done, status.document.missing], [3, 2, 0]);
  for (
    const [more, part] of [["  bra: [1]\n", "has no option --bra"], [
      "  bar: [0]\nwhere: [x == 1]\n",
      "where: 'x'",
    ]] as const
  ) {
    await write(more);
    const wrong = await runTool("sweep", ["run", grid, "--output", `${folder}/none`]);
    assertStringIncludes(wrong.stderr, part);
  }
  await Deno.remove(folder, { recursive: true });
});
