/**
 * A DAMON plan as schemes of the simulator's policy.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { directionOf, type Kdamond, NO_LIMIT } from "../../src/memory/damon_plan.ts";
import type { DamonScheme } from "../../src/sim/config.ts";

/**
 * Schemes that move pages, in the order in which they are tried.
 *
 * @throws {BusbarError} `unsupported` for what the simulator does not model
 */
export function damonSchemes(kdamonds: readonly Kdamond[], path: string): DamonScheme[] {
  const schemes = kdamonds.flatMap((kdamond) => {
    const { sampleUs, aggregateUs } = kdamond.intervals;
    const looks = Math.max(1, Math.floor(aggregateUs / sampleUs));
    return kdamond.schemes.flatMap((scheme) => {
      const action = directionOf(scheme);
      if (action === null || scheme.to === null) return [];
      const percent = (value: bigint): number => value === NO_LIMIT ? 100 : Math.min(100, Number(value) * 100 / looks);
      const { sizeBytes, intervalMs } = scheme.quota;
      return [{
        action,
        targetNode: scheme.to,
        minRatePercent: percent(scheme.accesses.min),
        maxRatePercent: percent(scheme.accesses.max),
        minAgeNs: Number(scheme.age.min) * aggregateUs * 1000,
        quotaBytes: sizeBytes === 0n ? Infinity : Number(sizeBytes),
        quotaIntervalNs: Math.max(1, intervalMs) * 1e6,
      }];
    });
  });
  if (schemes.length > 0) return schemes;
  throw new BusbarError("unsupported", `${path}: no scheme in it moves pages`, {
    operation: "read the DAMON plan",
    path,
    hint: "damon_config generate writes one that does",
  });
}
