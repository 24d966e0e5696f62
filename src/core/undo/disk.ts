/**
 * The system calls that journals are made of. A test double of this interface fails them one by one.
 * @module
 */

import { makePrivateFolder, whyNotTrusted } from "../trust.ts";

/** An open journal file. Every call throws as its system call fails. */
export interface OpenJournalFile {
  /** Writes at an offset. Returns how many bytes were taken, which may be fewer. */
  write(offset: number, bytes: Uint8Array): number;
  /** Waits until the contents are on disk. */
  sync(): void;
  /** Cuts the file. */
  truncate(sizeBytes: number): void;
  /** Reads everything, up to a limit in bytes. */
  readAll(limitBytes: number): Uint8Array;
  /** Takes the lock, exclusive or shared. False when somebody has it. */
  tryLock(exclusive: boolean): boolean;
  /** What stat says of the descriptor. */
  status(): Deno.FileInfo;
  /** Closes it, which frees the lock. */
  close(): void;
}

/** Where journals lie. Every call throws as its system call fails. */
export interface JournalDisk {
  /** Makes a folder with mode 0700, and those above it, where they are missing. */
  makeFolder(path: string): void;
  /** Why somebody else could change what is in a folder, or null. */
  whyNotTrusted(path: string): string | null;
  /** Makes a file with mode 0600. Throws `Deno.errors.AlreadyExists` where there is one. */
  create(path: string): OpenJournalFile;
  /** Opens a file. */
  open(path: string, writable: boolean): OpenJournalFile;
  /** What lstat says. */
  status(path: string): Deno.FileInfo;
  /** Gives a file a second name. Throws `Deno.errors.AlreadyExists` where there is one. */
  link(from: string, to: string): void;
  /** Removes a file or an empty folder. */
  remove(path: string): void;
}

class OpenFile implements OpenJournalFile {
  readonly #file: Deno.FsFile;

  constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  write(offset: number, bytes: Uint8Array): number {
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    return this.#file.writeSync(bytes);
  }

  sync(): void {
    this.#file.syncDataSync();
  }

  truncate(sizeBytes: number): void {
    this.#file.truncateSync(sizeBytes);
  }

  readAll(limitBytes: number): Uint8Array {
    this.#file.seekSync(0, Deno.SeekMode.Start);
    const bytes = new Uint8Array(Math.min(limitBytes, this.#file.statSync().size));
    let at = 0;
    while (at < bytes.length) {
      const count = this.#file.readSync(bytes.subarray(at));
      if (count === null) break;
      at += count;
    }
    return bytes.subarray(0, at);
  }

  tryLock(exclusive: boolean): boolean {
    return this.#file.tryLockSync(exclusive);
  }

  status(): Deno.FileInfo {
    return this.#file.statSync();
  }

  close(): void {
    this.#file.close();
  }
}

/** The file system of this machine. */
export const localDisk: JournalDisk = {
  makeFolder: makePrivateFolder,
  whyNotTrusted,
  create: (path) => {
    const file = Deno.openSync(path, { read: true, write: true, createNew: true, mode: 0o600 });
    try {
      Deno.chmodSync(path, 0o600);
    } catch (error) {
      file.close();
      throw error;
    }
    return new OpenFile(file);
  },
  open: (path, writable) => new OpenFile(Deno.openSync(path, { read: true, write: writable })),
  status: (path) => Deno.lstatSync(path),
  link: (from, to) => Deno.linkSync(from, to),
  remove: (path) => Deno.removeSync(path),
};
