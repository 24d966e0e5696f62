/**
 * What the kernel says of accesses that an IOMMU stopped.
 *
 * Source: Linux Documentation/ABI/testing/dev-kmsg (one record a read), drivers/iommu/intel/dmar.c (dmar_fault_do_one),
 * drivers/iommu/amd/iommu.c (amd_iommu_report_page_fault), drivers/iommu/iommu.c (report_iommu_fault).
 * @module
 */

import { isBusbarError } from "../core/error.ts";
import { parsePciAddress } from "../core/pci_address.ts";
import { Descriptor } from "../../ffi/fd.ts";

const KERNEL_LOG = "/dev/kmsg";
/** A record is shorter: CONSOLE_EXT_LOG_MAX. */
const RECORD_BYTES = 8192;
const EPIPE = 32;
/** More records than a kernel's buffer holds: a log that grows while it is read ends the reading. */
const MOST_RECORDS = 100_000;

/** The text of a record of the kernel's log, when it tells of an access of a function that was stopped; else null. */
export function faultOf(record: string, name: string): string | null {
  const [first = ""] = record.split("\n");
  const text = first.slice(first.indexOf(";") + 1);
  const { domain } = parsePciAddress(name);
  const short = name.slice(name.indexOf(":") + 1);
  const isOfFunction = text.includes(name) || (domain === 0 && text.includes(`[${short}]`));
  const isFault = /^DMAR: \[.*fault addr/.test(text) || /AMD-Vi: Event logged \[IO_PAGE_FAULT/.test(text) ||
    /page fault/i.test(text);
  return isOfFunction && isFault ? text.trim() : null;
}

/** Faults of a function from now on. Dispose closes the log. */
export class IommuFaults implements Disposable {
  readonly #name: string;
  readonly #log: Descriptor;

  private constructor(name: string, log: Descriptor) {
    this.#name = name;
    this.#log = log;
  }

  /** Begins to watch. Null where the log may not be read. @param name `0000:01:00.0` */
  static watch(name: string): IommuFaults | null {
    let log: Descriptor | null = null;
    try {
      log = Descriptor.open(KERNEL_LOG, false);
      const faults = new IommuFaults(name, log);
      faults.take();
      return faults;
    } catch (error) {
      log?.[Symbol.dispose]();
      if (isBusbarError(error, "permission", "absent", "io", "unsupported")) return null;
      throw error;
    }
  }

  /** What was reported since the last call. */
  take(): string[] {
    const found: string[] = [];
    for (let i = 0; i < MOST_RECORDS; i++) {
      const record = this.#next();
      if (record === null) break;
      const fault = faultOf(record, this.#name);
      if (fault !== null) found.push(fault);
    }
    return found;
  }

  /** The next record; null at the end of the log. */
  #next(): string | null {
    try {
      return new TextDecoder().decode(this.#log.read(0n, RECORD_BYTES));
    } catch (error) {
      if (!isBusbarError(error)) throw error;
      // Records were overwritten before they were read: the next read goes on after them. Else there is nothing more.
      return error.message.includes("EPIPE") || error.message.includes(`errno ${EPIPE}`) ? "" : null;
    }
  }

  /** Closes the log. */
  [Symbol.dispose](): void {
    this.#log[Symbol.dispose]();
  }
}
