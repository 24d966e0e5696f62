/**
 * Commands through the kernel's driver of CXL memory devices.
 * @module
 */

import { check, lazyLibrary } from "./library.ts";
import type { Descriptor } from "./fd.ts";

const SYMBOLS = {
  bb_cxl_health_info: {
    parameters: [/* fd */ "i32", /* uint8_t *out */ "buffer", /* size */ "u32"],
    result: "i32",
    // It blocks until the command ends, which may take seconds: not on the thread of the event loop.
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS);

/**
 * Asks a CXL memory device for its health.
 *
 * @param device an open `/dev/cxl/memN`
 * @param sizeBytes of the answer that is wanted
 * @returns what it answered, which may be shorter
 * @throws {BusbarError} `unsupported` where the device has no such command; `io` where it refused
 */
export async function cxlHealthInfo(device: Descriptor, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(sizeBytes);
  const size = check(
    await library().bb_cxl_health_info(device.number, bytes, bytes.length),
    "ask a CXL memory device for its health",
    { path: device.name },
  );
  return bytes.subarray(0, size);
}
