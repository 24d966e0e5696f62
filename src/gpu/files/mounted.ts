/**
 * Maps a file while its file system is mounted: the kernel says where its bytes lie.
 *
 * Source: Linux Documentation/filesystems/fiemap.rst (flags), proc_pid_mountinfo(5), Documentation/ABI/stable/sysfs-block.
 * @module
 */

import { unescapeOctal } from "../../core/block_users.ts";
import { BusbarError, systemError } from "../../core/error.ts";
import { type Host, ifReadable, thisMachine } from "../../core/host.ts";
import { fileBlockBytes, fileBlocks, fileExtents } from "../../../ffi/extents.ts";
import { Descriptor } from "../../../ffi/fd.ts";
import { Mapping } from "../../../ffi/memory.ts";
import { bytesOver, malformed, type ReadBytes } from "./bytes.ts";
import { Ext4 } from "./ext4.ts";
import { Fat32 } from "./fat32.ts";
import {
  checkExtents,
  type FileExtent,
  type FileKey,
  type FileMap,
  mergeExtents,
  type UntouchedState,
} from "./file_map.ts";
import { hashOfState } from "./untouched_state.ts";

/** Of FIEMAP: extents whose place is not known, not there yet, not plain, or not on whole blocks. */
const REFUSED: readonly (readonly [flag: number, what: string])[] = [
  [0x2, "its place is unknown"],
  [0x4, "it was not written yet (delayed allocation)"],
  [0x8, "it is encoded"],
  [0x80, "it is encrypted"],
  [0x100, "it is not aligned to blocks"],
  [0x200, "its data lie among metadata (inline)"],
  [0x400, "several files share a block (tail packing)"],
];
const LAST = 0x1, UNWRITTEN = 0x800;
const MOST_EXTENTS = 1 << 22;
const BLOCKS_AT_ONCE = 4096;
const SECTOR_BYTES = 512;
/** Reads around the page cache are of whole blocks, whatever the drive's are. */
const LARGEST_BLOCK_BYTES = 4096;

/** Where a mounted file lies. */
interface MountedFile {
  /** The block device: `nvme0n1p1`. */
  readonly device: string;
  /** First byte of it on the namespace. */
  readonly partitionOffset: number;
  /** The file's path from the root of the file system. */
  readonly path: string;
  /** The kernel's name of the file system. */
  readonly type: string;
  /** The mount and the file system are read-only. */
  readonly isReadOnly: boolean;
}

/** Finds the mount and the device of a file. */
function placeOf(host: Host, path: string, number: string): MountedFile {
  const text = ifReadable(() => host.readText("/proc/self/mountinfo")) ?? "";
  const refuse = (what: string, hint?: string): BusbarError =>
    new BusbarError("unsupported", `${path}: ${what}`, { operation: "map a file", path, hint });
  let found: { readonly root: string; readonly point: string; readonly line: string } | null = null;
  for (const line of text.split("\n")) {
    const [, , device, root = "", point = ""] = line.split(" ").map(unescapeOctal);
    const isAbove = point === "/" || path === point || path.startsWith(`${point}/`);
    // The last of several at one place lies on top.
    if (device === number && isAbove && point.length >= (found?.point.length ?? 0)) found = { root, point, line };
  }
  if (found === null) throw refuse("it lies on no mount of a block device");
  const [left = "", right = ""] = found.line.split(" - ");
  const [type = "", , superOptions = ""] = right.split(" ");
  const inside = found.point === "/" ? path : path.slice(found.point.length);
  const device = host.readLink(`/sys/dev/block/${number}`).split("/").at(-1) ?? "";
  const folder = `/sys/class/block/${device}`;
  if (!/^nvme\d+(c\d+)?n\d+(p\d+)?$/.test(device)) {
    throw refuse(`it lies on ${device}, which is no namespace or partition of an NVMe drive`);
  }
  const start = ifReadable(() => host.readText(`${folder}/start`).trim()) ?? "0";
  const isReadOnly = [left.split(" ")[5] ?? "", superOptions].every((options) => options.split(",").includes("ro"));
  return {
    device,
    partitionOffset: Number(start) * SECTOR_BYTES,
    path: `${found.root === "/" ? "" : found.root}${inside}`,
    type,
    isReadOnly,
  };
}

/** The extents that FIEMAP tells of, on the device; null where the file system has none. */
async function fiemap(file: Descriptor, path: string): Promise<FileExtent[] | null> {
  const found: FileExtent[] = [];
  for (let next = 0;;) {
    const some = await fileExtents(file, next);
    if (some === null) return null;
    for (const { fileOffset, offset, sizeBytes, flags } of some) {
      const refused = REFUSED.find(([flag]) => (flags & flag) !== 0);
      if (refused !== undefined) {
        throw new BusbarError("unsupported", `${path}: of the extent at ${fileOffset}, ${refused[1]}`, {
          operation: "map a file",
          path,
          hint: "copy the file to one that is plain",
        });
      }
      if (fileOffset < next || sizeBytes === 0 || found.length >= MOST_EXTENTS) {
        throw new BusbarError("malformed", `${path}: the kernel's extents overlap or are too many`, { path });
      }
      next = fileOffset + sizeBytes;
      if ((flags & UNWRITTEN) === 0) found.push({ fileOffset, offset, sizeBytes });
      if ((flags & LAST) !== 0) return found;
    }
    if (some.length === 0) return found;
  }
}

/** The same by FIBMAP, block by block: FAT has no FIEMAP. */
async function fibmap(file: Descriptor, sizeBytes: number): Promise<FileExtent[]> {
  const blockBytes = fileBlockBytes(file), blocks = Math.ceil(sizeBytes / blockBytes);
  const found: FileExtent[] = [];
  for (let first = 0; first < blocks; first += BLOCKS_AT_ONCE) {
    const places = await fileBlocks(file, first, Math.min(BLOCKS_AT_ONCE, blocks - first));
    for (const [i, place] of places.entries()) {
      if (place === 0) continue;
      found.push({ fileOffset: (first + i) * blockBytes, offset: place * blockBytes, sizeBytes: blockBytes });
    }
  }
  return mergeExtents(found);
}

/** What the kernel's cache of the device holds, which is what it will write: the file system was synced. */
function deviceReader(device: string, file: Descriptor): ReadBytes {
  return bytesOver(
    (offset, sizeBytes) => {
      const bytes = new Uint8Array(sizeBytes);
      for (let done = 0; done < sizeBytes;) {
        const part = file.read(offset + BigInt(done), sizeBytes - done);
        if (part.length === 0) throw malformed("it ends early", `/dev/${device}`);
        bytes.set(part, done);
        done += part.length;
      }
      return Promise.resolve(bytes);
    },
    SECTOR_BYTES,
    Number.MAX_SAFE_INTEGER,
    `/dev/${device}`,
  );
}

/** A file system's state as it lies on the drive: file systems that keep a cache of their own leave the device's stale. */
async function untouchedState(path: string, inode: number | null): Promise<UntouchedState> {
  if (inode === null || !Number.isSafeInteger(inode)) throw malformed("its inode has no number", path, "map a file");
  using device = Descriptor.openDirect(path, "run as root");
  const read = bytesOver(
    (offset, sizeBytes) => {
      using memory = Mapping.anonymous(sizeBytes);
      const bytes = memory.bytes();
      if (device.readInto(offset, bytes) !== sizeBytes) throw malformed("it ends early", path);
      return Promise.resolve(bytes.slice());
    },
    LARGEST_BLOCK_BYTES,
    Number.MAX_SAFE_INTEGER,
    path,
  );
  return { inode, sha256: await hashOfState(read, inode) };
}

/** What tells the file's state: of a file system that is read here, what its own reader finds. */
async function keyOf(place: MountedFile, read: ReadBytes, path: string, sizeBytes: number): Promise<FileKey> {
  const fileSystem = await Ext4.open(read, `/dev/${place.device}`, true) ??
    await Fat32.open(read, `/dev/${place.device}`, true);
  if (fileSystem !== null) return (await fileSystem.map(place.path, place.partitionOffset)).key;
  if (!place.isReadOnly) {
    throw new BusbarError("unsupported", `${path}: ${place.type} is not read here, and it is mounted for writing`, {
      operation: "map a file",
      path,
      hint: "mount it read-only: mount -o remount,ro",
    });
  }
  return { fileSystem: place.type, uuid: "", mountTime: null, mountCount: null, sizeBytes, changeTime: "" };
}

/**
 * Maps a file of a mounted file system on an NVMe drive.
 *
 * @param path of the file
 * @throws {BusbarError} `unsupported` for files whose place is not plain, and for file systems that are not read here and are
 * mounted for writing; `permission` without the right to read the device
 */
export async function mapMountedFile(path: string): Promise<FileMap> {
  const real = await Deno.realPath(path).catch((cause) => {
    throw systemError(cause, "map a file", path);
  });
  const info = await Deno.stat(real);
  if (!info.isFile) throw new BusbarError("usage", `${path}: is no regular file`, { operation: "map a file", path });
  const major = Number(BigInt(info.dev) >> 8n & 0xfffn),
    minor = Number(BigInt(info.dev) & 0xffn | BigInt(info.dev) >> 12n & ~0xffn);
  const place = placeOf(thisMachine, real, `${major}:${minor}`);
  {
    // All data and metadata are on the device, or in its cache, before anything is looked at.
    using file = await Deno.open(real, { read: true });
    await file.sync();
  }
  using file = Descriptor.open(real, false);
  using device = Descriptor.open(`/dev/${place.device}`, false, "run as root");
  const read = deviceReader(place.device, device);
  const found = await fiemap(file, path) ?? await fibmap(file, info.size);
  const key = await keyOf(place, read, path, info.size);
  if (key.sizeBytes !== info.size) {
    throw new BusbarError("busy", `${path}: it changed while it was mapped`, { operation: "map a file", path });
  }
  const extents = checkExtents(found, info.size, Number.MAX_SAFE_INTEGER, SECTOR_BYTES, path)
    .map((one) => ({ ...one, offset: one.offset + place.partitionOffset }));
  const isOwn = key.uuid !== "";
  return {
    path: place.path,
    partitionOffset: place.partitionOffset,
    key,
    extents,
    untouched: isOwn ? null : await untouchedState(`/dev/${place.device}`, info.ino),
  };
}
