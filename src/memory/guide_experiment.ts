/**
 * The experiment of the guides on tiering with CXL memory: random updates of a table that fits the fast node, one that nearly
 * fills it, one beside a hog, and one that does not fit; with balancing, with DAMON as a whole and for a cgroup, with both,
 * and with neither.
 *
 * Source: the sizes are those of the guide's table for a fast node of 8 GiB: 1, 5 and 7 GiB, and 1 GiB beside 6000 MiB. SK hynix
 * HMSDK, capacity expansion: demotion is on for DAMON too, and the cgroup is called hmsdk.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type { Host } from "../core/host.ts";
import type { BuiltInWorkloads, Experiment, ExperimentCase, Workload } from "./experiment.ts";
import type { DamonIntervals, DamonRequest, NodePair } from "./damon_plan.ts";
import type { BuiltInTask } from "./workload_process.ts";
import { BALANCING_PROFILE, readTierState, type TierProfile } from "./tiers.ts";

/** What can be chosen of it. */
export interface GuideOptions {
  /** Bytes that the tables are shares of: those of the fast node by default. Less where other programs fill the rest. */
  readonly fastBytes?: bigint | undefined;
  /** How often DAMON looks; HMSDK's intervals by default. */
  readonly intervals?: DamonIntervals | undefined;
  /** Pages not used for so long are cold, in microseconds; 30 s by default. */
  readonly coldAgeUs?: number | undefined;
}

/** Shares of the fast node's memory, in 8192nds: MiB of the guide's node. */
const NODE = 8192n;
const TABLES = { fits: 1024n, nearlyFills: 5120n, doesNotFit: 7168n } as const;
const HOG = 6000n;

/**
 * The guide's experiment for the nodes of a machine.
 *
 * @throws {BusbarError} `absent` when no node with processors has a slower one to demote to
 */
export function guideExperiment(host: Host, builtIn: BuiltInWorkloads, options: GuideOptions): Experiment {
  const state = readTierState(host);
  const fast = state.nodes.find(({ id, cpus }) => cpus !== "" && (state.demotion.get(id) ?? []).length > 0);
  const to = fast === undefined ? undefined : state.demotion.get(fast.id)?.[0];
  if (fast === undefined || to === undefined) {
    throw new BusbarError("absent", "no node with processors has a slower one to demote to", {
      operation: "plan an experiment",
      hint: "tiering shows nodes and tiers; cxl_region system-ram makes CXL memory or a dax device a node",
    });
  }
  const fastBytes = options.fastBytes ?? BigInt(fast.totalBytes);
  const size = (share: bigint): bigint => (fastBytes * share / NODE) >> 20n << 20n;
  if (size(TABLES.fits) === 0n) {
    throw new BusbarError("usage", `${fastBytes} bytes are too few: tables of whole MiB are an eighth of it and more`, {
      operation: "plan an experiment",
      hint: "--fast-size is 8MiB or more",
    });
  }
  const named = (share: bigint): string => `${size(share) >> 20n}M`;
  const gups = (share: bigint): BuiltInTask => ({ process: builtIn.gups, sizeBytes: size(share) });
  const alone = (share: bigint): Workload => ({ name: `GUPS ${named(share)}`, task: gups(share), beside: null });
  return {
    cases: guideCases({ from: fast.id, to }, options),
    workloads: [
      alone(TABLES.fits),
      alone(TABLES.nearlyFills),
      {
        name: `GUPS ${named(TABLES.fits)} with ${named(HOG)} hog`,
        task: gups(TABLES.fits),
        beside: { process: builtIn.hog, sizeBytes: size(HOG) },
      },
      alone(TABLES.doesNotFit),
    ],
  };
}

function guideCases(pair: NodePair, { intervals, coldAgeUs }: GuideOptions): ExperimentCase[] {
  const damon = (cgroup: string | null): DamonRequest => ({
    demote: [pair],
    promote: [{ from: pair.to, to: pair.from }],
    cgroup,
    intervals,
    coldAgeUs,
  });
  const none: TierProfile = new Map([["numa_balancing", "0"], ["demotion_enabled", "false"]]);
  const demotion: TierProfile = new Map([["numa_balancing", "0"], ["demotion_enabled", "true"]]);
  return [
    { name: "neither", profile: none, damon: null },
    { name: "balancing", profile: BALANCING_PROFILE, damon: null },
    { name: "DAMON", profile: demotion, damon: damon(null) },
    { name: "DAMON for a cgroup", profile: demotion, damon: damon("/hmsdk") },
    { name: "balancing and DAMON", profile: BALANCING_PROFILE, damon: damon(null) },
    { name: "balancing and DAMON for a cgroup", profile: BALANCING_PROFILE, damon: damon("/hmsdk") },
  ];
}
