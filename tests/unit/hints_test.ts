/** Every remedy that is printed stands in tests/hints.yaml: with the trial that runs it, or as one that nobody ran. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { parse } from "@std/yaml";

import { TOOLS } from "../../tools/manual/catalog.ts";
import { allHints, hintsIn } from "./hints.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

interface Table {
  readonly trials: readonly { readonly name: string; readonly run: string; readonly hints: readonly string[] }[];
  readonly untried: Readonly<Record<string, readonly string[]>>;
}

async function readTable(): Promise<Table> {
  return parse(await Deno.readTextFile(`${ROOT}/tests/hints.yaml`)) as Table;
}

const hints = await allHints(ROOT, ["ffi", "src", "tools"]);

/** What new hints are put under, until somebody tries them or says why not. */
const NOT_YET = "not tried yet";

/** Writes the part `untried` anew: without hints that are gone or tried, with new ones. */
async function updateTable(): Promise<void> {
  const path = `${ROOT}/tests/hints.yaml`;
  const table = await readTable();
  const tried = new Set(table.trials.flatMap((trial) => trial.hints));
  const groups = new Map(Object.entries(table.untried).map(([reason, texts]) => [reason, new Set(texts)]));
  const listed = new Set(Object.values(table.untried).flat());
  for (const text of hints.keys()) {
    if (!listed.has(text)) groups.set(NOT_YET, (groups.get(NOT_YET) ?? new Set()).add(text));
  }
  const lines = [...groups].sort(([a], [b]) => a < b ? -1 : 1).flatMap(([reason, texts]) => {
    const kept = [...texts].filter((text) => hints.has(text) && !tried.has(text)).sort();
    return kept.length === 0
      ? []
      : [`  ${JSON.stringify(reason)}:`, ...kept.map((text) => `    - ${JSON.stringify(text)}`)];
  });
  const [head = ""] = (await Deno.readTextFile(path)).split(/^untried:$/m);
  await Deno.writeTextFile(path, `${head}untried:\n${lines.join("\n")}\n`);
}

if (Deno.env.get("BUSBAR_UPDATE") === "1") await updateTable();
const table = await readTable();

Deno.test("the table of hints has every hint of the sources, each once, and none that is gone", () => {
  const tried = new Set(table.trials.flatMap((trial) => trial.hints));
  const untried = Object.values(table.untried).flat();
  const listed = new Set([...tried, ...untried]);
  const gone = [...listed].filter((text) => !hints.has(text));
  const missing = [...hints].filter(([text]) => !listed.has(text)).map(([text, files]) =>
    `${text} (${files.join(", ")})`
  );
  assertEquals(
    [missing, gone],
    [[], []],
    "run this with BUSBAR_UPDATE=1: it lists them as untried; better is a trial",
  );
  assertEquals(untried.filter((text) => tried.has(text)), [], "tried and untried");
  assertEquals(untried.length, new Set(untried).size, "listed twice");
});

Deno.test("hints are found in properties, branches, functions, tables and arguments", () => {
  const source = `
    const wrong = (message: string, hint = "the usual one"): Error => new BusbarError("usage", message, { hint });
    throw new BusbarError("usage", "m", { hint: bad ? "first branch" : \`second \${b ? "inner one" : ""} branch\` });
    wrong("message", "an argument");
    function powerHint(): string { return "from a function"; }
    const USE_HINTS = { mount: "from a table" };
    const other = "no hint at all";
    class P { constructor() { this.say("no hint", "not this"); } say(text: string, remedy: string) { void text; } }
  `;
  assertEquals(hintsIn(source, "example.ts").sort(), [
    "an argument",
    "first branch",
    "from a function",
    "from a table",
    "inner one",
    "not this",
    "second … branch",
    "the usual one",
  ]);
});

/** Options of a tool and of all its subcommands. */
function optionsOf(command: CommandUnknownOpts): string[] {
  return [
    "--help",
    ...command.options.flatMap(({ long, short }) => [long, short].filter((flag) => flag !== undefined)),
    ...command.commands.flatMap(optionsOf),
  ];
}

Deno.test("a hint that names a tool of ours names options that this tool has", async () => {
  const known = new Map<string, string[]>();
  for (const [name, { load }] of Object.entries(TOOLS)) known.set(name, optionsOf((await load()).command));
  let checked = 0;
  for (const [text, files] of hints) {
    // From the tool's name to the end of its command line.
    for (const [, tool = "", line = ""] of text.matchAll(/(?:^|[ :;,(])(?:busbar )?([a-z][a-z0-9_]+) ([^;:,()]*)/g)) {
      const options = known.get(tool);
      if (
        options === undefined || (tool === "list" || tool === "config" || tool === "man") && !text.includes("busbar")
      ) {
        continue;
      }
      const own = line.split(" -- ")[0] ?? "";
      for (const [flag] of own.matchAll(/(?<=\s|^)--[a-z][a-z0-9-]*/g)) {
        checked++;
        assert(options.includes(flag), `${files.join(", ")}: '${text}': ${tool} has no ${flag}`);
      }
    }
  }
  assert(checked > 10, String(checked));
});

Deno.test("an option that a hint names without a tool is one of each tool whose own file prints it, else of some tool", async () => {
  const all = new Set<string>();
  for (const { load } of Object.values(TOOLS)) for (const flag of optionsOf((await load()).command)) all.add(flag);
  // Options of other people's programs, and what stands for the name of one.
  const foreign =
    /ndctl|daxctl|damo |lspci|nvcc|cuobjdump|mdadm|vgchange|zpool|dmsetup|setpci|apt-get|numactl|deno |QEMU|perf |--privileged|--logtostderr|FILE names a Deno|mkfs/;
  for (const [text, files] of hints) {
    if (foreign.test(text) || files.every((file) => file.startsWith("tools/ship/"))) continue;
    for (const [flag] of text.matchAll(/(?<=^|[ (])--[a-z][a-z0-9-]+/g)) {
      assertStringIncludes([...all, "--help"].join(" "), flag, `${files.join(", ")}: ${text}`);
    }
  }
});
