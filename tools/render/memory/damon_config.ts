/**
 * DAMON's options, and its state as lines of text and as JSON.
 * @module
 */

import { bold, yellow } from "@std/fmt/colors";

import { BusbarError } from "../../../src/core/error.ts";
import { changing, closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes } from "../../../src/core/units.ts";
import type { DamonStatus } from "../../../src/memory/damon.ts";
import { DAMON_INTERVALS, type DamonRequest, type NodePair } from "../../../src/memory/damon_plan.ts";
import { documentSchema } from "../../cli/run.ts";
import { columns } from "../../cli/table.ts";

/** The options that say what is to be moved. */
export type MigrationOptions = {
  readonly demote?: readonly number[] | undefined;
  readonly promote?: readonly number[] | undefined;
  readonly migrate?: readonly number[] | undefined;
  readonly global?: true | undefined;
  readonly cgroup: string;
  readonly sample?: number | undefined;
  readonly aggregate?: number | undefined;
  readonly update?: number | undefined;
  readonly coldAge?: number | undefined;
  readonly regionMaxSize?: bigint | undefined;
};

/** What the options ask for. Durations are in milliseconds. */
export function damonRequest(options: MigrationOptions): DamonRequest {
  const us = (milliseconds: number | undefined, otherwise: number): number =>
    milliseconds === undefined ? otherwise : Math.round(milliseconds * 1000);
  const both = pairs(options.migrate, "--migrate FAST SLOW");
  return {
    demote: [...pairs(options.demote, "--demote SRC DST"), ...both],
    promote: [
      ...pairs(options.promote, "--promote SRC DST"),
      ...both.map(({ from, to }) => ({ from: to, to: from })),
    ],
    cgroup: options.global ? null : options.cgroup,
    intervals: {
      sampleUs: us(options.sample, DAMON_INTERVALS.sampleUs),
      aggregateUs: us(options.aggregate, DAMON_INTERVALS.aggregateUs),
      updateUs: us(options.update, DAMON_INTERVALS.updateUs),
    },
    coldAgeUs: options.coldAge === undefined ? undefined : Math.round(options.coldAge * 1000),
    regionMaxBytes: options.regionMaxSize,
  };
}

function pairs(nodes: readonly number[] | undefined, form: string): NodePair[] {
  if (nodes === undefined) return [];
  if (nodes.length % 2 !== 0) {
    throw new BusbarError("usage", `${form} takes nodes in pairs, not ${nodes.length} of them`, {
      operation: "parse arguments",
      hint: "damon_config generate --migrate 0 1",
    });
  }
  return nodes.flatMap((from, i) => i % 2 === 0 ? [{ from, to: nodes[i + 1] ?? from }] : []);
}

/** What DAMON does, as lines. */
export function damonLines(status: DamonStatus, obstacles: readonly string[]): string[] {
  if (status.kdamonds.length === 0) return ["no kdamonds", ...obstacles.map((text) => yellow(text))];
  const rows = status.kdamonds.flatMap((kdamond) => {
    const state = kdamond.running ? `runs (process ${kdamond.pid ?? "?"})` : "off";
    const head = [bold(`kdamond ${kdamond.index}`), state];
    if (kdamond.schemes.length === 0) return [[...head, "no schemes"]];
    return kdamond.schemes.map((scheme) => [
      ...head,
      scheme.targetNode === null ? scheme.action : `${scheme.action} to node ${scheme.targetNode}`,
      `fitting ${formatBytes(scheme.triedBytes)} in ${scheme.triedRegions} regions`,
      `moved ${formatBytes(scheme.appliedBytes)}`,
      scheme.quotaExceeds === 0n ? "" : `quota used up ${scheme.quotaExceeds} times`,
    ]);
  });
  return [`started by ${status.owner}`, ...columns(rows), ...obstacles.map((text) => yellow(text))];
}

/** What DAMON does, as JSON. */
export function damonJson(status: DamonStatus, obstacles: readonly string[]): JsonObject {
  return {
    schema: "damon_config/1",
    owner: status.owner,
    kdamonds: status.kdamonds.map(({ index, running, pid, schemes }) => ({
      index,
      running,
      pid,
      schemes: schemes.map((scheme) => ({
        action: scheme.action,
        targetNode: scheme.targetNode,
        triedRegions: scheme.triedRegions.toString(),
        triedBytes: scheme.triedBytes.toString(),
        appliedRegions: scheme.appliedRegions.toString(),
        appliedBytes: scheme.appliedBytes.toString(),
        quotaExceeds: scheme.quotaExceeds.toString(),
      })),
    })),
    obstacles,
  };
}

/** The schema of what `damon_config --json` prints. */
export function damonSchema(): JsonObject {
  const count = changing({ type: "string", pattern: "^[0-9]+$" });
  const number = { type: ["integer", "null"] };
  return documentSchema("damon_config", [closedObject({
    schema: { const: "damon_config/1" },
    owner: { enum: ["busbar", "somebody else", "nobody"] },
    kdamonds: {
      type: "array",
      items: closedObject({
        index: { type: "integer", minimum: 0 },
        running: { type: "boolean" },
        pid: changing(number),
        schemes: {
          type: "array",
          items: closedObject({
            action: { type: "string" },
            targetNode: number,
            triedRegions: count,
            triedBytes: count,
            appliedRegions: count,
            appliedBytes: count,
            quotaExceeds: count,
          }),
        },
      }),
    },
    obstacles: { type: "array", items: { type: "string" } },
  })]);
}
