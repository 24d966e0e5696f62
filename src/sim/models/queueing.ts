/**
 * Waits from counts alone, where there are no time stamps.
 * @module
 */

/**
 * Mean wait of a queue with Poisson arrivals and equal service times: `ρ / (2·μ·(1 − ρ))`.
 *
 * @param utilisation ρ; capped at 0.99, and no wait below 0.01
 * @param serviceNs 1/μ
 */
export function poissonWaitNs(utilisation: number, serviceNs: number): number {
  if (utilisation < 0.01) return 0;
  const rho = Math.min(0.99, utilisation);
  return rho * serviceNs / (2 * (1 - rho));
}

/** Added latency of a fabric link at a utilisation: none to 0.5, then rising to 20 ns at 0.8 and 100 ns at 1. */
export function fabricWaitNs(utilisation: number): number {
  if (utilisation < 0.5) return 0;
  if (utilisation < 0.8) return 20 * (utilisation - 0.5) / 0.3;
  return 20 + 80 * (Math.min(1, utilisation) - 0.8) / 0.2;
}

/** The queue of an endpoint in the reference, by its length of 64: rising to 6 ns at 0.8 and 26 ns at 1. */
export function endpointQueueNs(length: number): number {
  const utilisation = length / 64;
  if (utilisation < 0.5) return 0;
  if (utilisation < 0.8) return 6 * (utilisation - 0.5) / 0.3;
  return 6 + 20 * (Math.min(1, utilisation) - 0.8) / 0.2;
}
