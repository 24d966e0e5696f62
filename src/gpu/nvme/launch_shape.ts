/**
 * How a depth, a number of queues and a mode become a launch and the sizes of rings.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import type { DirectMode } from "./direct_job.ts";

const WARP = 32;
const MOST_WARPS_OF_BLOCK = 8;

/** The shape of a launch. */
export interface LaunchShape {
  /** Blocks of the grid. */
  readonly blocks: number;
  /** Threads of a block. */
  readonly threads: number;
  /** Commands that a warp, or the thread, keeps in flight. */
  readonly lanes: number;
  /** Pieces that all threads together use. */
  readonly pieces: number;
  /** Slots of a queue, a power of two. */
  readonly slots: number;
  /** Entries of each ring, a power of two. */
  readonly entries: number;
}

function powerOfTwoFrom(value: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, value)));
}

/**
 * The shape of a launch.
 *
 * @param driver the controller: its name, and CAP.MQES + 1
 * @throws {BusbarError} `usage` for numbers that cannot be
 */
export function launchShape(
  driver: { readonly name: string; readonly maxEntries: number },
  mode: DirectMode,
  depth: number,
  queues: number,
): LaunchShape {
  const usage = (message: string, hint: string): BusbarError =>
    new BusbarError("usage", message, { operation: "drive a controller from the GPU", path: driver.name, hint });
  if (!Number.isInteger(queues) || queues < 1 || queues > 64) throw usage(`${queues} queues`, "1 to 64");
  if (!Number.isInteger(depth) || depth < queues || depth > queues * 1024) {
    throw usage(`${depth} commands in flight on ${queues} queues`, "1 to 1024 for each queue");
  }
  const each = Math.ceil(depth / queues);
  const mostEntries = 2 ** Math.floor(Math.log2(driver.maxEntries));
  // Half of a ring at most is in flight: neither ring can be full. A slow command holds up those that come a ring's worth of
  // slots later, so warps, whose commands end in any order, get more slots than they have in flight.
  const wanted = powerOfTwoFrom(mode === "thread" ? each : 4 * each);
  const slots = Math.min(wanted, mostEntries / 2);
  if (slots < each) {
    throw usage(
      `${each} commands in flight on a queue: the controller's queues have ${driver.maxEntries} entries`,
      `--depth ${slots * queues}, or more queues`,
    );
  }
  const entries = 2 * slots;
  if (mode === "thread") return { blocks: queues, threads: WARP, lanes: each, pieces: queues * slots, slots, entries };
  if (mode === "warp") {
    if (each > WARP) {
      throw usage(`a warp keeps at most 32 commands in flight, not ${each}`, "--mode grid, or more queues");
    }
    return { blocks: queues, threads: WARP, lanes: each, pieces: queues * each, slots, entries };
  }
  const warps = Math.min(each, Math.max(2, Math.ceil(each / WARP)));
  const lanes = Math.ceil(each / warps);
  const warpsOfBlock = Math.min(warps, MOST_WARPS_OF_BLOCK);
  const blocks = queues * Math.ceil(warps / warpsOfBlock);
  const pieces = blocks * warpsOfBlock * lanes;
  return { blocks, threads: WARP * warpsOfBlock, lanes, pieces, slots, entries };
}
