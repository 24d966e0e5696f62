import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import type { Chart } from "../../tools/render/chart/chart.ts";
import { environmentOf } from "../../src/memory/bench_environment.ts";
import type { BenchResult } from "../../src/memory/membench.ts";
import { benchCurves } from "../../tools/render/memory/membench_curves.ts";
import { MadeUpMachine } from "./machines.ts";
import { withNeeds } from "../needs.ts";
import { drawCharts } from "../../tools/render/chart/draw.ts";

const CHARTS: readonly Chart[] = [
  {
    title: "loaded <latency> & more",
    x: { title: "load, GB/s" },
    y: { title: "latency, ns", scale: "log" },
    layers: [
      {
        kind: "line",
        name: 'a "name" <b>',
        points: [[1, 100], [2, 110], [3, 400]],
        spread: [[90, 120], [100, 130], [300, 900]],
      },
      { kind: "dots", name: "this run", points: [[2.5, 200]] },
      { kind: "rule", axis: "x", value: 3, name: "limit" },
      { kind: "rule", axis: "y", value: 150, name: "idle" },
    ],
  },
  {
    title: "histogram",
    x: { title: "µs", scale: "log", base: 2 },
    y: { title: "commands", scale: "log" },
    layers: [{
      kind: "intervals",
      name: "reads",
      bars: [{ from: 1, to: 2, value: 4 }, { from: 2, to: 4, value: 900 }],
    }],
  },
  {
    title: "parts",
    x: { title: "ns" },
    y: { title: "", scale: "band" },
    layers: [{
      kind: "stack",
      parts: [{ bar: "read", part: "base", value: 80 }, { bar: "read", part: "path", value: 20 }],
    }],
  },
  {
    title: "matrix",
    x: { title: "to node", scale: "band" },
    y: { title: "from node", scale: "band" },
    layers: [{
      kind: "cells",
      title: "ns",
      cells: [{ x: "0", y: "0", value: 80, text: "80" }, { x: "1", y: "0", value: null }],
    }],
  },
];

Deno.test("a picture stands by itself: literal colours, a namespace, nothing fetched, no script", async () => {
  const svg = await drawCharts(CHARTS);
  assert(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg"'));
  for (const forbidden of ["currentColor", "var(", "<script", "href=", "url(", "NaN", "undefined", "Infinity"]) {
    assert(!svg.includes(forbidden), forbidden);
  }
  assertEquals(svg.match(/<style>/g)?.length, 1, "only the style sheet for dark screens");
});

Deno.test("names reach a picture as text only", async () => {
  const svg = await drawCharts(CHARTS);
  assert(!svg.includes("<b>") && !svg.includes("<latency>"));
  assertStringIncludes(svg, "a &#34;name&#34; &#60;b&#62;");
  assertStringIncludes(svg, "loaded &#60;latency&#62; &#38; more");
});

Deno.test("every layer draws what it holds", async () => {
  const svg = await drawCharts(CHARTS);
  const count = (label: string): number =>
    (svg.split(`aria-label="${label}"`)[1] ?? "").split("</g>")[0]?.match(/<(path|rect|circle)/g)?.length ?? 0;
  assertEquals([count("line"), count("dot"), count("rect"), count("bar"), count("cell")], [1, 3, 2, 2, 1]);
});

Deno.test("a chart without data is left out, and all without data is a picture of its own", async () => {
  const empty: Chart = {
    title: "nothing",
    x: { title: "" },
    y: { title: "" },
    layers: [{ kind: "line", name: "a", points: [] }],
  };
  assert(!(await drawCharts([empty])).includes("nothing"));
  assert((await drawCharts([])).trimEnd().endsWith("</svg>"));
});

Deno.test({
  ...withNeeds("librsvg draws the series in their colours", "rsvg-convert"),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/a.svg`, await drawCharts(CHARTS.slice(0, 1)));
      const { success, stderr } = await new Deno.Command("rsvg-convert", {
        args: [`${folder}/a.svg`, "-o", `${folder}/a.png`],
        stderr: "piped",
      }).output();
      assert(success, new TextDecoder().decode(stderr));
      const png = await Deno.readFile(`${folder}/a.png`);
      // Its header's width; and more bytes than one colour would take.
      assertEquals(new DataView(png.buffer).getUint32(16), 720);
      assert(png.length > 4000, `${png.length} bytes`);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

const POINT = { medianNs: 50, bestNs: 40, worstNs: 90, cpuShare: 1 };
const MEASURED = {
  name: "anonymous",
  latency: [{ ...POINT, workingSetBytes: 1 << 14 }, { ...POINT, workingSetBytes: 256 << 20 }],
  loaded: [{ ...POINT, delay: 0, bytesPerSecond: 1e9 }],
};

Deno.test("membench's curves mark each cache that the working sets reach on both sides of, and no other", async () => {
  const svg = await benchCurves([MEASURED] as unknown as readonly BenchResult[], [
    { name: "L1d", sizeBytes: 48 << 10 },
    { name: "L2", sizeBytes: 2 << 20 },
    { name: "L3", sizeBytes: 1 << 30 },
  ]);
  for (const text of ["L1d 48 KiB", "L2 2 MiB"]) assertStringIncludes(svg, text);
  assert(!svg.includes("L3"));
  assertStringIncludes(svg, "prefers-color-scheme: dark");
});

Deno.test("membench's points have a line from their best sample to their worst", async () => {
  const svg = await benchCurves([MEASURED] as unknown as readonly BenchResult[], []);
  const spreads = svg.split('aria-label="rule"').slice(1).map((part) => part.split("</g>")[0]?.match(/<line/g)?.length);
  assertEquals(spreads, [2, 1], "two working sets, one load");
});

Deno.test("the machine's caches of data are read with their levels; what is odd is left out", () => {
  const machine = new MadeUpMachine();
  const caches: readonly (readonly [level: string, type: string, size: string])[] = [
    ["1", "Data", "48K"],
    ["1", "Instruction", "32K"],
    ["2", "Unified", "2048K"],
    ["3", "Unified", "much"],
  ];
  for (const [i, [level, type, size]] of caches.entries()) {
    const folder = `/sys/devices/system/cpu/cpu0/cache/index${i}`;
    machine.file(`${folder}/level`, `${level}\n`).file(`${folder}/type`, `${type}\n`).file(
      `${folder}/size`,
      `${size}\n`,
    );
  }
  assertEquals(environmentOf(machine).caches, [{ name: "L1d", sizeBytes: 49152 }, { name: "L2", sizeBytes: 2097152 }]);
});
