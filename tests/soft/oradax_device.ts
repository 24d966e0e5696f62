/**
 * Opens the libraries of the accelerator once for a test file. A library that a test is the first to open would count as
 * its leak.
 * @module
 */

import { closeAll } from "../../ffi/library.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { openOradax } from "../../src/oradax/open.ts";
import type { OradaxCompletion, OradaxTransport } from "../../src/oradax/transport.ts";

/** Registers the hooks that open the libraries before a file's tests and close them after. */
export function withOradax(): void {
  Deno.test.beforeAll(() => openOradax(parseLocator("soft:oradax"))[Symbol.dispose]());
  Deno.test.afterAll(closeAll);
}

/** The loops that this processor has: `portable` and at least one kind made for it. */
export function availableLoops(): string[] {
  return ["avx512", "avx2", "neon", "portable"].filter((loops) => {
    try {
      openOradax(parseLocator(`soft:oradax?loops=${loops}`))[Symbol.dispose]();
      return true;
    } catch {
      return false;
    }
  });
}

/** The completion of an area, waited for up to ten seconds: a machine with much to do may let a unit wait. */
export function finished(dax: OradaxTransport, index: number): OradaxCompletion {
  for (let slices = 0; slices < 200; slices++) {
    const done = dax.poll(index, 50_000);
    if (done !== null) return done;
  }
  throw new Error(`the CCB of area ${index} does not complete`);
}
