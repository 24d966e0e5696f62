/**
 * An NVMe drive's health as metrics: one SMART log, one Identify at the first look. The event that announced a log stays
 * pending.
 *
 * Source: NVM Express Base 2.0 §5.16.1.3 (SMART / Health Information).
 * @module
 */

import { type DecodedTable, decodeTable } from "../../core/decoded.ts";
import { type TableMetric, tableMetrics } from "../../core/table_metrics.ts";
import type { MetricValue } from "../../core/metrics.ts";
import type { ExecuteOptions } from "../queue/command.ts";
import type { NvmeController } from "../driver/controller.ts";
import { SMART_LOG } from "../tables/log_health.ts";

const LOG_SMART = 0x02;
const KELVIN = 273;
/** Data units are thousands of 512 bytes. */
const DATA_UNIT_BYTES = 512_000n;
const HOUR_SECONDS = 3600n;
const MINUTE_SECONDS = 60n;

const { gauge, counter } = tableMetrics("busbar_nvme");

const percentOf = (row: string) => (log: DecodedTable): number | null => {
  const value = log.uint(row);
  return value === null ? null : Number(value) / 100;
};

/** What of SMART is a metric. */
export const SMART_METRICS: readonly TableMetric[] = [
  gauge("critical_warning", "Critical Warning of SMART: bits, 0 for none.", (log) => log.uint("CW")),
  gauge("temperature_celsius", "Composite temperature.", (log) => {
    const kelvin = log.uint("CTEMP");
    return kelvin === null || kelvin === 0n ? null : Number(kelvin) - KELVIN;
  }),
  gauge("available_spare_ratio", "Spare that is left, 0 to 1.", percentOf("AVSP")),
  gauge("available_spare_threshold_ratio", "Spare below which the drive warns, 0 to 1.", percentOf("AVSPT")),
  gauge("used_ratio", "Life that is used up, 1 is the maker's estimate; may be more.", percentOf("PUSED")),
  counter("read_bytes", "Bytes that hosts read, in thousands of 512.", "DUR", DATA_UNIT_BYTES),
  counter("written_bytes", "Bytes that hosts wrote, in thousands of 512.", "DUW", DATA_UNIT_BYTES),
  counter("read_commands", "Read commands of hosts.", "HRC"),
  counter("write_commands", "Write commands of hosts.", "HWC"),
  counter("busy_seconds", "Time with commands in work.", "CBT", MINUTE_SECONDS),
  counter("power_cycles", "Power cycles.", "PWRC"),
  counter("power_on_seconds", "Time with power.", "POH", HOUR_SECONDS),
  counter("unsafe_shutdowns", "Times that power went without a shutdown.", "UPL"),
  counter("media_errors", "Media and data integrity errors.", "MDIE"),
  counter("error_log_entries", "Entries of the error log, over the drive's life.", "NEILE"),
];

/** Reads a drive's SMART log. @throws {BusbarError} as the command fails */
export async function readNvmeHealth(
  controller: NvmeController,
  labels: Readonly<Record<string, string>>,
  options: ExecuteOptions = {},
): Promise<MetricValue[]> {
  const log = decodeTable(
    SMART_LOG,
    await controller.getLog({ id: LOG_SMART, sizeBytes: 512, retainEvent: true }, options),
  );
  return SMART_METRICS.flatMap((row) => {
    const value = row.read(log);
    return value === null ? [] : [{ row, labels, value }];
  });
}
