/**
 * A reader of FAT32 that never writes: finds a file by its path and says where its bytes lie.
 *
 * Source: Microsoft FAT32 File System Specification 1.03; Linux fs/fat (the state byte of a volume that is mounted).
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { malformed, type ReadBytes, viewOf } from "./bytes.ts";
import { checkExtents, type FileExtent, type FileMap, mergeExtents } from "./file_map.ts";

const SECTOR_BYTES = 512;
const ENTRY_BYTES = 32;
const MOST_DIRECTORY_BYTES = 2 << 20;
const MOST_PATH_PARTS = 256;
const CLUSTER_MASK = 0x0fff_ffff;
const FIRST_CLUSTER = 2;
/** From here on a FAT entry ends a chain; the one before marks a bad cluster. */
const END_OF_CHAIN = 0x0fff_fff8;
const STATE_DIRTY = 1;
const ATTRIBUTE_VOLUME = 0x08, ATTRIBUTE_DIRECTORY = 0x10, ATTRIBUTE_LONG_NAME = 0x0f;
const DELETED = 0xe5, LAST_LONG_ENTRY = 0x40;
/** Where the characters of a long name lie in an entry. */
const LONG_NAME_PLACES = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30] as const;
const MOST_LONG_ENTRIES = 20;
const FAT_WINDOW_BYTES = 65_536;

/** Sizes and places that the boot sector gives; a kernel that walks the chain by itself gets them too. */
export interface Fat32Geometry {
  /** Bytes of a cluster. */
  readonly clusterBytes: number;
  /** Clusters of data; they are numbered from 2. */
  readonly clusters: number;
  /** First byte of the FAT in use, from the start of the file system. */
  readonly fatOffset: number;
  /** First byte of cluster 2. */
  readonly dataOffset: number;
  /** First cluster of the root directory. */
  readonly rootCluster: number;
}

interface Entry {
  readonly firstCluster: number;
  readonly sizeBytes: number;
  readonly isDirectory: boolean;
  readonly changeTime: string;
}

/** A FAT32 file system. */
export class Fat32 {
  /** Sizes and places. */
  readonly geometry: Fat32Geometry;
  /** Its volume number, as `1234-ABCD`. */
  readonly volume: string;
  readonly #read: ReadBytes;
  readonly #name: string;
  #fatWindow: { readonly index: number; readonly view: DataView } | null = null;

  private constructor(read: ReadBytes, bytes: Uint8Array, name: string, isMounted: boolean) {
    this.#read = read;
    this.#name = name;
    const view = viewOf(bytes);
    const sectorBytes = view.getUint16(0x0b, true), perCluster = view.getUint8(0x0d);
    const reserved = view.getUint16(0x0e, true), fats = view.getUint8(0x10);
    const sectors = view.getUint16(0x13, true) || view.getUint32(0x20, true);
    const fatSectors = view.getUint32(0x24, true), flags = view.getUint16(0x28, true);
    const isSize = (value: number, least: number, most: number): boolean =>
      value >= least && value <= most && Number.isInteger(Math.log2(value));
    if (!isSize(sectorBytes, 512, 4096) || !isSize(perCluster, 1, 128)) {
      throw this.#malformed(`sectors of ${sectorBytes} bytes, ${perCluster} of them a cluster`);
    }
    const isMirrored = (flags & 0x80) === 0, active = isMirrored ? 0 : flags & 0xf;
    const firstData = reserved + fats * fatSectors;
    if (reserved === 0 || fats === 0 || active >= fats || fatSectors === 0 || firstData >= sectors) {
      throw this.#malformed("its boot sector says sizes that cannot be");
    }
    const clusters = Math.min(
      Math.floor((sectors - firstData) / perCluster),
      fatSectors * sectorBytes / 4 - FIRST_CLUSTER,
    );
    const rootCluster = view.getUint32(0x2c, true) & CLUSTER_MASK;
    this.geometry = {
      clusterBytes: perCluster * sectorBytes,
      clusters,
      fatOffset: (reserved + active * fatSectors) * sectorBytes,
      dataOffset: firstData * sectorBytes,
      rootCluster,
    };
    if (!isMounted && (view.getUint8(0x41) & STATE_DIRTY) !== 0) {
      throw new BusbarError("unsupported", `${name}: it was not unmounted cleanly`, {
        operation: "read FAT32",
        path: name,
        hint: "fsck.vfat -a, or mount and unmount it",
      });
    }
    const number = view.getUint32(0x43, true).toString(16).toUpperCase().padStart(8, "0");
    this.volume = `${number.slice(0, 4)}-${number.slice(4)}`;
  }

  /**
   * Opens a file system, or returns null where there is none.
   *
   * @param read reads from its first byte on
   * @param name for messages
   * @param isMounted it is mounted and synced: then its mark of being in use is no reason to refuse
   * @throws {BusbarError} `unsupported` where it was not unmounted cleanly; `malformed`
   */
  static async open(read: ReadBytes, name: string, isMounted: boolean = false): Promise<Fat32 | null> {
    const bytes = await read(0, SECTOR_BYTES);
    const view = viewOf(bytes);
    // What tells FAT32 from its elder brothers: no root directory of fixed size, and no FAT size of 16 bits.
    const isFat32 = view.getUint16(510, true) === 0xaa55 && view.getUint16(0x11, true) === 0 &&
      view.getUint16(0x16, true) === 0 && new TextDecoder("latin1").decode(bytes.subarray(0x52, 0x5a)) === "FAT32   ";
    return isFat32 ? new Fat32(read, bytes, name, isMounted) : null;
  }

  #malformed(what: string): BusbarError {
    return malformed(what, this.#name, "read FAT32");
  }

  async #next(cluster: number): Promise<number> {
    const index = Math.floor(4 * cluster / FAT_WINDOW_BYTES);
    if (this.#fatWindow?.index !== index) {
      const { fatOffset, clusters } = this.geometry;
      const from = index * FAT_WINDOW_BYTES;
      const length = Math.min(FAT_WINDOW_BYTES, 4 * (clusters + FIRST_CLUSTER) - from);
      this.#fatWindow = { index, view: viewOf(await this.#read(fatOffset + from, length)) };
    }
    return this.#fatWindow.view.getUint32(4 * cluster % FAT_WINDOW_BYTES, true) & CLUSTER_MASK;
  }

  /** The runs of a chain; `sizeBytes` limits it, and null takes all, up to the size of a directory. */
  async #extents(first: number, sizeBytes: number | null, path: string): Promise<FileExtent[]> {
    const { clusterBytes, clusters, dataOffset } = this.geometry;
    const most = Math.ceil((sizeBytes ?? MOST_DIRECTORY_BYTES) / clusterBytes);
    const damaged = (what: string): BusbarError => malformed(`its chain of clusters ${what}`, path, "map a file");
    const found: FileExtent[] = [];
    let cluster = first;
    for (let i = 0; i < most; i++) {
      if (cluster < FIRST_CLUSTER || cluster >= clusters + FIRST_CLUSTER) {
        if (sizeBytes === null && cluster >= END_OF_CHAIN) return mergeExtents(found);
        throw damaged(cluster >= END_OF_CHAIN ? "ends before the file" : `goes to cluster ${cluster} of ${clusters}`);
      }
      const offset = dataOffset + (cluster - FIRST_CLUSTER) * clusterBytes;
      found.push({ fileOffset: i * clusterBytes, offset, sizeBytes: clusterBytes });
      cluster = await this.#next(cluster);
    }
    // A loop, too, is longer than the file.
    if (cluster < END_OF_CHAIN && most > 0) throw damaged("goes on behind the file");
    return mergeExtents(found);
  }

  async #find(first: number, name: string, path: string): Promise<Entry | null> {
    const wanted = name.toLowerCase();
    const long = new LongName();
    for (const extent of await this.#extents(first, null, path)) {
      const bytes = await this.#read(extent.offset, extent.sizeBytes);
      for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
        const entry = bytes.subarray(at, at + ENTRY_BYTES);
        if (entry[0] === 0) return null;
        if (entry[0] === DELETED) {
          long.clear();
          continue;
        }
        const attributes = entry[11] ?? 0;
        if ((attributes & 0x3f) === ATTRIBUTE_LONG_NAME) {
          long.add(entry);
          continue;
        }
        const names = [long.take(entry), shortName(entry)];
        if ((attributes & ATTRIBUTE_VOLUME) !== 0 || !names.some((one) => one?.toLowerCase() === wanted)) continue;
        const view = viewOf(entry);
        return {
          firstCluster: (view.getUint16(0x14, true) << 16 | view.getUint16(0x1a, true)) & CLUSTER_MASK,
          sizeBytes: view.getUint32(0x1c, true),
          isDirectory: (attributes & ATTRIBUTE_DIRECTORY) !== 0,
          changeTime: `${view.getUint16(0x18, true)}:${view.getUint16(0x16, true)}`,
        };
      }
    }
    return null;
  }

  async #lookUp(path: string): Promise<Entry> {
    const parts = path.split("/").filter((part) => part !== "" && part !== ".");
    const problem = (code: "absent" | "unsupported" | "usage", what: string): BusbarError =>
      new BusbarError(code, `${this.#name}: ${path}: ${what}`, { operation: "find a file", path });
    if (parts.length === 0 || parts.length > MOST_PATH_PARTS || parts.includes("..")) {
      throw problem("usage", "the path of a file from the root of the file system is needed");
    }
    const { rootCluster } = this.geometry;
    let entry: Entry = { firstCluster: rootCluster, sizeBytes: 0, isDirectory: true, changeTime: "" };
    for (const part of parts) {
      if (!entry.isDirectory) throw problem("absent", "goes through what is no directory");
      const next = await this.#find(entry.firstCluster, part, path);
      if (next === null) throw problem("absent", "no such file");
      entry = next;
    }
    if (entry.isDirectory) throw problem("unsupported", "is no regular file");
    return entry;
  }

  /** What the directory says of a file. Its first cluster is 0 where it is empty. */
  async entryOf(
    path: string,
  ): Promise<{ readonly firstCluster: number; readonly sizeBytes: number; readonly changeTime: string }> {
    return await this.#lookUp(path);
  }

  /**
   * Finds a file and its extents.
   *
   * @param path from the root of the file system; letters count the same in both cases
   * @param partitionOffset where the file system begins on the namespace, in bytes
   * @throws {BusbarError} `absent`, `unsupported`, `malformed`
   */
  async map(path: string, partitionOffset: number): Promise<FileMap> {
    const { firstCluster, sizeBytes, changeTime } = await this.#lookUp(path);
    const extents = sizeBytes === 0 ? [] : await this.#extents(firstCluster, sizeBytes, path);
    const { dataOffset, clusters, clusterBytes } = this.geometry;
    const checked = checkExtents(extents, sizeBytes, dataOffset + clusters * clusterBytes, SECTOR_BYTES, path);
    return {
      path,
      partitionOffset,
      key: { fileSystem: "FAT32", uuid: this.volume, mountTime: null, mountCount: null, sizeBytes, changeTime },
      extents: checked.map((one) => ({ ...one, offset: one.offset + partitionOffset })),
      untouched: null,
    };
  }
}

/** Puts a long name together: its entries come last part first, each with the checksum of the short name. */
class LongName {
  #parts: string[] = [];
  #expected = 0;
  #checksum = -1;

  clear(): void {
    this.#parts = [];
    this.#expected = 0;
  }

  add(entry: Uint8Array): void {
    const order = entry[0] ?? 0, number = order & 0x3f, checksum = entry[13] ?? 0;
    if ((order & LAST_LONG_ENTRY) !== 0 && number > 0 && number <= MOST_LONG_ENTRIES) {
      this.#parts = [];
      this.#checksum = checksum;
    } else if (number === 0 || number !== this.#expected || checksum !== this.#checksum) {
      return this.clear();
    }
    this.#expected = number - 1;
    const view = viewOf(entry);
    const units = LONG_NAME_PLACES.map((at) => view.getUint16(at, true));
    const end = units.indexOf(0);
    this.#parts.unshift(String.fromCharCode(...(end < 0 ? units : units.slice(0, end))));
  }

  /** The name, if it is whole and of this short entry. */
  take(entry: Uint8Array): string | null {
    const isWhole = this.#parts.length > 0 && this.#expected === 0 && this.#checksum === shortChecksum(entry);
    const name = isWhole ? this.#parts.join("") : null;
    this.clear();
    return name;
  }
}

function shortChecksum(entry: Uint8Array): number {
  let sum = 0;
  for (const byte of entry.subarray(0, 11)) sum = ((sum & 1) << 7 | sum >> 1) + byte & 0xff;
  return sum;
}

function shortName(entry: Uint8Array): string {
  const text = new TextDecoder("latin1").decode(entry.subarray(0, 11));
  const [base, extension] = [text.slice(0, 8).trimEnd(), text.slice(8).trimEnd()];
  return extension === "" ? base : `${base}.${extension}`;
}
