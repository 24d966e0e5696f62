/**
 * What a device does otherwise than this protocol says: devices of the public code are tolerated, and told of.
 * @module
 */

import { Deadline } from "../core/deadline.ts";
import type { Type2Gpu } from "./client.ts";
import { commandNamed, RESULT } from "./commands.ts";
import { DEV_NAME, registerOffset } from "./registers.ts";

/** A way in which devices of the public code differ. */
export interface Quirk {
  /** A name for programs. */
  readonly name: string;
  /** What is seen. */
  readonly title: string;
  /** What the client does about it. */
  readonly remedy: string;
}

interface Probe extends Quirk {
  readonly isSeen: (gpu: Type2Gpu) => Promise<boolean>;
}

const LIMIT_MS = 10_000;
/** No allocation begins there. */
const NO_POINTER = 1n;

async function resultOf(gpu: Type2Gpu, name: string, params: readonly bigint[]): Promise<number> {
  const submission = { code: commandNamed(name).code, params, session: gpu.session, data: null, readBytes: 0 };
  return (await gpu.transport.submit(submission, Deadline.after(LIMIT_MS))).result;
}

const PROBES: readonly Probe[] = [
  {
    name: "params-read-zero",
    title: "PARAM registers read 0 after they were written",
    remedy: "they are never read",
    isSeen: async (gpu) => {
      await resultOf(gpu, "NOP", [0x5a5a_a5a5n]);
      return gpu.transport.read64(registerOffset("PARAM0")) === 0n;
    },
  },
  {
    name: "exact-offsets",
    title: "a read in the middle of a register gives 0",
    remedy: "each register is read from its first byte, by one access",
    isSeen: (gpu) => {
      const { transport } = gpu;
      const whole = transport.read64(DEV_NAME.offset);
      const high = transport.read32(DEV_NAME.offset + 4);
      return Promise.resolve(whole >> 32n !== 0n && high === 0);
    },
  },
  {
    name: "free-memory-is-total",
    title: "FREE_MEM is the total, whatever is allocated",
    remedy: "free memory is what MEM_GET_INFO says, where the device has it",
    isSeen: async (gpu) => {
      const pointer = await gpu.allocate(4096);
      const { freeBytes, totalBytes } = gpu.info();
      await gpu.free(pointer);
      return freeBytes === totalBytes;
    },
  },
  {
    name: "free-always-succeeds",
    title: "MEM_FREE of a pointer that was never allocated gives 0",
    remedy: "a result of 0 is not taken for proof",
    isSeen: async (gpu) => await resultOf(gpu, "MEM_FREE", [NO_POINTER]) === 0,
  },
  {
    name: "no-memory-info",
    title: "MEM_GET_INFO gives 1, as an unknown command does",
    remedy: "the registers are read instead",
    isSeen: async (gpu) => await resultOf(gpu, "MEM_GET_INFO", []) === RESULT.invalidValue,
  },
  {
    name: "no-device-copy",
    title: "MEM_COPY_DTOD gives 1 for a copy of no bytes",
    remedy: "BULK_DTOD copies on the device, or the bytes go by the client",
    isSeen: async (gpu) => await resultOf(gpu, "MEM_COPY_DTOD", [0n, 0n, 0n]) === RESULT.invalidValue,
  },
  {
    name: "empty-bulk-fails",
    title: "a bulk copy of no bytes gives 1",
    remedy: "copies of no bytes are not handed over",
    isSeen: async (gpu) =>
      gpu.has("BULK_HTOD") && await resultOf(gpu, "BULK_HTOD", [0n, 0n, 0n]) === RESULT.invalidValue,
  },
];

/** All quirks that are looked for. */
export const QUIRKS: readonly Quirk[] = PROBES.map(({ name, title, remedy }) => ({ name, title, remedy }));

/**
 * Looks for quirks: it allocates and frees a page in the session of the client.
 *
 * @throws {BusbarError} as commands do
 */
export async function findQuirks(gpu: Type2Gpu): Promise<Quirk[]> {
  await gpu.command("INIT");
  const seen: Quirk[] = [];
  for (const { name, title, remedy, isSeen } of PROBES) {
    if (await isSeen(gpu)) seen.push({ name, title, remedy });
  }
  return seen;
}
