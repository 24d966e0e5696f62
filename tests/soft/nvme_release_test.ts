/** When a driver lets go of a controller, no memory is freed that the controller may still write to. */

import { assert, assertEquals } from "@std/assert";

import type { SoftDevice } from "../../ffi/soft.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { type DriverOptions, NvmeDriver } from "../../src/nvme/driver/driver.ts";
import { openSoftDevice } from "../../src/pci/soft_device.ts";
import { withDriverLibraries } from "./nvme_device.ts";

withDriverLibraries();

const [CSTS, READY, COMMAND, BUS_MASTER] = [0x1c, 1, 4, 4];

/** What the controller could do at the moment when memory of it was freed. */
interface Freed {
  readonly isReady: boolean;
  readonly reachesMemory: boolean;
}

/** Starts a driver, reads a block, closes the driver after `before`, and returns what each freeing of memory met. */
async function freedAtTheEnd(before: (soft: SoftDevice) => void, options: DriverOptions = {}): Promise<Freed[]> {
  const locator = parseLocator("soft:nvme");
  assert(locator.kind === "soft");
  const device = openSoftDevice(locator);
  const { soft } = device;
  const bar = device.bar(0);
  const freed: Freed[] = [];
  const allocDma = device.allocDma.bind(device);
  device.allocDma = (sizeBytes): ReturnType<typeof allocDma> => {
    const buffer = allocDma(sizeBytes);
    const free = buffer[Symbol.dispose].bind(buffer);
    buffer[Symbol.dispose] = (): void => {
      freed.push({
        isReady: (bar.read32(CSTS) & READY) !== 0,
        reachesMemory: ((soft.config[COMMAND] ?? 0) & BUS_MASTER) !== 0,
      });
      free();
    };
    return buffer;
  };
  const driver = await NvmeDriver.start(device, options);
  await NvmeController.over(driver).namespace(1).read(0, new Uint8Array(4096));
  before(soft);
  freed.length = 0;
  await driver[Symbol.asyncDispose]();
  return freed;
}

Deno.test("memory is freed when the controller is disabled and its bus mastering is off", async () => {
  const freed = await freedAtTheEnd(() => {});
  assert(freed.length >= 4, `${freed.length} buffers: the rings of the admin queue and of an I/O queue`);
  assertEquals(freed.filter(({ isReady, reachesMemory }) => isReady || reachesMemory), []);
});

Deno.test("after Ctrl-C too, when nothing is deleted and shut down first", async () => {
  const stop = new AbortController();
  const freed = await freedAtTheEnd(() => stop.abort(), { signal: stop.signal });
  assert(freed.length >= 4);
  assertEquals(freed.filter(({ isReady, reachesMemory }) => isReady || reachesMemory), []);
});

Deno.test("a controller that does not let itself be disabled has no bus mastering any more when memory is freed", async () => {
  const freed = await freedAtTheEnd((soft) => soft.fault("no_unready"), { readyTimeoutMs: 200 });
  assert(freed.length >= 4);
  assertEquals(freed.filter(({ isReady }) => !isReady), [], "the fault happened");
  assertEquals(freed.filter(({ reachesMemory }) => reachesMemory), []);
});
