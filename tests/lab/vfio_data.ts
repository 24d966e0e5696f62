/**
 * The data path through VFIO, against the kernel's. On the machine `nvme`.
 * @module
 */

import { assert } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { Random } from "../unit/random.ts";
import { blockDevice, driven } from "./controllers.ts";
import { comparePaths, type DataPath } from "./data_path.ts";
import type { Lab } from "./lab.ts";

const NVME = "0000:01:00.0";

/** Registers the data path of `sizeBytes`, both ways. */
export function vfioDataTest(lab: Lab, what: string, sizeBytes: number): void {
  lab.test(`through VFIO ${what} written by us are read by the kernel, and the other way round`, async () => {
    const path: DataPath = { driven: (body) => driven(NVME, body), blockDevice: () => blockDevice(NVME, 1) };
    await comparePaths(path, 1, sizeBytes, new Random("data path through VFIO"));
    closeAll();
  }, { timeoutMs: 400_000 });
}

/** Registers the data path of `sizeBytes` with interrupts: two queues that sleep until one comes, at once or after polling. */
export function vfioInterruptsTest(lab: Lab, what: string, sizeBytes: number): void {
  lab.test(
    `with interrupts, through VFIO, ${what} go both ways over two queues that sleep until one comes`,
    async () => {
      for (const pollFirstUs of [0, 50]) {
        const path: DataPath = {
          driven: (body) => driven(NVME, body, { wait: "interrupt", ioQueues: 2 }),
          blockDevice: () => blockDevice(NVME, 1),
          queues: 2,
          pollFirstUs,
        };
        const waits = await comparePaths(path, 1, sizeBytes, new Random(`interrupts after ${pollFirstUs} µs`));
        assert(waits > 0, "no queue slept");
      }
      closeAll();
    },
    { timeoutMs: 240_000 },
  );
}
