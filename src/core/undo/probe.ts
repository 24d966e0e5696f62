/**
 * States on the machine: reading what a probe names, and writing.
 * @module
 */

import { BusbarError } from "../error.ts";
import { exists, type Host, ifPresent } from "../host.ts";
import type { UndoProbe, UndoWrite } from "./change.ts";

/** The state as text: file text, link name, or the masked bytes in hexadecimal. */
export function readState(host: Host, probe: UndoProbe): string | null {
  if (probe.kind === "text") return host.readText(probe.path);
  if (probe.kind === "link") return ifPresent(() => host.readLink(probe.path))?.split("/").at(-1) ?? null;
  if (probe.kind === "presence") return exists(host, probe.path) ? "present" : null;
  const mask = Uint8Array.fromHex(probe.mask);
  const bytes = host.readBytes(probe.path, probe.offset, mask.length);
  if (bytes.length < mask.length) throw new BusbarError("io", `${probe.path}: cut short`, { path: probe.path });
  return bytes.map((byte, i) => byte & (mask[i] ?? 0)).toHex();
}

/** Makes a write. */
export function makeWrite(host: Host, target: UndoWrite): void {
  if ("text" in target) host.writeText(target.path, target.text);
  else if ("folder" in target) target.folder === "make" ? host.makeFolder(target.path) : host.removeFolder(target.path);
  else host.writeBytes(target.path, target.offset, Uint8Array.fromHex(target.hex));
}

/** Writes a masked state back without touching the bits outside the mask. */
export function writeBack(host: Host, target: UndoWrite, probe: UndoProbe): void {
  if (
    "text" in target || "folder" in target || probe.kind !== "bytes" || target.path !== probe.path ||
    target.offset !== probe.offset
  ) {
    makeWrite(host, target);
    return;
  }
  const mask = Uint8Array.fromHex(probe.mask);
  const value = Uint8Array.fromHex(target.hex);
  const now = host.readBytes(probe.path, probe.offset, mask.length);
  const merged = value.map((byte, i) => ((now[i] ?? 0) & ~(mask[i] ?? 0)) | (byte & (mask[i] ?? 0)));
  host.writeBytes(target.path, target.offset, merged);
}
