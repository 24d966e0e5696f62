/** `gpu_nvme` as its users run it: what it prints, what it refuses, and signals in the middle of a kernel. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { schemaErrors } from "../unit/schema.ts";
import { gpuNvmeSchema } from "../../tools/render/gpu/gpu_nvme.ts";
import { badInputIsExplained, runTool, toolArgs } from "./tool.ts";

const schema = gpuNvmeSchema();

Deno.test("what one program's kernel writes, nvme_io verifies, and the other way round", async () => {
  const file = await Deno.makeTempFile({ prefix: "busbar-blocks-" });
  const output = await Deno.makeTempFile({ prefix: "busbar-output-" });
  try {
    const drive = `soft:nvme?size=1MiB&file=${file}`;
    const written = await runTool("gpu_nvme", [drive, "write", "--write", "--pattern", "9", "--mode", "grid"]);
    assertEquals(written.code, 0, written.stderr);
    assertMatch(
      written.stdout,
      /^GPU busbar software CUDA device [\s\S]*^many warps on one queue pair[\s\S]*^write: 256 × 4 KiB /m,
    );
    const verified = await runTool("nvme_io", [drive, "verify", "--pattern", "9"]);
    assertEquals(verified.code, 0, verified.stdout);
    const again = await runTool("nvme_io", [drive, "write", "--write", "--pattern", "10"]);
    assertEquals(again.code, 0, again.stderr);
    const wrong = await runTool("gpu_nvme", [drive, "verify", "--pattern", "9", "--json"]);
    const document = JSON.parse(wrong.stdout);
    assertEquals(schemaErrors(schema, document), "");
    assertEquals(wrong.code, 1);
    assertMatch(document.mismatch.text, /^it holds block \d+ of seed 10$/);
    const read = await runTool("gpu_nvme", [
      drive,
      "read",
      "--output",
      output,
      "--queues",
      "2",
      "--doorbells",
      "shadow",
    ]);
    assertEquals(read.code, 0, read.stderr);
    assertEquals(await Deno.readFile(output), await Deno.readFile(file));
    await Deno.writeFile(output, new Uint8Array(1 << 20).fill(0x5a));
    const copied = await runTool("gpu_nvme", [drive, "write", "--write", "--input", output, "--mode", "thread"]);
    assertEquals(copied.code, 0, copied.stderr);
    assertEquals(await Deno.readFile(file), await Deno.readFile(output));
  } finally {
    await Deno.remove(file);
    await Deno.remove(output);
  }
});

Deno.test("bad input is one line, a remedy and its exit status", async () => {
  const noMap = (result: number): string => `soft:cuda?fail=cuMemHostRegister_v2%3A${result}`;
  await badInputIsExplained("gpu_nvme", [
    [["soft:nvme", "write"], 2, "usage", "write would write"],
    [["soft:nvme", "erase"], 2, "usage", "'erase' is nothing that gpu_nvme does"],
    [["soft:nvme?size=1MiB", "read", "--lba", "5000"], 2, "out-of-range", "blocks at 5000"],
    [["soft:nvme", "read", "--block-size", "1MiB"], 2, "usage", "at most 512 KiB at once"],
    [["soft:nvme", "read", "--depth", "64"], 2, "usage", "a warp keeps at most 32 commands in flight"],
    [["soft:nvme?mqes=31", "read", "--depth", "200", "--mode", "grid"], 2, "usage", "queues have 32 entries"],
    [["soft:nvme?queues=2", "read", "--queues", "4"], 2, "usage", "queues are lent"],
    [["soft:nvme", "resident", "--mode", "thread"], 2, "usage", "requests are served by warps"],
    [["soft:nvme", "resident", "--tier", "2"], 2, "usage", "requests bring data to host memory"],
    [["soft:nvme", "resident", "--html", "/tmp/x.html"], 2, "usage", "resident draws no charts"],
    [["soft:nvme", "cat", "/file", "--svg", "/tmp/x.svg"], 2, "usage", "cat draws no charts"],
    [["soft:nvme?ms=8", "read"], 3, "unsupported", "its blocks have metadata"],
    [["soft:nvme", "read", "--gpu", noMap(800)], 3, "permission", "(800 "],
    [["soft:nvme", "read", "--gpu", noMap(801)], 3, "unsupported", "(801 "],
    [["soft:nvme", "read", "--gpu", noMap(1)], 2, "usage", "(1 INVALID_VALUE)"],
  ], schema);
});

/** The ways that `paths` tells of, by their names. */
async function pathsOf(
  ...args: string[]
): Promise<Map<string, { missing: string | null; figures: { bytes: string } | null }>> {
  const { code, stdout, stderr } = await runTool("gpu_nvme", [...args, "--duration", "30ms", "--json"]);
  assertEquals(code, 0, stderr);
  const document = JSON.parse(stdout);
  assertEquals(schemaErrors(schema, document), "");
  return new Map(document.ways.map((way: { name: string }) => [way.name, way]));
}

Deno.test("paths measures every way that there is, and says of each other one why not", async () => {
  const KERNELS = ["kernels, tier 1", "kernels, tier 2", "kernels, tier 3"];
  const COPIES = ["CPU's driver and copy, pageable", "CPU's driver and copy, pinned"];
  const all = await pathsOf("soft:nvme?size=1MiB", "paths");
  for (const name of [...KERNELS, ...COPIES]) {
    assert(Number(all.get(name)?.figures?.bytes) > 0, `${name}: ${all.get(name)?.missing}`);
  }
  for (const name of ["kernel's O_DIRECT read and copy", "mmap and copy", "kernel's P2PDMA", "cuFile"]) {
    assertEquals(all.get(name)?.figures, null);
    assert((all.get(name)?.missing ?? "") !== "", name);
  }
  const noMap = await pathsOf("soft:nvme?size=1MiB", "paths", "--gpu", "soft:cuda?fail=cuMemHostRegister_v2%3A801");
  for (const name of [...KERNELS, "CPU's driver and copy, pinned"]) {
    assertStringIncludes(noMap.get(name)?.missing ?? "", "(801 ", name);
  }
  assert(Number(noMap.get("CPU's driver and copy, pageable")?.figures?.bytes) > 0);
  // Each transfer is copied, and a copy that fails ends the run.
  const noCopy = await runTool("gpu_nvme", [
    "soft:nvme",
    "paths",
    "--duration",
    "30ms",
    "--gpu",
    "soft:cuda?fail=cuMemcpyHtoDAsync_v2%3A700",
  ]);
  assertEquals(noCopy.code, 1, noCopy.stdout);
  assertStringIncludes(noCopy.stderr, "(700 ");
});

Deno.test("a kernel that stays and launches are compared, and each request's bytes are checked", async () => {
  for (const more of [[], ["--mode", "grid", "--depth", "48", "--block-size", "512"]]) {
    const args = ["soft:nvme?size=1MiB", "resident", "--duration", "30ms", "--random", "5", "--json", ...more];
    const { code, stdout, stderr } = await runTool("gpu_nvme", args);
    assertEquals(code, 0, stderr);
    const document = JSON.parse(stdout);
    assertEquals(schemaErrors(schema, document), "");
    const depth = more.length === 0 ? 32 : 48;
    assertEquals(
      document.ways.map(({ way, inFlight, wrong }: Record<string, unknown>) => [way, inFlight, wrong]),
      [["launch", 1, 0], ["resident", 1, 0], ["resident", depth, 0]],
    );
    for (const { requests } of document.ways) assert(requests > 0);
  }
});

Deno.test("figures are drawn: ways as bars, times of commands as histograms", async () => {
  const folder = await Deno.makeTempDir({ prefix: "busbar-charts-" });
  try {
    const files = ["--svg", `${folder}/a.svg`, "--html", `${folder}/a.html`];
    for (
      const [action, shown] of [
        ["paths", ["kernels, tier 3", "CPU's driver and copy, pinned", "GB/s"]],
        ["bench", ["build, by the GPU's timer", "wait, by the GPU's timer", "commands"]],
      ] as const
    ) {
      const drawn = await runTool("gpu_nvme", ["soft:nvme?size=1MiB", action, "--duration", "30ms", ...files]);
      assertEquals(drawn.code, 0, drawn.stderr);
      const [svg, html] = [await Deno.readTextFile(`${folder}/a.svg`), await Deno.readTextFile(`${folder}/a.html`)];
      assertMatch(svg, /^<svg/);
      for (const words of shown) assertStringIncludes(html.replaceAll("&#39;", "'").replaceAll("&apos;", "'"), words);
      assertStringIncludes(html, "<svg");
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(`${signal} in the middle of a kernel ends it, and what is in flight is waited for`, async () => {
    // Each command takes 100 ms, so that some are in flight whenever the signal comes.
    const drive = "soft:nvme?fault=latency%3D100000";
    const args = toolArgs("gpu_nvme", [drive, "bench", "--duration", "60s"]);
    const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "piped" }).spawn();
    const reader = child.stdout.getReader();
    // The method is printed once the queues are made.
    let text = "";
    while (!text.includes("tier 1")) text += new TextDecoder().decode((await reader.read()).value ?? new Uint8Array());
    await new Promise((resolve) => setTimeout(resolve, 300));
    const started = performance.now();
    child.kill(signal);
    const [{ code }, errors] = await Promise.all([child.status, new Response(child.stderr).text()]);
    await reader.cancel();
    assertEquals(code, status, errors);
    assertStringIncludes(errors, `ended by ${signal}`);
    assert(performance.now() - started < 10_000);
  });
}
