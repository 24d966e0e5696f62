import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { Random } from "../unit/random.ts";
import { schemaErrors } from "../unit/schema.ts";
import { runTool, type ToolResult } from "./tool.ts";

async function identify(...args: readonly string[]): Promise<ToolResult> {
  return await runTool("nvme_identify", args);
}

function json(result: ToolResult): Record<string, unknown> {
  assertEquals(result.code, 0, result.stderr);
  return JSON.parse(result.stdout);
}

/** The value at a path of member names. */
function at(document: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<string | number, unknown>)[key], document);
}

let schema: unknown = null;
async function theSchema(): Promise<unknown> {
  schema ??= json(await identify("--json-schema"));
  return schema;
}

const CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";

Deno.test("a random serial number set through the locator comes back in --json at its place in the schema", async () => {
  const random = new Random("serial number");
  const serial = Array.from({ length: 1 + random.below(20) }, () => random.pick([...CHARACTERS])).join("");
  const document = json(await identify(`soft:nvme?serial=${serial}`, "--json"));
  assertEquals(schemaErrors(await theSchema(), document), "");
  // The place that the schema gives to the serial number: the row SN of the page id-ctrl of the controller.
  const place = ["controller", "id-ctrl", "SN"];
  const described = at(await theSchema(), "anyOf", 0, "properties", "controller", "properties", "id-ctrl", "anyOf", 0);
  assertEquals(at(described, "properties", "SN", "description"), "Serial Number");
  assertEquals(at(document, ...place, "value"), serial);
  assertEquals(at(document, "summary", "serial"), serial);
});

Deno.test("--json keeps to its schema for every kind of namespace, with logs and features, and on failure", async () => {
  for (
    const device of [
      "soft:nvme",
      "soft:nvme?zoned=1",
      "soft:nvme?lba=4096&ms=8&pi=1&shared=1",
      "soft:nvme?vwc=0&sgls=0",
    ]
  ) {
    const document = json(await identify(device, "--logs", "--features", "--json"));
    assertEquals(schemaErrors(await theSchema(), document), "", device);
    assert((at(document, "logs") as unknown[]).length >= 10 && (at(document, "features") as unknown[]).length >= 15);
  }
  const failed = await identify("soft:nvme", "--namespace", "9", "--json");
  assertEquals(failed.code, 3);
  assertEquals(schemaErrors(await theSchema(), JSON.parse(failed.stdout)), "");
  assertStringIncludes(failed.stderr, "namespace 9 is not active");
});

Deno.test("what --save wrote shows the same again, page by page and as a folder", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const device = "soft:nvme?zoned=1&shared=1";
    const live = json(await identify(device, "--logs", "--save", folder, "--json"));
    const saved = json(await identify(`file:${folder}`, "--json"));
    for (const part of ["summary", "controller", "namespaces"]) assertEquals(at(saved, part), at(live, part), part);
    const logs = (document: unknown): Map<string, unknown> =>
      new Map((at(document, "logs") as { log: string }[]).map((one) => [one.log, one]));
    assertEquals(logs(saved), logs(live));
    const page = json(await identify(`file:${folder}/id-ctrl.bin`, "--json"));
    assertEquals(at(page, "controller", "id-ctrl"), at(live, "controller", "id-ctrl"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a page in a file is known by its locator, its name or its contents; anything else is refused", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/drive`;
    for (const page of ["id-ctrl", "id-ns", "smart", "fw"]) {
      assertEquals((await identify("soft:nvme", "--page", page, "--namespace", "1", "--raw", path)).code, 0);
      const shown = await identify(`file:${path}`);
      assertEquals(shown.code, 0, shown.stderr);
      const named = await identify(`file:${path}?page=${page}`);
      assertEquals(named.stdout, shown.stdout.replaceAll(`file:${path}`, `file:${path}?page=${page}`));
    }
    await Deno.writeFile(path, new Uint8Array(4096));
    const unknown = await identify(`file:${path}`);
    assertEquals([unknown.code, unknown.stdout], [2, ""]);
    assertMatch(unknown.stderr, /does not show\n {2}hint: say which page it is: 'file:.*\?page=smart'/);
    for (
      const [size, page, part] of [[511, "smart", "only 511 of 512 bytes"], [65, "error", "the last 1 of 65 bytes"]]
    ) {
      await Deno.writeFile(path, new Uint8Array(Number(size)));
      const cut = await identify(`file:${path}?page=${page}`);
      assertEquals(cut.code, 0);
      assertStringIncludes(cut.stderr, `${path}: ${page}: ${part}`);
    }
    assertEquals((await identify(`file:${path}?page=nonsense`)).code, 2);
    assertEquals((await identify(`file:${folder}/absent`)).code, 3);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("--raw gives exactly the bytes of one page, and a page that is refused exits 1 with its status", async () => {
  const output = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--cached-only",
      "tools/nvme_identify.ts",
      "soft:nvme?serial=RAW",
      "--page",
      "id-ctrl",
      "--raw",
      "-",
    ],
    cwd: new URL("../..", import.meta.url),
  }).output();
  assertEquals([output.code, output.stdout.length], [0, 4096]);
  assertEquals(new TextDecoder().decode(output.stdout.subarray(4, 24)), "RAW".padEnd(20));
  const refused = await identify("soft:nvme", "--page", "id-domain");
  assertEquals(refused.code, 1);
  assertMatch(refused.stdout, /refused: Invalid Field in Command/);
});

Deno.test("the overview says what people ask first", async () => {
  const { stdout, code } = await identify("soft:nvme?serial=OVERVIEW&lba=4096&ms=8&pi=2&pil=1");
  assertEquals(code, 0);
  for (const text of [/serial number +OVERVIEW/, /NVMe version +1\.4/, /4 KiB +8 B separate +type 2/, /Write Zeroes/]) {
    assertMatch(stdout, text);
  }
});
