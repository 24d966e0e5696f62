/**
 * Every renderer of tools/render with a sample that is hostile wherever a stranger's text can stand. For
 * renderers_test.ts: a new renderer needs a sample here.
 * @module
 */

import { Unknown } from "../../src/core/fact.ts";
import { Histogram } from "../../src/core/histogram.ts";
import type { DrivePath } from "../../src/gpu/nvme_paths.ts";
import { readCxlOverview } from "../../src/cxl/overview.ts";
import { readDamon } from "../../src/memory/damon.ts";
import { readTierState } from "../../src/memory/tiers.ts";
import { NVME_PAGES } from "../../src/nvme/tables/pages.ts";
import { decodeRegisters } from "../../src/nvme/tables/register_dump.ts";
import { reportConfig } from "../../src/pci/config_report.ts";
import { readPciFunction } from "../../src/pci/function.ts";
import type { PciNames } from "../../src/pci/ids.ts";
import { readInventory } from "../../src/pci/inventory.ts";
import { reportOf } from "../../src/sim/report.ts";
import { configEcho } from "../../tools/cxl_sim/echo.ts";
import { drawCharts } from "../../tools/render/chart/draw.ts";
import { cxlLines } from "../../tools/render/cxl/cxl_region.ts";
import { fleetPage } from "../../tools/render/fleet/fleet_page.ts";
import { fleetLines, headline } from "../../tools/render/fleet/fleet_text.ts";
import { p2pLines } from "../../tools/render/gpu/check_p2p.ts";
import { gpuNvmeLines, methodLines } from "../../tools/render/gpu/gpu_nvme.ts";
import { gpuNvmeHtml, gpuNvmeSvg, pathsCharts } from "../../tools/render/gpu/gpu_nvme_charts.ts";
import { catLines, loadLines } from "../../tools/render/gpu/gpu_nvme_files.ts";
import { pathsLines, pathsMethodLines } from "../../tools/render/gpu/gpu_nvme_paths.ts";
import { residentMethodLines } from "../../tools/render/gpu/gpu_nvme_resident.ts";
import { countedLines, ptxLines } from "../../tools/render/gpu/soft_cuda.ts";
import { eventLine, healthLines } from "../../tools/render/health/health.ts";
import { damonLines } from "../../tools/render/memory/damon_config.ts";
import {
  daxDeviceCells,
  findingLines,
  logLines,
  namespaceCells,
  processLines,
} from "../../tools/render/memory/dax_config.ts";
import { benchLines, comparison, environmentLines, machineLine } from "../../tools/render/memory/membench.ts";
import { benchCurves, benchHtml, benchPage } from "../../tools/render/memory/membench_curves.ts";
import { weightLines } from "../../tools/render/memory/interleave_weights.ts";
import { matrixMethodLines, matrixPage, nodeMatrixLines } from "../../tools/render/memory/matrix.ts";
import { namespaceListLines } from "../../tools/render/memory/namespaces.ts";
import { columnNotes, counterTable, TABLE_FORMATS } from "../../tools/render/memory/numa_stats.ts";
import { experimentLines, tierLines } from "../../tools/render/memory/tiering.ts";
import { reportLines as nvmeReportLines } from "../../tools/render/nvme/nvme_identify.ts";
import { histogramLog } from "../../tools/render/nvme/latency_file.ts";
import { benchLines as nvmeBenchLines, ioResultLines } from "../../tools/render/nvme/nvme_io.ts";
import { verifiedLines } from "../../tools/render/nvme/transfers.ts";
import * as oradax from "../../tools/render/oradax/oradax.ts";
import * as config from "../../tools/render/pci/config_report.ts";
import { changeLine, inventoryLines } from "../../tools/render/pci/inventory.ts";
import { barLine, functionLine } from "../../tools/render/pci/pci.ts";
import { accessLines } from "../../tools/render/pci/register_access.ts";
import { changeLines, registerLines } from "../../tools/render/pci/registers.ts";
import { pictureBoxes, summaryOf } from "../../tools/render/pci/topology_labels.ts";
import { pictureHtml } from "../../tools/render/pci/topology_page.ts";
import { pictureSvg, subtitleOf } from "../../tools/render/pci/topology_picture.ts";
import { matrixLines, treeLines } from "../../tools/render/pci/topology_text.ts";
import { loadedChart } from "../../tools/render/sim/loaded_chart.ts";
import { runPage, runPictures } from "../../tools/render/sim/run_page.ts";
import { explanationLines, runLines } from "../../tools/render/sim/run_text.ts";
import { topologyChart } from "../../tools/render/sim/topology_chart.ts";
import { sweepPage, sweepPictures } from "../../tools/render/sweep/sweep_page.ts";
import { fieldText, sweepCsv, sweepLines } from "../../tools/render/sweep/sweep_text.ts";
import { infoLines, quirkLines } from "../../tools/render/type2/info.ts";
import { CxlMachine } from "./cxl_machine.ts";
import { pciMachine } from "./pci_machine.ts";
import { matrix, shown, topology } from "./picture_machine.ts";
import { simulate } from "./sim_run.ts";
import { TiersMachine } from "./tiers_machine.ts";

/** Gives a stranger's text, another one at each call. */
export type Next = () => string;

/** One renderer: `text` gives lines for the terminal, which `print` escapes; `file` gives a whole file. */
export interface Renderer {
  readonly text?: (next: Next) => string[];
  readonly file?: (next: Next) => string | Promise<string>;
  /** How many scripts of its own a page has; none by default. */
  readonly scripts?: number;
}

/** A sample is as its renderer's argument in what the renderer reads of it. */
function made<T>(value: unknown): T {
  return value as T;
}

/**
 * A copy with a stranger's text in place of every text, except in the members named: names of our own, numbers as
 * text, what goes round in a circle.
 */
function hostile<T>(value: T, next: Next, own: readonly string[] = []): T {
  const copy = (one: unknown, name: string): unknown => {
    if (own.includes(name)) return one;
    if (typeof one === "string") return /^\d+$/.test(one) ? one : next();
    if (Array.isArray(one)) return one.map((element) => copy(element, name));
    if (one instanceof Unknown) return new Unknown(next());
    if (one instanceof Map) {
      return new Map(Array.from(one, ([key, element]) => [copy(key, name), copy(element, name)]));
    }
    if (one instanceof Set) return new Set(Array.from(one, (element) => copy(element, name)));
    if (one !== null && typeof one === "object" && Object.getPrototypeOf(one) === Object.prototype) {
      return Object.fromEntries(Object.entries(one).map(([key, element]) => [key, copy(element, key)]));
    }
    return one;
  };
  return copy(value, "") as T;
}

/** A database that has another name at every look. */
function namesOf(next: Next): PciNames {
  return { path: next(), vendor: next, device: next, class: next };
}

function histogram(): Histogram {
  const times = new Histogram();
  for (let i = 1; i < 2000; i++) times.add(100 * i);
  return times;
}

const plan = { transferBlocks: 8, namespace: { blockBytes: 512 }, depth: 1, queues: 1 };
const rate = { perSecond: 1e9, cpuShare: 0.5, systemShare: 0.1 };

const MACHINE = pciMachine({
  functions: [
    { at: "00:01.0", id: "8086:347a", kind: "root-port", buses: [1, 1], link: [4, 4, 4, 4] },
    { at: "01:00.0", id: "144d:a80a", class: "010802", link: [1, 4, 4, 4], driver: "nvme", node: 1, group: 7 },
  ],
}).host;
const FUNCTION = readPciFunction(MACHINE, "0000:01:00.0");
const CONFIG = reportConfig(MACHINE.readBytes("/sys/bus/pci/devices/0000:01:00.0/config", 0, 4096));
const DEVICES = readInventory(MACHINE).devices;
const DEVICE_OWN = ["kind", "node", "link"];
const REGISTERS = decodeRegisters([{ offset: 0, bytes: new Uint8Array(64).fill(0xa5) }]);

const direct = (next: Next): Record<string, unknown> => ({
  ...plan,
  device: next(),
  gpu: next(),
  action: next(),
  mode: "thread",
  doorbells: "mmio",
});

const ways = (next: Next): DrivePath[] => [
  {
    name: next(),
    copies: 1,
    figures: { transfers: 1, bytes: 4096, elapsedMs: 1, latency: histogram(), cpuSeconds: 1 },
    missing: null,
  },
  { name: next(), copies: 1, figures: null, missing: next() },
];

const file = (next: Next): Record<string, unknown> => ({
  gpu: next(),
  map: { key: { fileSystem: next(), uuid: next(), sizeBytes: 1 }, extents: [], path: next() },
  resolve: "host",
  elapsedMs: 1,
});

const result = (next: Next): Record<string, unknown> => ({
  transfers: 10,
  bytes: 40_960,
  elapsedMs: 5,
  mismatch: { lba: 1n, offset: 0, text: next() },
  submitted: 10,
  tailRings: 1,
  headRings: 1,
  latency: histogram(),
  times: { build: histogram(), ring: histogram(), wait: histogram() },
});

const benchResults = (next: Next): unknown[] =>
  Array.from({ length: 40 }, (_, n) => ({
    name: next(),
    kind: next(),
    sizeBytes: 1 << 20,
    persistence: next(),
    latency: [1, 2, 3].map((i) => ({
      workingSetBytes: 4096 << i,
      ...{ medianNs: 10 * i * (n + 1), bestNs: 9 * i * (n + 1), worstNs: 12 * i * (n + 1) },
    })),
    bandwidth: { copy: rate, read: rate, write: rate },
    durable: rate,
    gups: rate,
    hotGups: null,
    loaded: [1, 2, 3].map((i) => ({ bytesPerSecond: i * 1e9, medianNs: 100 * i, bestNs: 90 * i, worstNs: 200 * i })),
  }));

const environment = (next: Next): Record<string, unknown> => ({
  processor: next(),
  cpus: next(),
  isVirtual: true,
  kernel: next(),
  nodes: next(),
  largestCache: next(),
  governor: next(),
  hugePages: next(),
});

const matrixReport = (next: Next): unknown => ({
  environment: environment(next),
  nodes: {
    processors: [{ node: 0, cpus: [0, 1] }],
    memories: [{ node: 0, totalBytes: 1n, freeBytes: 1n }, { node: 1, totalBytes: 1n, freeBytes: 1n }],
    leftOut: [{ node: 1, reason: next() }],
  },
  method: { sizeBytes: 4096, durationMs: 500, strideBytes: 256, threads: 2, readPercents: [100, 0] },
  cells: [
    {
      ...{ processorNode: 0, memoryNode: 0, threads: 2, cpuShare: 1, reason: null },
      latencyNs: { median: 100, min: 90, max: 120, samples: 3 },
      bandwidth: [1e9, 2e9].map((median) => ({ median, min: 1e9, max: 3e9, samples: 3 })),
    },
    { processorNode: 0, memoryNode: 1, threads: 2, cpuShare: null, latencyNs: null, bandwidth: null, reason: next() },
  ],
});

const benchOptions = { durationMs: 500, threads: 1, cpus: [], strideBytes: 64, blockBytes: 64 };

const fleet = (next: Next): Record<string, unknown> => ({
  groups: [{ hosts: [next(), next()], differences: [{ field: next(), value: next(), usual: next() }] }],
  fields: [{ field: next(), values: [{ value: next(), hosts: Array.from({ length: 20 }, next) }] }],
  silent: [1, 2].map(() => ({ host: next(), failure: { code: next(), message: next() } })),
  hostCount: 4,
  isIncomplete: true,
  words: [next(), next()],
});

const sweep = (next: Next): Record<string, unknown> => {
  const [across, down, field, cost] = [next(), next(), `f${next()}`, `c${next()}`];
  const rows = Array.from({ length: 40 }, (_, n) => ({
    parameters: { [across]: next(), [down]: next() },
    fields: { [field]: n, [cost]: 40 - n },
    state: n % 4 === 0 ? "failed" : "done",
    failure: n % 4 === 0 ? { message: next() } : null,
    pareto: n < 3,
  }));
  const counts = { done: 3, failed: 1, missing: 0, incomplete: false };
  const names = { parameters: [across, down], fields: [field, cost], minimise: [field, cost], maximise: [] };
  return { tool: next(), ...names, ...counts, rows };
};

/** Members of the simulator's report whose texts are words of ours. */
const SIM_OWN = ["policy", "placement", "kind", "model", "op", "state", "topology"];
const STATE = simulate({ topology: "((1,2)a,3)" }, "gups?count=2000&gap=1", 3);
const SIMULATED = reportOf(STATE, {
  ...{ trace: "gups", config: configEcho(STATE.config), configHash: "0", origins: { topology: "the file" } },
  ...{ notes: ["a note"], incomplete: false, weight: null },
});

const oradaxDevice = (next: Next): Record<string, unknown> => ({ name: next(), dax: 2, engine: next(), kind: "soft" });

/** A page full of a stranger's text. */
function pageOf(name: string, next: Next): Record<string, unknown> {
  const page = NVME_PAGES.find((one) => one.name === name);
  if (page === undefined) throw new Error(`there is no page ${name}`);
  const bytes = new Uint8Array(page.sizeBytes);
  const encoder = new TextEncoder();
  for (let at = 0; at < Math.min(bytes.length, 512);) {
    at += encoder.encodeInto(next(), bytes.subarray(at)).written + 1;
  }
  return { page, of: null, bytes, reason: null };
}

/** The renderers by file below tools/render and by name. */
export const RENDERERS: Readonly<Record<string, Readonly<Record<string, Renderer>>>> = {
  "chart/draw.ts": {
    drawCharts: {
      file: (next) =>
        drawCharts([
          {
            title: next(),
            x: { title: next() },
            y: { title: next(), scale: "band" },
            height: 4000,
            layers: [{
              kind: "stack",
              parts: Array.from({ length: 100 }, () => ({ bar: next(), part: next(), value: 1 })),
            }],
          },
          {
            title: next(),
            x: { title: next(), scale: "band" },
            y: { title: next(), scale: "band" },
            layers: [{
              kind: "cells",
              title: next(),
              cells: [1, 2, 3].map((value) => ({ x: next(), y: next(), value, text: next() })),
            }],
          },
          {
            title: next(),
            x: { title: next() },
            y: { title: next() },
            layers: [{ kind: "line", name: next(), points: [[1, 1], [2, 2]] }, {
              kind: "dots",
              name: next(),
              points: [[1, 2], [2, 1]],
            }],
          },
        ]),
    },
  },
  "cxl/cxl_region.ts": {
    cxlLines: { text: (next) => cxlLines(hostile(readCxlOverview(new CxlMachine()), next)) },
  },
  "fleet/fleet_page.ts": { fleetPage: { file: (next) => fleetPage(made(fleet(next))) } },
  "fleet/fleet_text.ts": {
    headline: { text: (next) => [headline(made(fleet(next)))] },
    fleetLines: { text: (next) => fleetLines(made(fleet(next))) },
  },
  "gpu/check_p2p.ts": {
    p2pLines: {
      text: (next) =>
        p2pLines(
          made({
            drive: next(),
            gpu: next(),
            class: next(),
            checks: ["pass", "warn", "fail", "unknown", "not run"].map((outcome, i) => ({
              step: 1 + i,
              outcome,
              name: next(),
              text: next(),
              evidence: next(),
              rule: next(),
              remedy: next(),
            })),
            stopped: next(),
            level: next(),
            tiers: [{ tier: 1, title: next(), answer: next(), reason: next() }],
            summary: next(),
          }),
          true,
        ),
    },
  },
  "gpu/gpu_nvme.ts": {
    methodLines: { text: (next) => methodLines(made(direct(next))) },
    gpuNvmeLines: { text: (next) => gpuNvmeLines(made(direct(next)), made(result(next)), 1) },
  },
  "gpu/gpu_nvme_charts.ts": {
    pathsCharts: { file: (next) => gpuNvmeSvg(pathsCharts(ways(next))) },
    gpuNvmeSvg: { file: (next) => gpuNvmeSvg(pathsCharts(ways(next))) },
    gpuNvmeHtml: { file: (next) => gpuNvmeHtml([next()], pathsCharts(ways(next))) },
  },
  "gpu/gpu_nvme_paths.ts": {
    pathsMethodLines: { text: (next) => pathsMethodLines(made({ ...direct(next), durationMs: 1 })) },
    pathsLines: { text: (next) => pathsLines(ways(next)) },
  },
  "gpu/gpu_nvme_resident.ts": {
    residentMethodLines: { text: (next) => residentMethodLines(made({ ...direct(next), durationMs: 1, places: 1 })) },
  },
  "gpu/gpu_nvme_files.ts": {
    catLines: {
      text: (next) =>
        catLines(made(file(next)), made({ sizeBytes: 1, commands: 1, zeroBytes: 0, metadataReads: 1 }), next()),
    },
    loadLines: {
      text: (next) => {
        const tensor = { name: next(), type: next(), shape: [1], address: 0n, sizeBytes: 1, sha256: next() };
        const model = { header: { format: next(), tensors: [] }, tensors: new Map([[next(), tensor]]) };
        return loadLines(made(file(next)), made({ ...model, arena: { sizeBytes: 1 }, directBytes: 1, copiedBytes: 1 }));
      },
    },
  },
  "gpu/soft_cuda.ts": {
    ptxLines: {
      text: (next) =>
        ptxLines(
          next(),
          made({
            target: next(),
            ptxVersion: next(),
            kernels: [{ name: next(), parameters: 1, registers: 1, sharedBytes: 1, localBytes: 1, stackBytes: 1 }],
            instructions: ["exact", "approximate", "ignored"].map((exactness) => ({
              exactness,
              spelling: next(),
              count: 1,
              firstLine: 1,
            })),
            problems: [{ line: 1, spelling: next(), text: next() }],
            result: next(),
          }),
        ),
    },
    countedLines: { text: (next) => countedLines(`${next()}\n${next()}`, new Map([[1, 2n]])) },
  },
  "health/health.ts": {
    healthLines: {
      text: (next) =>
        healthLines(made({
          samples: [{ device: next(), values: [], problem: next() }],
          breaches: [{ device: next(), text: next() }],
        })),
    },
    eventLine: {
      text: (next) => [eventLine(made({ timeMs: 0, device: next(), kind: "beyond", text: next() }))],
    },
  },
  "memory/damon_config.ts": {
    damonLines: { text: (next) => damonLines(readDamon(new TiersMachine()), [next(), next()]) },
  },
  "memory/dax_config.ts": {
    daxDeviceCells: {
      text: (next) =>
        daxDeviceCells(made({
          name: next(),
          sizeBytes: 1n,
          alignBytes: 1n,
          mode: next(),
          targetNode: null,
          region: { source: next() },
        })),
    },
    namespaceCells: {
      text: (next) => namespaceCells(made({ name: next(), sizeBytes: 1n, mode: next(), blockDevice: next() })),
    },
    findingLines: {
      text: (next) =>
        findingLines(
          made(["good", "limited", "bad", "unknown"].map((result) => ({
            name: next(),
            result,
            text: next(),
            remedy: next(),
          }))),
        ),
    },
    processLines: {
      text: (next) =>
        processLines(made({
          pid: 1,
          command: next(),
          verdict: "yes",
          reason: next(),
          daxBytes: 1n,
          mappings: [{ sizeBytes: 1n, kind: next(), path: next(), reason: next() }],
        })),
    },
    logLines: {
      text: (next) =>
        logLines(
          next(),
          made({
            initialized: [{ line: 9, thread: next(), backend: next(), resource: next() }],
            refused: [{ line: 1, text: next(), isFatal: false }],
          }),
        ),
    },
  },
  "memory/membench.ts": {
    machineLine: { text: (next) => [machineLine(made(environment(next)))] },
    environmentLines: { text: (next) => environmentLines(made(environment(next)), made(benchOptions)) },
    comparison: { text: (next) => comparison(made(benchResults(next))).flat() },
    benchLines: { text: (next) => benchLines(made(benchResults(next))) },
  },
  "memory/membench_curves.ts": {
    benchCurves: { file: (next) => benchCurves(made(benchResults(next)), [{ name: next(), sizeBytes: 12_000 }]) },
    benchPage: { file: (next) => benchPage("title", [next()], []) },
    benchHtml: {
      file: (next) =>
        benchHtml(environmentLines(made(environment(next)), made(benchOptions)), made(benchResults(next)), [{
          name: next(),
          sizeBytes: 12_000,
        }]),
    },
  },
  "memory/interleave_weights.ts": {
    weightLines: {
      text: (next) => {
        const node = { node: 0, fromNode: 0, readBytesPerSecond: 1, writeBytesPerSecond: 1, bytesPerSecond: 1 };
        const weights = [{ ...node, weight: 1, share: 1, wantedShare: 1 }];
        const current = { weights: new Map([[0, next()]]), auto: { path: next(), value: next() }, reason: null };
        return [...weightLines(weights, current), ...weightLines(weights, { ...current, reason: next() })];
      },
    },
  },
  "memory/matrix.ts": {
    matrixMethodLines: { text: (next) => matrixMethodLines(made(matrixReport(next))) },
    nodeMatrixLines: { text: (next) => nodeMatrixLines(made(matrixReport(next))) },
    matrixPage: { file: (next) => matrixPage(made(matrixReport(next))) },
  },
  "memory/namespaces.ts": {
    namespaceListLines: {
      text: (next) => {
        const name = next();
        const namespace = { name, sizeBytes: 1n, mode: next(), alignBytes: null, map: next(), isEnabled: true };
        return namespaceListLines(
          made({
            regions: [{ name: next(), sizeBytes: 1n, availableBytes: null, provider: next(), dimms: [next(), next()] }],
            namespaces: [{ ...namespace, device: next() }],
          }),
          new Map([[name, [next()]]]),
        );
      },
    },
  },
  "memory/numa_stats.ts": {
    counterTable: {
      text: (next) =>
        TABLE_FORMATS.flatMap((format) =>
          counterTable(
            [{ title: next(), values: new Map([[next(), 1n]]), durationMs: null, exitStatus: null }],
            format,
          )
        ),
    },
    columnNotes: {
      text: (next) => columnNotes({ title: next(), values: new Map(), durationMs: 1, exitStatus: 1 }),
    },
  },
  "memory/tiering.ts": {
    tierLines: { text: (next) => tierLines(hostile(readTierState(new TiersMachine()), next)) },
    experimentLines: {
      text: (next) =>
        TABLE_FORMATS.flatMap((format) =>
          experimentLines(
            made([{
              caseName: next(),
              workload: next(),
              durationMs: 1,
              exitStatus: 0,
              counted: new Map([[next(), 1n]]),
              damonBytes: 1n,
            }]),
            format,
          )
        ),
    },
  },
  "nvme/nvme_identify.ts": {
    reportLines: {
      text: (next) =>
        (["overview", "all", "pages"] as const).flatMap((detail) =>
          nvmeReportLines(
            next(),
            "from a file",
            made({
              pages: [...["id-ctrl", "smart"].map((name) => pageOf(name, next)), {
                ...pageOf("id-ns", next),
                of: 1,
                bytes: null,
                reason: next(),
              }],
              features: [],
            }),
            detail,
          )
        ),
    },
  },
  "nvme/latency_file.ts": {
    histogramLog: {
      file: (next) =>
        histogramLog([{ tag: next(), startSeconds: 0, lengthSeconds: 1, latency: histogram() }], new Date(0)),
    },
  },
  "nvme/nvme_io.ts": {
    benchLines: {
      text: (next) =>
        nvmeBenchLines(
          made([{ name: next(), startSeconds: 0, drives: [{ what: direct(next), result: result(next) }] }]),
        ),
    },
    ioResultLines: { text: (next) => ioResultLines(made(direct(next)), made(result(next))) },
  },
  "nvme/transfers.ts": {
    verifiedLines: { text: (next) => verifiedLines(next(), { lba: 1n, offset: 0, text: next() }) },
  },
  "oradax/oradax.ts": {
    deviceLine: { text: (next) => [oradax.deviceLine(made(oradaxDevice(next)))] },
    infoLines: { text: (next) => oradax.infoLines(made(oradaxDevice(next))) },
    runLines: {
      text: (next) =>
        oradax.runLines(made({
          action: next(),
          path: next(),
          device: oradaxDevice(next),
          source: { elements: 1, bits: 8, leftoverBits: 1, sizeBytes: 1 },
          count: 1,
          output: "bits",
          head: new Uint8Array(8),
          outputBytes: 8,
          to: next(),
          elapsedMs: 1,
        })),
    },
    ccbLines: { text: (next) => oradax.ccbLines(made({ command: next(), rows: [] })) },
    benchLines: {
      text: (next) => oradax.benchLines(next(), 1e9, made([{ bits: 8, command: "scan", ratio: 1 }])),
    },
  },
  "pci/config_report.ts": {
    reportLines: {
      text: (next) =>
        config.reportLines(hostile(FUNCTION, next), {
          ...CONFIG,
          parts: CONFIG.parts.map((part) => ({ ...part, name: next(), source: next() })),
        }),
    },
    errorLines: {
      text: (next) =>
        config.errorLines(
          hostile(FUNCTION, next),
          made({
            counts: { [next()]: new Unknown(next()), [next()]: { [next()]: 1n } },
            link: new Unknown(next()),
            registers: { [next()]: next() },
          }),
        ),
    },
    errorChangeLine: {
      text: (next) => [config.errorChangeLine(new Date(0), { name: next(), before: next(), after: next() })],
    },
  },
  "pci/inventory.ts": {
    inventoryLines: {
      text: (next) =>
        [null, 80].flatMap((width) => inventoryLines(hostile(DEVICES, next, DEVICE_OWN), namesOf(next), width)),
    },
    changeLine: {
      text: (next) =>
        hostile(DEVICES, next, DEVICE_OWN).flatMap((device) => [
          changeLine(next(), made({ change: "came", device, values: [] }), namesOf(next)),
          changeLine(
            next(),
            made({ change: "changed", device, values: [{ name: next(), before: next(), after: next() }] }),
            namesOf(next),
          ),
        ]),
    },
  },
  "pci/pci.ts": {
    functionLine: { text: (next) => [functionLine(hostile(FUNCTION, next))] },
    barLine: {
      text: (next) => [barLine(made({ index: next(), space: "memory", sizeBytes: 1n, start: 0n }))],
    },
  },
  "pci/register_access.ts": {
    accessLines: {
      text: (next) =>
        accessLines({
          region: next(),
          register: made({ offset: 0, accessBytes: 4, row: null, name: next() }),
          before: 1n,
          after: 2n,
          undo: next(),
        }),
    },
  },
  "pci/registers.ts": {
    registerLines: {
      text: (next) =>
        registerLines({
          ...REGISTERS,
          notes: REGISTERS.registers.map(({ row }) => ({ register: row.name, text: next() })),
        }),
    },
    changeLines: {
      text: (next) =>
        changeLines(made([{
          register: "CSTS",
          before: 1n,
          after: 2n,
          fields: [{ field: next(), before: next(), after: next() }],
        }])),
    },
  },
  "pci/topology_picture.ts": {
    pictureSvg: { file: (next) => pictureSvg({ topology, shown, names: namesOf(next) }, matrix) },
    subtitleOf: {
      text: (next) => [
        subtitleOf({ topology: made({ ...topology, processor: { name: next() } }), shown, names: namesOf(next) }),
      ],
    },
  },
  "pci/topology_labels.ts": {
    pictureBoxes: {
      text: (next) =>
        pictureBoxes({ topology, shown, names: namesOf(next) }).flatMap(({ label }) => Object.values(label)),
    },
    summaryOf: {
      text: (next) => {
        const [node] = topology.nodes;
        // A class that only pci.ids has a name for.
        const unnamed = { ...node, kind: "endpoint", function: { ...node?.function, classCode: 0xfe0000 } };
        return [summaryOf(made([{ node: unnamed, children: [], members: [] }]), namesOf(next))];
      },
    },
  },
  "pci/topology_page.ts": {
    pictureHtml: { file: (next) => pictureHtml({ topology, shown, names: namesOf(next) }, matrix), scripts: 1 },
  },
  "pci/topology_text.ts": {
    treeLines: { text: (next) => treeLines(topology, shown, namesOf(next)) },
    matrixLines: { text: (next) => matrixLines(matrix, namesOf(next)) },
  },
  "sim/loaded_chart.ts": {
    loadedChart: {
      file: (next) => drawCharts([loadedChart(hostile(SIMULATED, next, SIM_OWN))].filter((one) => one !== null)),
    },
  },
  "sim/run_page.ts": {
    runPage: { file: (next) => runPage(hostile(SIMULATED, next, SIM_OWN)) },
    runPictures: {
      file: async (next) => (await runPictures(hostile(SIMULATED, next, SIM_OWN))).map(({ svg }) => svg).join("\n"),
    },
  },
  "sim/run_text.ts": {
    runLines: { text: (next) => runLines(hostile(SIMULATED, next, SIM_OWN)) },
    explanationLines: { text: (next) => explanationLines(hostile(SIMULATED, next, SIM_OWN)) },
  },
  "sim/topology_chart.ts": {
    topologyChart: {
      file: (next) => drawCharts([topologyChart(hostile(SIMULATED, next, SIM_OWN))].filter((one) => one !== null)),
    },
  },
  "sweep/sweep_page.ts": {
    sweepPage: { file: (next) => sweepPage(made(sweep(next))) },
    sweepPictures: {
      file: async (next) =>
        (await sweepPictures(made(sweep(next)))).map(({ name, svg }) => `${name}\n${svg}`).join("\n"),
    },
  },
  "sweep/sweep_text.ts": {
    sweepLines: { text: (next) => sweepLines(made(sweep(next))) },
    sweepCsv: { file: (next) => sweepCsv(made(sweep(next))) },
    fieldText: { text: (next) => [fieldText(next())] },
  },
  "type2/info.ts": {
    quirkLines: { text: (next) => quirkLines(made([{ name: next(), title: next(), remedy: next() }])) },
    infoLines: {
      text: (next) =>
        infoLines(made({
          generation: { profile: { name: next(), title: next() }, version: 1, caps: 0, hasExtension: true },
          transport: { kind: next(), bar4: null, read64: () => 0n },
          has: () => false,
          info: () => ({
            name: next(),
            status: 1,
            totalBytes: 1n,
            freeBytes: 1n,
            capability: 90,
            multiprocessors: 1,
            mostThreads: 1024,
            warp: 32,
          }),
        })),
    },
  },
};

/** What tools/render exports besides: no text of a stranger goes in. */
export const NO_STRANGERS_TEXT: Readonly<Record<string, readonly string[]>> = {
  "chart/colors.ts": ["seriesColor"],
  "fleet/fleet_text.ts": ["silentGroups"],
  "gpu/gpu_nvme_charts.ts": ["timesCharts"],
  "gpu/gpu_nvme_resident.ts": ["residentLines"],
  "markup.ts": ["withoutControls", "escapeMarkup"],
  "memory/damon_config.ts": ["damonRequest"],
  "memory/matrix.ts": ["matrixPicture"],
  "memory/tiering.ts": ["updatesLine"],
  "nvme/latency_file.ts": ["percentileDistribution"],
  "nvme/transfers.ts": ["microseconds", "amountMoved", "missingPercentiles", "timesMembers"],
  "pci/hexdump.ts": ["hexLines"],
  "pci/topology_colors.ts": ["colorRules"],
  "pci/topology_labels.ts": ["isHiddenLink", "isDowngraded"],
  "pci/topology_text.ts": ["rootKind", "cellText", "reasonGroups", "pairsText"],
  "sim/epoch_csv.ts": ["epochCsv"],
};
