import { assertEquals, assertStringIncludes } from "@std/assert";

import { parseJunit } from "../suites.ts";

const REGISTER = new URL("../lab/register.ts", import.meta.url).href;

Deno.test("a test that a helper registers is reported at the line of its author, in text and in JUnit", async () => {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  try {
    await Deno.writeTextFile(
      `${folder}/helper.ts`,
      `import { registerAt } from "${REGISTER}";
export function check(name: string, fn: () => void): void {
  registerAt(new Error().stack?.split("\\n")[2] ?? "", { name, fn });
}`,
    );
    // Lines that the compiler takes away: a place in what it makes of the file would be another one.
    const source = [
      ...['import { check } from "./helper.ts";', "interface Removed {", "  readonly line: string;", "}"],
      ...["type Also = Removed | null;", "", 'check("fails", () => {', "  const none: Also = null;"],
      ...["  if (none === null) throw new Error();", "});"],
    ];
    await Deno.writeTextFile(`${folder}/author's_test.ts`, source.join("\n"));
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", "--no-config", `--junit-path=${folder}/report.xml`],
      cwd: folder,
      env: { NO_COLOR: "1" },
    }).output();
    assertStringIncludes(new TextDecoder().decode(stdout), "fails => ./author's_test.ts:7:1\n");
    const [one] = parseJunit(await Deno.readTextFile(`${folder}/report.xml`));
    assertEquals([one?.file, one?.name, one?.outcome], ["author's_test.ts", "fails", "failed"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
