/**
 * What a kernel lacks for CXL memory, direct access and memory tiers: each option, what fails without it, where it was read.
 *
 * Sources: Linux Kconfig files of drivers/cxl, drivers/dax, mm, mm/damon, init; Documentation/admin-guide/cgroup-v2.rst.
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { Unknown } from "../core/fact.ts";
import { factOf, type Host, ifReadable, presence } from "../core/host.ts";
import { sizeOf, textOf } from "../core/host_requests.ts";
import type { Finding } from "../pci/doctor.ts";

/** A kernel option that the guides name. */
export interface OptionRow {
  /** Without `CONFIG_`. */
  readonly option: string;
  /** What fails without it. */
  readonly without: string;
  /** A path that is only there with it, while its module is loaded; null where there is none. */
  readonly shows: string | null;
  /** The module, where it can be one. */
  readonly module?: string;
}

/** The options, as the guides for CXL memory and tiers list them. */
export const MEMORY_OPTIONS: readonly OptionRow[] = [
  { option: "CXL_BUS", without: "nothing of CXL is there", shows: "/sys/bus/cxl", module: "cxl_core" },
  {
    option: "CXL_PCI",
    without: "CXL memory devices are not found",
    shows: "/sys/bus/pci/drivers/cxl_pci",
    module: "cxl_pci",
  },
  {
    option: "CXL_ACPI",
    without: "windows and host bridges are not found",
    shows: "/sys/bus/platform/drivers/cxl_acpi",
    module: "cxl_acpi",
  },
  {
    option: "CXL_MEM",
    without: "memory devices get no endpoint",
    shows: "/sys/bus/cxl/drivers/cxl_mem",
    module: "cxl_mem",
  },
  { option: "CXL_PORT", without: "decoders are not found", shows: "/sys/bus/cxl/drivers/cxl_port", module: "cxl_port" },
  { option: "CXL_REGION", without: "regions cannot be created", shows: "/sys/bus/cxl/drivers/cxl_region" },
  {
    option: "DEV_DAX",
    without: "there are no dax devices",
    shows: "/sys/bus/dax/drivers/device_dax",
    module: "device_dax",
  },
  { option: "DEV_DAX_CXL", without: "a CXL region shows no dax device", shows: null, module: "dax_cxl" },
  {
    option: "DEV_DAX_KMEM",
    without: "dax memory cannot become system RAM",
    shows: "/sys/bus/dax/drivers/kmem",
    module: "kmem",
  },
  {
    option: "MEMORY_HOTPLUG",
    without: "memory cannot be taken into use while the machine runs",
    shows: "/sys/devices/system/memory/auto_online_blocks",
  },
  {
    option: "MIGRATION",
    without: "pages cannot be moved between nodes",
    shows: "/sys/kernel/mm/numa/demotion_enabled",
  },
  {
    option: "NUMA_BALANCING",
    without: "hot pages are not promoted by the kernel",
    shows: "/proc/sys/kernel/numa_balancing",
  },
  { option: "MEMCG", without: "memory cannot be limited or moved by cgroup", shows: null },
  { option: "DAMON", without: "accesses are not observed", shows: null },
  { option: "DAMON_PADDR", without: "physical memory is not observed", shows: null },
  { option: "DAMON_VADDR", without: "processes are not observed", shows: null },
  { option: "DAMON_SYSFS", without: "DAMON cannot be set up by damon_config", shows: "/sys/kernel/mm/damon/admin" },
];

const OSRELEASE = "/proc/sys/kernel/osrelease";
const AUTO_ONLINE = "/sys/devices/system/memory/auto_online_blocks";
const TIERS = "/sys/devices/virtual/memory_tiering";
const CONTROLLERS = "/sys/fs/cgroup/cgroup.controllers";

/**
 * Looks at everything, in two batches. Never throws: what cannot be read is unknown.
 *
 * @param kernelConfig the text of the kernel's configuration; null where it could not be read
 * @param configPath where that was read
 */
export function examineMemory(machine: Host, kernelConfig: string | null, configPath: string): Finding[] {
  const host = new BatchedReads(machine);
  host.fetch([
    ...[OSRELEASE, AUTO_ONLINE, CONTROLLERS, "/proc/mounts"].map(textOf),
    ...MEMORY_OPTIONS.flatMap(({ shows }) => shows === null ? [] : [sizeOf(shows)]),
    sizeOf(TIERS),
  ]);
  return [
    ...MEMORY_OPTIONS.map((row) => optionFinding(host, row, kernelConfig, configPath)),
    hotplugPolicy(host),
    tiers(host),
    cgroupMemory(host),
    debugFileSystem(host),
  ];
}

/** The places of a kernel's configuration, the running kernel's own first. */
export function kernelConfigPaths(machine: Host): string[] {
  const release = ifReadable(() => machine.readText(OSRELEASE).trim());
  return ["/proc/config.gz", ...release === null ? [] : [`/boot/config-${release}`]];
}

/**
 * The text of the kernel's configuration and its place; nulls where there is none that can be read.
 *
 * @throws {BusbarError} never for what is missing
 */
export async function readKernelConfig(machine: Host): Promise<{ text: string | null; path: string }> {
  const paths = kernelConfigPaths(machine);
  for (const path of paths) {
    const bytes = ifReadable(() => machine.readBytes(path, 0, 16 << 20));
    const text = bytes === null ? null : path.endsWith(".gz") ? await unpacked(bytes) : new TextDecoder().decode(bytes);
    if (text !== null && /^CONFIG_/m.test(text)) return { text, path };
  }
  return { text: null, path: paths.join(", ") };
}

/** Most text that a configuration has; more is none. */
const MAX_CONFIG_BYTES = 16 << 20;

async function unpacked(bytes: Uint8Array): Promise<string | null> {
  try {
    const stream = new Blob([bytes.slice()]).stream().pipeThrough(new DecompressionStream("gzip"));
    const decoder = new TextDecoder();
    let text = "";
    for await (const part of stream) {
      text += decoder.decode(part, { stream: true });
      if (text.length > MAX_CONFIG_BYTES) return null;
    }
    return text;
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

function optionFinding(host: Host, row: OptionRow, config: string | null, configPath: string): Finding {
  const name = `CONFIG_${row.option}`;
  const found = (result: Finding["result"], text: string, evidence: string, remedy: string | null = null): Finding => ({
    name,
    result,
    text,
    evidence,
    remedy,
  });
  // What is there beats what a file says that may be of another build.
  const isShown = row.shows === null ? new Unknown("nothing shows it") : presence(host, row.shows);
  if (isShown === true) return found("good", "there", row.shows ?? "");
  const value = config === null ? null : new RegExp(`^${name}=([ym])$`, "m").exec(config)?.[1] ?? "n";
  if (value === "y") {
    return isShown === false && row.module === undefined
      ? found("limited", "built in, but nothing of it shows", `${configPath}; ${row.shows} is not there`)
      : found("good", "built in", configPath);
  }
  if (value === "m") {
    const load = row.module === undefined ? null : `untried: modprobe ${row.module}`;
    return isShown === false
      ? found(
        "limited",
        `a module, not loaded: until it is, ${row.without}`,
        `${configPath}; ${row.shows} is not there`,
        load,
      )
      : found("good", "a module", configPath);
  }
  const remedy = `untried: boot a kernel with ${name}`;
  if (value === "n") return found("bad", `not in this kernel: ${row.without}`, configPath, remedy);
  return isShown === false
    ? found(
      "unknown",
      `nothing of it shows, and the kernel's configuration cannot be read: perhaps ${row.without}`,
      `${row.shows} is not there; ${configPath}`,
    )
    : found("unknown", "the kernel's configuration cannot be read", configPath);
}

function hotplugPolicy(host: Host): Finding {
  const policy = factOf(() => host.readText(AUTO_ONLINE).trim());
  const name = "memory that comes later";
  if (policy === null || policy instanceof Unknown) {
    const text = policy === null ? "this kernel takes in no memory while it runs" : policy.reason;
    return { name, result: "unknown", text, evidence: AUTO_ONLINE, remedy: null };
  }
  const isOffline = policy === "offline";
  return {
    name,
    result: isOffline ? "limited" : "good",
    text: isOffline ? "stays offline until somebody takes it into use" : `goes online by itself (${policy})`,
    evidence: AUTO_ONLINE,
    remedy: isOffline
      ? "untried: daxctl reconfigure-device and cxl_region do it; for all: echo online_movable > the file"
      : null,
  };
}

function tiers(host: Host): Finding {
  const isThere = presence(host, TIERS);
  return {
    name: "memory tiers",
    result: isThere === true ? "good" : isThere === false ? "bad" : "unknown",
    text: isThere === true
      ? "there"
      : isThere === false
      ? "this kernel has no memory tiers (6.1 brought them)"
      : isThere.reason,
    evidence: TIERS,
    remedy: isThere === false ? "untried: boot a kernel from 6.1 on" : null,
  };
}

function cgroupMemory(host: Host): Finding {
  const name = "cgroup memory controller";
  const controllers = factOf(() => host.readText(CONTROLLERS).trim().split(/\s+/));
  if (controllers instanceof Unknown) {
    return { name, result: "unknown", text: controllers.reason, evidence: CONTROLLERS, remedy: null };
  }
  if (controllers === null) {
    return {
      name,
      result: "bad",
      text: "cgroup v2 is not mounted at /sys/fs/cgroup: DAMON by cgroup and memory.max do not work",
      evidence: `${CONTROLLERS} is not there`,
      remedy: "untried: boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup",
    };
  }
  const has = controllers.includes("memory");
  return {
    name,
    result: has ? "good" : "bad",
    text: has ? "there" : "not available: memory.max and filters by cgroup do not work",
    evidence: `${CONTROLLERS}: ${controllers.join(" ")}`,
    remedy: has ? null : "untried: boot without cgroup_disable=memory, and with CONFIG_MEMCG",
  };
}

function debugFileSystem(host: Host): Finding {
  const name = "debugfs";
  const mounts = factOf(() => host.readText("/proc/mounts"));
  if (mounts === null || mounts instanceof Unknown) {
    return { name, result: "unknown", text: "the mounts cannot be read", evidence: "/proc/mounts", remedy: null };
  }
  const point = mounts.split("\n").map((line) => line.split(" ")).find((fields) => fields[2] === "debugfs")?.[1];
  return {
    name,
    result: point === undefined ? "limited" : "good",
    text: point === undefined
      ? "not mounted: the scheduler's settings of NUMA balancing cannot be seen"
      : `mounted at ${point}`,
    evidence: "/proc/mounts",
    remedy: point === undefined ? "untried: mount -t debugfs none /sys/kernel/debug" : null,
  };
}
