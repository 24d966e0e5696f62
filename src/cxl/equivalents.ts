/**
 * The command lines of cxl-cli, daxctl and ndctl that do what busbar does, for people who know those.
 *
 * Checked against cxl 76 in the lab. cxl-cli before version 78 cannot create volatile regions itself.
 * @module
 */

import { hex } from "../core/units.ts";
import type { RegionPlan } from "./plan.ts";

/** What shows the same. */
export function listEquivalents(): string[] {
  return ["cxl list -BPEMDRTu", "daxctl list -Mu", "ndctl list -NRDu"];
}

/** What creates the same region, and uses it the same way. */
export function createEquivalents(plan: RegionPlan, use: "system-ram" | "devdax" | "offline"): string[] {
  const devices = plan.targets.map((target) => target.memdev);
  const lines = [
    `cxl create-region -d ${plan.window} -t ${plan.type} -w ${devices.length} -g ${plan.granularityBytes} ` +
    `-s ${hex(plan.sizeBytes)} -m ${devices.join(" ")}`,
  ];
  const number = plan.region.slice("region".length);
  if (plan.type === "pmem") lines.push(`ndctl create-namespace -r ${plan.region} -m devdax`);
  else if (use === "system-ram") lines.push(`daxctl online-memory dax${number}.0`);
  else if (use === "devdax") lines.push(`daxctl reconfigure-device --mode=devdax --force dax${number}.0`);
  return lines;
}

/** What destroys a region. */
export function destroyEquivalents(region: string, daxDevices: readonly string[]): string[] {
  return [
    ...daxDevices.map((device) => `daxctl offline-memory ${device}`),
    `cxl disable-region ${region}`,
    `cxl destroy-region ${region}`,
  ];
}

/** What changes a dax device. */
export function daxEquivalents(device: string, action: "online" | "offline" | "devdax" | "system-ram"): string[] {
  switch (action) {
    case "online":
      return [`daxctl online-memory ${device}`];
    case "offline":
      return [`daxctl offline-memory ${device}`];
    case "devdax":
      return [`daxctl offline-memory ${device}`, `daxctl reconfigure-device --mode=devdax ${device}`];
    case "system-ram":
      return [`daxctl reconfigure-device --mode=system-ram ${device}`];
  }
}
