/**
 * CXL memory devices' events as metrics: what the kernel has written to its trace. Looking does not take events out.
 *
 * Source: Linux drivers/cxl/core/trace.h (names of events), Documentation/trace/ftrace.rst (the file `trace`).
 * @module
 */

import { type Fact, Unknown } from "../core/fact.ts";
import { factOf, type Host } from "../core/host.ts";
import type { MetricRow, MetricValue } from "../core/metrics.ts";

const TRACING = "/sys/kernel/tracing";

const EVENTS: MetricRow = {
  name: "busbar_cxl_trace_events",
  type: "gauge",
  help: "Events of a CXL memory device in the kernel's trace buffer, by kind; old ones leave it.",
};

/** All kinds. */
export const CXL_METRICS: readonly MetricRow[] = [EVENTS];

/** Kinds of events that a device reports: media, DRAM, module, poison, overflow of its log, errors that AER brings. */
const KINDS: readonly string[] = [
  "cxl_general_media",
  "cxl_dram",
  "cxl_memory_module",
  "cxl_generic_event",
  "cxl_poison",
  "cxl_overflow",
  "cxl_aer_uncorrectable_error",
  "cxl_aer_correctable_error",
];

/**
 * Counts a device's events in the trace.
 *
 * @param memdev `mem0`
 * @returns not known where tracing of CXL events is off, or may not be read
 */
export function readCxlEvents(
  host: Host,
  memdev: string,
  labels: Readonly<Record<string, string>>,
): Fact<MetricValue[]> {
  const enabled = factOf(() => host.readText(`${TRACING}/events/cxl/enable`).trim());
  if (enabled instanceof Unknown) return enabled;
  if (enabled === null) return new Unknown("the kernel has no CXL events to trace, or tracefs is not mounted");
  if (enabled === "0") return new Unknown(`CXL events are not traced: echo 1 > ${TRACING}/events/cxl/enable`);
  const trace = factOf(() => host.readText(`${TRACING}/trace`));
  if (trace === null || trace instanceof Unknown) return trace ?? new Unknown("there is no trace");
  return KINDS.map((kind) => ({
    row: EVENTS,
    labels: { ...labels, event: kind },
    value: countEvents(trace, kind, memdev),
  }));
}

/** Lines `…: cxl_poison: memdev=mem0 …`. */
function countEvents(trace: string, kind: string, memdev: string): number {
  return trace.split("\n").filter((line) => {
    const at = line.indexOf(`: ${kind}: `);
    return at >= 0 && new RegExp(`\\bmemdev=${memdev}\\b`).test(line.slice(at));
  }).length;
}
