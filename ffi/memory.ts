/**
 * Mappings of files, devices and anonymous memory.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import type { Descriptor } from "./fd.ts";
import { check, cString, lazyLibrary } from "./library.ts";
import type { RegisterPointer } from "./mmio.ts";

const SYMBOLS = {
  bb_map_file: {
    parameters: [
      "buffer", // const char *path
      "u64", // offset
      "u64", // size
      "u32", // flags
      "buffer", // void **out
    ],
    result: "i32",
  },
  bb_map_pieces: {
    parameters: [
      "buffer", // const char *path
      "buffer", // const uint64_t *offsets
      "u32", // count
      "u64", // piece_size
      "buffer", // void **out
    ],
    result: "i32",
  },
  bb_map_anonymous: { parameters: [/* size */ "u64", /* flags */ "u32", /* void **out */ "buffer"], result: "i32" },
  bb_map_fd: {
    parameters: [/* fd */ "i32", /* offset */ "u64", /* size */ "u64", /* flags */ "u32", /* void **out */ "buffer"],
    result: "i32",
  },
  bb_unmap: { parameters: [/* address */ "pointer", /* size */ "u64"], result: "i32" },
  bb_sync: { parameters: [/* address */ "pointer", /* size */ "u64"], result: "i32" },
  bb_lock: { parameters: [/* address */ "pointer", /* size */ "u64"], result: "i32" },
  bb_unlock: { parameters: [/* address */ "pointer", /* size */ "u64"], result: "i32" },
  bb_page_size: { parameters: [], result: "u64" },
  bb_page_map: {
    parameters: [/* address */ "pointer", /* size */ "u64", /* uint64_t *out */ "buffer", /* pages */ "u64"],
    result: "i32",
  },
  bb_flush: { parameters: [/* address */ "pointer", /* size */ "u64"], result: "i32" },
  bb_bind_node: { parameters: [/* address */ "pointer", /* size */ "u64", /* node */ "u32"], result: "i32" },
  bb_page_nodes: {
    parameters: [/* address */ "pointer", /* size */ "u64", /* int32_t *out */ "buffer", /* pages */ "u64"],
    result: "i32",
    nonblocking: true,
  },
  bb_file_is_dax: { parameters: [/* const char *path */ "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS);

const EOPNOTSUPP = 95;

/** The flags of `bb_map_file` and `bb_map_anonymous`, as in csrc/busbar.h. */
const MAP_FLAGS = { write: 1, private: 2, populate: 4, sync: 8, huge2M: 16, huge1G: 32 } as const;

/** How a file or device is mapped. Everything is off by default: shared, read-only, on demand. */
export interface MapFileOptions {
  /** First byte; a multiple of the page size. */
  readonly offset?: bigint;
  /** Writable too; the file is opened read-write. */
  readonly writable?: boolean;
  /** Writes stay in this process. */
  readonly private?: boolean;
  /** Bring every page in now. */
  readonly populate?: boolean;
  /** `MAP_SYNC`: only on files with direct access, else `unsupported`. */
  readonly sync?: boolean;
  /** What to do about a failure. */
  readonly hint?: string | undefined;
}

/** How anonymous memory is mapped. */
export interface MapAnonymousOptions {
  /** Size of its pages: the usual one, or huge pages that must be reserved before. */
  readonly pages?: "base" | "2MiB" | "1GiB";
  /** Bring every page in now. */
  readonly populate?: boolean;
  /** As `malloc` has it, and not shared with child processes: the kernel counts and moves such pages in other ways. */
  readonly private?: boolean;
}

/** Mapped memory. Dispose detaches every view it handed out, then unmaps. */
export class Mapping implements Disposable {
  /** What is mapped, for messages. */
  readonly name: string;
  /** Length in bytes. */
  readonly sizeBytes: number;
  readonly #unmapBytes: bigint;
  #pointer: Deno.PointerObject | null;
  #buffers: ArrayBuffer[] = [];

  private constructor(name: string, pointer: Deno.PointerObject, sizeBytes: number, unmapBytes: bigint) {
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.#pointer = pointer;
    this.#unmapBytes = unmapBytes;
  }

  /**
   * Maps `sizeBytes` of a file or device.
   *
   * @throws {BusbarError} as open and mmap fail; `out-of-range` when a regular file is shorter
   */
  static file(path: string, sizeBytes: number, options: MapFileOptions = {}): Mapping {
    const flags = (options.writable ? MAP_FLAGS.write : 0) | (options.private ? MAP_FLAGS.private : 0) |
      (options.populate ? MAP_FLAGS.populate : 0) | (options.sync ? MAP_FLAGS.sync : 0);
    const out = new BigUint64Array(1);
    const size = checkSize(path, sizeBytes);
    const result = library().bb_map_file(cString(path), options.offset ?? 0n, size, flags, out);
    check(result, `map ${sizeBytes} bytes`, { path, hint: options.hint });
    return new Mapping(path, pointerFrom(out), sizeBytes, size);
  }

  /**
   * Maps `sizeBytes` of an open device from `offset`, readable and writable, shared.
   *
   * @param name for messages: `BAR0 of 0000:01:00.0`
   */
  static descriptor(name: string, descriptor: Descriptor, offset: bigint, sizeBytes: number): Mapping {
    const out = new BigUint64Array(1);
    const size = checkSize(name, sizeBytes);
    const result = library().bb_map_fd(descriptor.number, offset, size, MAP_FLAGS.write, out);
    check(result, `map ${sizeBytes} bytes`, { path: name });
    return new Mapping(name, pointerFrom(out), sizeBytes, size);
  }

  /**
   * Maps pieces of a file side by side, shared and writable.
   *
   * @param offsets where each piece begins in the file
   * @param pieceBytes length of each, a multiple of the page size
   * @throws {BusbarError} as open and mmap fail; `out-of-range` when a regular file is shorter
   */
  static pieces(path: string, offsets: readonly bigint[], pieceBytes: number): Mapping {
    const out = new BigUint64Array(1);
    const size = checkSize(path, offsets.length * pieceBytes);
    const places = BigUint64Array.from(offsets);
    const result = library().bb_map_pieces(cString(path), places, places.length, BigInt(pieceBytes), out);
    check(result, `map ${offsets.length} pieces of ${pieceBytes} bytes`, { path });
    return new Mapping(path, pointerFrom(out), offsets.length * pieceBytes, size);
  }

  /**
   * Maps zeroed memory.
   *
   * @throws {BusbarError} `io` (ENOMEM) when there are not enough free huge pages or memory
   */
  static anonymous(sizeBytes: number, options: MapAnonymousOptions = {}): Mapping {
    const pages = options.pages ?? "base";
    const huge = { base: 0, "2MiB": MAP_FLAGS.huge2M, "1GiB": MAP_FLAGS.huge1G }[pages];
    const pageBytes = { base: pageSizeBytes(), "2MiB": 2 ** 21, "1GiB": 2 ** 30 }[pages];
    const name = `${sizeBytes} bytes of anonymous memory`;
    // munmap of huge pages takes whole ones only.
    const size = BigInt(Math.ceil(Number(checkSize(name, sizeBytes)) / pageBytes) * pageBytes);
    const out = new BigUint64Array(1);
    const flags = huge | (options.populate ? MAP_FLAGS.populate : 0) | (options.private ? MAP_FLAGS.private : 0);
    check(library().bb_map_anonymous(size, flags, out), "map", {
      path: name,
      hint: pages === "base"
        ? undefined
        : `reserve huge pages: /sys/kernel/mm/hugepages/hugepages-${pageBytes / 1024}kB/nr_hugepages`,
    });
    return new Mapping(name, pointerFrom(out), sizeBytes, size);
  }

  /** The first byte. Valid until dispose. */
  get pointer(): Deno.PointerObject {
    if (this.#pointer === null) {
      throw new BusbarError("closed", `${this.name}: used after it was closed`, { path: this.name });
    }
    return this.#pointer;
  }

  /** The first byte, as a pointer to device registers. */
  get registers(): RegisterPointer {
    return this.pointer as RegisterPointer;
  }

  /**
   * The memory as bytes, whole or in part, for ordinary memory only: registers need exact accesses. The view is empty
   * after dispose.
   * Touching pages that the file lost since is SIGBUS and ends the process.
   */
  bytes(offset: number = 0, sizeBytes: number = this.sizeBytes - offset): Uint8Array<ArrayBuffer> {
    this.checkRange(offset, sizeBytes);
    const start = Deno.UnsafePointer.offset(this.pointer, offset);
    const buffer = sizeBytes === 0 || start === null
      ? new ArrayBuffer(0)
      : Deno.UnsafePointerView.getArrayBuffer(start, sizeBytes);
    this.#buffers.push(buffer);
    return new Uint8Array(buffer);
  }

  /** Writes changed pages of a file back to it and waits (msync): those that hold bytes of the range. */
  sync(offset: number = 0, sizeBytes: number = this.sizeBytes - offset): void {
    this.checkRange(offset, sizeBytes);
    const first = offset - offset % pageSizeBytes();
    const start = Deno.UnsafePointer.offset(this.pointer, first);
    check(library().bb_sync(start, BigInt(offset + sizeBytes - first)), "sync", { path: this.name });
  }

  /**
   * Lets pages that are touched from now on come from one NUMA node only. The kernel ends a process that touches more
   * than the node has: check before.
   *
   * @throws {BusbarError} `io` (EINVAL) where the node has no memory
   */
  bindNode(node: number): void {
    check(library().bb_bind_node(this.pointer, this.#unmapBytes, node), `bind memory to node ${node}`, {
      path: this.name,
    });
  }

  /**
   * How many pages lie on each NUMA node, by its number, as the kernel says (move_pages). Pages that are not in memory, and
   * those that it says nothing of, are counted under null.
   *
   * @throws {BusbarError} `io` where the kernel has no NUMA (ENOSYS), `permission`
   */
  async pageNodes(): Promise<Map<number | null, number>> {
    const nodes = new Int32Array(Math.ceil(this.sizeBytes / pageSizeBytes()));
    const asked = library().bb_page_nodes(this.pointer, BigInt(this.sizeBytes), nodes, BigInt(nodes.length));
    check(await asked, "ask where pages lie", { path: this.name });
    const counts = new Map<number | null, number>();
    for (const node of nodes) {
      const key = node < 0 ? null : node;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return counts;
  }

  /** Keeps the pages in memory (mlock). @throws {BusbarError} `io` (ENOMEM) beyond the memlock limit */
  lock(): void {
    check(library().bb_lock(this.pointer, this.#unmapBytes), "lock in memory", {
      path: this.name,
      hint: "raise the limit (ulimit -l), or run as root",
    });
  }

  /** Undoes {@linkcode lock}. */
  unlock(): void {
    check(library().bb_unlock(this.pointer, this.#unmapBytes), "unlock", { path: this.name });
  }

  /** Writes the cache lines of a range back to memory and waits until they are there. */
  flush(offset: number = 0, sizeBytes: number = this.sizeBytes - offset): void {
    this.checkRange(offset, sizeBytes);
    const start = Deno.UnsafePointer.offset(this.pointer, offset);
    check(library().bb_flush(start, BigInt(sizeBytes)), "flush", { path: this.name });
  }

  /**
   * Does nothing for a range inside the mapping.
   *
   * @throws {BusbarError} `out-of-range`; `closed` after dispose
   */
  checkRange(offset: number, sizeBytes: number): void {
    const isInside = offset >= 0 && sizeBytes >= 0 && offset + sizeBytes <= this.sizeBytes;
    if (isInside && this.pointer !== null) return;
    throw new BusbarError("out-of-range", `${this.name}: ${sizeBytes} bytes at ${offset} lie outside`, {
      path: this.name,
    });
  }

  /**
   * The physical address of every page, in order; null for a page that is not in memory.
   *
   * @throws {BusbarError} `permission` where the kernel hides them (CAP_SYS_ADMIN is missing)
   */
  physicalPages(): (bigint | null)[] {
    const out = new BigUint64Array(Math.ceil(this.sizeBytes / pageSizeBytes()));
    const count = library().bb_page_map(this.pointer, BigInt(this.sizeBytes), out, BigInt(out.length));
    check(count, "read physical addresses", {
      path: "/proc/self/pagemap",
      hint: "the kernel shows them to root only (CAP_SYS_ADMIN)",
    });
    return Array.from(out, (address) => address === 0xffff_ffff_ffff_ffffn ? null : address);
  }

  /** Detaches all views and unmaps. Calling it again does nothing. */
  [Symbol.dispose](): void {
    const pointer = this.#pointer;
    if (pointer === null) return;
    this.#pointer = null;
    for (const buffer of this.#buffers) if (!buffer.detached) buffer.transfer(0);
    this.#buffers = [];
    check(library().bb_unmap(pointer, this.#unmapBytes), "unmap", { path: this.name });
  }
}

/** The size of a base page in bytes. */
export function pageSizeBytes(): number {
  return Number(library().bb_page_size());
}

/**
 * True when a file is accessed directly, without the page cache; false when not; null where the kernel does not tell.
 *
 * @throws {BusbarError} as stat fails
 */
export function isDaxFile(path: string): boolean | null {
  const result = library().bb_file_is_dax(cString(path));
  return result === -EOPNOTSUPP ? null : check(result, "stat", { path }) === 1;
}

function checkSize(name: string, sizeBytes: number): bigint {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0) return BigInt(sizeBytes);
  throw new BusbarError("out-of-range", `${name}: cannot map ${sizeBytes} bytes`, { operation: "map", path: name });
}

function pointerFrom(out: BigUint64Array): Deno.PointerObject {
  const pointer = Deno.UnsafePointer.create(out[0] ?? 0n);
  if (pointer === null) throw new BusbarError("bug", "a successful mmap gave address 0");
  return pointer;
}
