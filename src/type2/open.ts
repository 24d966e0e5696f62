/**
 * Opening a Type 2 GPU by a locator.
 * @module
 */

import { BusbarError, isBusbarError, systemError } from "../core/error.ts";
import { thisMachine } from "../core/host.ts";
import {
  type OptionTable,
  parseLocator,
  type PciLocator,
  readOptions,
  type SoftLocator,
  type Type2Locator,
  wrongLocatorKind,
} from "../core/locator.ts";
import { formatPciAddress } from "../core/pci_address.ts";
import { hex } from "../core/units.ts";
import { softCudaSettings } from "../gpu/driver.ts";
import { type SharedFile, softCudaLibrary, SoftType2 } from "../../ffi/soft_type2.ts";
import { Type2Gpu, type Type2Limits } from "./client.ts";
import { mapFunction, mapSharedFile, MemoryTransport } from "./memory_transport.ts";
import {
  EXT_MAGIC,
  FILE_BAR4_OFFSET,
  FILE_LEAST_BYTES,
  IVSHMEM_PCI_ID,
  MAGIC,
  PROFILES,
  registerOffset,
  TYPE2_PCI_ID,
} from "./registers.ts";
import { SoftTransport } from "./soft_transport.ts";

/** What a software Type 2 GPU may be set to: the words behind `soft:type2?`, and of `cxl_gpu serve`. */
export const SOFT_TYPE2_OPTIONS: OptionTable = {
  profile: { type: "text", title: "generation: v1, v2 or v2-J", default: "v2", max: 8n },
  backend: {
    type: "text",
    title: "what runs kernels: soft:cuda?…, cuda:PATH, or none",
    default: "soft:cuda",
    max: 2048n,
  },
  memory: { type: "size", title: "device memory", default: "1GiB", min: 4096n, max: 1n << 40n },
  cache: { type: "size", title: "the least size of BAR2 behind vfio-user", default: "0", max: 1n << 40n },
  bar4: { type: "size", title: "BAR4, when it is not part of a file", default: "64MiB", min: 4096n, max: 1n << 36n },
  limit: { type: "integer", title: "milliseconds that a kernel may run", default: "10000", min: 1n, max: 3_600_000n },
  strict: { type: "integer", title: "1: commands without INIT or a context fail", default: "0", max: 1n },
  filter: { type: "integer", title: "lines of the snoop filter", default: "4096", min: 1n, max: 1n << 20n },
  peers: { type: "integer", title: "other devices, 16 MiB each", default: "0", max: 16n },
  dcd: { type: "size", title: "dynamic capacity", default: "0", max: 1n << 50n },
  gfam: { type: "integer", title: "hosts of fabric memory", default: "0", max: 64n },
  mhsld: { type: "integer", title: "heads", default: "0", max: 32n },
  name: { type: "text", title: "what DEV_NAME says; the GPU's own name by default", default: "", max: 63n },
};

/** What C is told as it is said here; the last five are for programs that serve. */
const C_SETTINGS = [
  ...["bar4", "strict", "filter", "peers", "dcd", "gfam", "mhsld", "name", "memory", "cache"],
  ...["adopt", "doorbell", "vfio_user", "trap_bar4", "ends_at_limit"],
];

/** The profiles of a software device. */
export type SoftProfile = "v1" | "v2" | "v2-J";

/** What C is told, from the options. */
export interface SoftType2Settings {
  /** Lines for {@linkcode SoftType2.open}. */
  readonly settings: ReadonlyMap<string, string>;
  /** The generation. */
  readonly profile: SoftProfile;
}

/**
 * Checks the options of a software device and turns its backend into a driver library.
 *
 * @throws {BusbarError} `usage`
 */
export function softType2Settings(options: ReadonlyMap<string, string>): SoftType2Settings {
  const profile = options.get("profile") ?? "v2";
  if (profile !== "v1" && profile !== "v2" && profile !== "v2-J") {
    throw new BusbarError("usage", `there is no profile '${profile}'`, { hint: "it is v1, v2 or v2-J" });
  }
  const settings = new Map<string, string>([["profile", profile]]);
  for (const key of C_SETTINGS) {
    const value = options.get(key);
    if (value !== undefined && value !== "") settings.set(key, value);
  }
  const limit = options.get("limit") ?? "10000";
  settings.set("limit_ms", limit);
  for (const [key, value] of backendSettings(options.get("backend") ?? "soft:cuda", options.get("memory"), limit)) {
    settings.set(key, value);
  }
  return { settings, profile };
}

/** A backend's locator as a driver library. Device memory and the limit are the device's unless the backend says its own. */
function backendSettings(backend: string, memory: string | undefined, limitMs: string): [string, string][] {
  if (backend === "none") return [];
  const locator = parseLocator(backend);
  if (locator.kind === "cuda") {
    return [["driver", locator.library ?? "libcuda.so.1"], ["ordinal", String(locator.device)]];
  }
  if (locator.kind !== "soft" || locator.device !== "cuda") {
    throw wrongLocatorKind(locator, "a Type 2 GPU's backend", ["soft:cuda?…", "cuda:PATH", "none"]);
  }
  const words = softCudaSettings(backend).split("&").filter((word) => word !== "");
  const add = (key: string, value: string): void => {
    if (!locator.query.has(key)) words.push(`${key}=${value}`);
  };
  if (memory !== undefined) add("memory", memory);
  add("watchdog_ms", limitMs);
  add("log", "none");
  return [
    ["driver", softCudaLibrary()],
    ["driver_settings", words.join("&")],
    ["ordinal", locator.query.get("device") ?? "0"],
  ];
}

/** Starts a software device that serves a shared file; see {@linkcode SoftType2.open}. */
export function serveSharedFile(options: ReadonlyMap<string, string>, file: SharedFile): SoftType2 {
  return SoftType2.open(file.path, softType2Settings(options).settings, file);
}

/**
 * Starts a software device that serves a Unix socket by the vfio-user protocol, for QEMU's `vfio-user-pci`.
 *
 * @param path the socket; its folder is made with mode 0700 where there is none
 * @throws {BusbarError} `busy` when another server has the socket; `permission` for a folder that others may enter
 */
export function serveVfioUser(options: ReadonlyMap<string, string>, path: string): SoftType2 {
  return SoftType2.open(path, softType2Settings(new Map([...options, ["vfio_user", path]])).settings);
}

/** What {@linkcode openType2} takes. */
const TYPE2_LOCATORS = ["soft:type2", "type2:PATH (a file of cxl_gpu serve)", "a PCI address (0000:00:01.0)"] as const;

/**
 * Opens a Type 2 GPU: `soft:type2?…` in this process, `type2:PATH`, the shared file of `cxl_gpu serve`.
 *
 * @throws {BusbarError} `usage` for another locator; `absent`, `unreachable`, `unsupported` for what is no such device
 */
export function openType2(text: string, limits: Type2Limits = {}): Type2Gpu {
  const locator = parseLocator(text);
  if (locator.kind === "soft" && locator.device === "type2") return openSoft(locator, limits);
  if (locator.kind === "type2") return openFile(locator, limits);
  if (locator.kind === "pci" && locator.host === null) return openFunction(locator, limits);
  throw wrongLocatorKind(locator, "cxl_gpu", TYPE2_LOCATORS);
}

function openSoft(locator: SoftLocator, limits: Type2Limits): Type2Gpu {
  const { settings, profile } = softType2Settings(readOptions(locator, SOFT_TYPE2_OPTIONS));
  const device = SoftType2.open(locator.text, settings);
  return opened(new SoftTransport(device, profile), limits);
}

function openFile(locator: Type2Locator, limits: Type2Limits): Type2Gpu {
  readOptions(locator, {});
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(locator.path, { read: true, write: true });
  } catch (cause) {
    const error = systemError(cause, "open the shared file", locator.path);
    throw new BusbarError(error.code, error.message, {
      operation: "open the shared file",
      path: locator.path,
      hint: `cxl_gpu serve --file ${locator.path} makes it`,
    });
  }
  try {
    const { size } = file.statSync();
    checkFile(file, locator.path, size);
    const profile = size >= FILE_BAR4_OFFSET && readWord(file, registerOffset("CAPS")) !== 0
      ? PROFILES.v2
      : PROFILES.v1;
    const mapped = mapSharedFile(locator.text, locator.path, file, size, FILE_BAR4_OFFSET, profile.dataBytes);
    return opened(new MemoryTransport(mapped), limits);
  } catch (error) {
    closeQuietly(file);
    throw error;
  }
}

/**
 * A PCI function: the device itself, whose registers trap, or an ivshmem function, whose memory a device of busbar shares. Its
 * kernel driver, if there is one, is left alone: there is none for either.
 */
function openFunction(locator: PciLocator, limits: Type2Limits): Type2Gpu {
  const address = formatPciAddress(locator.address);
  const folder = `/sys/bus/pci/devices/${address}`;
  const isDevice = hasId(folder, TYPE2_PCI_ID.vendor, TYPE2_PCI_ID.device);
  if (!isDevice && !hasId(folder, IVSHMEM_PCI_ID.vendor, IVSHMEM_PCI_ID.device)) {
    throw new BusbarError(
      "absent",
      `${address}: neither a Type 2 GPU (8086:0d92) nor an ivshmem function (1af4:1110)`,
      {
        operation: "open a Type 2 GPU",
        path: address,
        hint: "lspci -D lists the functions of this machine",
      },
    );
  }
  const path = `${folder}/resource2`;
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path, { read: true, write: true });
  } catch (cause) {
    throw bar2Error(cause, path, isDevice ? "cxl-type2" : "ivshmem");
  }
  try {
    return opened(new MemoryTransport(mapFunction(locator.text, folder, file, isDevice)), limits);
  } catch (error) {
    closeQuietly(file);
    throw error;
  }
}

/** Why BAR2 was not opened: who lacks permission is given the udev rule. */
export function bar2Error(cause: unknown, path: string, kind: "cxl-type2" | "ivshmem"): BusbarError {
  const error = systemError(cause, "open BAR2", path);
  return new BusbarError(error.code, error.message, {
    operation: "open BAR2",
    path,
    hint: error.code === "permission"
      ? `be root, or let a udev rule give the function away: ${udevRule(kind)}`
      : "lspci -vs ADDRESS shows whether the function has a BAR2",
  });
}

/** The rule that gives the BARs of such functions to a user, to be written below /etc/udev/rules.d. */
export function udevRule(kind: "cxl-type2" | "ivshmem"): string {
  const { vendor, device } = kind === "cxl-type2" ? TYPE2_PCI_ID : IVSHMEM_PCI_ID;
  return `ACTION=="add", SUBSYSTEM=="pci", ATTR{vendor}=="${hex(vendor, 4)}", ATTR{device}=="${hex(device, 4)}", ` +
    `RUN+="/bin/sh -c 'chown USER /sys/bus/pci/devices/%k/resource*'"`;
}

function hasId(folder: string, vendor: number, device: number): boolean {
  const read = (name: string): string => readOrNothing(`${folder}/${name}`).trim();
  return read("vendor") === hex(vendor, 4) && read("device") === hex(device, 4);
}

/** A function that is not there has no identity. */
function readOrNothing(path: string): string {
  try {
    return thisMachine.readText(path);
  } catch (error) {
    if (isBusbarError(error, "absent")) return "";
    throw error;
  }
}

/** Only a file that some server made is mapped. */
function checkFile(file: Deno.FsFile, path: string, sizeBytes: number): void {
  const fail = (why: string): BusbarError =>
    new BusbarError("malformed", `${path}: ${why}`, {
      operation: "open the shared file",
      path,
      hint: "name the file that cxl_gpu serve --file made",
    });
  if (sizeBytes < FILE_LEAST_BYTES) throw fail(`has ${sizeBytes} bytes: no shared file of a Type 2 GPU is as short`);
  const magic = readWord(file, registerOffset("MAGIC")), extension = readWord(file, registerOffset("EXT_MAGIC"));
  if (magic !== MAGIC || extension !== EXT_MAGIC) throw fail("is no shared file of a Type 2 GPU");
}

function readWord(file: Deno.FsFile, offset: number): number {
  const bytes = new Uint8Array(4);
  file.seekSync(offset, Deno.SeekMode.Start);
  file.readSync(bytes);
  return new DataView(bytes.buffer).getUint32(0, true);
}

function closeQuietly(file: Deno.FsFile): void {
  try {
    file.close();
  } catch {
    // It was closed with the mapping.
  }
}

function opened(transport: SoftTransport | MemoryTransport, limits: Type2Limits): Type2Gpu {
  try {
    return new Type2Gpu(transport, limits);
  } catch (error) {
    transport[Symbol.dispose]();
    throw error;
  }
}
