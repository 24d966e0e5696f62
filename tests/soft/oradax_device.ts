/**
 * Opens the libraries of the accelerator once for a test file. A library that a test is the first to open would count as
 * its leak.
 * @module
 */

import { closeAll } from "../../ffi/library.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { openOradax } from "../../src/oradax/open.ts";

/** Registers the hooks that open the libraries before a file's tests and close them after. */
export function withOradax(): void {
  Deno.test.beforeAll(() => openOradax(parseLocator("soft:oradax"), "test")[Symbol.dispose]());
  Deno.test.afterAll(closeAll);
}
