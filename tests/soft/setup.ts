/**
 * Opens the C libraries once for a test file. A library that a test is the first to open would count as its leak.
 * @module
 */

import { Descriptor } from "../../ffi/fd.ts";
import { closeAll } from "../../ffi/library.ts";
import { pageSizeBytes } from "../../ffi/memory.ts";
import { readBarrier } from "../../ffi/mmio.ts";
import { SoftDevice } from "../../ffi/soft.ts";
import { openTrapLibrary } from "./page_trap.ts";

/** Registers the hooks that open the libraries before a file's tests and close them after. */
export function withLibraries(): void {
  Deno.test.beforeAll(() => {
    pageSizeBytes();
    readBarrier();
    Descriptor.eventCounter("for the tests")[Symbol.dispose]();
    SoftDevice.open("soft:nvme", "nvme", new Map())[Symbol.dispose]();
    openTrapLibrary();
  });
  Deno.test.afterAll(closeAll);
}
