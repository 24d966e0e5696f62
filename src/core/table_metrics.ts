/**
 * Metrics that are read from a decoded structure, such as a log of a device.
 * @module
 */

import type { DecodedTable } from "./decoded.ts";
import type { MetricRow } from "./metrics.ts";

/** A metric that is read from a structure. */
export interface TableMetric extends MetricRow {
  /** From the structure; null where the device does not report it. */
  readonly read: (table: DecodedTable) => number | bigint | null;
}

/** Makes metrics whose names begin alike. */
export interface TableMetrics {
  /** A value that goes up and down. */
  gauge(name: string, help: string, read: TableMetric["read"]): TableMetric;
  /** A field that only grows, in units of `times`. */
  counter(name: string, help: string, field: string, times?: bigint): TableMetric;
}

/**
 * Makers of metrics of one kind of device.
 *
 * @param prefix what the names begin with: `busbar_nvme`
 */
export function tableMetrics(prefix: string): TableMetrics {
  return {
    gauge: (name, help, read) => ({ name: `${prefix}_${name}`, type: "gauge", help, read }),
    counter: (name, help, field, times = 1n) => ({
      name: `${prefix}_${name}`,
      type: "counter",
      help,
      read: (table) => {
        const value = table.uint(field);
        return value === null ? null : value * times;
      },
    }),
  };
}
