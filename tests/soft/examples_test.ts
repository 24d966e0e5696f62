/** The programs in examples/: each runs, from its own file, and prints what its comment promises. */

import { assert, assertEquals, assertMatch } from "@std/assert";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** What each prints. tests/lab/example.full.test.ts runs lab_test.ts. */
const PRINTS: Readonly<Record<string, RegExp>> = {
  "write_and_read.ts": /^hello, drive\n$/,
  "identify_drive.ts":
    /^busbar software NVMe controller, serial number EXAMPLE, .*\nnamespace 1: 64 MiB in blocks of 512 bytes\n$/,
  "walk_topology.ts": /^0000:00:00\.0 host bridge .*\n(?:.*\n)*writes: unknown, reads: no\n {2}\S/,
  "topology_json.ts": /^\[\n/,
  "register_table.ts": /^300 K rate 5, reserved 2147483648\n$/,
  "gpu_copy.ts": new RegExp(`^${Array.from({ length: 32 }, (_, i) => 2 * i).join(" ")}\n$`),
  // The bit vector of the kernel's documentation, inverted: a5c0 has 6 zeros in its 12 bits.
  "oradax_ccb.ts": /^status 1, 6 ones, output 5a30\n$/,
};

/** What one does first: write and read a drive, walk the topology, decode a table of one's own. */
const FIFTEEN_LINES: readonly string[] = ["write_and_read.ts", "walk_topology.ts", "register_table.ts"];

async function output(file: string, args: readonly string[] = []): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `examples/${file}`, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

for (const [file, expected] of Object.entries(PRINTS)) {
  Deno.test(`examples/${file} runs`, async () => {
    const args = file === "topology_json.ts" ? ["file:docs/tools/desktop.dump"] : [];
    const printed = await output(file, args);
    assertMatch(printed, expected);
    if (file !== "topology_json.ts") return;
    const roots: { address: string; below: { address: string }[] }[] = JSON.parse(printed);
    assertEquals(roots.map(({ address, below }) => [address, ...below.map((one) => one.address)]), [
      ["0000:00:00.0"],
      ["0000:00:01.1", "0000:01:00.0"],
      ["0000:00:03.1", "0000:0a:00.0"],
    ]);
  });
}

Deno.test("every example is run by a test, the first three have fifteen lines and no other more than forty, and each imports busbar by its name only", async () => {
  const files = await Array.fromAsync(Deno.readDir(`${ROOT}/examples`), ({ name }) => name);
  assertEquals(files.toSorted(), [...Object.keys(PRINTS), "lab_test.ts"].sort());
  for (const file of files) {
    const text = await Deno.readTextFile(`${ROOT}/examples/${file}`);
    assert(text.split("\n").length <= (FIFTEEN_LINES.includes(file) ? 16 : 41), file);
    for (const [, specifier = ""] of text.matchAll(/from "([^"]+)"/g)) {
      assertMatch(specifier, /^@busbar\/busbar(\/\w+)?$/);
    }
  }
});
