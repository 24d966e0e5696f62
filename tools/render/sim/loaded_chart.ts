/**
 * Latency by load: the measured curve of a run, or what M/D/1 says of each endpoint's link; and the run's own points.
 * @module
 */

import type { RunReport } from "../../../src/sim/report_document.ts";
import type { Chart, Layer, Point } from "../chart/chart.ts";

/** Curves that can be told apart. */
const CURVE_LIMIT = 4;
/** Points of a computed curve. */
const STEPS = 60;
/** A computed curve ends at this share of its link's bandwidth: at 1 the wait is endless. */
const MOST_LOAD = 0.98;

interface CurvePoint {
  readonly readShare: number;
  readonly GBs: number;
  readonly ns: number;
}

/** The chart, or null where the run has no accesses behind a link. */
export function loadedChart(report: RunReport): Chart | null {
  const measured = report.config.curve as readonly CurvePoint[] | null | undefined;
  const layers = report.model.bandwidth === "curve" && Array.isArray(measured)
    ? [...measuredLines(measured), ...dotsOf(report, measuredPoint)]
    : [...computedLines(report), ...dotsOf(report, meanPoint)];
  if (!layers.some(({ kind }) => kind === "dots")) return null;
  const values = layers.flatMap((layer) => "points" in layer ? layer.points.map(([, ns]) => ns) : []);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  // Room for the names at the top.
  const top = high + Math.max(1, high - low) * 0.12 * layers.length;
  return {
    title: "Latency by load: this run among the curves",
    x: { title: "bandwidth, both directions, GB/s" },
    y: { title: "latency, ns", domain: [Math.max(0, low - 0.05 * (high - low)), top] },
    layers,
  };
}

function measuredLines(points: readonly CurvePoint[]): Layer[] {
  return [...Map.groupBy(points, ({ readShare }) => readShare)].slice(0, CURVE_LIMIT).map(([share, ofShare]) => ({
    kind: "line",
    name: `measured, ${Number((100 * share).toFixed(1))} % reads`,
    points: ofShare.map(({ GBs, ns }): Point => [GBs, ns]),
  }));
}

/** An endpoint's path and the wait of M/D/1 in both directions of its link, by the run's share of reads. */
function computedLines(report: RunReport): Layer[] {
  return usedNodes(report).slice(0, CURVE_LIMIT).flatMap(({ node, name, reads, writes, ...path }): Layer[] => {
    const [up, down] = (["up", "down"] as const).map((direction) =>
      report.links.find((one) => one.kind === "endpoint" && one.number === node && one.direction === direction)
    );
    const lines = reads + writes;
    const [upGBs, downGBs] = [up?.bandwidthGBs ?? null, down?.bandwidthGBs ?? null];
    if (upGBs === null || downGBs === null || lines === 0) return [];
    const parts = [
      { share: reads / lines, GBs: upGBs, serviceNs: up?.serviceNs ?? 0, pathNs: path.pathReadNs },
      { share: writes / lines, GBs: downGBs, serviceNs: down?.serviceNs ?? 0, pathNs: path.pathWriteNs },
    ];
    const most = MOST_LOAD * Math.min(...parts.map(({ share, GBs }) => GBs / share));
    const latency = (load: number): number =>
      parts.reduce((sum, { share, GBs, serviceNs, pathNs }) => {
        const rho = load * share / GBs;
        return sum + share * (pathNs + rho * serviceNs / (2 * (1 - rho)));
      }, 0);
    const points = Array.from({ length: STEPS + 1 }, (_, i): Point => [most * i / STEPS, latency(most * i / STEPS)]);
    return [{ kind: "line", name: `${name}, M/D/1`, points }];
  });
}

type NodeReport = RunReport["nodes"][number];

function usedNodes(report: RunReport): NodeReport[] {
  return report.nodes.filter(({ node, meanNs }) => node > 0 && meanNs !== null);
}

function dotsOf(report: RunReport, pointOf: (report: RunReport, node: NodeReport) => Point | null): Layer[] {
  return usedNodes(report).slice(0, CURVE_LIMIT).flatMap((node): Layer[] => {
    const point = pointOf(report, node);
    return point === null ? [] : [{ kind: "dots", name: `this run, ${node.name}`, points: [point] }];
  });
}

function measuredPoint({ curve }: RunReport, { node }: NodeReport): Point | null {
  const point = curve?.points.find((one) => one.node === node);
  return point === undefined || point.GBs === null ? null : [point.GBs, point.ns];
}

function meanPoint(_report: RunReport, { GBs, meanNs }: NodeReport): Point | null {
  return meanNs === null ? null : [GBs, meanNs];
}
