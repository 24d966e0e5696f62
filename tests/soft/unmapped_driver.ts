/**
 * A driver for tests of what a drive does that was not given memory.
 * @module
 */

import type { DirectDriver } from "../../src/gpu/nvme/direct_job.ts";
import type { NvmeDriver } from "../../src/nvme/driver/driver.ts";

/** A driver that leaves the mapping out: the drive is told of addresses, from `iova` on, at which there is nothing. */
export function withoutMapping(driver: NvmeDriver, iova: bigint): DirectDriver {
  return {
    name: driver.name,
    maxEntries: driver.maxEntries,
    pageBytes: driver.pageBytes,
    allocDma: (sizeBytes) => driver.allocDma(sizeBytes),
    mapDma: () => ({ iova, [Symbol.dispose]: () => {} }),
    execute: (...args) => driver.execute(...args),
    reset: () => driver.reset(),
    checkAlive: () => driver.checkAlive(),
    lendQueue: (options) => driver.lendQueue(options),
  };
}
