/**
 * Looks at the memory that a backend is to use, before anything is mapped: what it is, whether it can be used, and what
 * to do when not. Only reads; opens nothing but what is harmless to open.
 *
 * Rules of mmap for dax devices: Linux drivers/dax/device.c (`check_vma`).
 * @module
 */

import { BusbarError, type ErrorCode } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { formatBytes } from "../core/units.ts";
import { type DaxDevice, listDaxDevices, listNamespaces, readDaxDevice } from "./devdax.ts";
import type { Files, FileStatus } from "../core/files.ts";
import { daxOption, type Mount, mountOf, readMounts } from "./mounts.ts";
import { type BackendName, isBarFile, isDaxNode } from "./settings.ts";

/** What the memory is. */
export type ResourceKind = "devdax" | "fsdax" | "file" | "shared memory" | "BAR" | "block device" | "none";

/** One thing that was looked at. */
export interface ResourceFinding {
  /** What was looked at: `access`, `alignment`. */
  readonly name: string;
  /** `limited`: it works, but not as one may think. */
  readonly result: "good" | "limited" | "bad" | "unknown";
  /** What was found. */
  readonly text: string;
  /** What to do about it; null where there is nothing to do. */
  readonly remedy: string | null;
  /** What kind of error it is, for a bad one. */
  readonly code?: ErrorCode;
}

/** What is wanted of a backend. */
export interface ResourceRequest {
  /** The backend. */
  readonly backend: BackendName;
  /** `SS`, a shared-memory name, a path, or the address of an ivshmem function. */
  readonly resource: string;
  /** Bytes; all there are by default. */
  readonly sizeBytes?: bigint;
  /** The first byte; 0 by default. */
  readonly offsetBytes?: bigint;
  /** For writing too; true by default. */
  readonly writable?: boolean;
}

/** The memory, and what was found about it. */
export interface MemoryResource {
  /** What it is; `none` where nothing usable is there. */
  readonly kind: ResourceKind;
  /** The file or device, absolute. */
  readonly path: string;
  /** All its bytes; null where not known. */
  readonly sizeBytes: bigint | null;
  /** What size and offset of a mapping are multiples of. */
  readonly alignBytes: bigint;
  /** The dax device, for a devdax. */
  readonly device: DaxDevice | null;
  /** The file system, for a file. */
  readonly mount: Mount | null;
  /** Everything that was looked at, in order. */
  readonly findings: readonly ResourceFinding[];
}

/** Where shared memory lies (shm_overview(7)). */
const SHARED_MEMORY_FOLDER = "/dev/shm";
const PAGE_BYTES = 4096n;
/** ivshmem: Red Hat's device 1110 (QEMU docs/specs/ivshmem-spec.rst). */
const IVSHMEM_ID = "0x1af4:0x1110";

/** The file that a backend's resource names. */
export function resourcePath(backend: BackendName, resource: string): string {
  if (/^(?:[0-9a-f]{4,}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i.test(resource)) {
    const address = resource.length > 7 ? resource : `0000:${resource}`;
    return `/sys/bus/pci/devices/${address.toLowerCase()}/resource2`;
  }
  if (resource.startsWith("/")) return resource;
  return backend === "ivshmem" ? `${SHARED_MEMORY_FOLDER}/${resource}` : `${Deno.cwd()}/${resource}`;
}

/** Looks at a backend's memory. What is wrong becomes findings; the first bad one is what an open fails with. */
export function inspectResource(host: Host, files: Files, request: ResourceRequest): MemoryResource {
  return new Inspection(host, files, request).run();
}

/** The error of the first bad finding; null where none is bad. */
export function firstError(resource: MemoryResource): BusbarError | null {
  const bad = resource.findings.find((finding) => finding.result === "bad");
  if (bad === undefined) return null;
  return new BusbarError(bad.code ?? "unsupported", bad.text, {
    operation: "open memory",
    path: resource.path,
    hint: bad.remedy ?? undefined,
  });
}

class Inspection {
  readonly #host: Host;
  readonly #files: Files;
  readonly #request: ResourceRequest;
  readonly #path: string;
  readonly #findings: ResourceFinding[] = [];

  constructor(host: Host, files: Files, request: ResourceRequest) {
    this.#host = host;
    this.#files = files;
    this.#request = request;
    this.#path = resourcePath(request.backend, request.resource);
  }

  run(): MemoryResource {
    let status: FileStatus | null;
    try {
      status = this.#files.status(this.#path);
    } catch (error) {
      if (!(error instanceof BusbarError)) throw error;
      return this.#bad("resource", error.message, error.hint, error.code);
    }
    if (status === null) return this.#absent();
    switch (status.kind) {
      case "character device":
        return this.#characterDevice(status);
      case "block device":
        return this.#blockDevice(status);
      case "file":
        return isBarFile(this.#path) && this.#path.startsWith("/sys/") ? this.#bar(status) : this.#file(status);
      default:
        return this.#bad(
          "resource",
          `${this.#path} is a ${status.kind}, and memory is a file or device`,
          status.kind === "directory" ? `name a file in it: truncate -s 1G ${this.#path}/cxl_memory makes one` : null,
          "usage",
        );
    }
  }

  #absent(): MemoryResource {
    const path = this.#path;
    if (isDaxNode(path)) {
      try {
        const { name, mode } = readDaxDevice(this.#host, path);
        const text = `${path} does not exist, although the kernel has ${name} (mode ${mode})`;
        return this.#bad("resource", text, `daxctl reconfigure-device --mode=devdax ${name}`, "absent");
      } catch (error) {
        if (!(error instanceof BusbarError)) throw error;
        return this.#bad("resource", error.message, error.hint, "absent");
      }
    }
    if (path.startsWith("/sys/bus/pci/")) {
      return this.#bad(
        "resource",
        `${path}: there is no such BAR`,
        "lspci -d 1af4:1110 lists ivshmem devices",
        "absent",
      );
    }
    // A file in /dev would be ordinary memory with the name of a device.
    const remedy = path.startsWith("/dev/") && !path.startsWith(`${SHARED_MEMORY_FOLDER}/`)
      ? "lsblk lists block devices, daxctl list the dax devices, ndctl list -N what could become one"
      : `truncate -s 1G ${path} makes one of 1 GiB`;
    return this.#bad("resource", `${path} does not exist`, remedy, "absent");
  }

  #characterDevice(status: FileStatus): MemoryResource {
    const device = listDaxDevices(this.#host).find((device) =>
      ifReadable(() => this.#host.readText(`${device.folder}/dev`).trim()) === status.device
    );
    if (device === undefined) {
      const there = listDaxDevices(this.#host).map(({ path }) => path).join(", ");
      return this.#bad(
        "resource",
        `${this.#path} is a character device, and none of the kernel's dax devices`,
        there === "" ? "this machine has no dax device" : `there is ${there}`,
        "usage",
      );
    }
    const { name, sizeBytes, alignBytes, driver } = device;
    const found = { kind: "devdax", sizeBytes, alignBytes, device } as const;
    this.#good(
      "resource",
      `${this.#path} is the dax device ${name}: ${formatBytes(sizeBytes)}, aligned to ${formatBytes(alignBytes)}`,
    );
    if (device.mode === "system-ram") {
      const node = device.targetNode ?? "?";
      return this.#bad(
        "driver",
        `the driver of ${name} is kmem: its memory is system RAM of node ${node} now`,
        `use it as memory of the node (membench numa:${node}), or daxctl offline-memory ${name} and ` +
          `daxctl reconfigure-device --mode=devdax ${name}`,
        "busy",
        found,
      );
    }
    if (device.mode === "disabled") {
      const remedy = `daxctl reconfigure-device --mode=devdax ${name}`;
      return this.#bad("driver", `no driver is bound to ${name}`, remedy, "unsupported", found);
    }
    this.#good("driver", `${driver} lets programs map it`);
    this.#access(status);
    this.#range(sizeBytes, alignBytes);
    this.#good("direct access", "loads and stores reach the memory itself: a dax device has no page cache");
    return this.#result(found);
  }

  #blockDevice(status: FileStatus): MemoryResource {
    const name = this.#blockName(status);
    const sectors = ifReadable(() => this.#host.readText(`/sys/class/block/${name}/size`).trim());
    const sizeBytes = sectors !== null && /^\d+$/.test(sectors) ? BigInt(sectors) * 512n : null;
    const found = { kind: "block device", sizeBytes } as const;
    this.#good("resource", `${this.#path} is the block device ${name}`);
    const namespace = listNamespaces(this.#host).find((one) => one.blockDevice === name);
    const remedy = namespace === undefined
      ? "use a dax device, or a file on a file system mounted with -o dax"
      : `mkfs.ext4 -b 4096 ${this.#path}; mkdir -p /mnt/pmem; mount -o dax ${this.#path} /mnt/pmem; and use a file there. Or: ` +
        `ndctl create-namespace -f -e ${namespace.name} -m devdax (both erase it)`;
    const text = `a mapping of ${this.#path} goes through the page cache: a block device itself gives no direct access`;
    if (this.#request.backend === "dax") return this.#bad("direct access", text, remedy, "unsupported", found);
    this.#access(status);
    if (sizeBytes !== null) this.#range(sizeBytes, PAGE_BYTES);
    this.#findings.push({ name: "direct access", result: "limited", text, remedy });
    return this.#result(found);
  }

  #blockName(status: FileStatus): string {
    const names = ifReadable(() => this.#host.list("/sys/class/block")) ?? [];
    const found = names.find((name) =>
      ifReadable(() => this.#host.readText(`/sys/class/block/${name}/dev`).trim()) === status.device
    );
    return found ?? this.#path.slice(this.#path.lastIndexOf("/") + 1);
  }

  #file(status: FileStatus): MemoryResource {
    const mount = mountOf(readMounts(this.#host), this.#path, status.onDevice);
    const isShared = mount?.type === "tmpfs" || this.#path.startsWith(`${SHARED_MEMORY_FOLDER}/`);
    const isDax = this.#isDax(mount);
    const kind = isDax === true ? "fsdax" : isShared ? "shared memory" : "file";
    const found = { kind, sizeBytes: status.sizeBytes, mount } as const;
    const where = mount === null ? "" : ` on ${mount.type} (${mount.point})`;
    this.#good("resource", `${this.#path} is a file of ${formatBytes(status.sizeBytes)}${where}`);
    if (status.sizeBytes === 0n) {
      return this.#bad("size", `${this.#path} is empty`, `truncate -s 1G ${this.#path}`, "out-of-range", found);
    }
    this.#access(status);
    this.#range(status.sizeBytes, PAGE_BYTES);
    this.#directAccess(isDax, isShared, mount);
    return this.#result(found);
  }

  #isDax(mount: Mount | null): boolean | null {
    // Host may be another machine: then the mount options are all there is.
    const attribute = this.#files.isDax(this.#path);
    if (attribute !== null || mount === null) return attribute;
    const option = daxOption(mount);
    return option === "inode" ? null : option === "always";
  }

  #directAccess(isDax: boolean | null, isShared: boolean, mount: Mount | null): void {
    const name = "direct access";
    if (isDax === true) {
      const how = mount === null
        ? ""
        : `, ${mount.type} mounted with ${mount.options.find((one) => one.startsWith("dax")) ?? "dax by file"}`;
      this.#good(name, `loads and stores reach the memory itself${how}`);
      return;
    }
    const remedy = mount === null || isShared
      ? "use /dev/daxN.M, or a file on a file system mounted with -o dax"
      : this.#remountRemedy(mount);
    const text = isShared
      ? `${this.#path} is shared memory (tmpfs): ordinary RAM, not direct access`
      : isDax === null
      ? `the kernel does not tell whether ${this.#path} is accessed directly`
      : `${this.#path} goes through the page cache: its file system gives no direct access`;
    if (this.#request.backend === "dax") {
      const result = isDax === null ? "unknown" : "bad";
      this.#findings.push({ name, result, text, remedy, ...(isDax === null ? {} : { code: "unsupported" as const }) });
    } else if (this.#request.backend === "mmap") {
      this.#findings.push({ name, result: "limited", text, remedy });
    }
  }

  /** No file system of today changes dax while it is mounted: ext4 refuses it, XFS ignores it. */
  #remountRemedy({ type, point, source }: Mount): string {
    const isPersistent = listNamespaces(this.#host).some(({ blockDevice }) => source === `/dev/${blockDevice}`);
    return isPersistent && (type === "ext4" || type === "xfs")
      ? `umount ${point}; mount -o dax ${source} ${point} (the file system must have blocks of 4096 bytes)`
      : `${source} is no persistent memory that the kernel shows: use /dev/daxN.M, or a file on a file system mounted with -o dax`;
  }

  #bar(status: FileStatus): MemoryResource {
    const folder = this.#path.slice(0, this.#path.lastIndexOf("/"));
    const found = { kind: "BAR", sizeBytes: status.sizeBytes } as const;
    const read = (name: string): string | null => ifReadable(() => this.#host.readText(`${folder}/${name}`).trim());
    const id = `${read("vendor")}:${read("device")}`;
    const address = folder.slice(folder.lastIndexOf("/") + 1);
    if (id !== IVSHMEM_ID) {
      const text = `${address} is ${id.replaceAll("0x", "")}, not an ivshmem device (1af4:1110)`;
      return this.#bad("resource", text, "lspci -d 1af4:1110 lists them", "usage", found);
    }
    this.#good("resource", `${this.#path} is BAR 2 of the ivshmem device ${address}: ${formatBytes(status.sizeBytes)}`);
    if (read("enable") === "0") {
      const text = `memory decoding of ${address} is off: every load would read all ones`;
      this.#findings.push({
        name: "decoding",
        result: "bad",
        text,
        remedy: `echo 1 >${folder}/enable`,
        code: "unreachable",
      });
    } else this.#good("decoding", `memory decoding of ${address} is on`);
    this.#access(status);
    this.#range(status.sizeBytes, PAGE_BYTES);
    return this.#result(found);
  }

  #access(status: FileStatus): void {
    const writable = this.#request.writable ?? true;
    const error = this.#files.whyNotOpen(this.#path, writable);
    if (error === null) {
      this.#good("access", `this user may ${writable ? "read and write" : "read"} it`);
      return;
    }
    const mode = status.mode.toString(8).padStart(4, "0");
    const text = error.code === "permission"
      ? `this user may not ${
        writable ? "write" : "read"
      } ${this.#path}: it belongs to user ${status.uid}, group ${status.gid}, mode ${mode}`
      : error.message;
    const rule = `a udev rule: SUBSYSTEM=="dax", GROUP="dax", MODE="0660"`;
    const remedy = error.code === "permission"
      ? `chmod g+rw ${this.#path} for its group, ${isDaxNode(this.#path) ? `${rule}, ` : ""}or run as root`
      : error.hint;
    this.#findings.push({ name: "access", result: "bad", text, remedy, code: error.code });
  }

  /**
   * Judges the range that is asked for. An offset is a multiple of `align`. So is a size, once mmap has rounded it up to
   * whole pages: of what is aligned to pages any size can be mapped.
   */
  #range(available: bigint, align: bigint): void {
    const { offsetBytes: offset = 0n } = this.#request;
    const sizeAlign = align > PAGE_BYTES ? align : 1n;
    const wanted = this.#request.sizeBytes ?? available - offset - (available - offset) % sizeAlign;
    const alignText = formatBytes(align);
    const bad = (name: string, text: string, remedy: string | null, code: ErrorCode): void => {
      this.#findings.push({ name, result: "bad", text, remedy, code });
    };
    const lastOffset = available <= 0n ? -1n : (available - sizeAlign) / align * align;
    const roundedOffset = lastOffset < 0n
      ? null
      : offset / align * align > lastOffset
      ? lastOffset
      : offset / align * align;
    const most = (available - (roundedOffset ?? 0n)) / sizeAlign * sizeAlign;
    const finer = this.#lowerAlign(align);
    const alone = finer === "" ? null : finer.slice(2);
    // The offset comes first: how much there is depends on it.
    if (offset % align !== 0n) {
      const remedy = roundedOffset === null ? alone : `--offset ${roundedOffset}B is a multiple${finer}`;
      bad("alignment", this.#misaligned(`offset ${offset}`, alignText), remedy, "usage");
    }
    if (offset >= available) {
      const remedy = roundedOffset === null ? null : `--offset ${roundedOffset}B is the highest that there is`;
      bad("size", `${wanted} bytes at ${offset} are no part of ${this.#path}`, remedy, "out-of-range");
    } else if (offset < 0n || (this.#request.sizeBytes ?? 1n) <= 0n) {
      bad("size", `${wanted} bytes at ${offset} are no part of ${this.#path}`, null, "out-of-range");
    } else if (wanted <= 0n) {
      const left = formatBytes(available - offset);
      bad("size", `${this.#path} has ${left} from ${offset} on: less than ${alignText}`, null, "out-of-range");
    } else if (offset + wanted > available) {
      const text = `${formatBytes(wanted)}${offset === 0n ? "" : ` at ${formatBytes(offset)}`} were asked for, and ` +
        `${this.#path} has ${formatBytes(available)}`;
      bad("size", text, most > 0n ? `--size ${most}B is the most` : null, "out-of-range");
    } else this.#good("size", `${formatBytes(wanted)} of ${formatBytes(available)}`);
    if (offset % align === 0n && wanted % sizeAlign !== 0n) {
      const rounded = wanted / sizeAlign * sizeAlign;
      const size = rounded > most ? most : rounded > 0n ? rounded : most < sizeAlign ? 0n : sizeAlign;
      const remedy = size === 0n ? alone : `--size ${size}B is a multiple${finer}`;
      bad("alignment", this.#misaligned(`size ${wanted}`, alignText), remedy, "usage");
    } else if (offset % align === 0n) this.#good("alignment", `multiples of ${alignText}`);
  }

  #misaligned(what: string, align: string): string {
    return `${what} is no multiple of ${align}, and mmap of ${this.#path} would fail with EINVAL`;
  }

  #lowerAlign(align: bigint): string {
    return align > PAGE_BYTES
      ? "; ndctl create-namespace -f -e NAMESPACE -m devdax -a 4K makes a finer one and erases it"
      : "";
  }

  #good(name: string, text: string): void {
    this.#findings.push({ name, result: "good", text, remedy: null });
  }

  #bad(
    name: string,
    text: string,
    remedy: string | null,
    code: ErrorCode,
    found: Partial<MemoryResource> = {},
  ): MemoryResource {
    this.#findings.push({ name, result: "bad", text, remedy, code });
    return this.#result(found);
  }

  #result(found: Partial<MemoryResource>): MemoryResource {
    return {
      kind: "none",
      path: this.#path,
      sizeBytes: null,
      alignBytes: PAGE_BYTES,
      device: null,
      mount: null,
      ...found,
      findings: this.#findings,
    };
  }
}
