/**
 * Poisson arrivals at one link, for tests.
 * @module
 */

import { AT, fixedMap, report, ROOM } from "./sim_run.ts";

/** Mean wait of Poisson arrivals at a link of 2 ns, and what M/D/1 says: ρ·s/(2(1−ρ)). */
export function poissonWait(
  rho: number,
  count: number,
  seed: number,
): { readonly mean: number; readonly expected: number } {
  const { sums, latency } = report({
    topology: "(1)",
    latencyNs: [[300, 300]],
    bandwidthGBs: [[32, 32]],
    capacityBytes: ROOM,
    fixed: fixedMap(1),
    replay: "open",
  }, `poisson?count=${count}&gap=${2 / rho}&writes=0&base=${AT(1)}&size=64MiB&seed=${seed}`);
  return { mean: (sums.waitNs ?? 0) / (latency?.count ?? 1), expected: rho * 2 / (2 * (1 - rho)) };
}
