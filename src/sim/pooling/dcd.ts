/**
 * A dynamic capacity device: extents of its memory are added to hosts and released.
 * @module
 */

/** A piece of capacity that a host has. */
export interface Extent {
  /** First byte, a multiple of the granularity. */
  readonly base: number;
  /** Bytes, a multiple of the granularity. */
  readonly sizeBytes: number;
  /** What the request called it. */
  readonly tag: bigint;
  /** The host that asked. */
  readonly host: number;
}

/** Why a request was refused. The numbers stand on the wire. */
export const DcdStatus = {
  Ok: 0,
  OutOfCapacity: 1,
  Overlap: 2,
  NotFound: 3,
  InvalidRequest: 4,
} as const;

/** What there is and what is used. */
export interface DcdState {
  readonly totalBytes: number;
  readonly allocatedBytes: number;
  readonly freeBytes: number;
  readonly extents: number;
  readonly failedRequests: number;
}

/** Capacity that is handed out in extents. */
export class DynamicCapacity {
  readonly #totalBytes: number;
  readonly #granularityBytes: number;
  /** In order of their base. */
  #extents: Extent[] = [];
  #failed = 0;

  /**
   * @param totalBytes a multiple of the granularity
   * @param granularityBytes a power of two
   */
  constructor(totalBytes: number, granularityBytes: number) {
    this.#totalBytes = totalBytes - totalBytes % granularityBytes;
    this.#granularityBytes = granularityBytes;
  }

  /** The extents, in order of their base. */
  get extents(): readonly Extent[] {
    return this.#extents;
  }

  /** Totals. */
  get state(): DcdState {
    const allocatedBytes = this.#extents.reduce((sum, extent) => sum + extent.sizeBytes, 0);
    return {
      totalBytes: this.#totalBytes,
      allocatedBytes,
      freeBytes: this.#totalBytes - allocatedBytes,
      extents: this.#extents.length,
      failedRequests: this.#failed,
    };
  }

  /**
   * Adds an extent.
   *
   * @param base where, or null for the first place that fits
   * @returns the extent, or the status that says why not
   */
  add(base: number | null, sizeBytes: number, tag: bigint, host: number): Extent | number {
    const fits = (value: number): boolean => Number.isSafeInteger(value) && value % this.#granularityBytes === 0;
    if (!(sizeBytes > 0) || !fits(sizeBytes) || (base !== null && !fits(base))) {
      return this.#fail(DcdStatus.InvalidRequest);
    }
    const at = base ?? this.#firstFit(sizeBytes);
    if (at === null || at + sizeBytes > this.#totalBytes) return this.#fail(DcdStatus.OutOfCapacity);
    if (this.#extents.some((extent) => extent.base < at + sizeBytes && at < extent.base + extent.sizeBytes)) {
      return this.#fail(DcdStatus.Overlap);
    }
    const extent: Extent = { base: at, sizeBytes, tag, host };
    this.#extents = [...this.#extents, extent].sort((a, b) => a.base - b.base);
    return extent;
  }

  /**
   * Releases an extent, which has to be named exactly.
   *
   * @param tag 0 for any
   */
  release(base: number, sizeBytes: number, tag: bigint): number {
    const at = this.#extents.findIndex((extent) =>
      extent.base === base && extent.sizeBytes === sizeBytes && (tag === 0n || tag === extent.tag)
    );
    if (at < 0) return this.#fail(DcdStatus.NotFound);
    this.#extents.splice(at, 1);
    return DcdStatus.Ok;
  }

  /** True when every byte of a range lies in extents. */
  holds(base: number, sizeBytes: number): boolean {
    let at = base;
    for (const extent of this.#extents) {
      if (extent.base > at) return false;
      if (extent.base + extent.sizeBytes <= at) continue;
      at = extent.base + extent.sizeBytes;
      if (at >= base + sizeBytes) return true;
    }
    return false;
  }

  #firstFit(sizeBytes: number): number | null {
    let at = 0;
    for (const extent of this.#extents) {
      if (extent.base - at >= sizeBytes) return at;
      at = extent.base + extent.sizeBytes;
    }
    return this.#totalBytes - at >= sizeBytes ? at : null;
  }

  #fail(status: number): number {
    this.#failed++;
    return status;
  }
}
