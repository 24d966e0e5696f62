/**
 * Model files, read by kernels into memory of the GPU.
 * @module
 */

import { createHash } from "node:crypto";

import { yieldToEventLoop } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import type { FileMap } from "./files/file_map.ts";
import { malformed, type ReadBytes } from "./files/bytes.ts";
import type { ModelHeader, ModelTensor } from "./models/model.ts";
import { readModelHeader } from "./models/read_model.ts";
import type { Arena, ArenaPlace } from "./nvme/arena.ts";
import type { FileKernelOptions, RunReader } from "./nvme/file_kernels.ts";
import { type ByteRun, runsOf } from "./nvme/segments.ts";

/** Tensors begin on multiples of this in the arena: what the widest loads of a GPU and its libraries ask for. */
const TENSOR_ALIGNMENT = 256;
const HASH_BYTES = 4 << 20;

/** A tensor in the arena. */
export interface LoadedTensor extends ModelTensor {
  /** Its first byte, as the GPU sees it. */
  readonly address: bigint;
  /** Its first byte, from the start of the arena. */
  readonly arenaOffset: number;
  /** SHA-256 of its bytes, as the host read them from the arena. */
  readonly sha256: string;
}

/** How a model is loaded. */
export interface LoadModelOptions extends FileKernelOptions {
  /** Names of tensors; all by default. */
  readonly tensors?: readonly string[];
  /** Where they go: `device` memory, by default, or `pinned` host memory, to which the drive writes by itself. */
  readonly place?: ArenaPlace;
}

/** A model in memory. Dispose frees it. */
export class LoadedModel implements Disposable {
  /** What the file says. */
  readonly header: ModelHeader;
  /** The tensors that were loaded, by name. */
  readonly tensors: ReadonlyMap<string, LoadedTensor>;
  /** The memory that they lie in. */
  readonly arena: Arena;
  /** Bytes that the drive wrote to their place. */
  readonly directBytes: number;
  /** Bytes that kernels copied from pages of their own. */
  readonly copiedBytes: number;

  /** Made by {@linkcode loadModel}. */
  constructor(
    header: ModelHeader,
    tensors: ReadonlyMap<string, LoadedTensor>,
    arena: Arena,
    sums: { readonly directBytes: number; readonly copiedBytes: number },
  ) {
    this.header = header;
    this.tensors = tensors;
    this.arena = arena;
    this.directBytes = sums.directBytes;
    this.copiedBytes = sums.copiedBytes;
  }

  /** Frees the memory. */
  [Symbol.dispose](): void {
    this.arena[Symbol.dispose]();
  }
}

/** Reads bytes of a file by kernels, one piece at a time: headers. */
export function kernelReader(kernels: RunReader, map: FileMap, options: FileKernelOptions = {}): ReadBytes {
  return async (offset, sizeBytes) => {
    if (offset < 0 || sizeBytes < 0 || offset + sizeBytes > map.key.sizeBytes) {
      throw malformed(`${sizeBytes} bytes at ${offset} lie beyond its end`, map.path, "read a file");
    }
    if (sizeBytes === 0) return new Uint8Array(0);
    using arena = kernels.allocate("pinned", sizeBytes);
    await kernels.gather(runsOf(map.extents, offset, sizeBytes, 0), arena, options);
    return (await arena.read(0, sizeBytes)).slice();
  };
}

/**
 * Loads tensors of a model file.
 *
 * The header is read and checked as a whole before any tensor is. A tensor begins on a multiple of 256 bytes; what of it
 * does not lie on whole blocks of the drive comes through a page from which the kernel copies.
 *
 * @param map where the file lies
 * @throws {BusbarError} `malformed` for a header that cannot be; `absent` for a tensor that is not there; else as
 * {@linkcode FileKernels.gather} does
 */
export async function loadModel(
  kernels: RunReader,
  map: FileMap,
  options: LoadModelOptions = {},
): Promise<LoadedModel> {
  const { sizeBytes } = map.key;
  const header = await readModelHeader(kernelReader(kernels, map, options), sizeBytes, map.path);
  const chosen = chooseTensors(header, options.tensors, map.path);
  const places: { readonly tensor: ModelTensor; readonly arenaOffset: number }[] = [];
  let end = 0;
  for (const tensor of chosen) {
    places.push({ tensor, arenaOffset: end });
    end = Math.ceil((end + tensor.sizeBytes) / TENSOR_ALIGNMENT) * TENSOR_ALIGNMENT;
  }
  const arena = kernels.allocate(options.place ?? "device", end);
  try {
    const runs: ByteRun[] = [];
    for (const { tensor, arenaOffset } of places) {
      for (const run of runsOf(map.extents, tensor.offset, tensor.sizeBytes, arenaOffset)) runs.push(run);
    }
    const sums = await kernels.gather(runs, arena, options);
    const loaded = new Map<string, LoadedTensor>();
    for (const { tensor, arenaOffset } of places) {
      const sha256 = await hashOf(arena, arenaOffset, tensor.sizeBytes, options.signal);
      loaded.set(tensor.name, { ...tensor, arenaOffset, address: arena.address + BigInt(arenaOffset), sha256 });
    }
    return new LoadedModel(header, loaded, arena, sums);
  } catch (error) {
    arena[Symbol.dispose]();
    throw error;
  }
}

function chooseTensors(
  header: ModelHeader,
  names: readonly string[] | undefined,
  path: string,
): readonly ModelTensor[] {
  if (names === undefined) return header.tensors;
  const wanted = new Set(names);
  const found = header.tensors.filter(({ name }) => wanted.has(name));
  const missing = names.find((name) => !found.some((one) => one.name === name));
  if (missing === undefined) return found;
  const some = header.tensors.slice(0, 5).map(({ name }) => name).join(", ");
  throw new BusbarError("absent", `${path}: there is no tensor '${missing}'`, {
    operation: "load a model",
    path,
    hint: `it has ${header.tensors.length}: ${some}${header.tensors.length > 5 ? ", …" : ""}`,
  });
}

async function hashOf(arena: Arena, offset: number, sizeBytes: number, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for (let done = 0; done < sizeBytes; done += HASH_BYTES) {
    hash.update(await arena.read(offset + done, Math.min(HASH_BYTES, sizeBytes - done)));
    await yieldToEventLoop(signal);
  }
  return hash.digest("hex");
}
