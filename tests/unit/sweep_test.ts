import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";

import { BusbarError } from "../../src/core/error.ts";
import { checkGrid, gridOf } from "../../src/sweep/grid_file.ts";
import { chunkSize } from "../../src/sweep/slurm.ts";
import {
  combinationsOf,
  commandLineOf,
  type Grid,
  LineWorker,
  LocalScheduler,
  type Outcome,
  paretoFront,
  type Point,
  pointsOf,
  type PointWorker,
  ProcessWorker,
  Results,
  runChunk,
  sweepReport,
} from "../../src/sweep/mod.ts";

const FACTS = { version: "1", inputOptions: ["trace"] };

function grid(source: Record<string, unknown> = {}): Grid {
  return gridOf({ tool: "tool run", parameters: { a: [1, 2, 3], b: ["x", "y"] }, ...source }, "grid.yaml");
}

/** Counts how often each point runs; point 4 fails. */
class Counting implements PointWorker {
  static runs: string[] = [];
  static cancelAfter = Infinity;
  static cancel: () => void = () => {};

  async run(point: Point, signal: AbortSignal): Promise<Outcome | null> {
    await new Promise((resolve) => setTimeout(resolve, (point.index * 7) % 5));
    if (signal.aborted) return null;
    Counting.runs.push(point.id);
    if (Counting.runs.length === Counting.cancelAfter) Counting.cancel();
    if (point.index === 4) return { failure: { code: "malformed", message: "four", hint: null } };
    return { result: { time: { value: point.index * 10 }, text: String(100 - point.index) } };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

async function runAll(points: readonly Point[], folder: string, workers: number): Promise<void> {
  using results = Results.hold(folder);
  const states = results.states();
  const left = points.filter(({ id }) => !states.has(id));
  const batch = await new LocalScheduler({ workers, openWorker: () => new Counting() }).start(left, results);
  Counting.cancel = () => void batch.cancel();
  await batch.finished();
}

Deno.test("a grid is the product of its parameters, the last one changing first, and a command line for each", () => {
  const all = [...combinationsOf(grid())].map(({ parameters }) => commandLineOf(parameters, []).join(" "));
  assertEquals(all, ["--a=1 --b=x", "--a=1 --b=y", "--a=2 --b=x", "--a=2 --b=y", "--a=3 --b=x", "--a=3 --b=y"]);
  assertEquals(commandLineOf({ l: [1, 2], on: true, off: false, no: null, s: "-5" }, ["--", "p"]), [
    "--l=1,2",
    "--on",
    "--s=-5",
    "--",
    "p",
  ]);
});

Deno.test("ranges: steps, factors and counts hold both ends, and 0.1 · 3 is 0.3", () => {
  const values = (range: Record<string, number>): unknown => grid({ parameters: { a: range } }).parameters[0]?.values;
  assertEquals(values({ from: 0.1, to: 0.5, step: 0.1 }), [0.1, 0.2, 0.3, 0.4, 0.5]);
  assertEquals(values({ from: 1, to: 64, factor: 4 }), [1, 4, 16, 64]);
  assertEquals(values({ from: 1, to: 2, steps: 5 }), [1, 1.25, 1.5, 1.75, 2]);
  assertEquals(values({ from: 1, to: 10, step: 4 }), [1, 5, 9]);
  assertEquals(values({ from: 10, to: 1000, factor: 10 }), [10, 100, 1000]);
});

Deno.test("a grid with mistakes tells each of them", () => {
  const mistakes = (source: unknown): readonly string[] => {
    const checked = checkGrid(source);
    return "mistakes" in checked ? checked.mistakes : [];
  };
  const parameters = { a: [1] };
  for (
    const [source, expected] of [
      [{}, ["tool:", "parameters:"]],
      [{ tool: "t", parameters, zap: 1 }, ["there is no 'zap'"]],
      [{ tool: "../t", parameters }, ["tool: is no tool"]],
      [{ tool: "t", parameters: { "--a": [1] } }, ["no long name"]],
      [{ tool: "t", parameters: { a: [] } }, ["parameters.a"]],
      [{ tool: "t", parameters: { a: [1, 1] } }, ["the same value twice"]],
      [{ tool: "t", parameters, options: { a: 1 } }, ["is an option too"]],
      [{ tool: "t", parameters: { a: { from: 1, to: 2 } } }, ["one of step, factor and steps"]],
      [{ tool: "t", parameters: { a: { from: 1, to: 2, step: 1, factor: 2 } } }, ["one of step, factor and steps"]],
      [{ tool: "t", parameters: { a: { from: 2, to: 1, step: 1 } } }, ["goes down"]],
      [{ tool: "t", parameters: { a: { from: 1, to: 2, step: 0 } } }, ["not above 0"]],
      [{ tool: "t", parameters: { a: { from: 0, to: 2, factor: 2 } } }, ["from above 0"]],
      [{ tool: "t", parameters: { a: { from: 0, to: 1e9, step: 1 } } }, ["are the most"]],
      [{ tool: "t", parameters: { a: { from: 1, to: Infinity, step: 1 } } }, ["parameters.a"]],
      [
        { tool: "t", parameters: { a: { from: 1, to: 2000, step: 1 }, b: { from: 1, to: 2000, step: 1 } } },
        ["4000000 runs"],
      ],
    ] as const
  ) {
    const found = mistakes(source);
    for (const text of expected) assert(found.some((one) => one.includes(text)), `${text} in ${found.join("; ")}`);
  }
  assertThrows(() => gridOf({ tool: "t" }, "g.yaml"), BusbarError, "g.yaml: parameters");
});

Deno.test("a point's name: the same for any order of options, another for another value, version or input", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const trace = `${folder}/t.csv`;
    await Deno.writeTextFile(trace, "1");
    const first = async (source: Record<string, unknown>, version = "1"): Promise<string> =>
      (await pointsOf(grid(source), { ...FACTS, version }))[0]?.id ?? "";
    const name = await first({ options: { trace, z: 1 } });
    assertEquals(await first({ options: { z: 1, trace } }), name);
    assertEquals(await first({ options: { z: 1, trace, off: false } }), name);
    assertEquals(await first({ options: { z: 1, trace }, parameters: { a: [1], b: ["x"] } }), name);
    const others = [
      await first({ options: { trace, z: 2 } }),
      await first({ options: { trace, z: 1 } }, "2"),
      await first({ options: { trace, z: 1 }, arguments: ["x"] }),
      await first({ options: { trace, z: 1 }, tool: "tool other" }),
    ];
    await Deno.writeTextFile(trace, "2");
    others.push(await first({ options: { trace, z: 1 } }));
    assertEquals(new Set([name, ...others]).size, 6);
    await assertRejects(() => first({ options: { trace: `${folder}/none` } }), BusbarError, "none");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("60 points with 1 and 4 workers give the same report; ended half-way, only the missing ones run again", async () => {
  const wide = grid({
    parameters: { a: { from: 1, to: 20, step: 1 }, b: ["x", "y", "z"] },
    report: { fields: ["text"], minimise: ["time.value"], maximise: ["a"] },
  });
  const points = await pointsOf(wide, FACTS);
  const folders = [await Deno.makeTempDir(), await Deno.makeTempDir()] as const;
  try {
    Counting.runs = [];
    await runAll(points, folders[0], 1);
    assertEquals(Counting.runs.length, 60);
    Counting.runs = [];
    Counting.cancelAfter = 30;
    await runAll(points, folders[1], 4);
    Counting.cancelAfter = Infinity;
    using half = Results.read(folders[1]);
    const states = half.states();
    assert(states.size >= 30 && states.size < 60, String(states.size));
    await runAll(points, folders[1], 4);
    assertEquals(Counting.runs.length, 60, "no point ran twice");
    assertEquals(new Set(Counting.runs).size, 60);
    using one = Results.read(folders[0]);
    const report = sweepReport(wide, points, one);
    assertEquals(JSON.stringify(report), JSON.stringify(sweepReport(wide, points, half)));
    assertEquals([report.done, report.failed, report.missing], [59, 1, 0]);
    assertEquals(report.rows[4]?.failure?.message, "four");
    assertEquals(report.rows[5]?.fields, { text: "95", "time.value": 50 });
    // Value and a grow together: of each a the first b is on the front; 4 failed, it is not of them.
    assertEquals(
      report.rows.flatMap(({ pareto }, i) => pareto ? [i] : []),
      Array.from({ length: 20 }, (_, i) => 3 * i),
    );
    for await (const { name } of Deno.readDir(folders[1])) assert(!name.endsWith(".tmp"), name);
  } finally {
    for (const folder of folders) await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a folder in which a sweep runs is refused to another; a file that is no result is named", async () => {
  const folder = await Deno.makeTempDir();
  const [point] = await pointsOf(grid(), FACTS);
  assert(point !== undefined);
  try {
    using results = Results.hold(folder);
    assertEquals(assertThrows(() => Results.hold(folder), BusbarError, "another sweep").code, "busy");
    results.store(point, { failure: { code: "bug", message: "m", hint: null } });
    assertEquals(results.states().get(point.id), "failed");
    results.store(point, { result: 1 });
    assertEquals([...results.states()], [[point.id, "done"]]);
    for (const text of ["", "{", "[]", "null", `{"schema":"sweep_point/1","id":"other","result":1}`]) {
      await Deno.writeTextFile(`${folder}/${point.id}.json`, text);
      assertThrows(() => results.load(point.id), BusbarError, `${point.id}.json`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("Pareto front: equal to comparing every point with every other, on random points", () => {
  const cost = fc.option(fc.array(fc.nat(6), { minLength: 3, maxLength: 3 }), { nil: null });
  fc.assert(
    fc.property(fc.array(cost, { maxLength: 40 }), (costs) => {
      const beaten = (a: readonly number[]): boolean =>
        costs.some((b) => b !== null && b.every((v, i) => v <= (a[i] ?? 0)) && b.some((v, i) => v < (a[i] ?? 0)));
      assertEquals(paretoFront(costs), costs.map((one) => one !== null && !beaten(one)));
    }),
    { numRuns: 300, seed: 5 },
  );
});

/** A process that does what the text of its option says. */
const CHILD = `
const words = Deno.args;
const what = (line) => (line.find((one) => one.startsWith("--a=")) ?? "--a=").slice(4);
const reply = (kind) => {
  if (kind === "die") Deno.kill(Deno.pid, "SIGKILL");
  if (kind === "term") Deno.kill(Deno.pid, "SIGTERM");
  if (kind === "exit") { console.error("no room"); Deno.exit(3); }
  return kind;
};
if (words[0] === "lines") {
  let text = "";
  for await (const bytes of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    text += bytes;
    for (let at; (at = text.indexOf("\\n")) >= 0; text = text.slice(at + 1)) {
      const { id, commandLine } = JSON.parse(text.slice(0, at));
      const kind = reply(what(commandLine));
      if (kind === "hang") await new Promise((resolve) => setTimeout(resolve, 60000));
      else if (kind === "garbage") console.log("{");
      else if (kind === "fail") console.log(JSON.stringify({ id, failure: { code: "usage", message: "f", hint: null } }));
      else console.log(JSON.stringify({ id, result: { kind } }));
    }
  }
} else {
  const kind = reply(what(words));
  if (kind === "hang") await new Promise((resolve) => setTimeout(resolve, 60000));
  else if (kind === "garbage") console.log("{");
  else if (kind === "fail") { console.log(JSON.stringify({ error: { code: "usage", message: "f" } })); Deno.exit(2); }
  else console.log(JSON.stringify({ kind }));
}
`;

for (const way of ["lines", "process"]) {
  Deno.test(`workers (${way}): a crash, garbage, a hang and a failure are kept with their reason and stop nobody`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/child.js`, CHILD);
      const values = ["one", "die", "exit", "garbage", "fail", "hang", "term", "two"];
      const points = await pointsOf(grid({ parameters: { a: values } }), FACTS);
      const command = [Deno.execPath(), "run", "-A", "--no-config", `${folder}/child.js`];
      await using worker = way === "lines"
        ? new LineWorker([...command, "lines"], 2500)
        : new ProcessWorker(command, 2500);
      const seen: string[] = [];
      for (const point of points) {
        const outcome = await worker.run(point, new AbortController().signal);
        seen.push(
          outcome === null ? "null" : "failure" in outcome ? outcome.failure.message : JSON.stringify(outcome.result),
        );
      }
      assertEquals(seen, [
        '{"kind":"one"}',
        "the run ended: SIGKILL",
        "no room",
        way === "lines" ? "the worker's answer is none to this point" : "the run ended: exit status 0",
        "f",
        "the run took more than 2.5 s",
        "null",
        '{"kind":"two"}',
      ]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("zip lets parameters change together, where leaves points out; mistakes in both are named", () => {
  const of = (more: Record<string, unknown>): string[] =>
    [...combinationsOf(gridOf({
      tool: "membench",
      parameters: { a: [1, 2, 3], b: ["x", "y", "z"], c: [true, false] },
      ...more,
    }, "grid"))].map(({ parameters, index }) => `${index}:${parameters.a}${parameters.b}${parameters.c ? "+" : "-"}`);
  assertEquals(of({ zip: [["a", "b"]] }), ["0:1x+", "1:1x-", "2:2y+", "3:2y-", "4:3z+", "5:3z-"]);
  assertEquals(of({ where: ["a >= 2", "b == x or c == true", "a != 3"] }), ["0:2x+", "1:2x-", "2:2y+", "3:2z+"]);
  assertEquals(of({ where: ['b == "y"', "c == false"], options: { d: 2 } }), ["0:1y-", "1:2y-", "2:3y-"]);
  assertEquals(of({ where: ["a == d", "b == x"], options: { d: 2 } }), ["0:2x+", "1:2x-"]);
  for (
    const [more, part] of [
      [{ zip: [["a", "c"]] }, "different numbers of values"],
      [{ zip: [["a", "n"]] }, "no parameter 'n'"],
      [{ zip: [["a", "b"], ["b", "a"]] }, "twice"],
      [{ where: ["a"] }, "is no comparison"],
      [{ where: ["n == 1"] }, "neither a parameter nor an option"],
      [{ where: ["a > 3"] }, "no point fulfils it"],
    ] as const
  ) assertThrows(() => of(more), BusbarError, part);
});

Deno.test("chunks are as long as they should be, fit in few arrays, and are never empty", () => {
  assertEquals(chunkSize(300, 1000, 60_000, 1000), 60);
  assertEquals(chunkSize(10, 1000, 60_000, 1000), 10);
  assertEquals(chunkSize(100, 120_000, 60_000, 1000), 1);
  assertEquals(chunkSize(100_000, 120_000, 60_000, 1000), 25);
  assertEquals(chunkSize(0, 1, 60_000, 1000), 1);
});

Deno.test("a chunk that is run again runs only the points without a result", async () => {
  const folder = await Deno.makeTempDir();
  const points = Array.from({ length: 6 }, (_, index): Point => ({
    id: index.toString(16).padStart(24, "0"),
    index,
    parameters: { n: index },
    options: { n: index },
    commandLine: [`--n=${index}`],
  }));
  const path = `${folder}/chunks.json`;
  await Deno.writeTextFile(
    path,
    JSON.stringify({ schema: "sweep_chunks/1", folder, chunks: [points.slice(0, 3), points.slice(3)] }),
  );
  const ran: number[] = [];
  const stop = new AbortController();
  const worker = (): PointWorker => ({
    run({ index }): Promise<Outcome | null> {
      ran.push(index);
      const isLost = index === 1 && !stop.signal.aborted;
      if (isLost) stop.abort();
      return Promise.resolve(isLost ? null : { result: { index } });
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  const run = (index: number, signal: AbortSignal): Promise<void> =>
    runChunk(path, index, (one) => Results.read(one), worker, signal);
  // A node is lost in the middle of the second point.
  await run(0, stop.signal);
  await run(0, new AbortController().signal);
  await run(1, new AbortController().signal);
  assertEquals(ran, [0, 1, 1, 2, 3, 4, 5]);
  assertEquals([...Results.read(folder).states().values()], points.map(() => "done"));
  await assertRejects(() => run(2, new AbortController().signal), BusbarError, "no chunk 2");
  await Deno.remove(folder, { recursive: true });
});
