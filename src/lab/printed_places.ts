/**
 * Where the parts of a machine are whose command line is printed, not run.
 * @module
 */

import { type Machine, runsLabGuest } from "./description.ts";
import { shareAttributes } from "./guest_environment.ts";
import { findInitramfs } from "./initramfs.ts";
import type { SetUpOptions } from "./image.ts";
import { findParts } from "./parts.ts";
import type { Places } from "./qemu.ts";

/**
 * Finds them, and names a folder for the machine's disks. A system of the user's needs only a QEMU.
 *
 * @param setUp who hears of what is fetched, and what ends it
 */
export async function printedPlaces(
  machine: Machine,
  name: string,
  setUp: SetUpOptions,
): Promise<{ places: Places; folder: string }> {
  const folder = `${Deno.env.get("TMPDIR") ?? "/tmp"}/busbar-lab-${name}`;
  const share = `${folder}/share`;
  const common = { name, folder, sockets: null, share, shareAttributes: shareAttributes(share) };
  if (!runsLabGuest(machine)) {
    const qemu = Deno.env.get("BUSBAR_LAB_QEMU") || "qemu-system-x86_64";
    return { folder, places: { ...common, qemu, kernel: machine.kernel ?? "", initramfs: "", tools: null } };
  }
  const parts = await findParts(machine.kernel ?? null, setUp, machine.gpu ?? null);
  const initramfs = await findInitramfs(parts, setUp.signal);
  return { folder, places: { ...common, ...parts, initramfs, tools: parts.root } };
}
