/**
 * What a lab machine is started with: the image in the cache, or the user's own QEMU and kernel
 * (`BUSBAR_LAB_QEMU`, `BUSBAR_LAB_KERNEL`).
 * @module
 */

import { BusbarError, isBusbarError, systemError } from "../core/error.ts";
import { currentKernel } from "./current_kernel.ts";
import { currentQemu, qemuHasDevice } from "./current_qemu.ts";
import { CURRENT_KERNEL, type Type2Gpu } from "./description.ts";
import { cannotSetUp, findImage, type Image, markUsed, setUp, type SetUpOptions } from "./image.ts";

/**
 * Why no lab machine can be started here, or null when nothing speaks against it.
 * Looks at files only: whether packages can be fetched shows when it is tried.
 */
export function cannotStart(): BusbarError | null {
  const own = ownPaths();
  if (own.qemu !== null && own.kernel !== null) return null;
  try {
    return findImage() === null ? cannotSetUp() : null;
  } catch (error) {
    if (isBusbarError(error)) return error;
    throw error;
  }
}

/**
 * The parts to start a machine with. Fetches the image when it is needed and not there.
 *
 * @param kernel the kernel that the machine's description asks for, instead of the image's
 * @param gpu its GPU, which may need a newer QEMU than the image's
 * @throws {BusbarError} as {@linkcode setUp} does, and `absent` when something the user named does not exist
 */
export async function findParts(
  kernel: string | null,
  options: SetUpOptions,
  gpu: Type2Gpu | null = null,
): Promise<Image> {
  const own = ownPaths();
  const isCurrent = kernel === CURRENT_KERNEL;
  let wantedKernel = isCurrent ? null : kernel ?? own.kernel;
  const enough = own.qemu !== null && wantedKernel !== null;
  const image = findImage() ?? (enough && cannotSetUp() !== null ? null : (await setUp(options)).image);
  if (image !== null) markUsed(image);
  if (isCurrent && image !== null) wantedKernel = await currentKernel(image, options);
  const parts = image ?? {
    qemu: "",
    kernel: "",
    modules: "",
    busybox: findBusybox(),
    root: null,
    record: null,
  };
  const qemu = gpu?.by === "vfio-user" ? await qemuWithVfioUser(own.qemu, parts.qemu, options) : own.qemu;
  return {
    ...parts,
    ...(qemu === null ? {} : { qemu }),
    ...(wantedKernel === null ? {} : { kernel: wantedKernel, modules: modulesOf(wantedKernel) }),
  };
}

/** The user's QEMU, the image's, or a newer one: the first that has the device. */
async function qemuWithVfioUser(own: string | null, usual: string, options: SetUpOptions): Promise<string> {
  const DEVICE = "vfio-user-pci";
  const qemu = own ?? usual;
  if (await qemuHasDevice(qemu, DEVICE, options.signal)) return qemu;
  if (own !== null) {
    throw new BusbarError("unsupported", `${own} has no ${DEVICE}`, {
      operation: "start a machine with a GPU by vfio-user",
      path: own,
      hint: "QEMU 10.1 or newer has it: unset BUSBAR_LAB_QEMU and the lab fetches one, or write by: file",
    });
  }
  const newer = await currentQemu(options);
  options.onProgress?.(`the image's QEMU has no ${DEVICE}; taking ${newer}`);
  return newer;
}

function ownPaths(): { qemu: string | null; kernel: string | null } {
  const path = (name: string): string | null => {
    const value = Deno.env.get(name) || null;
    if (value !== null) requireFile(value, name);
    return value;
  };
  return { qemu: path("BUSBAR_LAB_QEMU"), kernel: path("BUSBAR_LAB_KERNEL") };
}

function requireFile(path: string, variable: string): void {
  try {
    if (Deno.statSync(path).isFile) return;
  } catch (cause) {
    throw systemError(cause, `open the file that ${variable} names`, path, `correct or unset ${variable}`);
  }
  throw new BusbarError("usage", `${variable}=${path} names no file`, { path, hint: `correct or unset ${variable}` });
}

/**
 * The release of a kernel file, as `uname -r` says it in the guest.
 * A bzImage holds the offset of its version text, less 0x200, at 0x20e (Documentation/arch/x86/boot.rst).
 *
 * @throws {BusbarError} `malformed` when it is no x86 kernel
 */
export function kernelRelease(path: string): string {
  let head: Uint8Array;
  try {
    using file = Deno.openSync(path, { read: true });
    head = new Uint8Array(0x10000);
    for (let at = 0, count: number | null = 0; count !== null && at < head.length; at += count) {
      count = file.readSync(head.subarray(at));
      if (count === null) break;
    }
  } catch (cause) {
    throw systemError(cause, "read the kernel", path);
  }
  const magic = new TextDecoder().decode(head.subarray(0x202, 0x206));
  const offset = 0x200 + (head[0x20e] ?? 0) + ((head[0x20f] ?? 0) << 8);
  const text = new TextDecoder().decode(head.subarray(offset, offset + 256));
  const release = /^[^\s\0]+/.exec(text)?.[0];
  if (magic !== "HdrS" || release === undefined) {
    throw new BusbarError("malformed", `${path}: not a compressed x86 kernel`, {
      path,
      hint: "name the bzImage, such as /boot/vmlinuz-$(uname -r)",
    });
  }
  return release;
}

/** The folder with the modules of a kernel file: of the system that it is unpacked in, else of this one. */
function modulesOf(kernel: string): string {
  const release = kernelRelease(kernel);
  const real = Deno.realPathSync(kernel);
  const base = real.slice(0, Math.max(0, real.lastIndexOf("/boot/")));
  const candidates = [
    real.slice(0, Math.max(0, real.lastIndexOf("/"))),
    `${base}/usr/lib/modules/${release}`,
    `${base}/lib/modules/${release}`,
    `/lib/modules/${release}`,
  ];
  const found = candidates.find((folder) => exists(`${folder}/modules.dep`));
  if (found !== undefined) return found;
  throw new BusbarError("absent", `${kernel}: the modules of ${release} are missing`, {
    path: kernel,
    hint: `put them, with modules.dep, into ${candidates[0]}`,
  });
}

function findBusybox(): string {
  for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
    const path = `${folder}/busybox`;
    if (folder.startsWith("/") && exists(path)) return path;
  }
  throw new BusbarError("absent", "the lab needs a statically linked busybox", {
    operation: "find busybox",
    hint: "install busybox-static (busybox on Fedora and Arch)",
  });
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
