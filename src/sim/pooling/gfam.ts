/**
 * Global fabric-attached memory: which host may do what with which range, and what an access takes.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Permissions, as bits. */
export const Permission = { Read: 1, Write: 2, Atomic: 4, Shared: 8 } as const;

/** Bandwidth of the reference's fabric: 32,768 MB/s. */
export const FABRIC_GBS = 32.768;

/** Latency of the fabric in ns. */
export const FABRIC_NS = 150;

const GRANT_LIMIT = 65536;

/** A range that a host may use. */
export interface Grant {
  readonly host: number;
  readonly baseAddress: number;
  readonly sizeBytes: number;
  /** {@linkcode Permission} bits. */
  readonly permissions: number;
}

/**
 * What an access over the fabric takes, in ns: the fabric, the transfer, and the contention of hosts that share it.
 *
 * @param share of the fabric's bandwidth that the host has, above 0 and at most 1
 */
export function fabricLatencyNs(sizeBytes: number, share: number, GBs = FABRIC_GBS, fabricNs = FABRIC_NS): number {
  if (!(share > 0 && share <= 1)) {
    throw new BusbarError("usage", `a share of ${share} is not above 0 and at most 1`, {
      operation: "find a fabric latency",
    });
  }
  return fabricNs + sizeBytes / (GBs * share) + fabricNs * (1 / share - 1) * 0.25;
}

/** Memory that hosts are granted ranges of. */
export class FabricMemory {
  /** Accesses that were refused. */
  denied = 0;
  readonly #sizeBytes: number;
  #grants: Grant[] = [];

  /** Memory of `sizeBytes`, granted to nobody. */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  /**
   * Grants a range to a host. Hosts may have the same range only when every grant of it says shared.
   *
   * @throws {BusbarError} `usage` for permissions that do not exist, `out-of-range` past the end, `busy` when another
   * host has some of it alone
   */
  grant(host: number, baseAddress: number, sizeBytes: number, permissions: number): void {
    if (!Number.isInteger(permissions) || permissions < 1 || permissions > 15) {
      throw wrong("usage", `permissions ${permissions}: read 1, write 2, atomic 4, shared 8, added up`);
    }
    if (!(baseAddress >= 0 && sizeBytes > 0 && baseAddress + sizeBytes <= this.#sizeBytes)) {
      throw wrong(
        "out-of-range",
        `0x${baseAddress.toString(16)} + ${sizeBytes} does not lie in ${this.#sizeBytes} bytes`,
      );
    }
    if (this.#grants.length >= GRANT_LIMIT) throw wrong("out-of-range", `there are ${GRANT_LIMIT} grants already`);
    const other = this.#grants.find((one) =>
      overlaps(one, baseAddress, sizeBytes) &&
      (one.host === host || ((one.permissions & permissions) & Permission.Shared) === 0)
    );
    if (other !== undefined) {
      throw wrong("busy", `host ${other.host} has 0x${other.baseAddress.toString(16)} + ${other.sizeBytes} already`);
    }
    this.#grants.push({ host, baseAddress, sizeBytes, permissions });
  }

  /**
   * Takes a grant back.
   *
   * @throws {BusbarError} `absent` when the host has none that begins there and has this size
   */
  revoke(host: number, baseAddress: number, sizeBytes: number): void {
    const at = this.#grants.findIndex((one) =>
      one.host === host && one.baseAddress === baseAddress && one.sizeBytes === sizeBytes
    );
    if (at < 0) {
      throw wrong("absent", `host ${host} has no grant of ${sizeBytes} bytes at 0x${baseAddress.toString(16)}`);
    }
    this.#grants.splice(at, 1);
  }

  /** True when one grant of the host covers the access with these permissions; a refusal is counted. */
  check(host: number, address: number, sizeBytes: number, permissions: number): boolean {
    const allowed = this.#grants.some((one) =>
      one.host === host && address >= one.baseAddress && address + sizeBytes <= one.baseAddress + one.sizeBytes &&
      (one.permissions & permissions) === permissions
    );
    if (!allowed) this.denied++;
    return allowed;
  }

  /** The grants, in the order they were made. */
  grants(): readonly Grant[] {
    return this.#grants;
  }
}

function overlaps(grant: Grant, baseAddress: number, sizeBytes: number): boolean {
  return baseAddress < grant.baseAddress + grant.sizeBytes && grant.baseAddress < baseAddress + sizeBytes;
}

function wrong(code: "usage" | "busy" | "out-of-range" | "absent", message: string): BusbarError {
  return new BusbarError(code, message, { operation: "change fabric memory" });
}
