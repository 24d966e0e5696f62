import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { schemaErrors } from "../unit/schema.ts";
import { badInputIsExplained, runTool, toolArgs } from "./tool.ts";

/** 60 points of a few milliseconds, and where `count` is given of a few tens of them. */
function gridText(count = 3000): string {
  return `tool: cxl_sim run
options: { synthetic: "gups?count=${count}", placement: interleave, weights: [0, 1, 1, 1] }
parameters:
  window: { from: 1, to: 16, factor: 2 }
  topology: ["(1,(2,3))", "(1,2,3)", "((1,2,3))"]
  switch-latency: [50, 70, 100, 150]
report: { fields: [latency.p99Ns], minimise: [time.slowdown, window] }
`;
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function resultsIn(folder: string): Promise<Map<string, number | undefined>> {
  const entries = await Array.fromAsync(Deno.readDir(folder));
  const names = entries.map(({ name }) => name).filter((name) => /^[0-9a-f]{24}(\.failed)?\.json$/.test(name)).sort();
  return new Map(
    await Promise.all(
      names.map(async (name) => [name, (await Deno.stat(`${folder}/${name}`)).mtime?.getTime()] as const),
    ),
  );
}

Deno.test("cxl_sim sweep: 60 points with 1 and 4 workers print the same bytes; a point is what cxl_sim run prints", async () => {
  await inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/grid.yaml`, gridText());
    const sweep = (workers: number, output: string): Promise<{ code: number; stdout: string; stderr: string }> =>
      runTool("cxl_sim", [
        "sweep",
        `${folder}/grid.yaml`,
        `--workers=${workers}`,
        `--output=${folder}/${output}`,
        "--json",
      ]);
    const one = await sweep(1, "one");
    const four = await sweep(4, "four");
    assertEquals([one.code, four.code], [0, 0], one.stderr + four.stderr);
    assertEquals(four.stdout, one.stdout);
    const report = JSON.parse(one.stdout);
    const schema = JSON.parse((await runTool("cxl_sim", ["sweep", "--json-schema"])).stdout);
    assertEquals(schemaErrors(schema, report), "");
    assertEquals([report.done, report.failed, report.missing], [60, 0, 0]);
    const { id } = report.rows[17];
    const kept = JSON.parse(await Deno.readTextFile(`${folder}/one/${id}.json`));
    const alone = await runTool("cxl_sim", ["run", ...kept.commandLine, "--json"]);
    assertEquals(JSON.stringify(kept.result), JSON.stringify(JSON.parse(alone.stdout)));
    assertEquals(report.rows[17].fields["latency.p99Ns"], kept.result.latency.p99Ns);
    assertEquals(await resultsIn(`${folder}/one`).then((map) => map.size), 60);
  });
});

Deno.test("cxl_sim sweep killed half-way and run again: only the missing points run", async () => {
  await inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/grid.yaml`, gridText(20_000));
    const args = ["sweep", `${folder}/grid.yaml`, "--workers=2", "--json"];
    const output = `${folder}/grid.results`;
    const killed = new Deno.Command(Deno.execPath(), {
      args: toolArgs("cxl_sim", args),
      stdout: "null",
      stderr: "null",
    }).spawn();
    let before = new Map<string, number | undefined>();
    for (const deadline = Date.now() + 30_000; before.size < 20 && Date.now() < deadline;) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      before = await resultsIn(output).catch(() => new Map());
    }
    killed.kill("SIGKILL");
    await killed.status;
    before = await resultsIn(output);
    assert(before.size >= 20 && before.size < 60, String(before.size));
    const again = await runTool("cxl_sim", args);
    assertEquals(again.code, 0, again.stderr);
    const after = await resultsIn(output);
    assertEquals(after.size, 60);
    for (const [name, time] of before) assertEquals(after.get(name), time, "a finished point was not run again");
    const third = await runTool("cxl_sim", args);
    assertEquals(third.stdout, again.stdout);
    assertEquals(await resultsIn(output), after);
  });
});

Deno.test("cxl_sim sweep: a failed point stops nobody and is kept with its reason; pictures and CSV are written", async () => {
  await inFolder(async (folder) => {
    const trace = `${folder}/t.csv`;
    await Deno.writeTextFile(trace, "0,0,R,0x100000000,64\n5,0,R,0x100000040,64\n1,0,R,0x100000080,64\n");
    await Deno.writeTextFile(
      `${folder}/grid.yaml`,
      `tool: cxl_sim\nparameters: { window: [1, 2], trace: ["${trace}", "${folder}/u.csv"] }\n` +
        `report: { fields: [time.simulatedNs], maximise: [window] }\n`,
    );
    await Deno.writeTextFile(`${folder}/u.csv`, "0,0,R,0x100000000,64\n");
    const output = await runTool("cxl_sim", [
      "sweep",
      `${folder}/grid.yaml`,
      "--json",
      `--csv=${folder}/s.csv`,
      `--html=${folder}/s.html`,
      `--svg=${folder}/svg`,
    ]);
    assertEquals(output.code, 1, output.stderr);
    const report = JSON.parse(output.stdout);
    assertEquals([report.done, report.failed], [2, 2]);
    assertStringIncludes(report.rows[0].failure.message, "t.csv:3");
    assertEquals(report.rows.map(({ pareto }: { pareto: boolean }) => pareto), [false, false, false, true]);
    assertStringIncludes(await Deno.readTextFile(`${folder}/s.csv`), ",failed,false\n");
    const page = await Deno.readTextFile(`${folder}/s.html`);
    assertStringIncludes(page, "time.simulatedNs");
    assert(!/(src|href)=/.test(page));
    assertEquals((await Array.fromAsync(Deno.readDir(`${folder}/svg`))).map(({ name }) => name), [
      "time.simulatedNs.svg",
    ]);
  });
});

Deno.test("cxl_sim sweep: a wrong grid is one line, and nothing is started", async () => {
  await inFolder(async (folder) => {
    const file = async (name: string, text: string): Promise<string> => {
      await Deno.writeTextFile(`${folder}/${name}.yaml`, text);
      return `${folder}/${name}.yaml`;
    };
    const run = "tool: cxl_sim run\noptions: { synthetic: gups }\n";
    const schema = JSON.parse((await runTool("cxl_sim", ["sweep", "--json-schema"])).stdout);
    await badInputIsExplained("cxl_sim", [
      [["sweep"], 2, "usage", "which grid"],
      [["sweep", `${folder}/none.yaml`], 3, "absent", "none.yaml"],
      [["sweep", await file("empty", "")], 2, "malformed", "empty.yaml"],
      [["sweep", await file("yaml", "a: [")], 2, "malformed", "yaml.yaml"],
      [["sweep", await file("tool", "tool: membench\nparameters: { a: [1] }")], 2, "usage", "membench"],
      [["sweep", await file("option", `${run}parameters: { windw: [1] }`)], 2, "usage", "point 1, --synthetic=gups"],
      [["sweep", await file("value", `${run}parameters: { window: [1, x] }`)], 2, "usage", "point 2"],
      [["sweep", await file("setting", `${run}parameters: { topology: ["(1)", "(1"] }`)], 2, "usage", "point 2"],
      [["sweep", await file("no", "tool: cxl_sim run\nparameters: { window: [1] }")], 2, "usage", "which accesses"],
    ], schema);
    const left = (await Array.fromAsync(Deno.readDir(`${folder}`))).filter(({ name }) => name.endsWith(".results"));
    for (const { name } of left) assertEquals((await resultsIn(`${folder}/${name}`)).size, 0);
  });
});
