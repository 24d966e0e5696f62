/**
 * What a CXL memory device says of itself, as metrics: Get Health Information of its mailbox.
 *
 * Source: CXL 3.1 §8.2.9.9.3.1, opcode 4200h; the command is Linux's `CXL_MEM_COMMAND_ID_GET_HEALTH_INFO` (linux/cxl_mem.h).
 * @module
 */

import { decodeTable } from "../core/decoded.ts";
import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Fact, Unknown } from "../core/fact.ts";
import type { Layout } from "../core/layout.ts";
import type { MetricValue } from "../core/metrics.ts";
import { code, counter, flag, register } from "../core/rows.ts";
import { type TableMetric, tableMetrics } from "../core/table_metrics.ts";
import { cxlHealthInfo } from "../../ffi/cxl.ts";
import { Descriptor } from "../../ffi/fd.ts";

/** Values of one byte and of two that say "not implemented". */
const NO_LIFE_USED = 0xffn, NO_TEMPERATURE = 0x7fff;

const LEVELS: Readonly<Record<number, string>> = { 0: "normal", 1: "warning", 2: "critical" };
const ERROR_LEVELS: Readonly<Record<number, string>> = { 0: "normal", 1: "warning" };

const MEDIA: Readonly<Record<number, string>> = {
  0: "normal",
  1: "not ready",
  2: "writes no longer persist",
  3: "all data is lost",
  4: "writes would not persist through a power loss",
  5: "writes would not persist through a shutdown",
  6: "writes will soon not persist",
  7: "all data would be lost in a power loss",
  8: "all data would be lost in a shutdown",
  9: "all data will soon be lost",
};

const signed = (value: bigint): number => Number(BigInt.asIntN(16, value));
const percentUsed = (value: bigint): string => value === NO_LIFE_USED ? "not reported" : `${value} %`;
const celsius = (value: bigint): string => signed(value) === NO_TEMPERATURE ? "not reported" : `${signed(value)} °C`;

/** Get Health Information, output. */
export const CXL_HEALTH_INFO: Layout = {
  name: "Get Health Information",
  source: "CXL 3.1 §8.2.9.9.3.1, opcode 4200h",
  rows: [
    register("HS", 0x00, 1, "Health Status", [
      flag("MN", 0, "Maintenance is needed"),
      flag("PD", 1, "Performance is degraded"),
      flag("HRN", 2, "The hardware must be replaced"),
      flag("MCD", 3, "Capacity is degraded"),
    ]),
    register("MS", 0x01, 1, "Media Status", undefined, { values: MEDIA }),
    register("AS", 0x02, 1, "Additional Status", [
      code("LU", 1, 0, "Life used", LEVELS),
      code("DT", 3, 2, "Device temperature", LEVELS),
      code("CVE", 4, 4, "Corrected errors of volatile memory", ERROR_LEVELS),
      code("CPE", 5, 5, "Corrected errors of persistent memory", ERROR_LEVELS),
    ]),
    counter("LIFE", 0x03, 1, "Life Used", percentUsed),
    counter("TEMP", 0x04, 2, "Device Temperature", celsius),
    counter("DSC", 0x06, 4, "Dirty Shutdown Count"),
    counter("CVEC", 0x0a, 4, "Corrected Volatile Error Count"),
    counter("CPEC", 0x0e, 4, "Corrected Persistent Error Count"),
  ],
};

/** Bytes of the answer. */
const HEALTH_INFO_BYTES = 0x12;

const metrics = tableMetrics("busbar_cxl");

/** All kinds. */
export const CXL_DEVICE_METRICS: readonly TableMetric[] = [
  metrics.gauge("health_status", "Health Status of the device: bits, 0 for none.", (info) => info.uint("HS")),
  metrics.gauge("media_status", "Media Status of the device: a code, 0 for normal.", (info) => info.uint("MS")),
  metrics.gauge(
    "additional_status",
    "Additional Status of the device: levels, 0 for normal.",
    (info) => info.uint("AS"),
  ),
  metrics.gauge("used_ratio", "Life that is used up, 0 to 1.", (info) => {
    const percent = info.uint("LIFE");
    return percent === null || percent === NO_LIFE_USED ? null : Number(percent) / 100;
  }),
  metrics.gauge("temperature_celsius", "Device temperature.", (info) => {
    const value = info.uint("TEMP");
    return value === null || signed(value) === NO_TEMPERATURE ? null : signed(value);
  }),
  metrics.counter("dirty_shutdowns", "Shutdowns after which persistent data may be lost.", "DSC"),
  metrics.counter("corrected_volatile_errors", "Corrected errors of volatile memory.", "CVEC"),
  metrics.counter("corrected_persistent_errors", "Corrected errors of persistent memory.", "CPEC"),
];

/** Sends Get Health Information to `mem0`, and returns what the device answers: at most so many bytes. */
export type AskHealth = (memdev: string, sizeBytes: number) => Promise<Uint8Array>;

async function askKernel(memdev: string, sizeBytes: number): Promise<Uint8Array> {
  using device = Descriptor.open(`/dev/cxl/${memdev}`, true, "run as root");
  return await cxlHealthInfo(device, sizeBytes);
}

/**
 * Asks a device for its health.
 *
 * @param memdev `mem0`
 * @param ask the kernel by default
 * @returns not known where the device has no such command
 * @throws {BusbarError} `permission`, `absent`; `io` where the device refused; `malformed` for an answer that is too short
 */
export async function readCxlDeviceHealth(
  memdev: string,
  labels: Readonly<Record<string, string>>,
  ask: AskHealth = askKernel,
): Promise<Fact<MetricValue[]>> {
  let bytes: Uint8Array;
  try {
    bytes = await ask(memdev, HEALTH_INFO_BYTES);
  } catch (error) {
    if (!isBusbarError(error, "unsupported")) throw error;
    return new Unknown(`${memdev} has no command Get Health Information`);
  }
  if (bytes.length < HEALTH_INFO_BYTES) {
    throw new BusbarError("malformed", `${memdev} answered ${bytes.length} bytes of ${HEALTH_INFO_BYTES}`, {
      operation: "ask a CXL memory device for its health",
      path: memdev,
    });
  }
  const info = decodeTable(CXL_HEALTH_INFO, bytes);
  return CXL_DEVICE_METRICS.flatMap((row) => {
    const value = row.read(info);
    return value === null ? [] : [{ row, labels, value }];
  });
}
