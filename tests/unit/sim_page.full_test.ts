import { assert, assertEquals } from "@std/assert";

import type { PartialConfig } from "../../src/sim/config.ts";
import { presetSettings } from "../../src/sim/presets.ts";
import { reportOf } from "../../src/sim/report.ts";
import type { RunReport } from "../../src/sim/report_document.ts";
import { runPage } from "../../tools/render/sim/run_page.ts";
import { sweepPage } from "../../tools/render/sweep/sweep_page.ts";
import { configEcho } from "../../tools/cxl_sim/echo.ts";
import { withNeeds } from "../needs.ts";
import { findChromium, measurePage } from "./chromium.ts";
import { simulate } from "./sim_run.ts";

interface Measured {
  readonly texts: readonly { text: string; x: number; y: number; right: number; bottom: number }[];
  readonly width: number;
  readonly height: number;
  readonly page: string;
  readonly fetched: readonly string[];
  readonly refused: readonly string[];
  readonly errors: readonly string[];
  readonly error?: string;
}

/** Runs in the page: where each text of the pictures stands, what was fetched, what went wrong. */
const MEASURE = `
const svg = document.querySelector("svg").getBoundingClientRect();
const texts = [...document.querySelectorAll("svg text")].filter((one) => one.textContent.trim() !== "").flatMap((one) => {
  const parts = one.querySelectorAll("tspan").length > 0 ? [...one.querySelectorAll("tspan")] : [one];
  return parts.map((part) => { const place = part.getBoundingClientRect();
    return { text: part.textContent, x: place.left, y: place.top, right: place.right, bottom: place.bottom }; });
}).filter(({ x, right }) => right > x);
return { texts, width: svg.right, height: svg.bottom, page: document.body.innerText, refused: window.refused,
  errors: window.errors ?? [], fetched: performance.getEntriesByType("resource").map((entry) => entry.name) };
`;

const chromium = findChromium();

const RUNS: Readonly<Record<string, readonly [Partial<PartialConfig>, string]>> = {
  "interleave over eight endpoints": [
    { topology: "((1,2)a,((3,4),5,6)b,7,8)", placement: "interleave", capacityBytes: [2 ** 24, 2 ** 26], epochNs: 1e4 },
    "gups?count=50000&gap=1",
  ],
  "tpp": [
    { capacityBytes: [2 ** 22, 2 ** 26], epochNs: 1e4, migration: { policies: ["tpp"], timeScale: 1000 } },
    "ycsb?count=50000&gap=1",
  ],
  "a measured curve": [
    { topology: "(1)", ...presetSettings("expander-curve"), capacityBytes: [0, 2 ** 27], window: 93 },
    "stream?count=50000&gap=0&writes=0.4",
  ],
};

function reportOfRun([given, source]: readonly [Partial<PartialConfig>, string]): RunReport {
  const state = simulate(given, source);
  return reportOf(state, {
    ...{ trace: source, config: configEcho(state.config), configHash: "0".repeat(64), origins: {}, notes: [] },
    ...{ incomplete: false, weight: null },
  });
}

/** A page in the browser: nothing is fetched, nothing goes wrong, no text of a picture is cut or lies on another. */
async function measure(html: string): Promise<Measured> {
  const watched = html.replace(
    "<head>",
    "<head><script>window.errors=[];addEventListener('error',(e)=>window.errors.push(String(e.message)))</script>",
  );
  const measured = await measurePage(chromium ?? "", watched, MEASURE) as Measured;
  assertEquals(measured.error, undefined);
  assertEquals([measured.fetched, measured.refused, measured.errors], [[], [], []]);
  for (const [i, a] of measured.texts.entries()) {
    assert(
      a.x >= 0 && a.right <= measured.width + 1 && a.bottom <= measured.height + 1,
      `${a.text} leaves the picture`,
    );
    for (const b of measured.texts.slice(i + 1)) {
      // Boxes of letters are taller than the letters: 3 pixels of them may touch.
      const apart = a.right <= b.x || b.right <= a.x || a.bottom - 3 <= b.y || b.bottom - 3 <= a.y;
      assert(apart, `'${a.text}' and '${b.text}' overlap at ${a.x},${a.y} and ${b.x},${b.y}`);
    }
  }
  return measured;
}

Deno.test({
  ...withNeeds(
    "the page of a sweep in a browser: no text overlaps, nothing is fetched, every number is there",
    "chromium",
  ),
  fn: async () => {
    const windows = [1, 4, 16, 64, 256];
    const trees = ["(1)", "(1,2)", "(1,(2,3))", "((1,2),(3,4))"];
    const rows = windows.flatMap((window, w) =>
      trees.map((topology, t) => ({
        id: `${w}-${t}`,
        parameters: { window, topology },
        state: w === 4 && t === 3 ? "failed" as const : "done" as const,
        fields: {
          "time.slowdown": w === 4 && t === 3 ? null : 1.05 + w * 0.731 + t * 0.117,
          "latency.p99Ns": 300 + 97 * w + t,
        },
        failure: w === 4 && t === 3 ? { code: "malformed", message: "no <room>", hint: null } : null,
        pareto: w === 0 && t === 0,
      }))
    );
    const html = await sweepPage({
      ...{ tool: "cxl_sim run", parameters: ["window", "topology"], fields: ["time.slowdown", "latency.p99Ns"] },
      ...{ minimise: ["time.slowdown"], maximise: [], done: 19, failed: 1, missing: 0, rows },
    });
    const { texts, page } = await measure(html);
    const drawn = texts.map(({ text }) => text);
    for (const { fields } of rows) {
      for (const value of Object.values(fields)) {
        if (value === null) continue;
        assert(drawn.includes(String(Number(value.toPrecision(4)))), `${value} is in a heat map`);
      }
    }
    assert(page.includes("failed: no <room>") && page.includes("19 done, 1 failed, 0 not run"));
  },
});

for (const [name, run] of Object.entries(RUNS)) {
  Deno.test({
    ...withNeeds(
      `the page of a run in a browser (${name}): no text overlaps, nothing is fetched, numbers are the JSON's`,
      "chromium",
    ),
    fn: async () => {
      const report = reportOfRun(run);
      const measured = await measure(await runPage(report));
      assert(measured.texts.length > 50);
      const texts = measured.texts.map(({ text }) => text);
      for (const { kind, utilisation, direction } of report.links.filter(({ kind }) => kind !== "local")) {
        const text = `${direction} ${Number((100 * (utilisation ?? 0)).toPrecision(3))} %`;
        assert(texts.includes(text), `${kind}: ${text}`);
      }
      for (const { GBs } of report.nodes.slice(1)) assert(texts.includes(`${Number(GBs.toPrecision(4))} GB/s`));
      assert(measured.page.includes(report.time.slowdown?.toFixed(4) ?? "-"));
    },
  });
}
