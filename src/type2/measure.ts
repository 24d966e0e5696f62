/**
 * How long commands and copies of a Type 2 GPU take.
 * @module
 */

import type { Type2Gpu } from "./client.ts";

/** Copies of one size. */
export interface CopySpeed {
  /** Bytes of each copy. */
  readonly sizeBytes: number;
  /** Bytes a second to the device: the best of the tries. */
  readonly writeBytesPerS: number;
  /** Bytes a second back. */
  readonly readBytesPerS: number;
}

/** What {@linkcode measureType2} finds. */
export interface Type2Speed {
  /** A command that does nothing, there and back, in microseconds: the median, and what one in ten exceeds. */
  readonly command: { readonly medianUs: number; readonly p90Us: number; readonly count: number };
  /** Copies, by size. */
  readonly copies: readonly CopySpeed[];
}

const COMMANDS = 2000, LEAST_TRIES = 3, LEAST_MS = 50;

/**
 * Measures a device, in a session of its own that it begins and ends.
 *
 * @param sizes bytes of copies
 * @param progress told steps done and steps in all
 * @throws {BusbarError} as commands do
 */
export async function measureType2(
  gpu: Type2Gpu,
  sizes: readonly number[],
  progress?: (done: number, all: number) => void,
): Promise<Type2Speed> {
  await gpu.begin();
  const times = new Float64Array(COMMANDS);
  for (const i of times.keys()) {
    const started = performance.now();
    await gpu.command("NOP");
    times[i] = 1000 * (performance.now() - started);
  }
  times.sort();
  const at = (part: number): number => times[Math.floor(part * (COMMANDS - 1))] ?? 0;
  const copies: CopySpeed[] = [];
  for (const sizeBytes of sizes) {
    progress?.(copies.length, sizes.length);
    copies.push(await measureCopies(gpu, sizeBytes));
  }
  await gpu.end();
  return { command: { medianUs: at(0.5), p90Us: at(0.9), count: COMMANDS }, copies };
}

async function measureCopies(gpu: Type2Gpu, sizeBytes: number): Promise<CopySpeed> {
  const pointer = await gpu.allocate(sizeBytes);
  const bytes = new Uint8Array(sizeBytes).fill(0x5a);
  const best = async (work: () => Promise<unknown>): Promise<number> => {
    let shortest = Infinity;
    const started = performance.now();
    for (let i = 0; i < LEAST_TRIES || performance.now() - started < LEAST_MS; i++) {
      const before = performance.now();
      await work();
      shortest = Math.min(shortest, performance.now() - before);
    }
    return sizeBytes / shortest * 1000;
  };
  const writeBytesPerS = await best(() => gpu.write(pointer, bytes));
  const readBytesPerS = await best(() => gpu.read(pointer, sizeBytes));
  await gpu.free(pointer);
  return { sizeBytes, writeBytesPerS, readBytesPerS };
}
