/**
 * The settings of a run as JSON, and their hash: what a run is cited by.
 * @module
 */

import type { SimConfig } from "../../src/sim/config.ts";

/** Settings as JSON, keys in order; a limit that there is not is null. */
export function configEcho(config: SimConfig): Record<string, unknown> {
  const plain = (value: unknown): unknown => {
    if (value === Infinity) return null;
    if (Array.isArray(value)) return value.map(plain);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, one]) => [key, plain(one)]),
    );
  };
  return plain({
    ...config,
    topology: config.topology.text,
    capacityBytes: config.capacityBytes.map(String),
  }) as Record<string, unknown>;
}

/** SHA-256 of an echo, in hexadecimal. */
export async function configHash(echo: Record<string, unknown>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(echo)));
  return new Uint8Array(digest).toHex();
}
