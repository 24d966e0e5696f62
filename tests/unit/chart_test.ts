import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import type { Chart } from "../../tools/render/chart/chart.ts";
import type { BenchResult } from "../../src/memory/membench.ts";
import { benchCurves } from "../../tools/render/memory/membench_curves.ts";
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

Deno.test("membench's curves mark the largest cache where the working sets reach on both sides of it", async () => {
  const point = (workingSetBytes: number): object => ({ workingSetBytes, medianNs: 5, bestNs: 4, cpuShare: 1 });
  const result = { name: "anonymous", latency: [point(1 << 20), point(256 << 20)], loaded: null };
  const curves = async (cache: string | null): Promise<string> =>
    await benchCurves([result] as unknown as readonly BenchResult[], cache);
  assertStringIncludes(await curves("L3 32768K"), "L3 32 MiB");
  for (const cache of ["L3 1048576K", "L3 <b>", null]) assert(!(await curves(cache)).includes("L3"), `${cache}`);
});
