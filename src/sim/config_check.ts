/**
 * What is wrong with settings.
 * @module
 */

import type { CacheSettings, SimConfig } from "./config.ts";
import { windowProblems } from "./topology/interleave.ts";

/** All mistakes of settings, a line each. */
export function findProblems(config: SimConfig): string[] {
  const problems: string[] = [];
  const above = (value: number, what: string): void => {
    if (!(value > 0 && Number.isFinite(value))) problems.push(`${what}: ${value} is not above zero`);
  };
  const notBelow = (value: number, what: string): void => {
    if (!(value >= 0 && Number.isFinite(value))) problems.push(`${what}: ${value} is not zero or more`);
  };
  const power = (value: number, least: number, most: number, what: string): void => {
    if (!Number.isInteger(Math.log2(value)) || value < least || value > most) {
      problems.push(`${what}: ${value} is no power of two from ${least} to ${most}`);
    }
  };
  above(config.epochNs, "epoch");
  for (const one of config.dramLatencyNs) notBelow(one, "dram latency");
  for (const [i, pair] of config.latencyNs.entries()) {
    for (const one of pair) above(one, `latency of endpoint ${i + 1}`);
  }
  for (const [i, pair] of config.bandwidthGBs.entries()) {
    for (const one of pair) above(one, `bandwidth of endpoint ${i + 1}`);
  }
  for (const one of config.localBandwidthGBs ?? []) above(one, "local bandwidth");
  for (const [i, one] of config.capacityBytes.entries()) {
    if (i === 0) notBelow(one, "local capacity");
    else above(one, `capacity of endpoint ${i}`);
  }
  notBelow(config.switch.latencyNs, "switch latency");
  for (const one of config.switch.bandwidthGBs) above(one, "switch bandwidth");
  for (const one of [config.serviceNs, config.switch.serviceNs]) if (one !== null) notBelow(one, "service time");
  for (const one of [config.credits, config.switch.credits, config.fabric.credits]) {
    if (one !== null && !(Number.isInteger(one) && one > 0)) problems.push(`credits: ${one} is not 1 or more`);
  }
  above(config.fabric.bandwidthGBs, "fabric bandwidth");
  notBelow(config.fabric.latencyNs, "fabric latency");
  notBelow(config.headerBytes, "header bytes");
  power(config.lineBytes, 16, 4096, "line");
  power(config.pageBytes, config.lineBytes, 2 ** 30, "page");
  if (!(Number.isInteger(config.window) && config.window >= 1 && config.window <= 65536)) {
    problems.push(`window: ${config.window} is no whole number from 1 to 65536`);
  }
  if (config.mlp !== "trace" && !(config.mlp >= 1)) problems.push(`mlp: ${config.mlp} is below 1`);
  if (!(config.mlc.knee >= 0.1 && config.mlc.knee <= 0.95)) {
    problems.push(`bandwidth knee: ${config.mlc.knee} is not between 0.10 and 0.95`);
  }
  if (!(config.mlc.minWindowNs >= 1000)) problems.push(`bandwidth window: ${config.mlc.minWindowNs} ns is below 1000`);
  if (config.bandwidthModel === "curve" && config.curve === null) problems.push("the model curve needs a curve");
  const nodes = config.capacityBytes.length;
  if (!(Number.isInteger(config.node) && config.node >= 0 && config.node < nodes)) {
    problems.push(`node: there is no node ${config.node}`);
  }
  for (const { node } of config.fixed) if (!(node >= 0 && node < nodes)) problems.push(`fixed map: no node ${node}`);
  for (const window of config.windows) {
    problems.push(...windowProblems(window).map((text) => `window: ${text}`));
    for (const target of window.targets) {
      if (!(target > 0 && target < nodes)) problems.push(`window: no endpoint ${target}`);
    }
  }
  for (const weight of config.weights) {
    if (!(Number.isInteger(weight) && weight >= 0 && weight <= 255)) problems.push(`weight: ${weight} is not 0 to 255`);
  }
  if (config.cache !== null) problems.push(...cacheProblems(config.cache, config.lineBytes));
  above(config.migration.timeScale, "time scale");
  if (config.hosts !== null && !(Number.isInteger(config.hosts) && config.hosts >= 1 && config.hosts <= 32)) {
    problems.push(`hosts: ${config.hosts} is not 1 to 32`);
  }
  return problems;
}

function cacheProblems(cache: CacheSettings, lineBytes: number): string[] {
  const problems: string[] = [];
  for (const [name, one] of [["cache", cache], ["L1", cache.l1]] as const) {
    if (one === null) continue;
    const sets = one.sizeBytes / lineBytes / one.ways;
    if (!Number.isInteger(Math.log2(sets)) || !(one.ways >= 1)) {
      problems.push(`${name}: ${one.sizeBytes} bytes in ${one.ways} ways are no power of two of sets`);
    }
  }
  return problems;
}
