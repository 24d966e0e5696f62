import { assert } from "@std/assert";

import { parseLocator } from "../../src/core/locator.ts";
import { openOradax } from "../../src/oradax/open.ts";
import type { OradaxTransport } from "../../src/oradax/transport.ts";
import { Random } from "../unit/random.ts";
import { availableLoops, finished, withOradax } from "./oradax_device.ts";
import { randomCcb } from "./oradax_random.ts";

withOradax();

const PAGE = 8192;
const PAGES = 5;

/**
 * Anything in a CCB: random words, or a good one with random bytes changed; its addresses often lie in the memory, close to
 * an end of it or elsewhere. The memory ends at guard pages, so an access outside of it ends the process; the suite
 * soft-asan does the same with AddressSanitizer.
 */
function hostile(random: Random, good: Uint8Array<ArrayBuffer>, base: bigint): Uint8Array<ArrayBuffer> {
  const ccb = random.below(3) === 0 ? random.bytes(good.length) : good;
  for (let changes = random.below(6); changes > 0; changes--) ccb[random.below(ccb.length)] = random.uint32();
  // Most random bytes would be refused at once: version, opcode and address types are often made good again.
  if (random.below(4) > 0) {
    ccb[0] = (ccb[0] ?? 0) & 0x1f;
    ccb[1] = random.pick([1, 2, 3, 4, 5, 0x12, 0x13, 0x14]);
    ccb.set([0x1b, 0x6c], 2);
  }
  const view = new DataView(ccb.buffer);
  for (const word of [2, 4, 6, 7]) {
    if (random.below(3) === 0) continue;
    const offset = random.pick([
      0,
      PAGE - 1,
      PAGE - 64,
      random.below(PAGES * PAGE),
      PAGES * PAGE - 1,
      PAGES * PAGE - 64,
    ]);
    const aligned = word === 6 ? offset & ~63 : word === 7 ? (offset & ~63) + random.below(2) : offset;
    view.setBigUint64(8 * word, base + BigInt(aligned));
  }
  return ccb;
}

/** Submits hostile CCBs, several at a time and in any completion area, and waits until all that were taken have ended. */
function attack(dax: OradaxTransport, random: Random, rounds: number): Map<string, number> {
  const buffer = dax.allocate(PAGES * PAGE);
  const outcomes = new Map<string, number>();
  const count = (key: string): void => void outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
  for (let round = 0; round < rounds; round++) {
    const ccbs = Array.from(
      { length: 1 + random.below(4) },
      () => hostile(random, randomCcb(random, buffer, dax.dax), buffer.address),
    );
    const array = new Uint8Array(ccbs.reduce((sum, ccb) => sum + ccb.length, 0));
    let at = 0;
    for (const ccb of ccbs) {
      array.set(ccb, at);
      at += ccb.length;
    }
    const index = random.below(120);
    const { units, status } = dax.submit(index, array.subarray(0, Math.min(960, array.length)));
    count(units * 64 === array.length ? "taken" : `refused ${status}`);
    for (let i = 0; i < units; i++) {
      // The second area of a long CCB stays as it was: completed.
      const done = finished(dax, index + i);
      assert(done.status >= 1 && done.status <= 4, `status ${done.status}`);
      count(`completed ${done.status}/${done.error}`);
    }
  }
  return outcomes;
}

function attackDevice(dax: 1 | 2, loops: string): void {
  const random = new Random(`oradax fuzz ${dax} ${loops}`);
  using device = openOradax(parseLocator(`soft:oradax?dax=${dax}&loops=${loops}`));
  const outcomes = attack(device, random, 4000);
  // It went deep enough to mean something.
  for (const key of ["taken", "refused 6", "refused 10", "completed 2/2", "completed 2/3", "completed 1/0"]) {
    assert(outcomes.has(key), `${key} never happened: ${JSON.stringify([...outcomes])}`);
  }
}

Deno.test("hostile CCBs never crash, hang or write elsewhere: DAX1", () => attackDevice(1, "auto"));

Deno.test("hostile CCBs never crash, hang or write elsewhere: DAX2, all loops", () => {
  for (const loops of availableLoops()) attackDevice(2, loops);
});
