/**
 * Files as streams of bytes: `-` is standard input, `.gz` and `.zst` are unpacked, and what comes out has a limit.
 * @module
 */

import { createGunzip, createZstdDecompress } from "node:zlib";

import { BusbarError, systemError } from "../../core/error.ts";
import { formatBytes } from "../../core/units.ts";

/** What comes out of a packed file at most, unless the caller says otherwise: 1 TiB is 6.9·10^10 records. */
export const OUTPUT_LIMIT: number = 2 ** 40;

const CHUNK_BYTES = 1 << 18;
/** How long a pipe may have no writer, in milliseconds. */
const WRITER_LIMIT_MS = 2000;

/** Opens a file to read, or standard input; errors name the path. */
async function openBytes(
  path: string,
  isKept: boolean,
): Promise<{ stream: AsyncIterable<Uint8Array>; close: () => void }> {
  if (path === "-") return { stream: Deno.stdin.readable, close: () => {} };
  let file: Deno.FsFile;
  try {
    file = await openSoon(path);
  } catch (cause) {
    throw inputError(cause, path);
  }
  if ((await file.stat()).isDirectory) {
    file.close();
    throw new BusbarError("usage", `${path}: is a directory`, { operation: "read", path, hint: "name a file" });
  }
  return { stream: piecesOf(file, path, isKept), close: () => closeQuietly(file) };
}

/** Opens a file. A pipe that nobody opens to write to is given up. */
async function openSoon(path: string): Promise<Deno.FsFile> {
  const opening = Deno.open(path, { read: true });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() =>
      reject(
        new BusbarError("timeout", `${path}: nobody wrote to this pipe for ${WRITER_LIMIT_MS / 1000} s`, {
          operation: "read",
          path,
          hint: "write it to a file first, and name that",
        }),
      ), WRITER_LIMIT_MS);
  });
  try {
    return await Promise.race([opening, late]);
  } catch (error) {
    // Should its other end be opened after all, nobody is there to read.
    opening.then((file) => file.close(), () => {});
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The hint for an input that is not there. */
function inputError(cause: unknown, path: string): BusbarError {
  return systemError(cause, "read", path, "check the name; - is standard input");
}

function closeQuietly(file: Deno.FsFile): void {
  try {
    file.close();
  } catch {
    // It is closed already.
  }
}

/**
 * A file in pieces that are larger than those of `file.readable`, which cost more than the parsing of a binary trace.
 *
 * @param isKept true for a reader that keeps a piece after it asks for the next; else all pieces are one buffer
 */
async function* piecesOf(file: Deno.FsFile, path: string, isKept: boolean): AsyncGenerator<Uint8Array> {
  let piece = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    let length: number | null;
    try {
      length = await file.read(piece);
    } catch (cause) {
      throw inputError(cause, path);
    }
    if (length === null) return;
    yield piece.subarray(0, length);
    if (isKept) piece = new Uint8Array(CHUNK_BYTES);
  }
}

type Unpacker = AsyncIterable<Uint8Array> & {
  write(chunk: Uint8Array): boolean;
  end(): void;
  destroy(error?: Error): void;
  once(event: "drain" | "error" | "close", listener: (error?: unknown) => void): void;
};

function unpackerFor(path: string): Unpacker | null {
  if (path.endsWith(".gz")) return createGunzip({ chunkSize: CHUNK_BYTES }) as unknown as Unpacker;
  if (path.endsWith(".zst")) return createZstdDecompress({ chunkSize: CHUNK_BYTES }) as unknown as Unpacker;
  return null;
}

/** Feeds an unpacker, waiting whenever it has enough. */
async function feed(unpacker: Unpacker, stream: AsyncIterable<Uint8Array>): Promise<void> {
  let ended = false;
  const stop = Promise.withResolvers<void>();
  unpacker.once("error", () => (ended = true, stop.resolve()));
  unpacker.once("close", () => (ended = true, stop.resolve()));
  try {
    for await (const chunk of stream) {
      if (ended) return;
      if (unpacker.write(chunk)) continue;
      const drained = Promise.withResolvers<void>();
      unpacker.once("drain", () => drained.resolve());
      await Promise.race([drained.promise, stop.promise]);
    }
    if (!ended) unpacker.end();
  } catch (error) {
    unpacker.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

/**
 * The bytes of a file, unpacked where its name says that it is packed. A piece is valid until the next is asked for.
 *
 * @param limitBytes what may come out of a packed file at most
 * @throws {BusbarError} `absent`, `permission`; `malformed` when a packed file is damaged or cut; `out-of-range` beyond
 * the limit
 */
export async function* readBytes(path: string, limitBytes: number = OUTPUT_LIMIT): AsyncGenerator<Uint8Array> {
  const unpacker = unpackerFor(path);
  const { stream, close } = await openBytes(path, unpacker !== null);
  try {
    if (unpacker === null) {
      yield* stream;
      return;
    }
    let total = 0;
    const feeding = feed(unpacker, stream);
    try {
      for await (const chunk of unpacker) {
        total += chunk.length;
        if (total > limitBytes) {
          throw new BusbarError("out-of-range", `${path}: more than ${formatBytes(limitBytes)} come out of it`, {
            operation: "unpack",
            path,
            hint: "raise --max-input if the file is meant to be that large",
          });
        }
        yield chunk;
      }
    } catch (cause) {
      if (cause instanceof BusbarError) throw cause;
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new BusbarError("malformed", `${path}: cannot be unpacked: ${text}`, {
        operation: "unpack",
        path,
        hint: "the file is cut or damaged, or its name does not say how it is packed",
        cause,
      });
    } finally {
      unpacker.destroy();
      await feeding;
    }
  } finally {
    close();
  }
}
