/**
 * A reader of ext4 that never writes: finds a file by its path and says where its bytes lie.
 *
 * It refuses what it would have to guess: a journal that must be replayed, encrypted and inline files, features that are not
 * known here. What it reads is checked against the size of the file system before it is followed.
 *
 * Source: Linux Documentation/filesystems/ext4 (super.rst, group_descr.rst, inodes.rst, ifork.rst, directory.rst).
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { malformed, type ReadBytes, viewOf } from "./bytes.ts";
import { checkExtents, type FileExtent, type FileMap } from "./file_map.ts";

const SUPERBLOCK_OFFSET = 1024;
const SUPERBLOCK_BYTES = 1024;
const MAGIC = 0xef53;
const STATE_CLEAN = 1;
const ROOT_INODE = 2;
const EXTENT_MAGIC = 0xf30a;
/** Every entry of a node, and its header. */
const EXTENT_ENTRY_BYTES = 12;
const MOST_DEPTH = 5;
const INODE_BLOCK_BYTES = 60;
const MOST_DIRECTORY_BYTES = 64 << 20;
const MOST_PATH_PARTS = 256;
/** Nodes of one extent tree: more than a file of 2^32 blocks needs where each leaf is full. */
const MOST_NODES = 1 << 20;
/** Lengths above this are of extents that were allocated and never written: they read as zeros. */
const MOST_WRITTEN_LENGTH = 32_768;

const INCOMPAT = {
  FILETYPE: 0x2,
  RECOVER: 0x4,
  EXTENTS: 0x40,
  "64BIT": 0x80,
  MMP: 0x100,
  FLEX_BG: 0x200,
  EA_INODE: 0x400,
  CSUM_SEED: 0x2000,
  LARGEDIR: 0x4000,
  INLINE_DATA: 0x8000,
  ENCRYPT: 0x10000,
  CASEFOLD: 0x20000,
} as const;
const KNOWN_INCOMPAT = Object.values(INCOMPAT).reduce((sum, bit) => sum | bit, 0);

const INODE_FLAGS = { COMPRESSED: 0x4, ENCRYPTED: 0x800, EXTENTS: 0x80000, INLINE: 0x10000000 } as const;
const TYPE_MASK = 0xf000, TYPE_FILE = 0x8000, TYPE_DIRECTORY = 0x4000, TYPE_LINK = 0xa000;

/** Sizes and places that the superblock gives; a kernel that walks extents by itself gets them too. */
export interface Ext4Geometry {
  /** Bytes of a block. */
  readonly blockBytes: number;
  /** Blocks of the file system. */
  readonly blocks: number;
  /** Bytes of an inode. */
  readonly inodeBytes: number;
  /** Inodes of a group. */
  readonly inodesPerGroup: number;
  /** How many inodes there are. */
  readonly inodes: number;
  /** Bytes of a group descriptor. */
  readonly descriptorBytes: number;
  /** First byte of the group descriptors, from the start of the file system. */
  readonly descriptorsOffset: number;
}

interface Inode {
  readonly number: number;
  readonly mode: number;
  readonly sizeBytes: number;
  readonly flags: number;
  readonly changeTime: string;
  readonly node: Uint8Array;
}

/** An ext4 file system. */
export class Ext4 {
  /** Sizes and places. */
  readonly geometry: Ext4Geometry;
  /** Its UUID. */
  readonly uuid: string;
  readonly #read: ReadBytes;
  readonly #name: string;
  readonly #superblock: DataView;

  private constructor(read: ReadBytes, bytes: Uint8Array, name: string, isMounted: boolean) {
    this.#read = read;
    this.#name = name;
    const view = this.#superblock = viewOf(bytes);
    const incompat = view.getUint32(0x60, true);
    this.#checkFeatures(incompat, isMounted);
    const blockShift = 10 + view.getUint32(0x18, true);
    const inodeBytes = view.getUint32(0x4c, true) === 0 ? 128 : view.getUint16(0x58, true);
    const is64Bit = (incompat & INCOMPAT["64BIT"]) !== 0;
    const high = is64Bit ? view.getUint32(0x150, true) : 0;
    const blocks = view.getUint32(0x4, true) + high * 2 ** 32;
    const descriptorBytes = is64Bit ? view.getUint16(0xfe, true) : 32;
    const inodesPerGroup = view.getUint32(0x28, true);
    const firstDataBlock = view.getUint32(0x14, true);
    if (blockShift > 16) throw this.#malformed("its block size is beyond 64 KiB");
    const blockBytes = 2 ** blockShift;
    if (firstDataBlock !== (blockBytes === 1024 ? 1 : 0)) throw this.#malformed(`its first block is ${firstDataBlock}`);
    if (!isPowerOfTwo(inodeBytes) || inodeBytes < 128 || inodeBytes > blockBytes) {
      throw this.#malformed(`its inodes have ${inodeBytes} bytes`);
    }
    if (!isPowerOfTwo(descriptorBytes) || descriptorBytes < 32 || descriptorBytes > 1024) {
      throw this.#malformed(`its group descriptors have ${descriptorBytes} bytes`);
    }
    if (is64Bit && descriptorBytes < 64) throw this.#malformed(`its group descriptors have ${descriptorBytes} bytes`);
    if (inodesPerGroup === 0 || blocks === 0 || !Number.isSafeInteger(blocks * blockBytes)) {
      throw this.#malformed("its superblock says sizes that cannot be");
    }
    this.geometry = {
      blockBytes,
      blocks,
      inodeBytes,
      inodesPerGroup,
      inodes: view.getUint32(0, true),
      descriptorBytes,
      descriptorsOffset: (firstDataBlock + 1) * blockBytes,
    };
    this.uuid = uuidText(bytes.subarray(0x68, 0x78));
  }

  /**
   * Opens a file system, or returns null where there is none.
   *
   * @param read reads from its first byte on
   * @param name for messages
   * @param isMounted it is mounted and synced: then a journal in use is no reason to refuse
   * @throws {BusbarError} `unsupported` for what must be recovered or is not known here; `malformed`
   */
  static async open(read: ReadBytes, name: string, isMounted: boolean = false): Promise<Ext4 | null> {
    const bytes = await read(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES);
    if (viewOf(bytes).getUint16(0x38, true) !== MAGIC) return null;
    return new Ext4(read, bytes, name, isMounted);
  }

  #checkFeatures(incompat: number, isMounted: boolean): void {
    const refuse = (what: string, hint: string): BusbarError =>
      new BusbarError("unsupported", `${this.#name}: ${what}`, { operation: "read ext4", path: this.#name, hint });
    const unknown = (incompat & ~KNOWN_INCOMPAT) >>> 0;
    if (unknown !== 0) {
      throw refuse(`ext4 features 0x${unknown.toString(16)} are not read here`, "mount it, and copy the file");
    }
    if (isMounted) return;
    const isClean = (this.#superblock.getUint16(0x3a, true) & STATE_CLEAN) !== 0;
    if ((incompat & INCOMPAT.RECOVER) === 0 && isClean) return;
    throw refuse("its journal has to be recovered first", "mount and unmount it, or e2fsck -p");
  }

  #malformed(what: string): BusbarError {
    return malformed(what, this.#name, "read ext4");
  }

  async #block(number: number): Promise<Uint8Array> {
    const { blockBytes, blocks } = this.geometry;
    if (!(number > 0 && number < blocks)) throw this.#malformed(`block ${number} of ${blocks}`);
    return await this.#read(number * blockBytes, blockBytes);
  }

  async #inode(number: number): Promise<Inode> {
    const { inodes, inodesPerGroup, inodeBytes, descriptorBytes, descriptorsOffset, blockBytes, blocks } =
      this.geometry;
    if (number < 1 || number > inodes) throw this.#malformed(`inode ${number} of ${inodes}`);
    const group = Math.floor((number - 1) / inodesPerGroup), index = (number - 1) % inodesPerGroup;
    const descriptor = viewOf(await this.#read(descriptorsOffset + group * descriptorBytes, descriptorBytes));
    const high = descriptorBytes >= 64 ? descriptor.getUint32(0x28, true) : 0;
    const table = descriptor.getUint32(0x8, true) + high * 2 ** 32;
    const offset = table * blockBytes + index * inodeBytes;
    if (table < 1 || offset + inodeBytes > blocks * blockBytes) throw this.#malformed("an inode table lies outside");
    const bytes = await this.#read(offset, inodeBytes);
    const view = viewOf(bytes);
    const extra = inodeBytes > 128 && view.getUint16(0x80, true) >= 8 ? view.getUint32(0x84, true) : 0;
    // The two low bits of the extra word extend the seconds; the others are nanoseconds.
    const seconds = BigInt(view.getInt32(0xc, true)) + (BigInt(extra & 3) << 32n);
    return {
      number,
      mode: view.getUint16(0, true),
      sizeBytes: view.getUint32(0x4, true) + view.getUint32(0x6c, true) * 2 ** 32,
      flags: view.getUint32(0x20, true),
      changeTime: `${seconds * 1_000_000_000n + BigInt(extra >>> 2)}`,
      node: bytes.subarray(0x28, 0x28 + INODE_BLOCK_BYTES),
    };
  }

  /** The extents of an inode, in the order of the file; those that were never written are left out. */
  async #extents(inode: Inode, path: string): Promise<FileExtent[]> {
    const refuse = (what: string): BusbarError =>
      new BusbarError("unsupported", `${path}: ${what}`, {
        operation: "map a file",
        path,
        hint: "mount the file system, and copy the file",
      });
    if ((inode.flags & INODE_FLAGS.ENCRYPTED) !== 0) throw refuse("it is encrypted");
    if ((inode.flags & INODE_FLAGS.COMPRESSED) !== 0) throw refuse("it is compressed");
    if ((inode.flags & INODE_FLAGS.INLINE) !== 0) throw refuse("its data lie in the inode");
    if ((inode.flags & INODE_FLAGS.EXTENTS) === 0) throw refuse("it has a block map, not extents");
    const found: FileExtent[] = [];
    const walk = { next: 0, nodes: 0 };
    await this.#walk(inode.node, null, walk, found, path);
    const { blockBytes, blocks } = this.geometry;
    return checkExtents(found, inode.sizeBytes, blocks * blockBytes, blockBytes, path);
  }

  /** @param depth what the parent says that this node has; null for the root */
  async #walk(
    node: Uint8Array,
    depth: number | null,
    walk: { next: number; nodes: number },
    found: FileExtent[],
    path: string,
  ): Promise<void> {
    const view = viewOf(node);
    const entries = view.getUint16(2, true), own = view.getUint16(6, true);
    const room = Math.floor(node.length / EXTENT_ENTRY_BYTES) - 1;
    const isWrong = view.getUint16(0, true) !== EXTENT_MAGIC || entries > room || own > MOST_DEPTH ||
      (depth !== null && (own !== depth || entries === 0));
    if (isWrong || ++walk.nodes > MOST_NODES) throw malformed("its extent tree is damaged", path, "map a file");
    const { blockBytes, blocks } = this.geometry;
    for (let i = 1; i <= entries; i++) {
      const at = i * EXTENT_ENTRY_BYTES, first = view.getUint32(at, true);
      if (first < walk.next) throw malformed("its extents overlap or are out of order", path, "map a file");
      if (own > 0) {
        const child = view.getUint32(at + 4, true) + view.getUint16(at + 8, true) * 2 ** 32;
        await this.#walk(await this.#block(child), own - 1, walk, found, path);
        continue;
      }
      const coded = view.getUint16(at + 4, true), isWritten = coded <= MOST_WRITTEN_LENGTH;
      const length = isWritten ? coded : coded - MOST_WRITTEN_LENGTH;
      const start = view.getUint32(at + 8, true) + view.getUint16(at + 6, true) * 2 ** 32;
      if (length === 0 || start < 1 || start + length > blocks) {
        throw malformed(`an extent of ${length} blocks at ${start}`, path, "map a file");
      }
      walk.next = first + length;
      if (!isWritten) continue;
      found.push({ fileOffset: first * blockBytes, offset: start * blockBytes, sizeBytes: length * blockBytes });
    }
  }

  /** The inode of a name in a directory, or null. */
  async #find(directory: Inode, name: string, path: string): Promise<number | null> {
    if (directory.sizeBytes > MOST_DIRECTORY_BYTES) {
      throw new BusbarError("out-of-range", `${path}: a directory of ${directory.sizeBytes} bytes`, { path });
    }
    const wanted = new TextEncoder().encode(name);
    const { blockBytes } = this.geometry;
    for (const extent of await this.#extents(directory, path)) {
      for (let at = 0; at < extent.sizeBytes; at += blockBytes) {
        const found = this.#findIn(await this.#read(extent.offset + at, blockBytes), wanted);
        if (found !== null) return found;
      }
    }
    return null;
  }

  #findIn(block: Uint8Array, wanted: Uint8Array): number | null {
    const view = viewOf(block);
    for (let at = 0; at + 8 <= block.length;) {
      const coded = view.getUint16(at + 4, true), nameBytes = view.getUint8(at + 6);
      // Two bytes cannot say 65,536: then 65,535 and 0 stand for the rest of the block.
      const length = block.length === 65_536 && (coded === 65_535 || coded === 0) ? block.length - at : coded;
      if (length < 8 || length % 4 !== 0 || at + length > block.length || 8 + nameBytes > length) {
        throw this.#malformed("a directory is damaged");
      }
      const inode = view.getUint32(at, true);
      if (inode !== 0 && nameBytes === wanted.length) {
        const name = block.subarray(at + 8, at + 8 + nameBytes);
        if (name.every((byte, i) => byte === wanted[i])) return inode;
      }
      at += length;
    }
    return null;
  }

  /** The inode that a path names. */
  async inodeOf(path: string): Promise<number> {
    return (await this.#lookUp(path)).number;
  }

  async #lookUp(path: string): Promise<Inode> {
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    const problem = (code: "absent" | "unsupported" | "usage", what: string): BusbarError =>
      new BusbarError(code, `${this.#name}: ${path}: ${what}`, { operation: "find a file", path });
    if (parts.length === 0 || parts.length > MOST_PATH_PARTS || parts.includes("..")) {
      throw problem("usage", "the path of a file from the root of the file system is needed");
    }
    let inode = await this.#inode(ROOT_INODE);
    let reached = "";
    for (const part of parts) {
      if ((inode.mode & TYPE_MASK) === TYPE_LINK) throw problem("unsupported", "goes through a symbolic link");
      if ((inode.mode & TYPE_MASK) !== TYPE_DIRECTORY) throw problem("absent", "goes through what is no directory");
      const number = await this.#find(inode, part, reached === "" ? "/" : reached);
      reached += `/${part}`;
      if (number === null) throw problem("absent", "no such file");
      inode = await this.#inode(number);
    }
    if ((inode.mode & TYPE_MASK) !== TYPE_FILE) throw problem("unsupported", "is no regular file");
    return inode;
  }

  /**
   * Finds a file and its extents.
   *
   * @param path from the root of the file system
   * @param partitionOffset where the file system begins on the namespace, in bytes
   * @throws {BusbarError} `absent`; `unsupported` for encrypted, inline and compressed files, and symbolic links; `malformed`
   */
  async map(path: string, partitionOffset: number): Promise<FileMap> {
    const inode = await this.#lookUp(path);
    const extents = await this.#extents(inode, path);
    const view = this.#superblock;
    return {
      path,
      partitionOffset,
      key: {
        fileSystem: "ext4",
        uuid: this.uuid,
        mountTime: view.getUint32(0x2c, true) + view.getUint8(0x275) * 2 ** 32,
        mountCount: view.getUint16(0x34, true),
        sizeBytes: inode.sizeBytes,
        changeTime: inode.changeTime,
      },
      extents: extents.map((one) => ({ ...one, offset: one.offset + partitionOffset })),
      untouched: null,
    };
  }
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}

function uuidText(bytes: Uint8Array): string {
  const digits = bytes.toHex();
  return [[0, 8], [8, 12], [12, 16], [16, 20], [20, 32]].map(([from, to]) => digits.slice(from, to)).join("-");
}
