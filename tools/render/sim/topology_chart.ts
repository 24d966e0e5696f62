/**
 * The topology of a run: boxes for host, switches and endpoints, links coloured by utilisation.
 * @module
 */

import { formatBytes } from "../../../src/core/units.ts";
import type { RunReport } from "../../../src/sim/report_document.ts";
import { readTopology } from "../../../src/sim/topology/topology.ts";
import type { BoxLayer, Chart, Point, SegmentLayer } from "../chart/chart.ts";

/** A place in the tree: the host is `host`, a switch `switch 2`, a node `node 3`. */
interface Place {
  readonly key: string;
  readonly parent: string | null;
  readonly text: string;
  /** Name and number of the link above it in the report. */
  readonly link: { readonly kind: "endpoint" | "switch"; readonly number: number } | null;
}

function placesOf({ config, nodes, switches, links }: RunReport): Place[] {
  const topology = readTopology(String(config.topology), null);
  const switchKey = (number: number): string => number === 0 ? "host" : `switch ${number}`;
  const local = nodes[0];
  const utilisation = links.find(({ kind }) => kind === "local")?.utilisation ?? null;
  const hostText = local === undefined || Number(local.capacityBytes) === 0
    ? "host"
    : `host\nlocal ${formatBytes(BigInt(local.usedBytes))} used` +
      (utilisation === null ? "" : `, ${percent(utilisation)}`);
  return [
    { key: "host", parent: null, text: hostText, link: null },
    ...topology.switches.map((one) => ({
      key: switchKey(one.number),
      parent: switchKey(one.parent),
      text: `${switches.find((other) => other.switch === one.number)?.name ?? `switch ${one.number}`}`,
      link: { kind: "switch" as const, number: one.number },
    })),
    ...topology.endpoints.map((one) => {
      const node = nodes[one.number];
      const GBs = node === undefined ? "" : `\n${Number(node.GBs.toPrecision(4))} GB/s`;
      return {
        key: `node ${one.number}`,
        parent: switchKey(one.via[0] ?? 0),
        text: `${one.name}${GBs}`,
        link: { kind: "endpoint" as const, number: one.number },
      };
    }),
  ];
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(3))} %`;
}

/** The host on the left, one level a column; leaves below each other, every other place beside the middle of its own. */
function layOut(places: readonly Place[]): Map<string, Point> {
  const at = new Map<string, Point>();
  let leaves = 0;
  const visit = (key: string, depth: number): number => {
    const below = places.filter(({ parent }) => parent === key);
    const rows = below.map(({ key: child }) => visit(child, depth + 1));
    const row = rows.length === 0 ? leaves++ : ((rows[0] ?? 0) + (rows.at(-1) ?? 0)) / 2;
    at.set(key, [depth, -row]);
    return row;
  };
  visit("host", 0);
  return at;
}

/** More would not be readable. */
const ENDPOINT_LIMIT = 32;
const DEPTH_LIMIT = 4;

/** The chart, or null without a replay, whose links have no utilisation, and for trees that are too wide. */
export function topologyChart(report: RunReport): Chart | null {
  const places = placesOf(report);
  if (report.links.every(({ utilisation }) => utilisation === null) || report.nodes.length > ENDPOINT_LIMIT + 1) {
    return null;
  }
  const at = layOut(places);
  const pointOf = (key: string): Point => at.get(key) ?? [0, 0];
  const segments: SegmentLayer["segments"][number][] = [];
  for (const { key, parent, link } of places) {
    if (parent === null || link === null) continue;
    for (const direction of ["up", "down"] as const) {
      const found = report.links.find((one) =>
        one.kind === link.kind && one.number === link.number && one.direction === direction
      );
      // Two lines side by side: data of reads goes up on the upper one, data of writes down on the lower one.
      const shift = direction === "up" ? 0.07 : -0.07;
      const [from, to] = [pointOf(key), pointOf(parent)];
      const value = found?.utilisation ?? null;
      segments.push({
        from: [from[0], from[1] + shift],
        to: [to[0], to[1] + shift],
        value: value === null ? null : 100 * value,
        text: value === null ? "" : `${direction} ${percent(value)}`,
        side: direction === "up" ? "above" : "below",
      });
    }
  }
  const boxes: BoxLayer["boxes"] = places.map(({ key, text }) => ({ at: pointOf(key), text }));
  const depth = Math.max(...[...at.values()].map(([x]) => x));
  const leaves = Math.max(...[...at.values()].map(([, y]) => -y));
  if (depth > DEPTH_LIMIT) return null;
  return {
    title: "Topology",
    x: { title: "", hidden: true, domain: [-0.3, depth + 0.3] },
    y: { title: "", hidden: true, domain: [-leaves - 0.5, 0.5] },
    height: 60 + 92 * (leaves + 1),
    layers: [
      { kind: "segments", title: "utilisation of a link, %", domain: [0, 100], segments },
      { kind: "boxes", boxes },
    ],
  };
}
