/**
 * Measuring memory overwrites it: what keeps that from harming anything.
 * @module
 */

import { blockUses } from "../core/block_users.ts";
import { BusbarError, systemError } from "../core/error.ts";
import { describeUse, findProcessUses } from "../core/process_uses.ts";
import { formatNumbers } from "../core/units.ts";
import type { MemoryMachine, MemoryRequest } from "./backend.ts";
import { daxUses } from "./devdax.ts";
import { inspectResource, resourcePath } from "./resource.ts";
import { parseList } from "./tiers.ts";

/**
 * Refuses to overwrite what exists unless that was asked for, and what is in use in any case. Memory of this process and
 * files that do not exist are free.
 *
 * @param mayWrite the contents may be lost
 * @throws {BusbarError} `usage` when the contents may not be lost; `busy` with who uses it
 */
export function refuseUsedMemory(machine: MemoryMachine, request: MemoryRequest, mayWrite: boolean): void {
  if (!("resource" in request)) return;
  const { kind, path, device } = inspectResource(machine.host, machine.files, request);
  if (kind === "none") return;
  const uses = device !== null
    ? daxUses(machine.host, device).filter((use) => use.kind === "open" || use.kind === "mapped").map(({ text }) =>
      text
    )
    : kind === "block device"
    ? blockUses(machine.host, [path.slice(path.lastIndexOf("/") + 1)]).map(({ text }) => text)
    : findProcessUses(machine.host, (used) => used === path).map(describeUse);
  if (uses.length > 0) {
    throw new BusbarError("busy", `${path} is in use: ${uses.join("; ")}`, {
      operation: "measure memory",
      path,
      hint: "measuring overwrites it: end that use first, or name a file that does not exist",
    });
  }
  if (!mayWrite) {
    throw new BusbarError("usage", `measuring overwrites what is in ${path}`, {
      operation: "measure memory",
      path,
      hint: "--write lets it; a file that does not exist is made, and removed at the end",
    });
  }
}

/**
 * Refuses processors that are not there.
 *
 * @param online the processors of this machine, as the kernel writes them: `0-3`; null where it does not tell
 * @throws {BusbarError} `usage`
 */
export function checkProcessors(cpus: readonly number[], online: string | null): void {
  const there = online === null ? null : parseList(online);
  const missing = there === null ? [] : cpus.filter((cpu) => !there.includes(cpu));
  if (missing.length === 0) return;
  const which = missing.length === 1 ? `processor ${missing[0]} is` : `processors ${formatNumbers(missing)} are`;
  throw new BusbarError("usage", `${which} not online: ${online} ${there?.length === 1 ? "is" : "are"}`, {
    operation: "measure memory",
    path: "/sys/devices/system/cpu/online",
    hint: `--cpus ${online}`,
  });
}

/** The request for at most `sizeBytes` of what is larger, cut to what can be mapped. */
export function limitSize(machine: MemoryMachine, request: MemoryRequest, sizeBytes: bigint): MemoryRequest {
  if (!("resource" in request)) return request;
  const found = inspectResource(machine.host, machine.files, request);
  const available = found.sizeBytes ?? 0n;
  const wanted = available < sizeBytes ? available : sizeBytes;
  const cut = wanted - wanted % found.alignBytes;
  const whole = cut > 0n || available < found.alignBytes ? cut : found.alignBytes;
  return whole > 0n ? { ...request, sizeBytes: whole } : request;
}

/** A file that is made for a measurement. Dispose removes it. */
export class ScratchFile implements Disposable {
  #path: string | null;

  private constructor(path: string | null) {
    this.#path = path;
  }

  /**
   * Makes the file that a request names where it does not exist; does nothing for anything else.
   *
   * @throws {BusbarError} as open fails, for a folder that does not exist or may not be written
   */
  static forRequest(machine: MemoryMachine, request: MemoryRequest, sizeBytes: bigint): ScratchFile {
    if (!("resource" in request) || request.backend === "dax" && request.resource.startsWith("/dev/")) {
      return new ScratchFile(null);
    }
    const path = resourcePath(request.backend, request.resource);
    if (path.startsWith("/sys/") || machine.files.status(path) !== null) return new ScratchFile(null);
    try {
      using file = Deno.openSync(path, { createNew: true, write: true, mode: 0o600 });
      file.truncateSync(Number(sizeBytes));
    } catch (cause) {
      throw systemError(cause, "make a file to measure", path);
    }
    return new ScratchFile(path);
  }

  /** Removes it. */
  [Symbol.dispose](): void {
    const path = this.#path;
    this.#path = null;
    if (path === null) return;
    try {
      Deno.removeSync(path);
    } catch {
      // Somebody else removed it: that is what was wanted.
    }
  }
}
