/**
 * A PCI function's health as metrics: the kernel's counters of errors, and the link. Configuration space is read, nothing
 * is cleared.
 * @module
 */

import { valueOf } from "../core/fact.ts";
import { type Host, ifReadable } from "../core/host.ts";
import type { MetricRow, MetricValue } from "../core/metrics.ts";
import { AER_FILES, type AerSeverity, readAerCounts } from "./aer.ts";
import { listCapabilities } from "./capabilities.ts";
import { LINK_SPEEDS } from "./capability_tables.ts";
import { PCI_DEVICES, readPciFunction } from "./function.ts";
import { readLinkEnd } from "./link.ts";

const AER_HELP: Readonly<Record<AerSeverity, string>> = {
  correctable: "Correctable PCI Express errors, as the kernel counts them.",
  nonfatal: "Uncorrectable, non-fatal PCI Express errors, as the kernel counts them.",
  fatal: "Uncorrectable, fatal PCI Express errors, as the kernel counts them.",
};

const aerRow = (severity: AerSeverity): MetricRow => ({
  name: `busbar_pci_${severity}_errors`,
  type: "counter",
  help: AER_HELP[severity],
});

const AER_ROWS: Readonly<Record<AerSeverity, MetricRow>> = {
  correctable: aerRow("correctable"),
  nonfatal: aerRow("nonfatal"),
  fatal: aerRow("fatal"),
};

const LINK_SPEED: MetricRow = {
  name: "busbar_pci_link_gigatransfers",
  type: "gauge",
  help: "Speed of the link in GT/s; 0 where it is down.",
};
const LINK_LANES: MetricRow = {
  name: "busbar_pci_link_lanes",
  type: "gauge",
  help: "Lanes of the link; 0 where it is down.",
};

/** All kinds. */
export const PCI_METRICS: readonly MetricRow[] = [...Object.values(AER_ROWS), LINK_SPEED, LINK_LANES];

/**
 * Reads a function's counters and link.
 *
 * @param address as sysfs writes it
 * @throws {BusbarError} `absent` when it is gone
 */
export function readPciHealth(host: Host, address: string, labels: Readonly<Record<string, string>>): MetricValue[] {
  const fn = readPciFunction(host, address);
  const values: MetricValue[] = [];
  const counts = readAerCounts(host, fn.folder ?? "");
  for (const severity of Object.keys(AER_FILES) as AerSeverity[]) {
    for (const [error, value] of Object.entries(valueOf(counts[severity]) ?? {})) {
      values.push({ row: AER_ROWS[severity], labels: { ...labels, error }, value });
    }
  }
  const link = valueOf(readLinkEnd(host, fn, listCapabilities(fn.config)));
  if (link !== null) {
    const { speed, width } = link.current;
    const gigatransfers = speed === null ? 0 : parseFloat(LINK_SPEEDS[speed] ?? "0");
    values.push({ row: LINK_SPEED, labels, value: gigatransfers }, { row: LINK_LANES, labels, value: width ?? 0 });
  }
  return values;
}

/** Whether the kernel lets the function sleep now: then nothing of it is read, which would wake it. */
export function sleeps(host: Host, address: string): boolean {
  const status = ifReadable(() => host.readText(`${PCI_DEVICES}/${address}/power/runtime_status`).trim());
  return status === "suspended" || status === "suspending";
}
