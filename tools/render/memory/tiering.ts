/**
 * Memory tiers and their settings as lines of text and as JSON.
 * @module
 */

import { bold, yellow } from "@std/fmt/colors";

import { changing, closedObject, type JsonObject } from "../../../src/core/layout_json.ts";
import { formatBytes } from "../../../src/core/units.ts";
import type { ExperimentRun } from "../../../src/memory/experiment.ts";
import type { UpdatesDone } from "../../../src/memory/workload.ts";
import { TIER_SETTINGS, type TierState } from "../../../src/memory/tiers.ts";
import { documentSchema } from "../../cli/run.ts";
import { WEIGHTS_SCHEMA } from "./interleave_weights.ts";
import { counterTable, type TableFormat } from "./numa_stats.ts";
import { columns } from "../../cli/table.ts";

/** Tiers, nodes and settings, as lines. */
export function tierLines(state: TierState): string[] {
  const lines = [bold("nodes")];
  lines.push(...columns(
    state.nodes.map((node) => {
      const tier = state.tiers.find((tier) => tier.nodes.includes(node.id));
      const targets = state.demotion.get(node.id) ?? [];
      return [
        `node ${node.id}`,
        node.cpus === "" ? "no processors" : `processors ${node.cpus}`,
        `${formatBytes(node.totalBytes)}, ${formatBytes(node.freeBytes)} free`,
        tier === undefined ? "in no tier" : tier.name,
        targets.length === 0 ? "demotes nowhere" : `demotes to node ${targets.join(", ")}`,
        `distances ${[...node.distances].map(([id, distance]) => `${id}:${distance}`).join(" ")}`,
      ];
    }),
    "  ",
  ));
  lines.push(bold("settings"));
  lines.push(...columns(
    state.settings.map(({ setting, value, reason }) => [setting.name, value ?? `(${reason})`, setting.title]),
    "  ",
  ));
  for (const obstacle of state.obstacles) lines.push(yellow(obstacle));
  return lines;
}

/** Tiers, nodes and settings as JSON. */
export function tierJson(state: TierState): JsonObject {
  return {
    schema: "tiering/1",
    nodes: state.nodes.map((node) => ({
      id: node.id,
      cpus: node.cpus,
      totalBytes: node.totalBytes.toString(),
      freeBytes: node.freeBytes.toString(),
      tier: state.tiers.find((tier) => tier.nodes.includes(node.id))?.name ?? null,
      demotesTo: state.demotion.get(node.id) ?? [],
      distances: Object.fromEntries(node.distances),
    })),
    settings: Object.fromEntries(
      state.settings.map(({ setting, value, reason }) => [setting.name, { path: setting.path, value, reason }]),
    ),
    obstacles: state.obstacles,
  };
}

/** The tables of an experiment, one for each case, with a column for each workload; then the times side by side. */
export function experimentLines(runs: readonly ExperimentRun[], format: TableFormat): string[] {
  const lines: string[] = [];
  for (const caseName of new Set(runs.map((run) => run.caseName))) {
    const columns = runs.filter((run) => run.caseName === caseName).map((run) => ({
      title: run.workload,
      values: new Map<string, bigint | null>([
        ["milliseconds", BigInt(Math.round(run.durationMs))],
        ["exit status", BigInt(run.exitStatus)],
        ...run.counted,
        ["bytes moved by DAMON", run.damonBytes],
      ]),
      durationMs: null,
      exitStatus: null,
    }));
    lines.push(...lines.length === 0 ? [] : [""], format === "csv" ? `# ${caseName}` : bold(caseName));
    lines.push(...counterTable(columns, format));
  }
  return lines;
}

/** An experiment as JSON. `complete` is false when it was interrupted or failed: then these are the runs before that. */
export function experimentJson(runs: readonly ExperimentRun[], complete = true): JsonObject {
  return {
    schema: "tiering_experiment/1",
    complete,
    runs: runs.map((run) => ({
      case: run.caseName,
      workload: run.workload,
      durationMs: run.durationMs,
      exitStatus: run.exitStatus,
      counters: Object.fromEntries([...run.counted].map(([name, value]) => [name, value?.toString() ?? null])),
      damonBytes: run.damonBytes?.toString() ?? null,
    })),
  };
}

/** What random updates came to, in one line. */
export function updatesLine({ tableBytes, updates, seconds }: UpdatesDone): string {
  const rate = (updates / seconds / 1e9).toFixed(4);
  return `${updates} updates of ${formatBytes(tableBytes)} in ${seconds.toFixed(2)} s: ${rate} GUPS`;
}

/** Memory that a hog holds, for programs. */
export function heldJson(heldBytes: bigint): JsonObject {
  return { schema: "tiering_workload/1", heldBytes: String(heldBytes) };
}

/** Updates for programs. */
export function updatesJson({ tableBytes, updates, seconds }: UpdatesDone): JsonObject {
  return {
    schema: "tiering_workload/1",
    tableBytes: String(tableBytes),
    updates: String(updates),
    seconds,
    updatesPerSecond: updates / seconds,
  };
}

const QUANTITY: JsonObject = { type: "string", pattern: "^[0-9]+$" };

const WORKLOAD_SCHEMAS: readonly JsonObject[] = [
  closedObject({
    schema: { const: "tiering_workload/1" },
    tableBytes: QUANTITY,
    updates: QUANTITY,
    seconds: { type: "number" },
    updatesPerSecond: { type: "number" },
  }),
  closedObject({ schema: { const: "tiering_workload/1" }, heldBytes: QUANTITY }),
];

const EXPERIMENT_SCHEMA: JsonObject = closedObject({
  schema: { const: "tiering_experiment/1" },
  complete: { type: "boolean" },
  runs: {
    type: "array",
    items: closedObject({
      case: { type: "string" },
      workload: { type: "string" },
      durationMs: { type: "number" },
      exitStatus: { type: "integer" },
      counters: { type: "object", additionalProperties: { type: ["string", "null"] } },
      damonBytes: { type: ["string", "null"] },
    }),
  },
});

/** The schema of what `tiering --json` prints. */
export function tieringSchema(): JsonObject {
  const text = { type: "string" };
  const textOrNull = { type: ["string", "null"] };
  return documentSchema("tiering", [
    closedObject({
      schema: { const: "tiering/1" },
      nodes: {
        type: "array",
        items: closedObject({
          id: { type: "integer", minimum: 0 },
          cpus: text,
          totalBytes: { type: "string", pattern: "^[0-9]+$" },
          freeBytes: changing({ type: "string", pattern: "^[0-9]+$" }),
          tier: textOrNull,
          demotesTo: { type: "array", items: { type: "integer", minimum: 0 } },
          distances: { type: "object", additionalProperties: { type: "integer" } },
        }),
      },
      settings: closedObject(
        Object.fromEntries(
          TIER_SETTINGS.map(({ name }) => [name, closedObject({ path: text, value: textOrNull, reason: textOrNull })]),
        ),
      ),
      obstacles: { type: "array", items: text },
    }),
    EXPERIMENT_SCHEMA,
    ...WORKLOAD_SCHEMAS,
    WEIGHTS_SCHEMA,
  ]);
}
