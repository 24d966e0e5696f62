/**
 * What a machine lacks for work with devices from user space: each point with what was looked at, and what to do.
 *
 * Sources: Linux Documentation/admin-guide/kernel-parameters.txt, driver-api/vfio.rst, admin-guide/mm/hugetlbpage.rst,
 * proc(5), getrlimit(2).
 * @module
 */

import { BatchedReads } from "../core/batched_reads.ts";
import { BusbarError } from "../core/error.ts";
import { Unknown, valueOf } from "../core/fact.ts";
import { factOf, type Host, ifReadable, presence } from "../core/host.ts";
import { namesIn, sizeOf, textOf } from "../core/host_requests.ts";
import { isSysfsPciAddress } from "../core/pci_address.ts";
import { formatBytes } from "../core/units.ts";
import { PCI_DEVICES, type PciFunction, readPciFunctions } from "./function.ts";
import { LOCKDOWN_FILE, lockdownMode, SECURITY_MODULES_FILE } from "./accessibility.ts";
import { VFIO_DRIVER } from "./vfio.ts";

/** One point that was looked at. */
export interface Finding {
  /** What was looked at: `IOMMU`. */
  readonly name: string;
  /** `good`: nothing to do. `limited`: some things will not work. `bad`: most will not. `unknown`: could not be told. */
  readonly result: "good" | "limited" | "bad" | "unknown";
  /** What was found. */
  readonly text: string;
  /** The path or value it was read from. */
  readonly evidence: string;
  /** What to do about it; null where nothing has to be done. */
  readonly remedy: string | null;
}

/** Looks at everything, in four batches. Never throws: what cannot be read is unknown. */
export function examineMachine(machine: Host): Finding[] {
  const host = new BatchedReads(machine);
  host.fetch([
    ...TEXTS.map(textOf),
    ...FOLDERS.map(namesIn),
    ...[...PLACES, ...LIBCUDA].map(sizeOf),
    { call: "readTree", path: GROUPS, depth: 1, files: ["type"] },
  ]);
  host.fetch([textOf(kernelConfigFile(ifReadable(() => host.readText(OSRELEASE).trim()) ?? ""))]);
  const names = ifReadable(() => host.list(PCI_DEVICES)) ?? [];
  const functions = readPciFunctions(machine, names.filter(isSysfsPciAddress));
  return [
    environment(host),
    iommu(host),
    vfioDriver(host),
    vfioAccess(host),
    hugePages(host),
    lockedMemory(host),
    lockdown(host),
    strictDevmem(host),
    addressSpace(names, functions.flatMap((fn) => fn instanceof BusbarError ? [] : [fn])),
    cuda(host),
  ];
}

const OSRELEASE = "/proc/sys/kernel/osrelease";
const GROUPS = "/sys/kernel/iommu_groups";
const DRIVERS = "/sys/bus/pci/drivers";
const VFIO_FOLDER = `${DRIVERS}/${VFIO_DRIVER}`;

/** What the points below read. */
const TEXTS: readonly string[] = [
  OSRELEASE,
  LOCKDOWN_FILE,
  ...["cmdline", "meminfo", "mounts", "self/limits", "driver/nvidia/version"].map((file) => `/proc/${file}`),
];
const FOLDERS: readonly string[] = ["/dev/vfio", PCI_DEVICES];
const PLACES: readonly string[] = [
  "/.dockerenv",
  "/run/.containerenv",
  VFIO_FOLDER,
  DRIVERS,
  "/dev/iommu",
  "/dev/vfio/vfio",
  "/sys/kernel",
  "/sys/module",
  "/sys/module/nvidia",
  SECURITY_MODULES_FILE,
];

function kernelConfigFile(release: string): string {
  return `/boot/config-${release}`;
}

function environment(host: Host): Finding {
  const release = ifReadable(() => host.readText(OSRELEASE).trim()) ?? "";
  const name = "environment";
  if (/microsoft/i.test(release)) {
    return {
      name,
      result: "bad",
      text: "this is WSL, which passes no PCI devices through",
      evidence: `/proc/sys/kernel/osrelease: ${release}`,
      remedy: "boot Linux on the machine itself",
    };
  }
  const container = ["/.dockerenv", "/run/.containerenv"].find((path) => presence(host, path) === true) ?? null;
  if (container !== null && !hasInitialNamespaces(host)) {
    return {
      name,
      result: "limited",
      text: "this is a container: it sees the devices only that it was given",
      evidence: container,
      remedy: "run it with --privileged -v /sys:/sys -v /dev/vfio:/dev/vfio, or outside",
    };
  }
  if (release === "") {
    return { name, result: "unknown", text: "the kernel's release cannot be read", evidence: OSRELEASE, remedy: null };
  }
  return { name, result: "good", text: `Linux ${release}`, evidence: "/proc/sys/kernel/osrelease", remedy: null };
}

/** The kernel's own namespaces have these numbers: include/linux/proc_ns.h. */
const INITIAL_NAMESPACES = ["ipc:[4026531839]", "uts:[4026531838]", "pid:[4026531836]", "cgroup:[4026531835]"];

/**
 * True when this process is in the namespaces that the kernel itself made. A virtual machine may have the files of a
 * container's image without being in one.
 */
function hasInitialNamespaces(host: Host): boolean {
  return INITIAL_NAMESPACES.every((name) =>
    ifReadable(() => host.readLink(`/proc/self/ns/${name.split(":")[0]}`)) === name
  );
}

/** Why it says nothing that something is missing from a folder: the folder is missing too. Null where it is there. */
function whyUnseen(host: Host, folder: string): Unknown | null {
  const isThere = presence(host, folder);
  if (isThere instanceof Unknown) return isThere;
  return isThere ? null : new Unknown(`${folder} is not there`);
}

function iommu(host: Host): Finding {
  const name = "IOMMU";
  const listed = factOf(() => host.list(GROUPS));
  const unseen = listed instanceof Unknown ? listed : listed === null ? whyUnseen(host, "/sys/kernel") : null;
  if (unseen !== null) return { name, result: "unknown", text: `${unseen}`, evidence: GROUPS, remedy: null };
  const groups = valueOf(listed) ?? [];
  const commandLine = ifReadable(() => host.readText("/proc/cmdline").trim()) ?? "";
  const words = commandLine.split(/\s+/).filter((word) => word.includes("iommu"));
  if (groups.length === 0) {
    return {
      name,
      result: "bad",
      text: "off: no device can be given to user space safely",
      evidence: `${GROUPS} ${listed === null ? "is not there" : "is empty"}; kernel arguments: ${
        words.join(" ") || "none about it"
      }`,
      remedy: "turn VT-d or AMD-Vi on in the firmware, and boot with intel_iommu=on (AMD: nothing more)",
    };
  }
  const types = groups.map((group) => ifReadable(() => host.readText(`${GROUPS}/${group}/type`).trim()) ?? "?");
  const counts = [...new Set(types)].map((type) => `${types.filter((other) => other === type).length} × ${type}`);
  return {
    name,
    result: "good",
    text: `on, ${groups.length} groups (${counts.join(", ")})`,
    evidence: "/sys/kernel/iommu_groups/*/type",
    remedy: null,
  };
}

function vfioDriver(host: Host): Finding {
  const name = "VFIO driver";
  const loaded = presence(host, VFIO_FOLDER);
  const iommufd = presence(host, "/dev/iommu") === true;
  const evidence = VFIO_FOLDER;
  const unseen = loaded instanceof Unknown ? loaded : loaded ? null : whyUnseen(host, DRIVERS);
  if (unseen !== null) return { name, result: "unknown", text: `${unseen}`, evidence, remedy: null };
  if (!loaded) {
    return { name, result: "bad", text: "not loaded", evidence, remedy: `modprobe ${VFIO_DRIVER}` };
  }
  return {
    name,
    result: "good",
    text: iommufd ? "loaded, with iommufd" : "loaded; no iommufd, so groups and containers are used",
    evidence: `${evidence}, /dev/iommu`,
    remedy: null,
  };
}

function vfioAccess(host: Host): Finding {
  const name = "VFIO access";
  const node = presence(host, "/dev/vfio/vfio");
  if (node instanceof Unknown) {
    return { name, result: "unknown", text: `${node}`, evidence: "/dev/vfio/vfio", remedy: null };
  }
  if (!node) {
    return {
      name,
      result: "bad",
      text: "there is no /dev/vfio/vfio",
      evidence: "/dev/vfio",
      remedy: `modprobe ${VFIO_DRIVER}`,
    };
  }
  const groups = (ifReadable(() => host.list("/dev/vfio")) ?? []).filter((entry) => /^(noiommu-)?\d+$/.test(entry));
  return {
    name,
    result: "good",
    text: groups.length === 0
      ? "no group is in user space's hands yet"
      : `groups in user space's hands: ${groups.join(", ")}`,
    evidence: "/dev/vfio",
    remedy: groups.length === 0
      ? "busbar bind vfio ADDRESS (driverctl set-override ADDRESS vfio-pci keeps it over a reboot)"
      : null,
  };
}

function hugePages(host: Host): Finding {
  const name = "huge pages";
  const info = ifReadable(() => host.readText("/proc/meminfo")) ?? "";
  const value = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(info)?.[1] ?? NaN);
  const [total, free, sizeKiB] = [value("HugePages_Total"), value("HugePages_Free"), value("Hugepagesize")];
  const mounted = /^\S+ (\S+) hugetlbfs /m.exec(ifReadable(() => host.readText("/proc/mounts")) ?? "")?.[1];
  const evidence = `/proc/meminfo: ${total} pages, ${free} free; hugetlbfs ${mounted ?? "not mounted"}`;
  if (Number.isNaN(total)) {
    return { name, result: "unknown", text: "the kernel does not tell", evidence: "/proc/meminfo", remedy: null };
  }
  const size = formatBytes(sizeKiB * 1024);
  if (total > 0 && mounted !== undefined) {
    return { name, result: "good", text: `${free} of ${total} × ${size} free`, evidence, remedy: null };
  }
  return {
    name,
    result: "limited",
    text: total === 0 ? "none reserved" : "reserved, but not mounted",
    evidence,
    remedy: total === 0
      ? "only --no-iommu needs them: echo 64 > /proc/sys/vm/nr_hugepages"
      : "only --no-iommu needs them: mount -t hugetlbfs none /dev/hugepages",
  };
}

/** What one device of ours takes: queues, and a few megabytes of data. */
const ENOUGH_LOCKED_BYTES = 64 * 2 ** 20;

function lockedMemory(host: Host): Finding {
  const name = "locked memory";
  const line = /^Max locked memory\s+(\S+)/m.exec(ifReadable(() => host.readText("/proc/self/limits")) ?? "")?.[1];
  const evidence = "/proc/self/limits: Max locked memory";
  if (line === undefined) return { name, result: "unknown", text: "the kernel does not tell", evidence, remedy: null };
  if (line === "unlimited") return { name, result: "good", text: "no limit", evidence, remedy: null };
  const limit = Number(line);
  if (limit >= ENOUGH_LOCKED_BYTES) return { name, result: "good", text: formatBytes(limit), evidence, remedy: null };
  return {
    name,
    result: "limited",
    text: `${formatBytes(limit)}: without root, no more than that can be given to a device`,
    evidence,
    remedy: "ulimit -l unlimited, or memlock in /etc/security/limits.conf",
  };
}

function lockdown(host: Host): Finding {
  const name = "kernel lockdown";
  const mode = lockdownMode(host);
  const evidence = "/sys/kernel/security/lockdown";
  if (mode instanceof Unknown) return { name, result: "unknown", text: `${mode}`, evidence, remedy: null };
  if (mode === null || mode === "none") {
    return { name, result: "good", text: mode ?? "the kernel has none", evidence, remedy: null };
  }
  return {
    name,
    result: "limited",
    text: `${mode}: BARs cannot be mapped, configuration space cannot be written`,
    evidence,
    remedy: "use VFIO, or turn Secure Boot off",
  };
}

function strictDevmem(host: Host): Finding {
  const name = "BARs of bound devices";
  const relaxed = / iomem=relaxed( |$)/.test(` ${ifReadable(() => host.readText("/proc/cmdline").trim()) ?? ""}`);
  const release = ifReadable(() => host.readText(OSRELEASE).trim()) ?? "";
  const config = ifReadable(() => host.readText(kernelConfigFile(release)));
  const strict = config === null ? null : /^CONFIG_IO_STRICT_DEVMEM=y$/m.test(config);
  const evidence = `/proc/cmdline${config === null ? "" : `, /boot/config-${release}`}`;
  if (relaxed) return { name, result: "good", text: "can be mapped (iomem=relaxed)", evidence, remedy: null };
  if (strict === false) return { name, result: "good", text: "can be mapped", evidence, remedy: null };
  return {
    name,
    result: strict === null ? "unknown" : "limited",
    text: strict === null
      ? "the kernel's configuration cannot be read; most kernels refuse (CONFIG_IO_STRICT_DEVMEM)"
      : "cannot be mapped while a driver has the device (CONFIG_IO_STRICT_DEVMEM)",
    evidence,
    remedy: "boot with iomem=relaxed, or unbind the device first",
  };
}

function addressSpace(names: readonly string[], functions: readonly PciFunction[]): Finding {
  const name = "BAR addresses";
  const without = functions.filter((fn) => fn.resources?.some((bar) => bar.role === "BAR" && !bar.assigned) === true)
    .map((fn) => fn.name);
  if (names.length === 0) {
    return { name, result: "unknown", text: "no PCI functions are shown", evidence: PCI_DEVICES, remedy: null };
  }
  const high = functions.some((fn) => fn.resources?.some((bar) => bar.start >= 1n << 32n && bar.role === "BAR"));
  if (without.length === 0) {
    return {
      name,
      result: "good",
      text: high ? "all BARs have addresses, some above 4 GiB" : "all BARs have addresses",
      evidence: `${PCI_DEVICES}/*/resource`,
      remedy: null,
    };
  }
  return {
    name,
    result: "limited",
    text: `no room for BARs of ${without.join(", ")}`,
    evidence: `${PCI_DEVICES}/*/resource`,
    remedy: "turn Above 4G Decoding on in the firmware, or boot with pci=realloc",
  };
}

/** Where distributions and NVIDIA's installer put it. */
const LIBCUDA: readonly string[] = [
  "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
  "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
  "/usr/lib64/libcuda.so.1",
  "/usr/lib/libcuda.so.1",
  "/usr/local/nvidia/lib64/libcuda.so.1",
];

function cuda(host: Host): Finding {
  const name = "CUDA driver";
  const found = LIBCUDA.find((path) => presence(host, path) === true);
  const module = ifReadable(() => host.readText("/proc/driver/nvidia/version"))?.split("\n")[0];
  if (found !== undefined && module !== undefined) {
    return { name, result: "good", text: module, evidence: `${found}, /proc/driver/nvidia/version`, remedy: null };
  }
  const loaded = presence(host, "/sys/module/nvidia");
  const isUnseen = loaded instanceof Unknown || (!loaded && whyUnseen(host, "/sys/module") !== null);
  return {
    name,
    result: "limited",
    text: found === undefined
      ? "libcuda.so.1 is in none of the usual places"
      : isUnseen
      ? "whether the kernel module is loaded cannot be seen"
      : loaded
      ? "the kernel module is loaded, but shows no version"
      : "the kernel module is not loaded",
    evidence: found === undefined ? LIBCUDA.join(", ") : `${found}, /sys/module/nvidia`,
    remedy: "only GPU work needs it: install NVIDIA's driver",
  };
}
