/**
 * The actions of nvme_admin, as commands of a controller.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import type { NvmeController } from "../../src/nvme/driver/controller.ts";
import { waitForSanitize, waitForSelfTest } from "../../src/nvme/jobs/drive_state.ts";
import { commitFirmware, downloadFirmware } from "../../src/nvme/jobs/firmware.ts";
import { readTelemetry } from "../../src/nvme/jobs/log_files.ts";
import { openController } from "./nvme_device.ts";

/** The serial number of `soft:nvme`. */
export const SERIAL = "BUSBAR-SOFT-0001";
/** How a test waits for what goes on in the drive. */
export const QUICK = { intervalMs: 2, timeoutMs: 5000 };

/** A firmware image with this revision. */
export function image(revision: string): Uint8Array {
  const bytes = new Uint8Array(8192);
  bytes.set(new TextEncoder().encode(revision.padEnd(8)));
  return bytes;
}

/** Each action with the opcode of its command. */
export const ACTIONS:
  readonly (readonly [name: string, opcode: number, act: (controller: NvmeController) => Promise<unknown>])[] = [
    ["format", 0x80, (c) => c.format(1, { erase: SERIAL, timeoutMs: 300 })],
    ["sanitize", 0x84, async (c) => {
      await c.sanitize("block erase", { erase: SERIAL, timeoutMs: 300 });
      await waitForSanitize(c, QUICK);
    }],
    ["create", 0x0d, (c) => c.createNamespace({ blocks: 2048n }, { timeoutMs: 300 })],
    ["detach", 0x15, (c) => c.attachNamespace(1, [1], false, { timeoutMs: 300 })],
    ["delete", 0x0d, (c) => c.deleteNamespace(1, { erase: SERIAL, timeoutMs: 300 })],
    ["firmware download", 0x11, (c) => downloadFirmware(c, image("2.0"))],
    ["firmware commit", 0x10, async (c) => {
      await downloadFirmware(c, image("2.0"));
      await commitFirmware(c, "replace", 2);
    }],
    ["set feature", 0x09, (c) => c.setFeature(0x04, 300, { timeoutMs: 300 })],
    ["self-test", 0x14, async (c) => {
      await c.selfTest("short", undefined, { timeoutMs: 300 });
      await waitForSelfTest(c, QUICK);
    }],
    ["telemetry", 0x02, (c) => readTelemetry(c, "host", 3, () => {})],
  ];

/** An action whose command hangs, or whose completion is lost, is a timeout, and the controller can be used again. */
export async function losesItsCommand(action: string): Promise<void> {
  const [, opcode, act] = ACTIONS.find(([name]) => name === action) ?? [];
  assert(opcode !== undefined && act !== undefined, action);
  for (const fault of ["hang", "drop"]) {
    await using one = await openController("sanitize_ms=5&selftest_ms=5");
    one.soft.fault(`${fault},queue=admin,opcode=${opcode},times=1`);
    const error = await act(one.controller).then(() => null, (error: unknown) => error);
    assert(error instanceof BusbarError && error.code === "timeout", `${action} with ${fault}: ${error}`);
    assertEquals((await one.controller.identify()).serial, SERIAL);
  }
}
