/**
 * File descriptors that Deno has no calls for: device files, event counters, locks.
 * @module
 */

import { BusbarError, errnoError } from "../src/core/error.ts";
import { check, cString, lazyLibrary } from "./library.ts";

const SYMBOLS = {
  bb_open: { parameters: [/* const char *path */ "buffer", /* flags */ "u32"], result: "i32" },
  bb_close: { parameters: [/* fd */ "i32"], result: "i32" },
  bb_pread: {
    parameters: [/* fd */ "i32", /* offset */ "u64", /* void *to */ "buffer", /* size */ "u32"],
    result: "i32",
  },
  /** The same on a thread of Deno's pool, into memory that is no array: it takes as long as the device takes. */
  pread_on_thread: {
    name: "bb_pread",
    parameters: [/* fd */ "i32", /* offset */ "u64", /* void *to */ "pointer", /* size */ "u32"],
    result: "i32",
    nonblocking: true,
  },
  bb_pwrite: {
    parameters: [/* fd */ "i32", /* offset */ "u64", /* const void *from */ "buffer", /* size */ "u32"],
    result: "i32",
  },
  bb_eventfd: { parameters: [], result: "i32" },
  bb_eventfd_wait: { parameters: [/* fd */ "i32", /* limit_ms */ "u32"], result: "i32" },
  bb_lock_file: { parameters: [/* fd */ "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS);

const EAGAIN = 11;
/** As in csrc/busbar.h. */
const OPEN_WRITE = 1;
const OPEN_EXCLUSIVE = 2;
const OPEN_DIRECT = 4;

/** An open file or device. Dispose closes it; afterwards every call is an error. */
export class Descriptor implements Disposable {
  /** For messages: the path, or what it is. */
  readonly name: string;
  readonly #isOurs: boolean;
  #fd: number | null;

  private constructor(name: string, fd: number, isOurs: boolean = true) {
    this.name = name;
    this.#fd = fd;
    this.#isOurs = isOurs;
  }

  /**
   * Opens a file or device, close-on-exec and without blocking.
   *
   * @throws {BusbarError} as open fails; `hint` becomes the error's hint
   */
  static open(path: string, writable: boolean, hint?: string): Descriptor {
    const fd = check(library().bb_open(cString(path), writable ? OPEN_WRITE : 0), "open", { path, hint });
    return new Descriptor(path, fd);
  }

  /**
   * Opens a block device for reading, and for nobody else.
   *
   * @throws {BusbarError} `busy` when something in the kernel holds it: a file system, swap, md, dm, ZFS
   */
  static openExclusive(path: string): Descriptor {
    return new Descriptor(path, check(library().bb_open(cString(path), OPEN_EXCLUSIVE), "open exclusively", { path }));
  }

  /**
   * Opens a block device for reading around its page cache, which a file system need not keep. {@linkcode readInto} takes
   * offsets, lengths and memory on whole blocks of it.
   *
   * @throws {BusbarError} as open fails; `hint` becomes the error's hint
   */
  static openDirect(path: string, hint?: string): Descriptor {
    return new Descriptor(path, check(library().bb_open(cString(path), OPEN_DIRECT), "open", { path, hint }));
  }

  /** Takes over a descriptor that a system call returned. */
  static adopt(name: string, fd: number): Descriptor {
    return new Descriptor(name, fd);
  }

  /** Uses a descriptor that stays somebody else's: dispose ends the use and does not close it. */
  static borrow(name: string, fd: number): Descriptor {
    return new Descriptor(name, fd, false);
  }

  /** A new event counter, for an interrupt. */
  static eventCounter(name: string): Descriptor {
    return new Descriptor(name, check(library().bb_eventfd(), "make an event counter", { path: name }));
  }

  /** The number, for other calls of ffi/. */
  get number(): number {
    if (this.#fd === null) {
      throw new BusbarError("closed", `${this.name}: used after it was closed`, { path: this.name });
    }
    return this.#fd;
  }

  /** Reads up to `sizeBytes` bytes at `offset`; fewer where the file ends. */
  read(offset: bigint, sizeBytes: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(sizeBytes);
    return bytes.subarray(0, this.readInto(offset, bytes));
  }

  /** Reads bytes at `offset`, and returns how many; fewer than there is room for where the file ends. */
  readInto(offset: bigint, bytes: Uint8Array<ArrayBuffer>): number {
    if (bytes.length === 0) return 0;
    return check(library().bb_pread(this.number, offset, bytes, bytes.length), "read", { path: this.name });
  }

  /** Reads `sizeBytes` bytes at `offset` into memory, on another thread; several may be under way. Returns how many. */
  async readOnThread(offset: bigint, to: Deno.PointerObject, sizeBytes: number): Promise<number> {
    const count = await library().pread_on_thread(this.number, offset, to, sizeBytes);
    return check(count, "read", { path: this.name });
  }

  /** Writes all bytes at `offset`. @throws {BusbarError} `io` when fewer were taken */
  write(offset: bigint, bytes: Uint8Array<ArrayBuffer>): void {
    const count = check(library().bb_pwrite(this.number, offset, bytes, bytes.length), "write", { path: this.name });
    if (count !== bytes.length) {
      throw new BusbarError("io", `${this.name}: only ${count} of ${bytes.length} bytes were accepted`, {
        path: this.name,
      });
    }
  }

  /** Waits for an event counter, at most `limitMs` (up to 50). True when it counted; it is set back to zero. */
  waitEvent(limitMs: number): boolean {
    const limit = Math.min(50, Math.max(0, Math.round(limitMs)));
    return check(library().bb_eventfd_wait(this.number, limit), "wait for an event", { path: this.name }) === 1;
  }

  /** Locks the file for this descriptor's life. False when somebody else holds the lock. */
  tryLock(): boolean {
    const result = library().bb_lock_file(this.number);
    if (result === -EAGAIN) return false;
    if (result < 0) throw errnoError(-result, "lock", { path: this.name });
    return true;
  }

  /** Closes it. Calling it again does nothing. */
  [Symbol.dispose](): void {
    const fd = this.#fd;
    if (fd === null) return;
    this.#fd = null;
    if (this.#isOurs) check(library().bb_close(fd), "close", { path: this.name });
  }
}
