/**
 * Grids of runs: points, results, schedulers, reports.
 * @module
 */

export { columnOf, type Field, fieldOf, numberOf } from "./fields.ts";
export {
  type Combination,
  combinationsOf,
  commandLineOf,
  countOf,
  type Grid,
  type Options,
  type OptionValue,
  type Parameter,
  type ReportRequest,
} from "./grid.ts";
export type { ComparedSides, Comparison, Condition, Side } from "./where.ts";
export { LineWorker, type PointAnswer, type PointRequest } from "./line_worker.ts";
export { type LocalOptions, LocalScheduler, type PointWorker } from "./local.ts";
export { paretoFront } from "./pareto.ts";
export { type Point, type PointFacts, pointsOf } from "./point.ts";
export { ProcessWorker } from "./process_worker.ts";
export { type SweepReport, sweepReport, type SweepRow } from "./report.ts";
export { type Failure, type KeptResult, type Outcome, type PointState, Results } from "./results.ts";
export type { Batch, BatchState, Scheduler } from "./scheduler.ts";
export { runChunk, type SlurmOptions, SlurmScheduler } from "./slurm.ts";
