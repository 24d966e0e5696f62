/**
 * The report of a sweep: one row a point, in the order of the grid, so that it is the same for any number of workers.
 * @module
 */

import { columnOf, type Field, numberOf } from "./fields.ts";
import type { Grid } from "./grid.ts";
import { paretoFront } from "./pareto.ts";
import type { Point } from "./point.ts";
import type { Failure, PointState, Results } from "./results.ts";

/** One point. */
export interface SweepRow {
  /** Identity of the point. */
  readonly id: string;
  /** Values of the parameters, by name. */
  readonly parameters: Readonly<Record<string, Field>>;
  /** Done, failed or missing. */
  readonly state: PointState;
  /** By field that was asked for; null where the result does not have it. */
  readonly fields: Readonly<Record<string, Field>>;
  /** Why it failed; null when it did not. */
  readonly failure: Failure | null;
  /** True when no other point is as good in every objective and better in one; null without objectives. */
  readonly pareto: boolean | null;
}

/** A sweep. */
export interface SweepReport {
  /** The tool that was run. */
  readonly tool: string;
  /** Names of the parameters. */
  readonly parameters: readonly string[];
  /** Fields of the results that are shown. */
  readonly fields: readonly string[];
  /** Fields of which less is better. */
  readonly minimise: readonly string[];
  /** Fields of which more is better. */
  readonly maximise: readonly string[];
  /** Points with a result. */
  readonly done: number;
  /** Points that failed. */
  readonly failed: number;
  /** Points that were not run yet. */
  readonly missing: number;
  /** A row for each point, in the order of the grid. */
  readonly rows: readonly SweepRow[];
}

/** Makes the report from the files of results. */
export function sweepReport(grid: Grid, points: readonly Point[], results: Results): SweepReport {
  const { minimise, maximise } = grid.report;
  const fields = [...new Set([...grid.report.fields, ...minimise, ...maximise])]
    .filter((name) => !grid.parameters.some((one) => one.name === name));
  const objectives = [...minimise.map((name) => ({ name, sign: 1 })), ...maximise.map((name) => ({ name, sign: -1 }))];
  const costs: (number[] | null)[] = [];
  const rows = points.map((point): Omit<SweepRow, "pareto"> => {
    const kept = results.load(point.id);
    const result = kept !== null && "result" in kept ? kept.result : null;
    const cost = objectives.map(({ name, sign }) => {
      const value = result === null ? null : numberOf(columnOf(point.parameters, result, name));
      return value === null ? NaN : sign * value;
    });
    costs.push(result === null || cost.some(Number.isNaN) ? null : cost);
    return {
      id: point.id,
      parameters: Object.fromEntries(
        Object.keys(point.parameters).map((name) => [name, columnOf(point.parameters, null, name)]),
      ),
      state: kept === null ? "missing" : "failure" in kept ? "failed" : "done",
      fields: Object.fromEntries(fields.map((path) => [path, columnOf({}, result, path)])),
      failure: kept !== null && "failure" in kept ? kept.failure : null,
    };
  });
  const front = objectives.length === 0 ? null : paretoFront(costs);
  const count = (state: PointState): number => rows.filter((row) => row.state === state).length;
  return {
    tool: grid.tool.join(" "),
    parameters: grid.parameters.map(({ name }) => name),
    fields,
    minimise,
    maximise,
    done: count("done"),
    failed: count("failed"),
    missing: count("missing"),
    rows: rows.map((row, i) => ({ ...row, pareto: front === null ? null : front[i] ?? false })),
  };
}
