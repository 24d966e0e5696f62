/**
 * Step 4 of the chain: NVIDIA's driver, the kernel and the privilege, as files of /proc and /sys show them.
 *
 * Sources: NVIDIA driver README, chapters on /proc/driver/nvidia and module parameters; open-gpu-kernel-modules issues
 * 732 and 742 (follow_pfn).
 * @module
 */

import { BatchedReads } from "../../core/batched_reads.ts";
import { Unknown } from "../../core/fact.ts";
import { type Host, ifReadable, presence } from "../../core/host.ts";
import { sizeOf, textOf } from "../../core/host_requests.ts";
import type { TopologyNode } from "../../pci/topology.ts";
import { type P2pCheck, ruleText } from "./check.ts";

/** What a machine says of NVIDIA's driver. */
export interface NvidiaModule {
  /** `580.82.07`; null where it does not show. */
  readonly version: string | null;
  /** Whether it is loaded: a missing version alone does not say that it is not. */
  readonly isLoaded: boolean | Unknown;
  /** Open or closed kernel module; null where it does not say. */
  readonly flavour: "open" | "proprietary" | null;
  /** Its parameters, as /proc/driver/nvidia/params shows them. */
  readonly parameters: ReadonlyMap<string, string>;
  /** The kernel's release. */
  readonly kernel: string;
}

const MODULE_FILES: readonly string[] = [
  "/proc/driver/nvidia/version",
  "/sys/module/nvidia/version",
  "/proc/driver/nvidia/params",
  "/proc/sys/kernel/osrelease",
];
const MODULE_FOLDERS: readonly string[] = ["/sys/module/nvidia", "/sys/module"];
const PROCESS_STATUS = "/proc/self/status";

/** Reads what is known of NVIDIA's driver without asking it. */
export function readNvidiaModule(host: Host): NvidiaModule {
  const text = (path: string): string | null => ifReadable(() => host.readText(path));
  const about = text("/proc/driver/nvidia/version");
  const version = /(\d+\.\d+(?:\.\d+)?)/.exec(text("/sys/module/nvidia/version") ?? about ?? "")?.[1] ?? null;
  const lines = (text("/proc/driver/nvidia/params") ?? "").split("\n").map((line) => /^(\w+): (.*)$/.exec(line));
  const parameters = lines.flatMap((match): [string, string][] =>
    match === null ? [] : [[match[1] ?? "", (match[2] ?? "").replace(/^"|"$/g, "")]]
  );
  return {
    version,
    isLoaded: version !== null || isModuleLoaded(host),
    flavour: version === null || about === null ? null : /Open Kernel Module/i.test(about) ? "open" : "proprietary",
    parameters: new Map(parameters),
    kernel: text("/proc/sys/kernel/osrelease")?.trim() ?? "",
  };
}

/** By its folder in /sys/module, where that folder can be seen. */
function isModuleLoaded(host: Host): boolean | Unknown {
  const isThere = presence(host, "/sys/module/nvidia");
  if (isThere !== false) return isThere;
  const modules = presence(host, "/sys/module");
  if (modules instanceof Unknown) return modules;
  return modules ? false : new Unknown("/sys/module is not there");
}

/** True when the option that lets every user map I/O memory is set. */
export function hasPeerMappingOverride(module: NvidiaModule): boolean {
  const words = [...module.parameters].filter(([name]) => name.startsWith("RegistryDwords")).map(([, value]) => value);
  return words.some((value) => /(^|;)\s*PeerMappingOverride=(1|0x0*1)\s*(;|$)/.test(value));
}

/** Step 4: the GPU's driver, and who asks. */
export function driverChecks(machine: Host, gpu: TopologyNode | null): P2pCheck[] {
  const host = new BatchedReads(machine);
  host.fetch([...[...MODULE_FILES, PROCESS_STATUS].map(textOf), ...MODULE_FOLDERS.map(sizeOf)]);
  const module = readNvidiaModule(host);
  return [moduleCheck(module, gpu), kernelCheck(module), privilegeCheck(host, module)];
}

function moduleCheck(module: NvidiaModule, gpu: TopologyNode | null): P2pCheck {
  const base = { step: 4, name: "GPU driver", rule: ruleText("hostRegister") };
  if (module.version === null) {
    const isBound = gpu?.function.driver === "nvidia";
    return {
      ...base,
      outcome: "unknown",
      text: isBound
        ? "NVIDIA's driver has the GPU; its version and options are not known"
        : module.isLoaded instanceof Unknown
        ? `whether NVIDIA's kernel module is loaded is ${module.isLoaded}`
        : module.isLoaded
        ? "NVIDIA's kernel module is loaded; its version and options are not known"
        : "NVIDIA's kernel module is not loaded",
      evidence: "/proc/driver/nvidia/version, /sys/module/nvidia",
      remedy: module.isLoaded === false && !isBound ? "install NVIDIA's driver, or: modprobe nvidia nvidia-uvm" : null,
    };
  }
  const driver = gpu?.function.driver ?? null;
  if (driver instanceof Unknown) {
    return {
      ...base,
      outcome: "unknown",
      text: `whether NVIDIA's driver has ${gpu?.function.name} is ${driver}`,
      evidence: `${gpu?.function.folder}/driver`,
      remedy: null,
    };
  }
  if (gpu !== null && driver !== "nvidia") {
    return {
      ...base,
      outcome: "fail",
      text: `${gpu.function.name} is not in the hands of NVIDIA's driver but of ${driver ?? "none"}`,
      evidence: `${gpu.function.folder}/driver`,
      remedy: driver === "nouveau" ? "blacklist nouveau, then load nvidia" : "bind it to the driver nvidia",
    };
  }
  const shown = ["EnableStreamMemOPs", "DmaRemapPeerMmio", "RegistryDwords"]
    .flatMap((name) => module.parameters.has(name) ? [`${name}=${module.parameters.get(name) || "none"}`] : []);
  return {
    ...base,
    outcome: "pass",
    text: `NVIDIA's driver ${module.version}, ${module.flavour ?? "unknown"} kernel module`,
    evidence: `/proc/driver/nvidia/params: ${shown.join(", ") || "not readable"}`,
    remedy: null,
  };
}

/** Linux took follow_pfn away; a driver that was built without its successor cannot find the pages of a BAR. */
function kernelCheck(module: NvidiaModule): P2pCheck {
  const [major = 0, minor = 0] = module.kernel.split(/[.-]/).map(Number);
  const isTrap = major > 6 || (major === 6 && minor >= 10);
  const branch = Number(module.version?.split(".")[0] ?? NaN);
  const base = { step: 4, name: "kernel", rule: ruleText("hostRegister") };
  const evidence = `/proc/sys/kernel/osrelease: ${module.kernel || "not readable"}; driver ${
    module.version ?? (module.isLoaded === false ? "not loaded" : "not known")
  }`;
  const unseen = module.isLoaded === false ? "none is loaded to look at" : "which one is loaded is not known";
  if (module.version === null || !isTrap) {
    return {
      ...base,
      outcome: module.version === null ? "unknown" : "pass",
      text: module.version === null
        ? module.kernel === ""
          ? "neither kernel nor driver are known"
          : isTrap
          ? `from Linux 6.10 on a driver needs follow_pfnmap_start or follow_pte to map a BAR; ${unseen}`
          : `this kernel has follow_pfn; of the drivers, ${unseen}`
        : "this kernel still has what the driver looks BAR pages up with",
      evidence,
      remedy: null,
    };
  }
  return {
    ...base,
    outcome: "warn",
    text: branch < 550
      ? `driver ${module.version} is older than Linux ${major}.${minor}: it looks BAR pages up with follow_pfn, which is gone`
      : "this pair works only if the driver was built with follow_pfnmap_start or follow_pte: result 1 in step 6 says no",
    evidence,
    remedy: "if step 6 ends with 1: a driver of 550 or newer, built for this kernel, or a kernel before 6.10",
  };
}

/** capabilities(7): CAP_SYS_ADMIN */
const CAP_SYS_ADMIN = 21n;

function privilegeCheck(host: Host, module: NvidiaModule): P2pCheck {
  const digits = /^CapEff:\s*([0-9a-f]+)/m.exec(ifReadable(() => host.readText(PROCESS_STATUS)) ?? "")?.[1];
  const base = { step: 4, name: "privilege", rule: ruleText("hostRegister") };
  const override = hasPeerMappingOverride(module);
  const evidence = `/proc/self/status: CapEff ${digits ?? "not readable"}; PeerMappingOverride ${
    override ? "1" : module.parameters.size === 0 ? "not known" : "not set"
  }`;
  if (digits === undefined) {
    return {
      ...base,
      outcome: "unknown",
      text: "the machine does not say what this user may do",
      evidence,
      remedy: null,
    };
  }
  const isAdmin = (BigInt(`0x${digits}`) >> CAP_SYS_ADMIN & 1n) === 1n;
  if (isAdmin || override) {
    const text = isAdmin ? "this user is an administrator" : "PeerMappingOverride lets every user map I/O memory";
    return { ...base, outcome: "pass", text, evidence, remedy: null };
  }
  return {
    ...base,
    outcome: "warn",
    text: "this user is no administrator: cuMemHostRegister of a BAR will be refused with 800",
    evidence,
    remedy: 'run it as root, or load the driver with NVreg_RegistryDwords="PeerMappingOverride=1;"',
  };
}
