import { assert, assertEquals } from "@std/assert";

import { parseLocator } from "../../src/core/locator.ts";
import { openOradax } from "../../src/oradax/open.ts";
import type { OradaxBuffer } from "../../src/core/oradax_driver.ts";
import type { OradaxTransport } from "../../src/oradax/transport.ts";
import { Random } from "../unit/random.ts";
import { compareWithModel } from "./oradax_compare.ts";
import { fromHex, WORKED_EXAMPLES, type WorkedExample } from "./oradax_cases.ts";
import { availableLoops, finished, withOradax } from "./oradax_device.ts";

withOradax();

/** The CCB of an example, with its streams in a buffer. */
function place(example: WorkedExample, buffer: OradaxBuffer): Uint8Array<ArrayBuffer> {
  const at = { input: 0, secondary: 1024, output: 2048, table: 4096 - 64 };
  const isLong = example.word8 !== undefined;
  const ccb = new Uint8Array(isLong ? 128 : 64);
  const view = new DataView(ccb.buffer);
  const word = (index: number, text: string | undefined): void => {
    if (text !== undefined) ccb.set(fromHex(text), 8 * index);
  };
  buffer.write(at.input, fromHex(example.input));
  word(0, example.word0);
  word(3, example.word3);
  word(5, example.word5);
  word(8, example.word8);
  view.setBigUint64(16, buffer.address + BigInt(at.input));
  view.setBigUint64(48, buffer.address + BigInt(at.output));
  if (example.secondary !== undefined) {
    buffer.write(at.secondary, fromHex(example.secondary));
    view.setBigUint64(32, buffer.address + BigInt(at.secondary));
  }
  if (example.table !== undefined) {
    buffer.write(at.table, example.table);
    view.setBigUint64(56, buffer.address + BigInt(at.table) + (example.tableVersion ?? 0n));
  }
  return ccb;
}

function runExample(dax: OradaxTransport, example: WorkedExample): void {
  using buffer = dax.allocate(8192);
  assertEquals(dax.submit(5, place(example, buffer)).status, 0);
  const done = finished(dax, 5);
  const [error, errorValue] = example.error ?? [0, 0];
  const output = fromHex(example.output);
  assertEquals({ status: done.status, error: done.error, errorValue: done.errorValue }, {
    status: 1,
    error,
    errorValue,
  });
  assertEquals(buffer.read(2048, done.outputBytes), output);
  assertEquals(done.elements, example.elements);
  assertEquals(done.returnValue, example.returnValue ?? 0n);
}

Deno.test("every worked example of the digest comes out as written, with all loops", () => {
  for (const loops of availableLoops()) {
    using dax = openOradax(parseLocator(`soft:oradax?loops=${loops}`));
    for (const example of WORKED_EXAMPLES) {
      try {
        runExample(dax, example);
      } catch (cause) {
        throw new Error(`example ${example.name}, ${loops} loops`, { cause });
      }
    }
  }
});

Deno.test("thousands of random CCBs of every kind come out as the slow model says, on DAX1 and DAX2", () => {
  const random = new Random("oradax against the model");
  const two = compareWithModel(1500, "soft:oradax?dax=2&units=1", random);
  compareWithModel(500, "soft:oradax?dax=1&units=1", random);
  for (const loops of availableLoops().slice(1)) {
    compareWithModel(1000, `soft:oradax?dax=2&units=1&loops=${loops}`, random);
  }
  // The comparison means something only when all of it was met.
  for (const outcome of ["1/0", "1/128", "2/1", "2/2", "2/3", "2/10", "refused 6", "refused 12"]) {
    assert(two.outcomes.has(outcome), `${outcome} never happened: ${[...two.outcomes]}`);
  }
});
