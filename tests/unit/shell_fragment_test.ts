/** Shell fragments, read as text: bash itself says what is right. */

import { assert, assertEquals } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { readSettingsFile, VARIABLES } from "../../src/memory/settings.ts";
import { readShellFragment } from "../../src/memory/shell_fragment.ts";
import { withNeeds } from "../needs.ts";
import { Random } from "./random.ts";

const NAMES = ["CXL_BACKEND", "CXL_MEMORY_RESOURCE", "DEV", "SIZE"];

/** What bash holds after sourcing each text in an environment without these names; null for a text that it cannot read. */
async function askBash(texts: readonly string[]): Promise<Record<string, string>[]> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [i, text] of texts.entries()) await Deno.writeTextFile(`${folder}/${i}`, text);
    const script = `cd "$1"; for ((f = 0; f < $2; f++)); do ( source ./$f; ` +
      `printf '%s\\0' ${NAMES.map((name) => `"$${name}"`).join(" ")} ) 2>/dev/null </dev/null | ` +
      `tail -z -n ${NAMES.length}; printf '!END\\0'; done`;
    const output = await new Deno.Command("bash", {
      args: ["--norc", "-c", script, "bash", folder, String(texts.length)],
      clearEnv: true,
      env: { PATH: "/usr/bin:/bin" },
    }).output();
    const answers = new TextDecoder().decode(output.stdout).split("!END\0").slice(0, -1);
    return answers.map((answer) => {
      const values = answer.split("\0");
      return Object.fromEntries(NAMES.map((name, i) => [name, values[i] ?? ""]));
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What we read: the same names, or null for a refusal, which must say the line. */
function read(text: string): Record<string, string> | null {
  try {
    const values = readShellFragment(text, "f.sh", Object.values(VARIABLES));
    return Object.fromEntries(NAMES.map((name) => [name, values.get(name)?.value ?? ""]));
  } catch (error) {
    assert(error instanceof BusbarError && /^f\.sh:\d+: /.test(error.message), String(error));
    return null;
  }
}

const PIECES: readonly string[] = [
  ...[
    "CXL_BACKEND=",
    "CXL_MEMORY_RESOURCE=",
    "DEV=",
    "SIZE=",
    "export ",
    "export CXL_BACKEND",
    ": ",
    "\n",
    "\n",
    ";",
    "; ",
  ],
  ...["dax", "mmap", "/dev/dax0.0", "1G", "''", '""', "'a b'", '"a b"', "a\\ b", "#x", " # x", "\\$", '"\\$x"', "'$x'"],
  ...[
    "$DEV",
    "${DEV}",
    '"$DEV"',
    '"${DEV}x"',
    "${DEV:-dax}",
    '"${DEV:-/x y}"',
    "${DEV:=/tmp/c}",
    '"${CXL_BACKEND:-dax}"',
  ],
  ...[
    "${CXL_BACKEND:=dax}",
    "$CXL_BACKEND",
    "${DEV-x}",
    "${#DEV}",
    "$(echo x)",
    "`echo x`",
    "~",
    "{a,b}",
    "*",
    "!",
    "[a]",
  ],
  ...[
    "if true; then",
    "fi",
    "unset DEV",
    "{ ",
    "}",
    "(",
    ")",
    "|",
    "&",
    "&&",
    "<<E",
    "\\\n",
    "+=",
    "declare ",
    "return",
    "f() {",
  ],
  ...["\t", "  ", ":", "=", "%", "é", "_", "0"],
];

/** Fragments that are near to what people write: lines of assignments, some of them broken. */
function fragment(random: Random): string {
  const lines: string[] = [];
  for (let i = random.below(3); i >= 0; i--) {
    if (random.below(3) > 0) {
      const names = [random.pick(NAMES), random.pick(NAMES)];
      const value = (): string =>
        random.pick(PIECES.slice(11, 36)) + (random.below(3) === 0 ? random.pick(PIECES.slice(11)) : "");
      lines.push(random.pick([
        `${names[0]}=${value()}`,
        `export ${names[0]}=${value()}`,
        `export ${names[0]}=${value()} ${names[1]}=${value()}`,
        `${names[0]}=${value()} ${names[1]}=${value()}`,
        `: "\${${names[0]}:=${random.pick(["dax", "a b", "/x"])}}"`,
        `${names[0]}=${value()}; export ${names[0]} ${names[1]}`,
      ]));
    } else {
      lines.push(Array.from({ length: 1 + random.below(5) }, () => random.pick(PIECES)).join(""));
    }
  }
  return lines.join("\n") + (random.below(5) === 0 ? "" : "\n");
}

Deno.test({
  ...withNeeds("of 600 generated fragments each is read as bash reads it, or refused; many are read", "bash"),
  fn: async () => {
    const random = new Random("shell fragments");
    const texts = Array.from({ length: 600 }, () => fragment(random));
    const bash = await askBash(texts);
    assertEquals(bash.length, texts.length);
    let taken = 0;
    for (const [i, text] of texts.entries()) {
      const ours = read(text);
      if (ours === null) continue;
      taken++;
      assertEquals(ours, bash[i], text);
    }
    assert(taken > 60, `${taken} were read`);
  },
});

Deno.test("fragments that were read wrongly once: bash's values or a refusal, and plain ones are read", async () => {
  const cases: { name: string; text: string; bash: Record<string, string> }[] = JSON.parse(
    await Deno.readTextFile(new URL("../fixtures/shell_fragments.json", import.meta.url)),
  );
  const mustBeRead = [
    "default expansion assignment",
    "set before, defaulted later",
    "assign, then export both",
    "two on one export",
    "quotes and a comment",
    "space in a path",
  ];
  for (const { name, text, bash } of cases) {
    const values = await readSettingsFile(text, "f.sh").catch((error) => {
      assert(error instanceof BusbarError && /^f\.sh:\d+: /.test(error.message), String(error));
      return null;
    });
    assertEquals(values === null && mustBeRead.includes(name), false, `${name} is refused`);
    if (values === null) continue;
    const read = { CXL_BACKEND: values.backend?.value ?? "", CXL_MEMORY_RESOURCE: values.resource?.value ?? "" };
    assertEquals(
      read,
      { CXL_BACKEND: bash.CXL_BACKEND ?? "", CXL_MEMORY_RESOURCE: bash.CXL_MEMORY_RESOURCE ?? "" },
      name,
    );
  }
});
