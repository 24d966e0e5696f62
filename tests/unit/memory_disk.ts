/**
 * A disk for journals that is held in memory: it fills up at a byte, fails at a system call, and loses its process there.
 * @module
 */

import type { JournalDisk, OpenJournalFile } from "../../src/core/undo/disk.ts";

interface Inode {
  bytes: Uint8Array<ArrayBuffer>;
  /** What fdatasync made sure of. */
  synced: Uint8Array<ArrayBuffer>;
  readonly ino: number;
  lock: { readonly owners: Set<object>; exclusive: boolean };
}

/** Thrown for every system call of a process that was killed. */
export class Killed extends Error {}

/** How a call fails: as the errno says, or, for a write, after half of the bytes. */
export type Failure = "ENOSPC" | "EIO" | "short" | "kill";

function errno(code: string): Error {
  return Object.assign(new Error(`${code} (made up)`), { code });
}

function notFound(): Error {
  return Object.assign(new Deno.errors.NotFound("no such file (made up)"), { code: "ENOENT" });
}

/** See above. One object is the disk; {@linkcode MemoryDisk.revive} gives it to the next process. */
export class MemoryDisk implements JournalDisk {
  readonly files: Map<string, Inode> = new Map();
  /** Bytes that fit on it. */
  capacityBytes: number = Infinity;
  /** Whose the files are. */
  uid: number | null = Deno.uid();
  /** Calls so far. */
  calls: number = 0;
  /** Whether the call of a number fails. */
  failAt: (call: number, name: string) => Failure | null = () => null;
  #isDead = false;

  /** True after its process was ended. */
  get isKilled(): boolean {
    return this.#isDead;
  }

  #nextInode = 1;

  /** The next process: what was locked is free. */
  revive(): void {
    this.#isDead = false;
    this.failAt = (): null => null;
    for (const { lock } of this.files.values()) lock.owners.clear();
  }

  /** Ends the process: every further call throws. */
  kill(): void {
    this.#isDead = true;
  }

  get usedBytes(): number {
    return [...new Set(this.files.values())].reduce((sum, inode) => sum + inode.bytes.length, 0);
  }

  /** Counts a call; throws where it is to fail. True: half of it is done. */
  #enter(name: string): boolean {
    if (this.#isDead) throw new Killed();
    const failure = this.failAt(this.calls++, name);
    if (failure === "kill") {
      this.#isDead = true;
      throw new Killed();
    }
    if (failure === "short") return true;
    if (failure !== null) throw errno(failure);
    return false;
  }

  makeFolder(): void {
    this.#enter("mkdir");
  }

  whyNotTrusted(): null {
    return null;
  }

  create(path: string): OpenJournalFile {
    this.#enter("create");
    if (this.files.has(path)) throw new Deno.errors.AlreadyExists(path);
    const inode: Inode = {
      bytes: new Uint8Array(),
      synced: new Uint8Array(),
      ino: this.#nextInode++,
      lock: { owners: new Set(), exclusive: false },
    };
    this.files.set(path, inode);
    return this.#openInode(inode);
  }

  open(path: string): OpenJournalFile {
    this.#enter("open");
    const inode = this.files.get(path);
    if (inode === undefined) throw notFound();
    return this.#openInode(inode);
  }

  status(path: string): Deno.FileInfo {
    this.#enter("lstat");
    const inode = this.files.get(path);
    if (inode === undefined) throw notFound();
    return statusOf(inode, this.uid);
  }

  link(from: string, to: string): void {
    this.#enter("link");
    const inode = this.files.get(from);
    if (inode === undefined) throw notFound();
    if (this.files.has(to)) throw new Deno.errors.AlreadyExists(to);
    this.files.set(to, inode);
  }

  remove(path: string): void {
    this.#enter("unlink");
    if (!this.files.delete(path)) throw notFound();
  }

  #openInode(inode: Inode): OpenJournalFile {
    const owner = {};
    return {
      write: (offset, bytes): number => {
        const half = this.#enter("write");
        const growth = Math.max(0, offset + bytes.length - inode.bytes.length);
        const room = Math.max(0, this.capacityBytes - this.usedBytes);
        let count = growth > room ? bytes.length - (growth - room) : bytes.length;
        if (half) count = Math.min(count, bytes.length >> 1);
        if (count <= 0) throw errno("ENOSPC");
        const now = new Uint8Array(Math.max(inode.bytes.length, offset + count));
        now.set(inode.bytes);
        now.set(bytes.subarray(0, count), offset);
        inode.bytes = now;
        return count;
      },
      sync: (): void => {
        this.#enter("fdatasync");
        inode.synced = inode.bytes.slice();
      },
      truncate: (sizeBytes): void => {
        this.#enter("ftruncate");
        inode.bytes = inode.bytes.slice(0, sizeBytes);
      },
      readAll: (): Uint8Array => {
        this.#enter("read");
        return inode.bytes.slice();
      },
      tryLock: (exclusive): boolean => {
        this.#enter("flock");
        const { lock } = inode;
        const others = [...lock.owners].filter((one) => one !== owner);
        if (others.length > 0 && (exclusive || lock.exclusive)) return false;
        lock.owners.add(owner);
        lock.exclusive = exclusive;
        return true;
      },
      status: () => statusOf(inode, this.uid),
      close: (): void => void inode.lock.owners.delete(owner),
    };
  }
}

function statusOf(inode: Inode, uid: number | null): Deno.FileInfo {
  return {
    isFile: true,
    isDirectory: false,
    isSymlink: false,
    size: inode.bytes.length,
    mtime: new Date(),
    atime: null,
    birthtime: null,
    ctime: null,
    dev: 1,
    ino: inode.ino,
    mode: 0o100600,
    nlink: 1,
    uid,
    gid: Deno.gid(),
    rdev: 0,
    blksize: 4096,
    blocks: 0,
    isBlockDevice: false,
    isCharDevice: false,
    isFifo: false,
    isSocket: false,
  };
}
