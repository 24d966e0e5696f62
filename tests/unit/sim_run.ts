/**
 * Runs of the simulator for tests: settings and accesses in, a report out.
 * @module
 */

import { completeConfig } from "../../src/sim/complete_config.ts";
import type { PartialConfig } from "../../src/sim/config.ts";
import { reportOf } from "../../src/sim/report.ts";
import type { RunReport } from "../../src/sim/report_document.ts";
import type { RunState } from "../../src/sim/run_state.ts";
import { Simulator } from "../../src/sim/simulator.ts";
import { AccessBatch, Op, type TraceSource } from "../../src/sim/trace/batch.ts";
import { SyntheticSource } from "../../src/sim/trace/synthetic.ts";

/** `time ns, op, address`, and where they are not 0: host, thread; `d` behind the letter is a dependent access. */
export type Line = readonly [
  timeNs: number,
  op: string,
  address: number,
  host?: number,
  thread?: number,
  bytes?: number,
];

const OPS: Readonly<Record<string, number>> = {
  R: Op.Read,
  W: Op.Write,
  A: Op.Atomic,
  P: Op.Prefetch,
  F: Op.Flush,
  I: Op.Invalidate,
  B: Op.Barrier,
};

/** Lines as a batch. */
export function batchOf(lines: readonly Line[]): AccessBatch {
  const batch = new AccessBatch(Math.max(1, lines.length));
  for (const [timeNs, op, address, host = 0, thread = 0, bytes = 64] of lines) {
    const code = (OPS[op[0] ?? ""] ?? Op.Read) | (op.endsWith("d") ? 0x80 : 0);
    batch.append(timeNs * 1024, host, thread, code, address, bytes);
  }
  return batch;
}

/** Runs accesses of a source. */
export function simulate(
  given: Partial<PartialConfig>,
  source: TraceSource | readonly Line[] | string,
  explain = 0,
): RunState {
  const { config } = completeConfig({ topology: "(1,(2,3))", ...given });
  const simulator = new Simulator(config, explain);
  if (Array.isArray(source)) simulator.feed(batchOf(source as readonly Line[]));
  else {
    const from = typeof source === "string" ? new SyntheticSource(source) : source as TraceSource;
    const batch = new AccessBatch();
    while (from.read(batch) as number > 0) simulator.feed(batch);
  }
  return simulator.finish();
}

/** The report of a run whose facts do not matter. */
export function report(
  given: Partial<PartialConfig>,
  source: TraceSource | readonly Line[] | string,
  explain = 0,
): RunReport {
  return reportOf(simulate(given, source, explain), {
    trace: "test",
    config: {},
    configHash: "",
    origins: {},
    notes: [],
    incomplete: false,
    weight: null,
  });
}

/** Addresses of endpoint n by a fixed map: n · 2^32. */
export const AT = (node: number, line = 0): number => node * 2 ** 32 + line * 64;

/** That fixed map for nodes 0 to `nodes`. */
export function fixedMap(nodes: number): NonNullable<PartialConfig["fixed"]> {
  return Array.from({ length: nodes + 1 }, (_, node) => ({ baseAddress: AT(node), sizeBytes: 2 ** 32, node }));
}

/** Room for everything. */
export const ROOM: readonly number[] = [2 ** 40];
