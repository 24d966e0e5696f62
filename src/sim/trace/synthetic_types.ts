/**
 * What a synthetic trace is made of.
 * @module
 */

/** What a synthetic trace is made of. */
export interface SyntheticSettings {
  /** Accesses in all. */
  readonly count: number;
  readonly sizeBytes: number;
  readonly baseAddress: number;
  /** Compute time before each access in ns; of `poisson` the mean. */
  readonly gapNs: number;
  /** Share of stores, where the generator leaves it open. */
  readonly writes: number;
  readonly seed: number;
  readonly hosts: number;
  readonly threads: number;
  readonly lineBytes: number;
  /** Share of the table that is hot, and of the accesses that go there. */
  readonly hot: number;
  readonly hotShare: number;
  readonly workload: string;
  readonly records: number;
  readonly recordBytes: number;
  /** Skew of the zipf distribution. */
  readonly theta: number;
  /** Producers flush and consumers invalidate. */
  readonly flush: boolean;
  readonly warehouses: number;
  readonly chunkBytes: number;
}

/** Where a generator puts accesses of one stream. */
export interface Emit {
  /** Appends an access `gap` ticks after the stream's last one. */
  (host: number, thread: number, op: number, address: number, gapTicks: number): void;
}

/** Makes the next few accesses of one stream. */
export type Generator = (emit: Emit, host: number, thread: number) => void;
