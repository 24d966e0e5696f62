/**
 * Does a process really use direct access? What its mappings show (proc_pid_smaps(5)), and what its log says it asked for.
 * @module
 */

import { unescapeOctal } from "../core/block_users.ts";
import { BusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { isDaxName } from "./devdax.ts";
import type { Files } from "../core/files.ts";
import { daxOption, mountOf, readMounts } from "./mounts.ts";
import { isBarFile } from "./settings.ts";

/** A mapping of a file or device in a process. */
export interface FileMapping {
  /** First address. */
  readonly start: bigint;
  /** Bytes. */
  readonly sizeBytes: bigint;
  /** The file or device. */
  readonly path: string;
  /** The file was removed since. */
  readonly isDeleted: boolean;
  /** Shared with others and with the file; else a private copy, which is no direct access. */
  readonly isShared: boolean;
  /** The device that the file lies on: `259:0`. */
  readonly onDevice: string;
  /** Mapped with MAP_SYNC: the kernel allows that for direct access only. */
  readonly isSync: boolean;
  /** Bytes of the pages that the kernel maps it in; null where not shown. */
  readonly kernelPageBytes: bigint | null;
  /** Bytes in the page cache or other ordinary pages; null where not shown. */
  readonly residentBytes: bigint | null;
}

/** What a mapping proves. */
export interface MappingVerdict extends FileMapping {
  /** What is mapped. */
  readonly kind: "devdax" | "fsdax" | "page cache" | "shared memory" | "BAR" | "unknown";
  /** Why that is so. */
  readonly reason: string;
}

/** What a process's mappings prove. */
export interface ProcessVerdict {
  /** Process id. */
  readonly pid: number;
  /** Its name. */
  readonly command: string;
  /** Does it map direct-access memory? */
  readonly verdict: "yes" | "no" | "cannot tell";
  /** One sentence. */
  readonly reason: string;
  /** Bytes that are mapped with direct access. */
  readonly daxBytes: bigint;
  /** Mappings that bear on it: shared ones of files and devices, and private ones of dax. */
  readonly mappings: readonly MappingVerdict[];
}

/**
 * The mappings of files and devices in the text of /proc/PID/smaps (or maps, which shows less).
 */
export function parseMappings(text: string): FileMapping[] {
  const mappings: FileMapping[] = [];
  let fields = new Map<string, string>();
  const head = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) \d+ +(\/.*)$/;
  let current: RegExpExecArray | null = null;
  const finish = (): void => {
    if (current === null) return;
    const [, start = "0", end = "0", permissions = "", major = "0", minor = "0", name = ""] = current;
    const kilobytes = (field: string): bigint | null => {
      const match = /^(\d+) kB$/.exec(fields.get(field) ?? "");
      return match === null ? null : BigInt(match[1] ?? 0) * 1024n;
    };
    const isDeleted = name.endsWith(" (deleted)");
    mappings.push({
      start: BigInt(`0x${start}`),
      sizeBytes: BigInt(`0x${end}`) - BigInt(`0x${start}`),
      path: unescapeOctal(isDeleted ? name.slice(0, -" (deleted)".length) : name),
      isDeleted,
      isShared: permissions.endsWith("s"),
      onDevice: `${parseInt(major, 16)}:${parseInt(minor, 16)}`,
      // Documentation/filesystems/proc.rst: sf, synchronous page fault.
      isSync: (fields.get("VmFlags") ?? "").split(" ").includes("sf"),
      kernelPageBytes: kilobytes("KernelPageSize"),
      residentBytes: kilobytes("Rss"),
    });
  };
  for (const line of text.split("\n")) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) {
      finish();
      current = head.exec(line);
      fields = new Map();
    } else {
      const [, name, value] = /^(\w+): *(.*?) *$/.exec(line) ?? [];
      if (name !== undefined && value !== undefined) fields.set(name, value);
    }
  }
  finish();
  return mappings;
}

/**
 * Tells from a process's mappings whether it uses direct access.
 *
 * @throws {BusbarError} `absent` when there is no such process; `permission` when its mappings cannot be read
 */
export function examineProcess(host: Host, files: Files, pid: number): ProcessVerdict {
  const text = readMappings(host, pid);
  const command = ifReadable(() => host.readText(`/proc/${pid}/comm`).trim()) ?? "?";
  const mounts = readMounts(host, pid);
  const mappings = parseMappings(text).map((mapping): MappingVerdict => {
    const [kind, reason] = judge(files, pid, mounts, mapping);
    return { ...mapping, kind, reason };
  }).filter(({ isShared, kind }) => isShared || kind === "devdax" || kind === "fsdax");
  const dax = mappings.filter(({ kind, isShared }) => (kind === "devdax" || kind === "fsdax") && isShared);
  const daxBytes = dax.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
  const unknown = mappings.filter(({ kind }) => kind === "unknown");
  const paths = (some: readonly MappingVerdict[]): string => [...new Set(some.map(({ path }) => path))].join(", ");
  const [verdict, reason]: [ProcessVerdict["verdict"], string] = dax.length > 0
    ? ["yes", `it maps ${paths(dax)}`]
    : unknown.length > 0
    ? ["cannot tell", `nothing shows whether ${paths(unknown)} is accessed directly`]
    : mappings.length > 0
    ? [
      "no",
      `what it maps is something else: ${
        [...new Set(mappings.map(({ path, kind }) => `${path} (${kind})`))].join(", ")
      }`,
    ]
    : ["no", "it maps no dax device and shares no file"];
  return { pid, command, verdict, reason, daxBytes, mappings };
}

function readMappings(host: Host, pid: number): string {
  const hint = "ps -e lists processes; root may look into all of them";
  try {
    return host.readText(`/proc/${pid}/smaps`);
  } catch (error) {
    if (!(error instanceof BusbarError)) throw error;
    // A kernel without smaps still has maps; a process that is not there has neither.
    const maps = error.code === "absent" ? ifReadable(() => host.readText(`/proc/${pid}/maps`)) : null;
    if (maps !== null) return maps;
    const what = error.code === "absent"
      ? `there is no process ${pid}`
      : `the mappings of process ${pid} cannot be read`;
    throw new BusbarError(error.code, what, {
      operation: "examine a process",
      path: `/proc/${pid}/smaps`,
      hint,
      cause: error,
    });
  }
}

function judge(
  files: Files,
  pid: number,
  mounts: ReturnType<typeof readMounts>,
  mapping: FileMapping,
): [MappingVerdict["kind"], string] {
  const { path, isShared } = mapping;
  const pages = mapping.kernelPageBytes === null ? "" : `, pages of ${mapping.kernelPageBytes / 1024n} KiB`;
  if (path.startsWith("/dev/") && isDaxName(path.slice(5))) {
    return ["devdax", isShared ? `a dax device, shared${pages}` : "a dax device, but a private copy"];
  }
  if (isBarFile(path)) return ["BAR", "memory of a PCI device"];
  if (mapping.isSync) return ["fsdax", "mapped with MAP_SYNC, which only direct access allows"];
  const mount = mountOf(mounts, path, mapping.onDevice);
  if (mount?.type === "tmpfs" || mount?.type === "devtmpfs" || path.startsWith("/dev/shm/")) {
    return ["shared memory", "a file of a tmpfs: ordinary memory"];
  }
  const option = mount === null ? "inode" : daxOption(mount);
  const where = mount === null ? "" : `${mount.type} on ${mount.point}`;
  if (option === "always") {
    return [
      "fsdax",
      `${where} is mounted with ${mount?.options.find((one) => one.startsWith("dax"))}`,
    ];
  }
  if (option === "never") return ["page cache", `${where} is mounted with dax=never`];
  // The file as the process sees it, also when that is in another mount namespace.
  const isDax = mapping.isDeleted ? null : ifReadable(() => files.isDax(`/proc/${pid}/root${path}`));
  if (isDax === true) return ["fsdax", `the file's own flag for direct access is set (${where})`];
  if (isDax === false) {
    return ["page cache", `no direct access${where === "" ? "" : `: ${where} is mounted without dax`}`];
  }
  if ((mapping.residentBytes ?? 0n) > 0n) {
    return ["page cache", "its pages are counted as resident, and those of dax are not"];
  }
  return ["unknown", "the file cannot be asked"];
}

/** Processes by name, as /proc/PID/comm says it: at most 15 characters. */
export function processesNamed(host: Host, name: string): number[] {
  const pids = (ifReadable(() => host.list("/proc")) ?? []).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const wanted = name.slice(0, 15);
  return pids.filter((pid) => ifReadable(() => host.readText(`/proc/${pid}/comm`).trim()) === wanted).sort((a, b) =>
    a - b
  );
}

/** A line in which cxlalloc says what it uses. */
export interface LogLine {
  /** The line's number, from 1. */
  readonly line: number;
  /** The thread that it speaks of. */
  readonly thread: number;
  /** The backend. */
  readonly backend: string;
  /** The resource. */
  readonly resource: string;
}

/** A line in which cxlalloc refuses the backend it was given. */
export interface LogRefusal {
  /** The line's number, from 1. */
  readonly line: number;
  /** The line. */
  readonly text: string;
  /** True when the line itself says that the program ended there: of glog's severity FATAL, or a failed CHECK. */
  readonly isFatal: boolean;
}

/** What a program's log says about its backend. */
export interface LogVerdict {
  /** Every line that says what is used. */
  readonly initialized: readonly LogLine[];
  /** Lines in which it refuses the backend it was given. */
  readonly refused: readonly LogRefusal[];
}

/** Finds cxlalloc's lines in a log. They say what was asked for, not what happened: {@linkcode examineProcess} does. */
export function readLog(text: string): LogVerdict {
  const initialized: LogLine[] = [];
  const refused: LogRefusal[] = [];
  text.split("\n").forEach((line, i) => {
    const match = /cxlalloc initialized for thread (\d+): backend=(\S+) resource=(.*?)\s*$/.exec(line);
    if (match !== null) {
      const [, thread, backend = "", resource = ""] = match;
      initialized.push({ line: i + 1, thread: Number(thread), backend, resource });
    } else if (/Backend \S+ requires --cxl_memory_resource/.test(line)) {
      // glog begins a line with the severity's letter and the date: F1129 07:36:29.000000 …
      refused.push({ line: i + 1, text: line.trim(), isFatal: /^\s*F\d{4,8} |\bCheck failed\b/.test(line) });
    }
  });
  return { initialized, refused };
}
