/** Completion as it happens: a shell on a terminal, keys typed, what the shell then runs. And the manual pages. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { manualPages } from "../../tools/manual/man.ts";
import { TOOLS } from "../../tools/manual/catalog.ts";
import { describeProgram } from "../../tools/manual/describe_program.ts";
import { bashCompletion } from "../../tools/manual/completion_bash.ts";
import { fishCompletion } from "../../tools/manual/completion_fish.ts";
import { zshCompletion } from "../../tools/manual/completion_zsh.ts";
import { allCommands } from "../../tools/manual/command_description.ts";
import { type NeedName, withNeeds } from "../needs.ts";

const MACHINES = ["nvme", "nvme-zoo", "topology"];

/** A test that needs programs. */
function test(programs: readonly NeedName[], name: string, fn: (folder: string) => Promise<void>): void {
  Deno.test({
    ...withNeeds(name, ...programs),
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        await fn(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

/** What is typed, with a Tab where `»` stands, and the words that the command then gets. */
const TYPED: readonly (readonly [string, readonly string[]])[] = [
  ["busbar dump_b» --enab» soft:n»", ["dump_bar0", "--enable-memory", "soft:nvme"]],
  ["busbar bind vf» --dr»", ["bind", "vfio", "--dry-run"]],
  ["busbar lab run topo» --timeout 3s --ke»", ["lab", "run", "topology", "--timeout", "3s", "--keep"]],
  ["busbar dump_bar0 --save FOLDER/some-f» --bar 2 --forc»", [
    ...["dump_bar0", "--save", "FOLDER/some-file", "--bar", "2", "--force"],
  ]],
  ["busbar completion fi»", ["completion", "fish"]],
  ["busbar nvme_identify --page sma»", ["nvme_identify", "--page", "smart"]],
  ["busbar mmio soft:nvme re» AQ»", ["mmio", "soft:nvme", "read", "AQA"]],
  ["busbar nvme_io soft:nvme ben»", ["nvme_io", "soft:nvme", "bench"]],
  ["busbar membench matr» --rea»", ["membench", "matrix", "--reads"]],
  ["busbar cxl_region destroy re»", ["cxl_region", "destroy", "region0"]],
  ["busbar cxl_region create mem0 mem1» --dr»", ["cxl_region", "create", "mem0", "mem15", "--dry-run"]],
  ["busbar bind vfio nvm»", ["bind", "vfio", "nvme0"]],
];

/** A script whose kernel has these things, and no others. */
async function withKernel(folder: string, script: string): Promise<string> {
  const things = [
    ...["bus/cxl/devices/mem0", "bus/cxl/devices/mem15", "bus/cxl/devices/region0", "bus/cxl/devices/root0"],
    ...["bus/dax/devices/dax1.0", "bus/nd/devices/region2", "bus/nd/devices/namespace2.0", "bus/nd/devices/ndbus0"],
    ...["bus/pci/devices/0000:01:00.0", "class/nvme/nvme0"],
  ];
  for (const thing of things) await Deno.mkdir(`${folder}/sys/${thing}`, { recursive: true });
  return script.replaceAll("/sys/", `${folder}/sys/`);
}

/** Types into a shell on a terminal of its own (script(1)) and returns what a function `busbar` was called with. */
async function typeInto(folder: string, command: string, setUp: string): Promise<string[][]> {
  await Deno.writeTextFile(`${folder}/some-file`, "");
  const got = `${folder}/got`;
  const child = new Deno.Command("script", {
    args: ["-qefc", command, "/dev/null"],
    env: { TERM: "dumb", HOME: folder, ZDOTDIR: folder },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const output = new Response(child.stdout).text();
  const keys = [
    setUp,
    `busbar() { printf '<%s>' "$@" >>${got}; echo >>${got}; }`,
    ...TYPED.map(([line]) => line.replaceAll("»", "\t").replace("FOLDER", folder)),
    "exit",
  ];
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(keys.map((line) => `${line}\r`).join("")));
  const limit = setTimeout(() => child.kill("SIGKILL"), 20_000);
  await child.status;
  clearTimeout(limit);
  await writer.close().catch(() => {});
  const seen = await output;
  const text = await Deno.readTextFile(got).catch(() => "");
  assert(text !== "", seen);
  return text.trim().split("\n").map((line) => [...line.matchAll(/<([^>]*)>/g)].map(([, word = ""]) => word));
}

function expected(folder: string): string[][] {
  return TYPED.map(([, words]) => words.map((word) => word.replace("FOLDER", folder)));
}

test(["bash", "script"], "bash completes what is typed on a terminal", async (folder) => {
  await Deno.writeTextFile(
    `${folder}/busbar.bash`,
    await withKernel(folder, bashCompletion(await describeProgram(TOOLS), MACHINES)),
  );
  const shell = "bash --noprofile --norc -i";
  assertEquals(await typeInto(folder, shell, `source ${folder}/busbar.bash`), expected(folder));
});

test(["zsh", "script"], "zsh completes what is typed on a terminal", async (folder) => {
  await Deno.writeTextFile(
    `${folder}/_busbar`,
    await withKernel(folder, zshCompletion(await describeProgram(TOOLS), MACHINES)),
  );
  const setUp = `fpath=(${folder} $fpath); autoload -U compinit; compinit -u -d ${folder}/dump`;
  assertEquals(await typeInto(folder, "zsh -f -i", setUp), expected(folder));
});

/** What bash lists for a line that ends with a Tab. */
async function bashLists(folder: string, line: string): Promise<string[]> {
  const completion = await withKernel(folder, bashCompletion(await describeProgram(TOOLS), MACHINES));
  await Deno.writeTextFile(`${folder}/busbar.bash`, completion);
  const script = `source ${folder}/busbar.bash; compopt() { :; }; COMP_LINE=$1 COMP_POINT=\${#1}; _busbar
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await new Deno.Command("bash", { args: ["--norc", "-c", script, "bash", line] }).output();
  return new TextDecoder().decode(stdout).trim().split("\n").sort();
}

test(["bash"], "bash lists tools, subcommands, options and the words that an argument can be", async (folder) => {
  const program = await describeProgram(TOOLS);
  assertEquals(await bashLists(folder, "busbar "), program.commands.map(({ name }) => name).sort());
  assertEquals(await bashLists(folder, "busbar bind "), ["restore", "status", "vfio"]);
  assertEquals(await bashLists(folder, "busbar bind vfio --"), ["--dry-run", "--force", "--help", "--json"]);
  assertEquals(await bashLists(folder, "busbar lab run nv"), ["nvme", "nvme-zoo"]);
  assertEquals(await bashLists(folder, "busbar completion "), ["bash", "fish", "zsh"]);
  assertEquals(await bashLists(folder, "busbar nvme_io soft:nvme "), ["bench", "read", "verify", "write"]);
  assertEquals(await bashLists(folder, "busbar dump_bar0 --watch --js"), ["--json", "--json-schema"]);
  assertEquals(
    await bashLists(folder, "busbar bind vfio "),
    ["01:00.0", "0000:01:00.0", "file:", "nvme0", "soft:nvme"].sort(),
  );
  assertEquals(await bashLists(folder, "busbar cxl_region offline "), ["dax1.0", "region0"]);
  assertEquals(await bashLists(folder, "busbar dax_config namespace create "), ["namespace2.0", "region2"]);
  assertEquals(await bashLists(folder, "busbar dax_config namespace destroy namespace2.0 --erase "), ["namespace2.0"]);
  assertEquals(await bashLists(folder, "busbar lab run nvme -- --"), [""], "behind -- there are no options of ours");
  for (const [path, { options }] of allCommands(program)) {
    const names = options.flatMap(({ names }) => names);
    assertEquals(await bashLists(folder, `${path.join(" ")} -`), names.sort(), path.join(" "));
  }
});

test(["fish"], "fish lists them too, each with what it does", async (folder) => {
  await Deno.writeTextFile(
    `${folder}/busbar.fish`,
    await withKernel(folder, fishCompletion(await describeProgram(TOOLS), MACHINES)),
  );
  const lists = async (line: string): Promise<string[]> => {
    const script = `source ${folder}/busbar.fish; complete -C '${line}'`;
    const { stdout } = await new Deno.Command("fish", { args: ["--no-config", "-c", script], env: { HOME: folder } })
      .output();
    return new TextDecoder().decode(stdout).trim().split("\n");
  };
  assertEquals((await lists("busbar bind ")).map((line) => line.split("\t")[0]), ["restore", "status", "vfio"]);
  assertEquals(await lists("busbar dump_bar0 --forc"), [
    "--force\tread although a driver holds the device, or where reading is not defined",
  ]);
  assertEquals(await lists("busbar lab run nvme-"), ["nvme-zoo"]);
  assertEquals(await lists("busbar completion b"), ["bash"]);
  assertEquals(await lists("busbar cxl_region offline "), ["dax1.0", "region0"]);
});

Deno.test("every tool has a manual page that names all its subcommands and options", async () => {
  const pages = await manualPages(TOOLS);
  const program = await describeProgram(TOOLS);
  assertEquals([...pages.keys()], ["busbar.1", ...program.commands.map(({ name }) => `busbar-${name}.1`)]);
  for (const tool of program.commands) {
    const page = pages.get(`busbar-${tool.name}.1`) ?? "";
    assertStringIncludes(pages.get("busbar.1") ?? "", `.BR busbar-${tool.name} (1)\n`);
    for (const [path, { options }] of allCommands(tool)) {
      if (path.length > 1) assertStringIncludes(page, `.SS "busbar ${path.join(" ")}"\n`);
      for (const { names } of options) {
        for (const name of names) assertStringIncludes(page, `\\fB${name.replaceAll("-", "\\-")}\\fR`);
      }
    }
  }
});

test(["groff"], "groff formats every manual page without a warning", async (folder) => {
  for (const [name, page] of await manualPages(TOOLS)) {
    await Deno.writeTextFile(`${folder}/${name}`, page);
    const { stdout, stderr } = await new Deno.Command("groff", {
      args: ["-man", "-ww", "-Tutf8", "-P-bcou", `${folder}/${name}`],
    }).output();
    assertEquals(new TextDecoder().decode(stderr), "", name);
    assertStringIncludes(new TextDecoder().decode(stdout), "EXIT STATUS");
  }
});
