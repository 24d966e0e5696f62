/**
 * The lab's image: QEMU with its libraries and firmware, a stock Debian kernel, and the tools for the guest, fetched as
 * Debian packages and unpacked into the user's cache. Nothing is installed, and root is not needed.
 * @module
 */

import { Deadline, pause } from "../core/deadline.ts";
import { BusbarError, systemError } from "../core/error.ts";
import { PrivateApt, SUITES } from "./apt.ts";
import { labFolder, labSubfolder, writeWhole } from "./cache.ts";
import { runTool } from "./host_tool.ts";
import { listIfPresent, unpack } from "./unpack.ts";

/** Packages that make the host's side: the machine emulator, a static shell for the guest's first root, depmod. */
const HOST_PACKAGES: readonly string[] = ["qemu-system-x86", "busybox-static", "kmod"];

/** The kernel. The package of this name depends on the newest one of the last suite. */
const KERNEL_PACKAGE = "linux-image-amd64";

/** Tools that a guest has even where its host lacks them: other people's programs, to compare ours with. */
const GUEST_PACKAGES: readonly string[] = [
  ...["nvme-cli", "pciutils", "ndctl", "daxctl", "fio", "numactl"], // ndctl brings cxl
  ...["e2fsprogs", "mdadm", "util-linux", "xfsprogs", "strace", "python3"],
];

/** Changed whenever an image made by older code must not be used any more. */
const LAYOUT = 2;

/** What an image is asked to hold. Two versions of busbar that ask for different things have an image each. */
const KEY = `${LAYOUT} ${SUITES.join(" ")} ${[...HOST_PACKAGES, KERNEL_PACKAGE, ...GUEST_PACKAGES].join(" ")}`;

/** Starts the unpacked QEMU. */
export const QEMU_SCRIPT = `#!/bin/sh
# QEMU with its own libraries and firmware, whatever this system has.
root=$(dirname "$(readlink -f "$0")")/root
lib=$root/usr/lib/x86_64-linux-gnu
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$root/usr/bin/qemu-system-x86_64" \\
  -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -L "$root/usr/lib/ipxe/qemu" "$@"
`;

/** Another process that makes the image is waited for this long. */
const LOCK_LIMIT_MS = 40 * 60_000;

/** Ending of the folder of an image that is being made. */
const UNFINISHED = ".unfinished";

const DEPMOD_LIMIT_MS = 5 * 60_000;

/** What a lab machine is made from. */
export interface Image {
  /** The program that starts QEMU. */
  readonly qemu: string;
  /** The compressed kernel. */
  readonly kernel: string;
  /** The folder with that kernel's modules and modules.dep. */
  readonly modules: string;
  /** A statically linked busybox. */
  readonly busybox: string;
  /** The unpacked packages, which the guest sees below the host's files; null without an image of ours. */
  readonly root: string | null;
  /** What it was made from; null without an image of ours. */
  readonly record: ImageRecord | null;
}

/** What {@linkcode setUp} did. */
export interface SetUpResult {
  /** The image. */
  readonly image: Image;
  /** False when it was already there. */
  readonly made: boolean;
}

/** Packages and versions of an image, from its `image.json`. */
export interface ImageRecord {
  /** What the image was asked to hold. */
  readonly key: string;
  /** Version of the kernel, as `uname -r` says it. */
  readonly kernelRelease: string;
  /** Package file names, which carry the versions. */
  readonly packages: readonly string[];
}

/** The newest image in the cache that holds what this version of busbar asks for, or null when there is none. */
export function findImage(): Image | null {
  for (const folder of imageFolders().reverse()) {
    const record = readRecord(folder);
    if (record?.key === KEY) return imageIn(folder, record);
  }
  return null;
}

/**
 * The finished images in the cache, oldest first.
 *
 * @throws {BusbarError} `permission` when others may write to them
 */
export function imageFolders(): string[] {
  const images = `${labFolder()}/images`;
  const names = listIfPresent(images).map((entry) => entry.name);
  if (names.length > 0) labSubfolder("images");
  return names.filter((name) => !name.endsWith(UNFINISHED)).sort().map((name) => `${images}/${name}`);
}

/** Says that an image is in use today: `lab clean` keeps it. */
export function markUsed({ root }: Image): void {
  if (root === null) return;
  const now = new Date();
  Deno.utimeSync(`${root}/../image.json`, now, now);
}

/**
 * Why an image cannot be made on this machine, or null when it can.
 * The answer costs nothing: whether the mirror can be reached shows only when it is tried.
 */
export function cannotSetUp(): BusbarError | null {
  const refuse = (why: string): BusbarError =>
    new BusbarError("unsupported", `the lab cannot be fetched here: ${why}`, {
      operation: "set up the lab",
      hint: "install QEMU 10 (qemu-system-x86_64), a static busybox and a kernel with its modules, then set " +
        "BUSBAR_LAB_QEMU=/usr/bin/qemu-system-x86_64 BUSBAR_LAB_KERNEL=/boot/vmlinuz-VERSION",
    });
  if (Deno.build.os !== "linux") return refuse(`this is ${Deno.build.os}, not Linux`);
  if (Deno.build.arch !== "x86_64") return refuse(`this is ${Deno.build.arch}, and the guests are x86-64`);
  let release = "";
  try {
    release = Deno.readTextFileSync("/etc/os-release");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) return systemError(error, "read", "/etc/os-release");
  }
  if (!/^ID="?debian"?$/m.test(release)) {
    const name = /^PRETTY_NAME="?([^"\n]*)/m.exec(release)?.[1] ?? "an unknown system";
    return refuse(`it is made from Debian packages, and this is ${name}`);
  }
  for (const program of ["/usr/bin/apt-get", "/usr/bin/dpkg-deb"]) {
    try {
      Deno.statSync(program);
    } catch {
      return refuse(`${program} is missing`);
    }
  }
  return null;
}

/** How {@linkcode setUp} works. */
export interface SetUpOptions {
  /** Called with a line for people when something takes time. */
  readonly onProgress?: (line: string) => void;
  /** Make a new image from the newest packages even when there is one. */
  readonly refresh?: boolean;
  /** Ends it early; the next call goes on from there. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes the image unless it is there. Safe to interrupt and to run twice at once.
 *
 * @throws {BusbarError} `unsupported` where it cannot be made, `io` when fetching or unpacking failed
 */
export async function setUp(options: SetUpOptions = {}): Promise<SetUpResult> {
  const known = options.refresh ? null : findImage();
  if (known !== null) return { image: known, made: false };
  const refusal = cannotSetUp();
  if (refusal !== null) throw refusal;
  using _lock = await lockImages(options);
  const other = options.refresh ? null : findImage();
  if (other !== null) return { image: other, made: false };
  return { image: await make(options), made: true };
}

/** Waits for another process that makes or removes images, and keeps others waiting until it is disposed. */
export async function lockImages(options: Pick<SetUpOptions, "onProgress" | "signal">): Promise<Disposable> {
  const path = `${labSubfolder("images")}.lock`;
  const file = await Deno.open(path, { write: true, create: true, mode: 0o600 });
  try {
    const deadline = Deadline.after(LOCK_LIMIT_MS);
    for (let told = false; !await file.tryLock(true); told = true) {
      if (!told) options.onProgress?.("waiting for another process that makes the image");
      deadline.check("the end of another lab setup", path, `see who holds it with: fuser ${path}`);
      await pause(200, options.signal);
    }
  } catch (error) {
    file.close();
    throw error;
  }
  return file;
}

async function make(options: SetUpOptions): Promise<Image> {
  const { signal } = options;
  const note = options.onProgress ?? ((): void => {});
  const aptFolder = labSubfolder("apt");
  const apt = new PrivateApt(aptFolder);
  note(`fetching QEMU, a kernel and the guest's tools (about 250 MB, once) into ${labFolder()}`);
  await apt.update(signal);
  const packages = await apt.download([...HOST_PACKAGES, KERNEL_PACKAGE, ...GUEST_PACKAGES], signal);

  note(`unpacking ${packages.length} packages`);
  const images = labSubfolder("images");
  removeUnfinished(images);
  const folder = `${images}/${new Date().toISOString().replace(/[-:]|\..*/g, "")}`;
  const unfinished = folder + UNFINISHED;
  await unpack(packages, `${unfinished}/root`, signal);
  const kernelRelease = await prepareModules(`${unfinished}/root`, signal);
  const record: ImageRecord = {
    key: KEY,
    kernelRelease,
    packages: packages.map((path) => path.slice(path.lastIndexOf("/") + 1)),
  };
  writeWhole(`${unfinished}/qemu-system-x86_64`, QEMU_SCRIPT, 0o755);
  writeWhole(`${unfinished}/image.json`, JSON.stringify(record, null, 2) + "\n");
  await Deno.rename(unfinished, folder);
  // The packages are unpacked now; the lists would be out of date next time.
  await Deno.remove(aptFolder, { recursive: true });
  return imageIn(folder, record);
}

/** What earlier runs left when they were killed. The caller holds the lock, so nobody is working there. */
function removeUnfinished(images: string): void {
  for (const entry of Deno.readDirSync(images)) {
    if (entry.name.endsWith(UNFINISHED)) Deno.removeSync(`${images}/${entry.name}`, { recursive: true });
  }
}

/** Lists the modules' dependencies. Returns the kernel's release. */
async function prepareModules(root: string, signal: AbortSignal | undefined): Promise<string> {
  const releases = listIfPresent(`${root}/usr/lib/modules`).map((entry) => entry.name);
  const release = releases[0];
  if (release === undefined || releases.length > 1) {
    throw new BusbarError("bug", `the packages hold ${releases.length} kernels: ${releases.join(", ")}`);
  }
  const libraries = `${root}/usr/lib/x86_64-linux-gnu`;
  const args = ["--library-path", libraries, "--argv0", "depmod", `${root}/usr/bin/kmod`, "-b", root, release];
  const { code, stderr } = await runTool(`${libraries}/ld-linux-x86-64.so.2`, args, {
    limitMs: DEPMOD_LIMIT_MS,
    signal,
  });
  if (code !== 0) throw new BusbarError("io", `depmod failed: ${stderr.trim()}`, { operation: "run depmod" });
  return release;
}

function imageIn(folder: string, record: ImageRecord): Image {
  const root = `${folder}/root`;
  return {
    qemu: `${folder}/qemu-system-x86_64`,
    kernel: `${root}/boot/vmlinuz-${record.kernelRelease}`,
    modules: `${root}/usr/lib/modules/${record.kernelRelease}`,
    busybox: `${root}/usr/bin/busybox`,
    root,
    record,
  };
}

/** The record of an image, or null when the folder is gone or holds something else. */
function readRecord(folder: string): ImageRecord | null {
  try {
    const record: ImageRecord | null = JSON.parse(Deno.readTextFileSync(`${folder}/image.json`));
    return typeof record?.kernelRelease === "string" && Array.isArray(record.packages) ? record : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return null;
    throw systemError(error, "read", `${folder}/image.json`);
  }
}
