/**
 * The first root of a lab guest: busybox, the modules that the lab needs in the order they are loaded, two scripts.
 * @module
 */

import agentScript from "./agent.sh" with { type: "text" };
import initScript from "./init.sh" with { type: "text" };

import { BusbarError, systemError } from "../core/error.ts";
import { labSubfolder, writeWhole } from "./cache.ts";
import { type CpioEntry, writeCpio } from "./cpio.ts";
import { runTool } from "./host_tool.ts";
import type { Image } from "./image.ts";

/** Loaded before the first command. Anything else is loaded on demand by the kernel or with modprobe. */
const MODULES: readonly string[] = [
  ...["9p", "9pnet_virtio", "overlay"],
  ...["nvme", "vfio_pci", "vfio_iommu_type1"],
  ...["nfit", "nd_pmem", "dax_pmem", "device_dax", "kmem"],
  ...["cxl_acpi", "cxl_pci", "cxl_mem", "cxl_pmem", "cxl_port", "dax_cxl"],
];

const UNPACK_LIMIT_MS = 60_000;

/**
 * The first root for a kernel, made when it is not in the cache yet.
 *
 * @returns its path; the name says what is in it, so it is never out of date
 * @throws {BusbarError} `unsupported` when the kernel lacks what the lab cannot do without
 */
export async function findInitramfs(parts: Image, signal?: AbortSignal): Promise<string> {
  const identity = [
    agentScript,
    initScript,
    MODULES.join(" "),
    parts.modules,
    stamp(parts.kernel),
    stamp(parts.busybox),
  ];
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(identity.join("\0")));
  const path = `${labSubfolder("initramfs")}/${new Uint8Array(digest).toHex().slice(0, 16)}.cpio`;
  try {
    // Its time says when it was last used: `lab clean` looks at it.
    const now = new Date();
    await Deno.utime(path, now, now);
  } catch {
    writeWhole(path, await build(parts, signal));
  }
  return path;
}

function stamp(path: string): string {
  try {
    const { size, mtime } = Deno.statSync(path);
    return `${path} ${size} ${mtime?.getTime()}`;
  } catch (cause) {
    throw systemError(cause, "open", path);
  }
}

async function build(parts: Image, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const text = new TextEncoder();
  const files = loadOrder(
    readText(`${parts.modules}/modules.dep`),
    readText(`${parts.modules}/modules.builtin`),
    MODULES,
  );
  const modules = await Promise.all(files.map(async (file): Promise<CpioEntry> => ({
    kind: "file",
    name: `modules/${moduleName(file)}.ko`,
    bytes: await readModule(`${parts.modules}/${file}`, parts.busybox, signal),
  })));
  return writeCpio([
    ...["dev", "host", "installed-modules", "modules", "proc", "root", "sys", "tools", "upper"].map((
      name,
    ): CpioEntry => ({
      kind: "folder",
      name,
    })),
    { kind: "file", name: "busybox", bytes: await readBusybox(parts.busybox), executable: true },
    { kind: "file", name: "init", bytes: text.encode(initScript), executable: true },
    { kind: "file", name: "agent.sh", bytes: text.encode(agentScript) },
    ...modules,
    {
      kind: "file",
      name: "modules/order",
      bytes: text.encode(files.map((file) => `${moduleName(file)}.ko\n`).join("")),
    },
  ]);
}

/**
 * The module files to load for `wanted`, each after what it depends on.
 *
 * @param dependencies the text of modules.dep: `path: path…`, what is to be loaded first standing last
 * @param builtin the text of modules.builtin: paths of what the kernel has without a module
 * @throws {BusbarError} `unsupported` when the kernel has neither
 */
export function loadOrder(dependencies: string, builtin: string, wanted: readonly string[]): string[] {
  const needs = new Map<string, string[]>();
  const files = new Map<string, string>();
  for (const line of dependencies.split("\n")) {
    const [file, rest] = line.split(":", 2);
    if (file === undefined || rest === undefined) continue;
    needs.set(file, rest.split(" ").filter((word) => word !== "").reverse());
    files.set(moduleName(file), file);
  }
  const inKernel = new Set(builtin.split("\n").map(moduleName));
  const order = new Set<string>();
  for (const name of wanted) {
    const file = files.get(name);
    if (file !== undefined) { for (const needed of [...needs.get(file) ?? [], file]) order.add(needed); }
    else if (!inKernel.has(name)) {
      throw new BusbarError("unsupported", `this kernel has no module ${name}, which the lab needs`, {
        operation: "order the modules",
        hint: "unset BUSBAR_LAB_KERNEL to use Debian's",
      });
    }
  }
  return [...order];
}

/** `kernel/drivers/nvme/host/nvme-core.ko.xz` is the module nvme_core. */
function moduleName(file: string): string {
  return file.slice(file.lastIndexOf("/") + 1).replace(/\.ko(?:\.\w+)?$/, "").replaceAll("-", "_");
}

async function readModule(path: string, busybox: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const bytes = await readBytes(path);
  if (path.endsWith(".ko")) return bytes;
  if (path.endsWith(".gz")) {
    return new Uint8Array(
      await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer(),
    );
  }
  if (path.endsWith(".zst")) return new Uint8Array((await import("node:zlib")).zstdDecompressSync(bytes));
  return await unxz(path, busybox, signal);
}

async function unxz(path: string, busybox: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const { code, stdout, stderr } = await runTool(busybox, ["unxz", "-c", path], { limitMs: UNPACK_LIMIT_MS, signal });
  if (code !== 0) {
    throw new BusbarError("io", `cannot unpack ${path}: ${stderr.trim()}`, { path });
  }
  return stdout;
}

async function readBusybox(path: string): Promise<Uint8Array> {
  const bytes = await readBytes(path);
  if (isStatic(bytes)) return bytes;
  throw new BusbarError("unsupported", `${path}: linked dynamically, which cannot run in the guest's first root`, {
    path,
    hint: "install busybox-static",
  });
}

/** True for an ELF program without an interpreter segment (ELF-64 Object File Format, program header type 3). */
function isStatic(elf: Uint8Array): boolean {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  if (elf.length < 64 || view.getUint32(0) !== 0x7f454c46) return false;
  const table = Number(view.getBigUint64(32, true));
  const entryBytes = view.getUint16(54, true);
  const count = view.getUint16(56, true);
  for (let i = 0; i < count; i++) if (view.getUint32(table + i * entryBytes, true) === 3) return false;
  return true;
}

async function readBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
}

function readText(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (cause) {
    throw systemError(cause, "read", path);
  }
}
