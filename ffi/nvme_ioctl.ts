/**
 * Commands through the kernel's NVMe driver.
 * @module
 */

import { check, lazyLibrary } from "./library.ts";
import type { Descriptor } from "./fd.ts";

const SYMBOLS = {
  bb_nvme_passthru: {
    parameters: [
      "i32", // fd
      "i32", // is_admin
      "buffer", // const uint32_t *words
      "buffer", // void *data
      "u32", // data_size
      "buffer", // void *metadata
      "u32", // metadata_size
      "u32", // timeout_ms
      "buffer", // uint32_t *result
    ],
    result: "i32",
    // It blocks until the command ends, which may take seconds: not on the thread of the event loop.
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS);

/** What came of a command. */
export interface PassthruResult {
  /** The status field; 0 is success. */
  readonly status: number;
  /** Dword 0 of the completion. */
  readonly result: number;
}

/**
 * Carries a command to an open `/dev/nvmeN`.
 *
 * @param words its 16 dwords; identifier and pointers are the kernel's
 * @param data goes the way that the opcode says
 * @throws {BusbarError} as the ioctl fails, `permission` without CAP_SYS_ADMIN
 */
export async function nvmePassthru(
  device: Descriptor,
  isAdmin: boolean,
  words: Uint32Array<ArrayBuffer>,
  data: Uint8Array<ArrayBuffer> | null,
  metadata: Uint8Array<ArrayBuffer> | null,
  timeoutMs: number,
): Promise<PassthruResult> {
  const out = new Uint32Array(1);
  const status = await library().bb_nvme_passthru(
    device.number,
    isAdmin ? 1 : 0,
    words,
    data,
    data?.length ?? 0,
    metadata,
    metadata?.length ?? 0,
    Math.max(1, Math.round(timeoutMs)),
    out,
  );
  check(status, "send a command through the kernel", { path: device.name, hint: "run as root" });
  return { status, result: out[0] ?? 0 };
}
