/**
 * Where the parts of a machine are whose command line is printed, not run.
 * @module
 */

import { type Machine, runsLabGuest } from "../../src/lab/description.ts";
import { shareAttributes } from "../../src/lab/guest_environment.ts";
import { findInitramfs } from "../../src/lab/initramfs.ts";
import { findParts } from "../../src/lab/parts.ts";
import type { Places } from "../../src/lab/qemu.ts";
import { note } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";

/** Finds them, and names a folder for the machine's disks. A system of the user's needs only a QEMU. */
export async function printedPlaces(machine: Machine, name: string): Promise<{ places: Places; folder: string }> {
  const folder = `${Deno.env.get("TMPDIR") ?? "/tmp"}/busbar-lab-${name}`;
  const share = `${folder}/share`;
  const common = { name, folder, sockets: null, share, shareAttributes: shareAttributes(share) };
  if (!runsLabGuest(machine)) {
    const qemu = Deno.env.get("BUSBAR_LAB_QEMU") || "qemu-system-x86_64";
    return { folder, places: { ...common, qemu, kernel: machine.kernel ?? "", initramfs: "", tools: null } };
  }
  const setUp = { onProgress: (line: string) => note(`lab: ${line}`), signal: interruption };
  const parts = await findParts(machine.kernel ?? null, setUp);
  const initramfs = await findInitramfs(parts, interruption);
  return { folder, places: { ...common, ...parts, initramfs, tools: parts.root } };
}
