/**
 * Global fabric-attached memory: which host may do what with which range.
 * @module
 */

/** Permissions, as bits. */
export const Permission = { Read: 1, Write: 2, Atomic: 4, Shared: 8 } as const;

/** All of {@linkcode Permission}. */
export const ALL_PERMISSIONS = 15;

/** Why a request was refused. The numbers stand on the wire. */
export const GfamStatus = { Ok: 0, Overlap: 2, NotFound: 3, InvalidRequest: 4, AccessDenied: 5 } as const;

/** A range that a host may use. */
export interface Grant {
  readonly host: number;
  readonly base: number;
  readonly sizeBytes: number;
  /** Bits of {@linkcode Permission}. */
  readonly permissions: number;
}

/** The fabric's figures. */
export interface FabricSettings {
  /** One traversal, in ns. */
  readonly latencyNs: number;
  /** Bandwidth of the fabric, in GB/s. */
  readonly bandwidthGBs: number;
}

/** The reference's fabric: 150 ns, 32,768 MB/s. */
export const REFERENCE_FABRIC: FabricSettings = { latencyNs: 150, bandwidthGBs: 32.768 };

/**
 * Latency of an access over the fabric, in ns: fabric + size / (bandwidth · share) + fabric · (1/share − 1) · 0.25.
 *
 * @param share the part of the fabric that this host gets, above 0, at most 1
 */
export function fabricLatencyNs(settings: FabricSettings, sizeBytes: number, share: number): number {
  const { latencyNs, bandwidthGBs } = settings;
  return latencyNs + sizeBytes / (bandwidthGBs * share) + latencyNs * (1 / share - 1) * 0.25;
}

/** What was granted and used. */
export interface GfamState {
  readonly hosts: number;
  readonly grants: number;
  readonly sharedGrants: number;
  readonly reads: number;
  readonly writes: number;
  readonly atomics: number;
  readonly denied: number;
}

/** The table of grants. */
export class FabricMemory {
  readonly #totalBytes: number;
  #grants: Grant[] = [];
  #reads = 0;
  #writes = 0;
  #atomics = 0;
  #denied = 0;

  /** Memory of `totalBytes`, from address 0. */
  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
  }

  /** The grants, in the order in which they were made. */
  get grants(): readonly Grant[] {
    return this.#grants;
  }

  /** Totals. */
  get state(): GfamState {
    return {
      hosts: new Set(this.#grants.map((grant) => grant.host)).size,
      grants: this.#grants.length,
      sharedGrants: this.#grants.filter((grant) => (grant.permissions & Permission.Shared) !== 0).length,
      reads: this.#reads,
      writes: this.#writes,
      atomics: this.#atomics,
      denied: this.#denied,
    };
  }

  /**
   * Grants a range to a host. Ranges of two hosts may overlap when both are shared; ranges of one host may not overlap.
   *
   * @returns a {@linkcode GfamStatus}
   */
  grant(host: number, base: number, sizeBytes: number, permissions: number): number {
    const inside = Number.isSafeInteger(base) && Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && base >= 0 &&
      base + sizeBytes <= this.#totalBytes;
    if (!inside || (permissions & ~ALL_PERMISSIONS) !== 0 || (permissions & ~Permission.Shared) === 0) {
      return GfamStatus.InvalidRequest;
    }
    const shared = (permissions & Permission.Shared) !== 0;
    const conflict = this.#grants.some((grant) =>
      grant.base < base + sizeBytes && base < grant.base + grant.sizeBytes &&
      (grant.host === host || !shared || (grant.permissions & Permission.Shared) === 0)
    );
    if (conflict) return GfamStatus.Overlap;
    this.#grants.push({ host, base, sizeBytes, permissions });
    return GfamStatus.Ok;
  }

  /** Takes a grant back, which has to be named exactly. */
  revoke(host: number, base: number, sizeBytes: number): number {
    const at = this.#grants.findIndex((grant) =>
      grant.host === host && grant.base === base && grant.sizeBytes === sizeBytes
    );
    if (at < 0) return GfamStatus.NotFound;
    this.#grants.splice(at, 1);
    return GfamStatus.Ok;
  }

  /**
   * Asks whether a host may do something, and counts the access or the refusal.
   *
   * @param needed one bit of {@linkcode Permission}: Read, Write or Atomic
   */
  check(host: number, base: number, sizeBytes: number, needed: number): boolean {
    const allowed = this.#grants.some((grant) =>
      grant.host === host && grant.base <= base && base + sizeBytes <= grant.base + grant.sizeBytes &&
      (grant.permissions & needed) !== 0
    );
    if (!allowed) this.#denied++;
    else if (needed === Permission.Read) this.#reads++;
    else if (needed === Permission.Write) this.#writes++;
    else this.#atomics++;
    return allowed;
  }
}
