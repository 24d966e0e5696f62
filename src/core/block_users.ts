/**
 * Who uses a block device: mounts, swap, md, dm and others that stack on it, open descriptors. Asked before a device is
 * taken away from the kernel or written to, and again just before.
 *
 * Sources: proc(5) (mountinfo, swaps), Linux Documentation/ABI/testing/sysfs-block (holders).
 * @module
 */

import { BatchedReads } from "./batched_reads.ts";
import { type Host, ifReadable } from "./host.ts";
import { linkAt, textOf } from "./host_requests.ts";
import { describeUse, findProcessUses, type ProcessUse } from "./process_uses.ts";

/** Something that uses a block device. */
export interface BlockUse {
  /** What kind of use it is. */
  readonly kind: "mount" | "swap" | "holder" | "open" | "claimed";
  /** The block device that is used: the one asked for, a partition of it, or what is stacked on it. */
  readonly device: string;
  /** One sentence: `nvme0n1p1 is mounted on /`. */
  readonly text: string;
}

const CLASS_BLOCK = "/sys/class/block";

/** A block device and all that lies on it: partitions, and device-mapper, md and other devices stacked on those. */
export function stackedDevices(host: Host, name: string): string[] {
  const found = new Set<string>();
  const visit = (device: string): void => {
    if (found.has(device)) return;
    found.add(device);
    for (const holder of holdersOf(host, device)) visit(holder);
    for (const partition of partitionsOf(host, device)) visit(partition);
  };
  visit(name);
  return [...found];
}

function holdersOf(host: Host, device: string): string[] {
  return ifReadable(() => host.list(`${CLASS_BLOCK}/${device}/holders`)) ?? [];
}

function partitionsOf(host: Host, device: string): string[] {
  const names = ifReadable(() => host.list(`${CLASS_BLOCK}/${device}/`)) ?? [];
  return names.filter((name) => ifReadable(() => host.readText(`${CLASS_BLOCK}/${device}/${name}/partition`)) !== null);
}

/**
 * All uses of block devices, by name (`nvme0n1`), with what is stacked on them.
 *
 * @param isClaimed says whether the kernel refuses an exclusive open, which also finds users that leave no other trace
 * (ZFS, bcache); not asked when not given
 * @param processUses what processes have open, when the caller has looked through them already, block devices included
 */
export function blockUses(
  host: Host,
  names: readonly string[],
  isClaimed?: (device: string) => boolean,
  processUses?: readonly ProcessUse[],
): BlockUse[] {
  const uses: BlockUse[] = [];
  if (names.length === 0) return uses;
  const stacks = names.map((name) => stackedDevices(host, name));
  const paths = new Set(stacks.flat().map((device) => `/dev/${device}`));
  // Both look through all processes: once for all devices.
  const opened = processUses ?? findProcessUses(host, (path) => paths.has(path));
  const tables = mountTables(host);
  for (const devices of stacks) {
    const before = uses.length;
    for (const device of devices) {
      uses.push(...mountsOf(host, device, tables), ...swapsOf(host, device));
      for (const holder of holdersOf(host, device)) {
        uses.push({ kind: "holder", device, text: `${device} is part of ${holderName(host, holder)}` });
      }
    }
    for (const use of opened.filter(({ path }) => devices.includes(path.slice("/dev/".length)))) {
      uses.push({ kind: "open", device: use.path.slice("/dev/".length), text: describeUse(use) });
    }
    if (uses.length > before || isClaimed === undefined) continue;
    for (const device of devices.filter((device) => isClaimed(device))) {
      uses.push({
        kind: "claimed",
        device,
        text: `${device} is held by the kernel (ZFS, bcache or another user of whole devices)`,
      });
    }
  }
  return uses;
}

/** `dm-0 (vg-root)`: with the name that device mapper or md know it by. */
function holderName(host: Host, holder: string): string {
  const name = ifReadable(() => host.readText(`${CLASS_BLOCK}/${holder}/dm/name`).trim());
  return name === null ? holder : `${holder} (${name})`;
}

/** Mounts in the mount namespace of any process, by device number: names in mountinfo may be of another namespace. */
function mountsOf(host: Host, device: string, tables: ReadonlySet<string>): BlockUse[] {
  const number = ifReadable(() => host.readText(`${CLASS_BLOCK}/${device}/dev`).trim());
  if (number === null) return [];
  const points = new Set<string>();
  for (const text of tables) {
    for (const line of text.split("\n")) {
      const [, , majorMinor, , point] = line.split(" ");
      if (majorMinor === number && point !== undefined) points.add(unescapeOctal(point));
    }
    // File systems with several devices (btrfs) show a number of their own: there the source column tells.
    for (const line of text.split("\n")) {
      const source = line.split(" - ")[1]?.split(" ")[1];
      if (source === `/dev/${device}`) points.add(unescapeOctal(line.split(" ")[4] ?? "?"));
    }
  }
  return [...points].map((point) => ({ kind: "mount", device, text: `${device} is mounted on ${point}` }));
}

function mountTables(host: Host): Set<string> {
  const pids = (ifReadable(() => host.list("/proc")) ?? []).filter((name) => /^\d+$/.test(name));
  const seen = new Set<string>();
  const tables = new Set<string>();
  const reads = new BatchedReads(host);
  const processes = ["self", ...pids];
  reads.fetch(processes.map((pid) => linkAt(`/proc/${pid}/ns/mnt`)));
  const namespaceOf = (pid: string): string => ifReadable(() => reads.readLink(`/proc/${pid}/ns/mnt`)) ?? pid;
  const firstOfEach = new Map(processes.toReversed().map((pid) => [namespaceOf(pid), pid]));
  reads.fetch([...firstOfEach.values()].map((pid) => textOf(`/proc/${pid}/mountinfo`)));
  for (const pid of processes) {
    const namespace = namespaceOf(pid);
    if (seen.has(namespace)) continue;
    const text = ifReadable(() => reads.readText(`/proc/${pid}/mountinfo`));
    if (text === null) continue;
    seen.add(namespace);
    tables.add(text);
  }
  return tables;
}

/** proc(5): spaces and some others are written as \040 in the tables of mounts and swaps. */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(parseInt(digits, 8)));
}

function swapsOf(host: Host, device: string): BlockUse[] {
  const lines = (ifReadable(() => host.readText("/proc/swaps")) ?? "").split("\n").slice(1);
  const inUse = lines.some((line) => unescapeOctal(line.split(/\s/)[0] ?? "") === `/dev/${device}`);
  return inUse ? [{ kind: "swap", device, text: `${device} is swap space` }] : [];
}
