/**
 * Which generation a device is, by what its registers hold; and what differs from this protocol in devices seen elsewhere.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { hex } from "../core/units.ts";
import {
  CAPS_FIELDS,
  EXT_MAGIC,
  J_MAGIC,
  J_MAGIC_OFFSET,
  MAGIC,
  type Profile,
  PROFILES,
  registerOffset,
  VERSION,
} from "./registers.ts";
import type { Feature } from "./commands.ts";

/** What tells generations apart: reads of 32 bits. */
export type Read32 = (offset: number) => number;

/** What was found out about a device when it was opened. */
export interface Generation {
  /** The profile whose limits and numbers apply. */
  readonly profile: Profile;
  /** VERSION as read. */
  readonly version: number;
  /** CAPS as read. */
  readonly caps: number;
  /** Whether the extension block of busbar is there. */
  readonly hasExtension: boolean;
  /** Whether commands are handed over by SUBMIT. */
  readonly isShared: boolean;
}

/**
 * Finds the generation. It goes by CAPS, magic numbers and the window, never by the size of BAR2 alone, which is the size of
 * the cache in some devices.
 *
 * @param windowBytes how much of BAR2 there is
 * @throws {BusbarError} `unreachable`, `absent` or `unsupported` for what is no such device
 */
export function findGeneration(read32: Read32, windowBytes: number, name: string): Generation {
  const fail = (code: "unreachable" | "absent" | "unsupported", why: string, hint: string): BusbarError =>
    new BusbarError(code, `${name}: ${why}`, { operation: "open a Type 2 GPU", path: name, hint });
  if (windowBytes < PROFILES.v1.windowBytes) {
    const least = hex(PROFILES.v1.windowBytes);
    throw fail("unsupported", `BAR2 has ${hex(windowBytes)} bytes, and the least is ${least}`, "this is no Type 2 GPU");
  }
  const magic = read32(registerOffset("MAGIC"));
  if (magic === 0xffff_ffff) {
    throw fail(
      "unreachable",
      "MAGIC reads all ones: the device is off the bus",
      "reset or power the device, or rescan",
    );
  }
  if (magic === 0) {
    throw fail(
      "unreachable",
      "MAGIC reads 0: the BAR is disabled, or nothing serves the file",
      "write 1 to the function's enable in sysfs, or start cxl_gpu serve",
    );
  }
  if (magic !== MAGIC) {
    throw fail("absent", `MAGIC is ${hex(magic, 8)}, not ${hex(MAGIC, 8)}`, "this is another device");
  }
  const version = read32(registerOffset("VERSION"));
  const caps = read32(registerOffset("CAPS"));
  const hasExtension = read32(registerOffset("EXT_MAGIC")) === EXT_MAGIC;
  const isShared = hasExtension && (read32(registerOffset("EXT_FLAGS")) & 1) !== 0;
  return { profile: profileOf(version, caps, windowBytes, read32), version, caps, hasExtension, isShared };
}

function profileOf(version: number, caps: number, windowBytes: number, read32: Read32): Profile {
  if (version > VERSION) {
    const { newer, v1 } = PROFILES;
    const isSmall = windowBytes < newer.windowBytes;
    return isSmall ? { ...newer, dataBytes: v1.dataBytes, windowBytes: v1.windowBytes } : newer;
  }
  if (caps === 0) return PROFILES.v1;
  const isLarge = windowBytes >= PROFILES.v2.windowBytes;
  if (isLarge && read32(J_MAGIC_OFFSET) === J_MAGIC) return PROFILES["v2-J"];
  // The features as CAPS says, within the limits of the first.
  return isLarge ? PROFILES.v2 : PROFILES.v1;
}

/** What is to be said of a device whose VERSION is newer than known, and what to do; null for any other. */
export function newerVersion({ version }: Generation): string | null {
  if (version <= VERSION) return null;
  return `newer than ${hex(VERSION, 8)}, so only the first generation's commands are used; a newer busbar may know it`;
}

/** Whether a device of that generation has the commands of a feature. */
export function hasFeature(generation: Generation, feature: Feature): boolean {
  const { profile, caps, hasExtension } = generation;
  if (feature === "common") return true;
  if (feature === "EXTENSION") return hasExtension;
  if (profile.name === "newer") return false;
  if (feature === "PEERS") return caps !== 0;
  if (feature === "FORK_J") return profile.name === "v2-J";
  const bit = CAPS_FIELDS.findIndex((field) => field.name === feature);
  // The fork has a bit of its own before dynamic capacity and what follows it.
  const place = profile.name === "v2-J" && bit >= 5 ? bit + 1 : bit;
  return (caps >> place & 1) !== 0;
}

/** The code of a command in that generation; null where it has none. */
export function codeIn(generation: Generation, code: number): number | null {
  if (generation.profile.name !== "v2-J") return code;
  if (code === 0x83) return 0x88;
  return code;
}
