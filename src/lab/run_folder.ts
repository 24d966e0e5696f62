/**
 * The files of one running guest, and the record that lets other processes find it.
 * @module
 */

import { BusbarError, systemError } from "../core/error.ts";
import { processStartTime } from "../core/process.ts";
import { ifPresent, thisMachine } from "../core/host.ts";
import { labFolder, labSubfolder, writeWhole } from "./cache.ts";
import type { BackingFile } from "./qemu.ts";

/** A path longer than this does not fit into a socket address (unix(7): 108 bytes with the NUL). */
const MAX_SOCKET_PATH_BYTES = 107;

/** The longest name of a socket of a guest. */
const LONGEST_SOCKET_NAME = "/control";

/** A running guest, as its `guest.json` says. */
export interface GuestRecord {
  /** Its name among the running ones: `nvme-3f2a`. */
  readonly id: string;
  /** The machine's name. */
  readonly machine: string;
  /** QEMU's process number. */
  readonly pid: number;
  /** When that process started, in clock ticks since boot: a number used again belongs to another process. */
  readonly startTime: string;
  /** Folder with disks and logs. */
  readonly folder: string;
  /** Folder with sockets. */
  readonly sockets: string;
  /** The folder that the guest may write to. */
  readonly share: string;
  /** True when commands run in it; false when only its console is there. */
  readonly takesCommands: boolean;
  /** True when it goes on after the process that started it. */
  readonly kept: boolean;
  /** The environment of its commands. */
  readonly env: Readonly<Record<string, string>>;
  /** When it was started, ISO 8601. */
  readonly startedAt: string;
}

/** Where a new guest has its files. */
export interface RunFolder {
  /** Its name among the running ones. */
  readonly id: string;
  /** Folder with disks and logs. */
  readonly folder: string;
  /** Folder with sockets: its path is short. */
  readonly sockets: string;
}

/** Makes the folders of a new guest. They are removed by what supervises QEMU. */
export function makeRunFolder(machine: string): RunFolder {
  const runs = labSubfolder("runs");
  for (;;) {
    const id = `${machine}-${crypto.getRandomValues(new Uint8Array(2)).toHex()}`;
    const folder = `${runs}/${id}`;
    try {
      Deno.mkdirSync(folder, { mode: 0o700 });
    } catch (cause) {
      if (cause instanceof Deno.errors.AlreadyExists) continue;
      throw systemError(cause, "make the folder", folder);
    }
    Deno.mkdirSync(`${folder}/disks`);
    Deno.mkdirSync(`${folder}/share`);
    return { id, folder, sockets: makeSocketFolder() };
  }
}

/** The cache's path may be too long for a socket, so sockets live in the temporary folder, mode 0700. */
function makeSocketFolder(): string {
  const folder = Deno.makeTempDirSync({ prefix: "busbar-lab-" });
  if (new TextEncoder().encode(folder + LONGEST_SOCKET_NAME).length <= MAX_SOCKET_PATH_BYTES) return folder;
  Deno.removeSync(folder);
  return Deno.makeTempDirSync({ prefix: "busbar-lab-", dir: "/tmp" });
}

/**
 * Makes the files that a machine's devices keep their contents in; new ones are sparse.
 *
 * @throws {BusbarError} `usage` when one exists with another size
 */
export function makeBackingFiles(files: readonly BackingFile[]): void {
  for (const { path, sizeBytes } of files) {
    try {
      using file = Deno.openSync(path, { write: true, read: true, create: true, mode: 0o600 });
      const found = file.statSync().size;
      if (found === 0) file.truncateSync(Number(sizeBytes));
      else if (BigInt(found) !== sizeBytes) {
        throw new BusbarError(
          "usage",
          `${path}: holds ${found} bytes, and the machine's description says ${sizeBytes}`,
          {
            operation: "open a device's file",
            path,
            hint: "correct the size in the description, or remove the file to start with an empty one",
          },
        );
      }
    } catch (cause) {
      throw systemError(cause, "make the file", path);
    }
  }
}

/** Writes the record of a guest whose QEMU runs. */
export function writeGuestRecord(record: Omit<GuestRecord, "startTime">): GuestRecord {
  const whole = { ...record, startTime: processStartTime(record.pid) ?? "" };
  writeWhole(`${record.folder}/guest.json`, JSON.stringify(whole, null, 2) + "\n");
  return whole;
}

/** The guests that run now, oldest first. Folders of guests that ended without cleaning up are removed. */
export function runningGuests(): GuestRecord[] {
  const guests: GuestRecord[] = [];
  const runs = `${labFolder()}/runs`;
  for (const name of ifPresent(() => thisMachine.list(runs)) ?? []) {
    const folder = `${runs}/${name}`;
    const record = readGuestRecord(folder);
    if (record === null) continue;
    if (isAlive(record)) guests.push(record);
    else removeQuietly(folder, record.sockets);
  }
  return guests.sort((a, b) => a.startedAt.localeCompare(b.startedAt));
}

/** True when the guest's QEMU still runs. */
export function isAlive(guest: GuestRecord): boolean {
  return processStartTime(guest.pid) === guest.startTime;
}

/**
 * The running guest that a person names: its id, its machine when only one runs, nothing when only one runs at all.
 *
 * @throws {BusbarError} `absent` or `usage`, with the ids there are
 */
export function findGuest(name: string | null): GuestRecord {
  const guests = runningGuests().filter((guest) => guest.takesCommands || name !== null);
  const matching = name === null ? guests : guests.filter((guest) => guest.id === name || guest.machine === name);
  const [only] = matching;
  if (matching.length === 1 && only !== undefined) return only;
  const ids = (matching.length > 0 ? matching : guests).map((guest) => guest.id).join(", ");
  if (matching.length > 1) {
    throw new BusbarError("usage", `several guests run: ${ids}`, {
      operation: "find the guest",
      hint: "name one of them",
    });
  }
  throw new BusbarError("absent", name === null ? "no guest runs" : `no guest '${name}' runs`, {
    operation: "find the guest",
    hint: ids === "" ? "start one that stays with: lab run --keep nvme -- true" : `running: ${ids}`,
  });
}

/** Null for a folder without a record: its guest is being started, or it is no guest's. */
function readGuestRecord(folder: string): GuestRecord | null {
  const text = ifPresent(() => thisMachine.readText(`${folder}/guest.json`));
  try {
    return text === null ? null : JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Removes folders that another process may be removing at the same time. */
export function removeQuietly(...folders: readonly string[]): void {
  for (const folder of folders) {
    try {
      Deno.removeSync(folder, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw systemError(error, "remove", folder);
    }
  }
}
