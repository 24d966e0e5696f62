/**
 * The streams of a command in a guest, as its ports carry them.
 * @module
 */

import { pause } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";

/** The bytes of an output port between the id that begins them and the id that ends them. */
export function outputOf(
  port: Deno.UnixConn,
  id: string,
  ended: Promise<never>,
): { stream: ReadableStream<Uint8Array>; finished: Promise<void> } {
  const mark = new TextEncoder().encode(id);
  const finished = Promise.withResolvers<void>();
  finished.promise.catch(() => {});
  let pending = new Uint8Array(0);
  let begun = false;
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller): Promise<void> {
      const buffer = new Uint8Array(65_536);
      try {
        for (;;) {
          const count = await port.read(buffer);
          if (count === null) throw await lost(ended);
          let bytes = concatenate(pending, buffer.subarray(0, count));
          if (!begun) {
            const start = indexOf(bytes, mark);
            begun = start >= 0;
            bytes = bytes.slice(begun ? start + mark.length : Math.max(0, bytes.length - mark.length));
            pending = bytes;
            if (!begun) continue;
          }
          // Only what may be the beginning of the mark waits for more.
          const keep = overlap(bytes, mark);
          pending = bytes.slice(bytes.length - keep);
          if (keep < bytes.length) controller.enqueue(bytes.slice(0, bytes.length - keep));
          if (keep === mark.length) {
            finished.resolve();
            return controller.close();
          }
          if (keep < bytes.length) return;
        }
      } catch (error) {
        finished.reject(error);
        controller.error(error);
      }
    },
    cancel(): void {
      finished.resolve();
    },
  });
  return { stream, finished: finished.promise };
}

function indexOf(bytes: Uint8Array, part: Uint8Array): number {
  for (let at = 0; at + part.length <= bytes.length; at++) {
    if (part.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}

/** How many of the last bytes are the first ones of `mark`. */
function overlap(bytes: Uint8Array, mark: Uint8Array): number {
  for (let count = Math.min(bytes.length, mark.length); count > 0; count--) {
    if (bytes.subarray(bytes.length - count).every((byte, i) => byte === mark[i])) return count;
  }
  return 0;
}

/** The port is closed: because QEMU ended, which says why a moment later, or for a reason of its own. */
async function lost(ended: Promise<never>): Promise<unknown> {
  try {
    await Promise.race([pause(1_000), ended]);
    return new BusbarError("unreachable", "QEMU closed a port of the guest", { operation: "read the guest's output" });
  } catch (error) {
    return error;
  }
}

export function inputTo(port: Deno.UnixConn): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>({
    async write(bytes): Promise<void> {
      try {
        for (let at = 0; at < bytes.length;) at += await port.write(bytes.subarray(at));
      } catch (error) {
        // The command has ended without reading everything.
        if (!(error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.BadResource)) throw error;
      }
    },
    async close(): Promise<void> {
      // QEMU reads all that was sent before it sees the end.
      await port.closeWrite();
    },
  });
}

function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}
