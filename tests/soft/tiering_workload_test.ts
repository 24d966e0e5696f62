/** The workloads that `tiering experiment` has built in, as processes. */

import { assert, assertEquals } from "@std/assert";

import { tieringSchema } from "../../tools/render/memory/tiering.ts";
import { schemaErrors } from "../unit/schema.ts";
import { badInputIsExplained, runTool, toolArgs } from "./tool.ts";

Deno.test("gups updates each word of a table of any size as often as asked", async () => {
  const { code, stdout, stderr } = await runTool("tiering", ["workload", "gups", "7MiB", "--updates", "3", "--json"]);
  assertEquals(code, 0, stderr);
  const done = JSON.parse(stdout);
  assertEquals(schemaErrors(tieringSchema(), done), "");
  assertEquals([done.tableBytes, done.updates], [String(7 << 20), String(3 * (7 << 20) / 8)]);
});

Deno.test("hog says so once it has its memory, holds it, and ends with SIGTERM", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: toolArgs("tiering", ["workload", "hog", "256MiB"]),
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assertEquals(new TextDecoder().decode(value), "holds 256 MiB\n");
  const status = await Deno.readTextFile(`/proc/${child.pid}/status`);
  assert(Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) > 256 * 1024, status);
  child.kill("SIGTERM");
  await reader.cancel();
  assertEquals((await child.status).code, 143);
});

Deno.test("sizes from standard input are run one after the other by one process, until it ends", async () => {
  const typed = async (kind: string, text: string): Promise<{ code: number; lines: string[] }> => {
    const args = toolArgs("tiering", ["workload", kind, "-", "--json", ...kind === "gups" ? ["--updates", "2"] : []]);
    const child = new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "piped", stderr: "null" }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
    const { code, stdout } = await child.output();
    return { code, lines: new TextDecoder().decode(stdout).trim().split("\n") };
  };
  const gups = await typed("gups", "0\n1MiB\n3MiB\n");
  const documents = gups.lines.map((line) => JSON.parse(line));
  for (const document of documents) assertEquals(schemaErrors(tieringSchema(), document), "");
  assertEquals(documents.map(({ updates, heldBytes }) => updates ?? heldBytes), ["0", "262144", "786432"]);
  const hog = await typed("hog", "2MiB\n1MiB\n0\nlots\n4MiB\n");
  assertEquals(hog.code, 2);
  assertEquals(hog.lines.slice(0, 3).map((line) => JSON.parse(line).heldBytes), ["2097152", "1048576", "0"]);
  assertEquals(JSON.parse(hog.lines.slice(3).join("\n")).error.message, "'lots' is not a size");
});

Deno.test("sizes and options that do not fit are refused", async () => {
  await badInputIsExplained("tiering", [
    [["workload", "gups", "4KiB"], 2, "usage", "1 MiB is the least"],
    [["workload", "hog", "4MiB", "--updates", "2"], 2, "usage", "--updates has no effect here"],
    [["experiment", "no-such.yaml", "--cold-age", "1s"], 2, "usage", "--cold-age has no effect here"],
  ], tieringSchema());
});
