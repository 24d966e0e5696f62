/**
 * Accesses of a drive that the IOMMU stopped, as part of what is said of a run.
 * @module
 */

import { pause } from "../../core/deadline.ts";
import { BusbarError, isBusbarError } from "../../core/error.ts";
import { isSysfsPciAddress } from "../../core/pci_address.ts";
import { IommuFaults } from "../../pci/iommu_faults.ts";

/** The kernel tells of an access that the IOMMU stopped a moment after the drive noticed. */
const FAULT_MS = 200;

/** What the IOMMU stopped of one drive, from now on. Where nothing can be known, nothing is said. Dispose ends it. */
export class StoppedAccesses implements Disposable {
  readonly #name: string;
  readonly #faults: IommuFaults | null;
  /** A run ended well, with no fault. */
  #isProven = false;

  /** Begins to watch. @param name the drive: `0000:01:00.0`; others are behind no IOMMU */
  constructor(name: string) {
    this.#name = name;
    this.#faults = isSysfsPciAddress(name) ? IommuFaults.watch(name) : null;
  }

  /**
   * Looks after a run that went well: a drive may say so although its accesses were stopped, and then the data is not where
   * it should be.
   *
   * @param hasDeviceMemory device memory that is not mapped shows at the first use, and the kernel may tell of it a moment later
   * @throws {BusbarError} `device-failed` with the kernel's words
   */
  async check(hasDeviceMemory: boolean): Promise<void> {
    const found = await this.#within(hasDeviceMemory && !this.#isProven ? FAULT_MS : 0);
    this.#isProven = true;
    if (found === null) return;
    throw new BusbarError("device-failed", `${this.#name}: it reports success, but the IOMMU stopped it: ${found}`, {
      operation: "drive a controller from the GPU",
      path: this.#name,
      hint: "the data is not where it should be: memory for the drive was not mapped, or was taken away too early",
    });
  }

  /** An error, with what the IOMMU has to do with it. */
  async explain(error: unknown): Promise<unknown> {
    if (this.#faults === null || !isBusbarError(error, "device-failed", "timeout")) return error;
    const found = await this.#within(FAULT_MS);
    if (found === null) return error;
    return new BusbarError(error.code, `${error.message}; the IOMMU stopped it: ${found}`, {
      operation: error.operation ?? undefined,
      path: error.path ?? undefined,
      hint: error.hint ?? undefined,
      cause: error,
    });
  }

  /** What was stopped, in words; null where nothing is told of within that time. */
  async #within(limitMs: number): Promise<string | null> {
    let faults = this.#faults?.take() ?? [];
    for (let waited = 0; this.#faults !== null && faults.length === 0 && waited < limitMs; waited += 20) {
      await pause(20);
      faults = this.#faults.take();
    }
    const [first] = faults;
    if (first === undefined) return null;
    return faults.length === 1 ? first : `${first}, and ${faults.length - 1} more`;
  }

  /** Ends the watch. */
  [Symbol.dispose](): void {
    this.#faults?.[Symbol.dispose]();
  }
}
