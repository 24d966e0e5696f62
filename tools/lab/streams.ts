/**
 * Bytes between a guest and this process.
 * @module
 */

import { PipeClosed } from "../cli/output.ts";

/**
 * Writes a stream to standard output or error as it comes.
 *
 * @throws {PipeClosed} when nobody reads it any more
 */
export async function copy(
  from: ReadableStream<Uint8Array>,
  to: { write(bytes: Uint8Array): Promise<number> },
): Promise<void> {
  for await (const chunk of from) {
    try {
      for (let at = 0; at < chunk.length;) at += await to.write(chunk.subarray(at));
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) throw new PipeClosed();
      throw error;
    }
  }
}

/** Passes input on until it ends. What comes after the command has ended is dropped. */
export function feedFrom(from: ReadableStream<Uint8Array>, to: WritableStream<Uint8Array>): void {
  from.pipeTo(to).catch(() => {});
}
