/** Every tool's command line, as it is declared. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import { OUTPUT_OPTIONS } from "../../tools/cli/standard_output.ts";
import { TIME_HELP } from "../../tools/cli/arguments.ts";
import { subcommandFirst } from "../../tools/cli/subcommand.ts";
import { TOOLS } from "../../tools/manual/catalog.ts";
import { runTool } from "../soft/tool.ts";

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

type CommandOption = CommandUnknownOpts["options"][number];

/** Every option of every tool, with the command's full name. */
async function allOptions(): Promise<[string, CommandOption][]> {
  const found: [string, CommandOption][] = [];
  for (const { load } of Object.values(TOOLS)) {
    const { command } = await load();
    for (const [path, one] of all(command)) {
      found.push(...one.options.map((option): [string, CommandOption] => [path, option]));
    }
  }
  return found;
}

Deno.test("a plain number is seconds for every option that takes a time, and its help says so", async () => {
  const times = (await allOptions()).filter(([, { flags }]) => /[<[](?:time|duration|interval)[>\]]/.test(flags));
  assert(times.length > 15);
  for (const [path, option] of times) {
    const what = `${path} ${option.flags}`;
    assertEquals(option.parseArg?.("2", undefined), 2000, what);
    assertStringIncludes(option.description, TIME_HELP, what);
    assert(/[<[]time[>\]]/.test(option.flags), `${what}: the word is time`);
    if (option.defaultValue !== undefined) {
      assert(/^\d+ (?:ms|s|min)$/.test(option.defaultValueDescription ?? ""), what);
    }
  }
});

Deno.test("a default is shown as it would be typed: never as the program keeps it", async () => {
  for (const [path, { flags, defaultValue, defaultValueDescription }] of await allOptions()) {
    if (defaultValue === undefined || defaultValueDescription !== undefined) continue;
    const isShown = typeof defaultValue === "string" || (typeof defaultValue === "number" && defaultValue <= 1_000_000);
    assert(isShown || typeof defaultValue === "boolean", `${path} ${flags}: ${defaultValue}`);
    assert(!/[<[](?:size|time|list)/.test(flags), `${path} ${flags}: its default has no unit`);
  }
});

/** Options that name a file or folder to be read, or to be used by a guest. */
const READ_OPTIONS = [
  "--input",
  "--diff",
  "--trace",
  "--config",
  "--curve",
  "--damon-plan",
  "--counters",
  "--log",
  "--from",
]
  .concat([
    "--file",
    "--table",
    "--mask",
    "--share",
    "--shared",
    "--ivshmem",
    "--job",
    "--disk",
    "--kernel",
    "--firmware",
    "--resource",
    "--cgroup",
    "--hosts-file",
    "--map",
  ]);

Deno.test("one word for one thing: access width, transfer size, whole size, output file", async () => {
  const options = await allOptions();
  for (const [path, { flags, long, description }] of options) {
    const what = `${path} ${flags}`;
    if (/[<[](?:file|folder|path|image)/.test(flags)) {
      assert(OUTPUT_OPTIONS.includes(long ?? "") !== READ_OPTIONS.includes(long ?? ""), `${what}: read or written?`);
    }
    if (/width of (?:the|one) access/.test(description)) assertEquals(long, "--width", what);
    if (/^(?:one transfer|bytes of a durable write)/.test(description)) assertEquals(long, "--block-size", what);
    if (long === "--size") assert(!/width|transfer/.test(description), what);
  }
});

Deno.test("an option before the word of its subcommand, or without the word, is as behind it", async () => {
  const cases: readonly [tool: string, typed: string, understood: string][] = [
    ["tiering", "--json", "show --json"],
    ["cxl_region", "--json", "list --json"],
    ["damon_config", "--json", "status --json"],
    ["dax_config", "--config show show", "show --config show"],
    ["dax_config", "--config=x --json check --size 1MiB", "check --config=x --json --size 1MiB"],
    ["tiering", "--dry-run apply balancing", "apply --dry-run balancing"],
    ["tiering", "--dry-run", "--dry-run"],
    ["dax_config", "--json env", "--json env"],
    ["tiering", "--json-schema", "--json-schema"],
    ["tiering", "apply --json x", "apply --json x"],
    ["nvme_io", "--json soft:nvme", "--json soft:nvme"],
    ["membench", "--json matrix --size 1MiB", "matrix --json --size 1MiB"],
    ["membench", "--json anonymous", "--json anonymous"],
    ["membench", "--json", "--json"],
  ];
  for (const [tool, typed, understood] of cases) {
    const loaded = TOOLS[tool];
    assert(loaded !== undefined);
    assertEquals(subcommandFirst((await loaded.load()).command, typed.split(" ")).join(" "), understood);
  }
});

Deno.test("a tool that does nothing without a subcommand asks for one in words", async () => {
  const { code, stderr } = await runTool("sweep", []);
  assertEquals(code, 2);
  assertEquals(stderr.trimEnd().split("\n").slice(-2), [
    "sweep: which of the commands above?",
    "  hint: sweep --help shows the arguments and options",
  ]);
});

Deno.test("what would be done otherwise than asked is refused: a count of one look, memory of two nodes, processors by the thousand", async () => {
  const cases: readonly (readonly [tool: string, args: readonly string[], part: string])[] = [
    ["health", ["soft:nvme", "--count", "2"], "--count has no effect here"],
    ["membench", ["anonymous", "--size", "16MiB", "--cpus", "0-9999"], "-9999 are not online"],
    [
      "damon_config",
      ["generate", "--migrate", "0", "1", "--memory", "0=0x0-0x100000000", "1=0x80000000-0x200000000"],
      "overlaps 0x0-0x100000000",
    ],
  ];
  for (const [tool, args, part] of cases) {
    const { code, stderr } = await runTool(tool, args);
    assertEquals(code, 2, stderr);
    assertStringIncludes(stderr, part);
    assert(stderr.length < 400, stderr);
  }
});
