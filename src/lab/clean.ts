/**
 * Frees what the lab no longer needs. What a running guest uses is left alone.
 * @module
 */

import { Deadline, waitFor } from "../core/deadline.ts";
import { BusbarError, systemError } from "../core/error.ts";
import { labFolder, labSubfolder } from "./cache.ts";
import { findImage, imageFolders, lockImages } from "./image.ts";
import { type GuestRecord, isAlive, removeQuietly, runningGuests } from "./run_folder.ts";

const STOP_LIMIT_MS = 10_000;

/** A folder without a record this old belongs to a start that failed, not to one that is going on. */
const ABANDONED_MS = 10 * 60_000;

/** What was last used this long ago is not missed, and can be made again. */
const UNUSED_MS = 24 * 3_600_000;

/** Something that was removed, or would be. */
export interface Removed {
  /** What. */
  readonly path: string;
  /** Bytes of the files in it. */
  readonly sizeBytes: number;
}

/**
 * Ends a guest that was kept. What supervises it removes its files.
 *
 * @throws {BusbarError} `timeout`
 */
export async function stopGuest(guest: GuestRecord): Promise<void> {
  try {
    if (isAlive(guest)) Deno.kill(guest.pid, "SIGTERM");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw systemError(error, "end the guest", guest.id);
  }
  const deadline = Deadline.after(STOP_LIMIT_MS);
  await waitFor(() => isAlive(guest) ? undefined : true, { deadline, what: "the end of QEMU", path: guest.id });
  removeQuietly(guest.folder, guest.sockets);
}

/**
 * Removes images and first roots that nobody used for a day, and folders of guests that are gone. The image that this
 * version of busbar uses stays.
 *
 * @param options.all every image, the logs and half-fetched packages too
 * @param options.dryRun only list them
 * @throws {BusbarError} `busy` when a running guest needs what `all` would remove
 */
export async function cleanCache(
  options: { readonly all: boolean; readonly dryRun: boolean; readonly signal?: AbortSignal },
): Promise<Removed[]> {
  using _lock = await lockImages(options);
  const guests = runningGuests();
  const needed = guests.filter((guest) => !(options.dryRun && guest.kept)).map(({ id }) => id);
  const runs = list(labSubfolder("runs"));
  const starting = runs.some((folder) => !hasRecord(folder) && !isOld(folder));
  if (options.all && (needed.length > 0 || starting)) {
    throw new BusbarError("busy", `${needed.join(", ") || "a guest that is starting"} uses the image`, {
      operation: "remove the image",
      path: labFolder(),
      hint: needed.length > 0 ? `wait for its end, or end it with: lab clean ${needed.join(" ")}` : "try again",
    });
  }
  const current = findImage();
  // A guest may run from an image that was replaced while it ran, and another version of busbar may have its own.
  const spareImages = needed.length > 0 || starting
    ? []
    : imageFolders().filter((path) => current?.root?.startsWith(`${path}/`) !== true && isUnused(path));
  const paths = [
    ...(options.all ? list(labSubfolder("images")) : spareImages),
    ...list(labSubfolder("initramfs")).filter((path) => options.all || isUnused(path)),
    ...runs.filter((folder) => !hasRecord(folder) && isOld(folder)),
    ...(options.all ? [...list(labSubfolder("logs")), ...list(labSubfolder("apt"))] : []),
  ];
  const removed = paths.filter(exists).map((path): Removed => ({ path, sizeBytes: sizeOf(path) }));
  if (!options.dryRun) { for (const { path } of removed) await Deno.remove(path, { recursive: true }); }
  return removed;
}

function hasRecord(folder: string): boolean {
  return exists(`${folder}/guest.json`);
}

function isOld(folder: string): boolean {
  return Date.now() - timeOf(folder) > ABANDONED_MS;
}

/** An image or a first root that nobody has used for a while. */
function isUnused(path: string): boolean {
  const used = timeOf(exists(`${path}/image.json`) ? `${path}/image.json` : path);
  return Date.now() - used > UNUSED_MS;
}

function timeOf(path: string): number {
  return Deno.statSync(path).mtime?.getTime() ?? 0;
}

function list(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder), (entry) => `${folder}/${entry.name}`).sort();
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function sizeOf(path: string): number {
  const info = Deno.lstatSync(path);
  if (!info.isDirectory) return info.size;
  return Array.from(Deno.readDirSync(path)).reduce((sum, entry) => sum + sizeOf(`${path}/${entry.name}`), 0);
}
