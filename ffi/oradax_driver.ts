/**
 * The accelerator of this machine by its kernel driver, with memory that it reaches.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import type { OradaxBuffer, OradaxDriver, OradaxTaken } from "../src/core/oradax_driver.ts";
import { Mapping, pageSizeBytes } from "./memory.ts";
import { OradaxHandle } from "./oradax.ts";

/** Memory of this process that an accelerator reaches, wherever it comes from. */
export class LocalOradaxBuffer implements OradaxBuffer {
  readonly address: bigint;
  readonly sizeBytes: number;
  readonly pageBytes: number;
  readonly #view: () => Uint8Array<ArrayBuffer>;
  readonly #release: () => void;

  /**
   * Memory that somebody has allocated.
   *
   * @param view the memory, as long as it is there
   * @param release frees it
   */
  constructor(
    place: { readonly address: bigint; readonly sizeBytes: number; readonly pageBytes: number },
    view: () => Uint8Array<ArrayBuffer>,
    release: () => void,
  ) {
    this.address = place.address;
    this.sizeBytes = place.sizeBytes;
    this.pageBytes = place.pageBytes;
    this.#view = view;
    this.#release = release;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#view();
  }

  read(offset: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
    this.#check(offset, sizeBytes);
    return this.bytes.slice(offset, offset + sizeBytes);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#check(offset, bytes.length);
    this.bytes.set(bytes, offset);
  }

  #check(offset: number, sizeBytes: number): void {
    if (offset >= 0 && sizeBytes >= 0 && offset + sizeBytes <= this.sizeBytes) return;
    throw new BusbarError("out-of-range", `${sizeBytes} bytes at ${offset} lie outside a buffer of ${this.sizeBytes}`);
  }

  /** Frees it. */
  [Symbol.dispose](): void {
    this.#release();
  }
}

const HUGE_PAGE = 2 << 20;

/** Opens `/dev/oradax1` or `/dev/oradax2`. @throws {BusbarError} as open and mmap fail */
export function openOradaxDriver(path: string): OradaxDriver {
  return new LocalOradaxDriver(OradaxHandle.open(path));
}

class LocalOradaxDriver implements OradaxDriver {
  readonly name: string;
  readonly #handle: OradaxHandle;

  constructor(handle: OradaxHandle) {
    this.name = handle.name;
    this.#handle = handle;
  }

  allocate(sizeBytes: number, pageBytes: number): LocalOradaxBuffer {
    const wantsHuge = pageBytes > pageSizeBytes();
    const mapping = Mapping.anonymous(sizeBytes, { pages: wantsHuge ? "2MiB" : "base", populate: true });
    const address = Deno.UnsafePointer.value(mapping.pointer);
    const view = mapping.bytes();
    const page = wantsHuge ? HUGE_PAGE : pageSizeBytes();
    const unmap = (): void => mapping[Symbol.dispose]();
    return new LocalOradaxBuffer({ address, sizeBytes, pageBytes: page }, () => view, unmap);
  }

  submit(index: number, ccbs: Uint8Array<ArrayBuffer>): OradaxTaken {
    return this.#handle.submit(index, ccbs);
  }

  wait(index: number, limitUs: number): number {
    return this.#handle.wait(index, limitUs);
  }

  completion(index: number): Uint8Array<ArrayBuffer> {
    return this.#handle.completion(index);
  }

  info(index: number): readonly [state: number, unit: number, queue: number, position: number] {
    return this.#handle.info(index);
  }

  kill(index: number): number {
    return this.#handle.kill(index);
  }

  dequeue(): void {
    this.#handle.dequeue();
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}
