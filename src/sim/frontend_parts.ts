/**
 * What the front end is put together from, and what it counts.
 * @module
 */

import type { Coherence } from "./coherence/coherence.ts";
import type { Epochs } from "./epochs.ts";
import type { HostCache } from "./memory/cache.ts";
import type { PageMap } from "./memory/page_map.ts";

/** The parts that the front end puts together; null where a part is off. */
export interface FrontEndParts {
  /** Where pages lie. */
  readonly pages: PageMap;
  /** The epoch that runs. */
  readonly epochs: Epochs;
  /** By host. */
  readonly caches: readonly HostCache[] | null;
  /** Null where hosts share nothing. */
  readonly coherence: Coherence | null;
}

/** What the front end counts. */
export interface FrontEndCounts {
  /** Accesses of the trace. */
  accesses: number;
  /** Loads. */
  reads: number;
  /** Stores. */
  writes: number;
  /** Read-modify-writes. */
  atomics: number;
  /** Prefetches of the program. */
  prefetches: number;
  /** Cache lines that the program wrote back. */
  flushes: number;
  /** Cache lines that the program dropped. */
  invalidates: number;
  /** Ends of an epoch that the trace marks. */
  barriers: number;
  /** Cache lines that the accesses touch. */
  lines: number;
  /** Ticks of page walks. */
  walkTicks: number;
  /** Prefetches of the prefetchers. */
  prefetchesIssued: number;
}

/** Counts before the first access. */
export function noCounts(): FrontEndCounts {
  return {
    accesses: 0,
    reads: 0,
    writes: 0,
    atomics: 0,
    prefetches: 0,
    flushes: 0,
    invalidates: 0,
    barriers: 0,
    lines: 0,
    walkTicks: 0,
    prefetchesIssued: 0,
  };
}
