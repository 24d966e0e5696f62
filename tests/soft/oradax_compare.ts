/**
 * Runs random CCBs through the software coprocessor and through the slow model, and compares everything.
 * @module
 */

import { assertEquals } from "@std/assert";

import { parseLocator } from "../../src/core/locator.ts";
import { openOradax } from "../../src/oradax/open.ts";
import { COMPLETION_AREAS } from "../../src/oradax/transport.ts";
import { Random } from "../unit/random.ts";
import { finished } from "./oradax_device.ts";
import { runModel } from "./oradax_model.ts";
import { randomCcb } from "./oradax_random.ts";

/** How often things came out, so that a test can see that all of them were met. */
export interface Tally {
  /** Cases by opcode and primary format. */
  readonly commands: Map<string, number>;
  /** Cases by what came of them: `status/error`, or `refused n`. */
  readonly outcomes: Map<string, number>;
}

/** Compares `cases` CCBs on a device, and counts. */
export function compareWithModel(cases: number, locator: string, random: Random): Tally {
  const tally: Tally = { commands: new Map(), outcomes: new Map() };
  const count = (map: Map<string, number>, key: string): void => void map.set(key, (map.get(key) ?? 0) + 1);
  using dax = openOradax(parseLocator(locator));
  const buffer = dax.allocate(5 * 8192); // ends with the device
  const memory = { base: buffer.address, bytes: buffer.bytes ?? new Uint8Array(), pageBytes: 8192 };
  for (let i = 0; i < cases; i++) {
    const ccb = randomCcb(random, buffer, dax.dax);
    // The model goes first: output may lie on input when an address was spoiled.
    const before = memory.bytes.slice();
    const expected = runModel(ccb, { ...memory, bytes: before }, dax.dax);
    const area = i % (COMPLETION_AREAS - 1);
    const submission = dax.submit(area, ccb);
    const label = `case ${i}: ${ccb.toHex()}`;
    if ("submitStatus" in expected) {
      assertEquals([submission.units, submission.status, submission.statusData], [
        0,
        expected.submitStatus,
        expected.statusData,
      ], label);
      count(tally.outcomes, `refused ${expected.submitStatus}`);
      continue;
    }
    assertEquals([submission.units, submission.status], [ccb.length / 64, 0], label);
    const done = finished(dax, area);
    const { status, error, errorValue, elements, returnValue, output } = expected;
    assertEquals(
      [done.status, done.error, done.errorValue, done.outputBytes, done.elements, done.returnValue],
      [status, error, errorValue, output.length, elements, command(ccb) === 1 ? 0n : returnValue],
      label,
    );
    checkMemory(memory.bytes, before, ccb, memory.base, output, label);
    memory.bytes.set(before);
    count(tally.commands, `${command(ccb)} of ${(ccb[4] ?? 0) >> 4}`);
    count(tally.outcomes, `${status}/${error}`);
  }
  return tally;
}

function command(ccb: Uint8Array): number {
  return (ccb[1] ?? 0) & 15;
}

/** The output is as expected, and nothing behind its last line of 64 bytes was touched, nor anything in front of it. */
function checkMemory(
  after: Uint8Array,
  before: Uint8Array,
  ccb: Uint8Array<ArrayBuffer>,
  base: bigint,
  output: Uint8Array,
  label: string,
): void {
  const at = Number(new DataView(ccb.buffer).getBigUint64(48) - base);
  const expected = before.slice();
  if (output.length > 0) {
    const end = at + Math.ceil(output.length / 64) * 64;
    expected.set(after.subarray(at, end), at);
    expected.set(output, at);
  }
  if (!same(after, expected)) {
    assertEquals(after.slice(at, at + output.length), output, label);
    throw new Error(`${label}: memory outside of the output was changed`);
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
