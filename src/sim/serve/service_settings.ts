/**
 * What the memory server has, what it knows of its clients, and what it counts.
 * @module
 */

/** Says how long an access takes. */
export interface AccessLatency {
  /**
   * Latency of a line's access, in ns. Requests are given in order of their arrival.
   *
   * @param timeNs when it is issued; null for an access that waits for nobody and keeps nobody waiting
   */
  latencyNs(address: number, write: boolean, timeNs: number | null): number;
}

/** What the server has. */
export interface ServiceSettings {
  /** Bytes of memory, from address 0. */
  readonly sizeBytes: number;
  /** Bytes of it that may really be written. */
  readonly limitBytes: number;
  /** Bytes of the label storage area. */
  readonly labelBytes: number;
  /** Granularity of dynamic capacity, a power of two. */
  readonly granularityBytes: number;
  /** Accesses have to lie in extents that were added. */
  readonly enforceDcd: boolean;
  /** Accesses need a grant for the client's host. */
  readonly enforceGfam: boolean;
  /** The latency of accesses. */
  readonly latency: AccessLatency;
}

/** One client: what the server knows of it besides its requests. */
export interface ServiceClient {
  /** The head that its accesses go through, and its host number; null before it said one. */
  head: number | null;
  /** It wants back-invalidation. */
  backInvalidate: boolean;
  /** Its last timestamp, null before the first. */
  lastTimestampNs: bigint | null;
  /** Its time on the server's clock, in ns. */
  timeNs: number;
}

/** Totals since the start. */
export interface ServiceCounters {
  requests: number;
  reads: number;
  writes: number;
  atomics: number;
  errors: number;
  latencyNs: number;
}
