/**
 * The NVMe controllers of a lab machine, as the guest sees them.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { thisMachine } from "../../src/core/host.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import type { DriverOptions } from "../../src/nvme/driver/driver.ts";
import { bindVfio } from "../../src/pci/bind.ts";
import { readPciFunction } from "../../src/pci/function.ts";

/** A controller that the kernel has. */
export interface KernelController {
  /** `nvme0`. */
  readonly name: string;
  /** PCI address. */
  readonly address: string;
  /** Serial number. */
  readonly serial: string;
}

/** Waits until the kernel is done with all controllers, and lists them by serial number. */
export async function kernelControllers(): Promise<Map<string, KernelController>> {
  const found = new Map<string, KernelController>();
  for await (const entry of Deno.readDir("/sys/class/nvme")) {
    const folder = await Deno.realPath(`/sys/class/nvme/${entry.name}`);
    const address = folder.split("/").at(-3) ?? "";
    await waitLive(entry.name);
    const serial = (await Deno.readTextFile(`${folder}/serial`)).trim();
    found.set(found.has(serial) ? `${serial}#${entry.name}` : serial, { name: entry.name, address, serial });
  }
  return found;
}

async function waitLive(name: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const state = await Deno.readTextFile(`/sys/class/nvme/${name}/state`).catch(() => "");
    if (state.trim() === "live") return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${name} did not come up`);
}

/** The kernel's block device of a namespace, once the kernel has found it. */
export async function blockDevice(address: string, nsid: number): Promise<string> {
  for (let i = 0; i < 200; i++) {
    const device = await findBlockDevice(address, nsid);
    if (device !== null) return device;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${address} has no namespace ${nsid} in the kernel`);
}

/** With native multipath, the controller's own node is the path `nvme9c9n1`, and the disk that may be opened `nvme9n1`. */
async function findBlockDevice(address: string, nsid: number): Promise<string | null> {
  for await (const entry of Deno.readDir("/sys/class/block")) {
    const name = /^nvme(\d+)(?:c\d+)?n(\d+)$/.exec(entry.name);
    if (name === null) continue;
    const folder = await Deno.realPath(`/sys/class/block/${entry.name}`);
    if (!folder.includes(`/${address}/`)) continue;
    if ((await Deno.readTextFile(`${folder}/nsid`)).trim() !== String(nsid)) continue;
    const disk = `/dev/nvme${name[1]}n${name[2]}`;
    const { isBlockDevice } = await Deno.stat(disk);
    if (isBlockDevice) return disk;
  }
  return null;
}

/** What a command printed; it must succeed. */
export async function must(...argv: [string, ...string[]]): Promise<Uint8Array<ArrayBuffer>> {
  const [program, ...args] = argv;
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  assert(success, `${argv.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return stdout;
}

/** Runs `body` with a controller that this process drives through VFIO, and gives it back to the kernel. */
export async function driven(
  address: string,
  body: (controller: NvmeController) => Promise<void>,
  options: DriverOptions = {},
): Promise<void> {
  {
    using journal = new UndoJournal(thisMachine, { command: "lab test" });
    bindVfio(journal, thisMachine, readPciFunction(thisMachine, address));
    await using controller = await NvmeController.open(address, { drive: true, ...options });
    await body(controller);
  }
  assertEquals(readPciFunction(thisMachine, address).driver, "nvme", "the kernel has it again");
}
