/**
 * From settings that were given to complete ones.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { DEFAULT_BANDWIDTH, DEFAULT_LATENCY, DEFAULTS, type PartialConfig, type SimConfig } from "./config.ts";
import { findProblems } from "./config_check.ts";
import { readTopology } from "./topology/topology.ts";

const MIB = 2 ** 20;

/** A completed configuration, and what had to be said about it. */
export interface Completed {
  /** The settings, complete. */
  readonly config: SimConfig;
  /** Lists that were completed, endpoints that the text does not mention. */
  readonly notes: readonly string[];
}

function filled<T>(given: readonly T[] | undefined, wanted: number, fallback: T, what: string, notes: string[]): T[] {
  if (given === undefined || given.length === 0) return Array.from({ length: wanted }, () => fallback);
  if (given.length > wanted) {
    throw new BusbarError("usage", `${what}: ${given.length} given, where there is room for ${wanted}`, {
      operation: "read the settings",
      hint: "the topology says how many endpoints there are",
    });
  }
  const last = given[given.length - 1] as T;
  if (given.length < wanted) {
    notes.push(`${what}: ${given.length} of ${wanted} given, the last one (${String(last)}) is repeated`);
  }
  return Array.from({ length: wanted }, (_, i) => i < given.length ? given[i] as T : last);
}

/**
 * Completes settings: defaults, and short lists by repeating their last value.
 *
 * @throws {BusbarError} `usage`: the first mistake; {@linkcode findProblems} tells all
 */
export function completeConfig(given: PartialConfig): Completed {
  const topology = readTopology(given.topology, given.endpoints ?? null);
  const notes = [...topology.warnings];
  const n = topology.endpoints.filter(({ remote }) => !remote).length;
  const remote = topology.endpoints.length - n;
  const capacity = filled(given.capacityBytes, 1 + n, 20 * MIB, "capacity", notes);
  if (given.capacityBytes === undefined || given.capacityBytes.length === 0) capacity[0] = 0;
  const extra = <T>(list: T[], value: T): T[] => [...list, ...Array.from({ length: remote }, () => value)];
  const merged = <K extends "switch" | "fabric" | "migration" | "coherence" | "mlc">(key: K): SimConfig[K] =>
    ({ ...DEFAULTS[key], ...defined(given[key] ?? {}) }) as unknown as SimConfig[K];
  const config = {
    ...DEFAULTS,
    ...defined(given),
    topology,
    latencyNs: extra(filled(given.latencyNs, n, DEFAULT_LATENCY, "latency", notes), DEFAULT_LATENCY),
    bandwidthGBs: extra(filled(given.bandwidthGBs, n, DEFAULT_BANDWIDTH, "bandwidth", notes), DEFAULT_BANDWIDTH),
    capacityBytes: extra(capacity, 1024 * MIB),
    switch: merged("switch"),
    fabric: merged("fabric"),
    migration: merged("migration"),
    coherence: merged("coherence"),
    mlc: merged("mlc"),
  } as SimConfig;
  const [problem] = findProblems(config);
  if (problem !== undefined) {
    throw new BusbarError("usage", problem, {
      operation: "read the settings",
      hint: "cxl_sim check FILE lists every mistake of a file",
    });
  }
  return { config, notes };
}

function defined<T extends object>(given: T): Partial<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<T>;
}
