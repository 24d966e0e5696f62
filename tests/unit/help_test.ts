/** What `--help` and the manual pages show: examples, and defaults with their units. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { TOOLS } from "../../tools/manual/catalog.ts";
import { allCommands, describeCommand } from "../../tools/manual/command_description.ts";
import { examplesOf } from "../../tools/manual/docs.ts";
import { EXAMPLES } from "../../tools/manual/examples.ts";
import { manualPages } from "../../tools/manual/man.ts";
import { withNeeds } from "../needs.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** What a number counts, where it has no unit: so many of something, a number of something, a share. */
const WITHOUT_UNIT = /^(?:n|sides|lines|version|bit|list|share|ratio|type)$/;

Deno.test("every tool has two examples or more, in its help and in its manual page; each types that tool", async () => {
  const pages = await manualPages(TOOLS);
  for (const name of Object.keys(TOOLS)) {
    const examples = EXAMPLES[name] ?? [];
    assert(examples.length >= 2, `${name} has ${examples.length}`);
    for (const [purpose, typed] of examples) {
      assert(purpose.length > 5 && new RegExp(`\\b${name}\\b`).test(typed), `${name}: '${typed}'`);
    }
    const page = pages.get(`busbar-${name}.1`) ?? "";
    assertStringIncludes(page, ".SH EXAMPLES\n");
  }
});

Deno.test("a number that is a default has its unit, in every tool", async () => {
  let shown = 0;
  for (const [name, { load }] of Object.entries(TOOLS)) {
    const { command } = await load();
    for (const [path, { options }] of allCommands(describeCommand(command))) {
      for (const { names, value, defaultValue } of options) {
        if (defaultValue === null) continue;
        shown++;
        const isBare = /^[\d.,]+$/.test(defaultValue) && !WITHOUT_UNIT.test(value?.placeholder ?? "");
        assert(!isBare, `${path.join(" ")} ${names.at(-1)}: ${defaultValue} of what? (${name})`);
      }
    }
  }
  assert(shown > 30, `${shown}`);
});

Deno.test("check_p2p --help and membench --help show them", async () => {
  const help = async (tool: string): Promise<string> => {
    const args = ["run", "-A", "--no-check", `${ROOT}/tools/${tool}.ts`, "--help"];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
    return new TextDecoder().decode(stdout);
  };
  assertMatch(await help("check_p2p"), /\nExamples:\n {2}check_p2p 0000:01:00\.0.*\n {6}\S.*\n {2}check_p2p /);
  const membench = await help("membench");
  assertMatch(membench, /\(default: 500 ms\)/);
  assertMatch(membench, /\(default: 4096\s+bytes\)/);
});

Deno.test({
  ...withNeeds("man shows the page of a tool that was written to a folder, with examples and defaults", "man"),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.mkdir(`${folder}/man1`);
      for (const [file, page] of await manualPages(TOOLS)) await Deno.writeTextFile(`${folder}/man1/${file}`, page);
      const man = async (page: string): Promise<string> => {
        const env = { MANPATH: folder, MANWIDTH: "100", LC_ALL: "C.UTF-8" };
        const { code, stdout, stderr } = await new Deno.Command("man", { args: [page], env }).output();
        assertEquals(code, 0, new TextDecoder().decode(stderr));
        return new TextDecoder().decode(stdout);
      };
      assertMatch(await man("busbar-check_p2p"), /EXAMPLES\n +check_p2p 0000:01:00\.0/);
      assertMatch(await man("busbar-mmio"), /poll: how long to wait.*\(default:\s+1\s+s\)/s);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  ...withNeeds("busbar man TOOL shows the formatted page on a terminal", "man", "script"),
  fn: async () => {
    const typed = `'${Deno.execPath()}' run -A --no-check '${ROOT}/tools/busbar.ts' man mmio`;
    const { code, stdout } = await new Deno.Command("script", {
      args: ["--quiet", "--return", "--command", typed, "/dev/null"],
      env: { MANPAGER: "cat", PAGER: "cat", MANWIDTH: "80", LC_ALL: "C.UTF-8", TERM: "dumb" },
      stdin: "null",
    }).output();
    // deno-lint-ignore no-control-regex -- what a terminal is sent for bold and underlined text
    const text = new TextDecoder().decode(stdout).replace(/\x1b\[[\d;]*m|.\x08/g, "");
    assertMatch(text, /^BUSBAR-MMIO\(1\) +busbar manual +BUSBAR-MMIO\(1\)/m);
    assertMatch(text, /^EXAMPLES\r?\n/m);
    assertEquals(code, 0);
  },
});

Deno.test("examples are read from a page's table, without its Markdown; the first code span is what is typed", () => {
  const page =
    "# x\n\n## More uses\n\n| to | type |\n|---|---|\n| see [all](y.md) | `x --json \\| jq`, or `x` |\n| stop | `x -h` |\n\nText.\n";
  assertEquals(examplesOf(page), [["see all", "x --json | jq"], ["stop", "x -h"]]);
  assertEquals(examplesOf("# x\n"), []);
});
