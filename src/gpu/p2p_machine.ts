/**
 * Steps 1 to 4 of the chain: what the machine's files say. Nothing is opened but files of /sys and /proc.
 *
 * Sources: NVIDIA driver README, chapters on /proc/driver/nvidia and module parameters; open-gpu-kernel-modules issues
 * 732 and 742 (follow_pfn); Linux Documentation/admin-guide/kernel-parameters.txt.
 * @module
 */

import { isBusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import { formatBytes } from "../core/units.ts";
import { describeAcs } from "../pci/acs.ts";
import { examineMachine } from "../pci/doctor.ts";
import { CLASS_NVME, type PciFunction, summarize } from "../pci/function.ts";
import { judgePair, type P2pAnswer, type PairVerdict } from "../pci/p2p.ts";
import { lockdownMode, shownPowerState, usableBar } from "../pci/accessibility.ts";
import { nodesAbove, type Topology, type TopologyNode } from "../pci/topology.ts";
import { type P2pCheck, type P2pOutcome, ruleText } from "./p2p_check.ts";

/** NVIDIA's vendor ID. */
export const NVIDIA_VENDOR_ID = 0x10de;
const DISPLAY_CLASS = 0x03;

/** NVIDIA's GPUs of a machine, by address. */
export function listGpus(topology: Topology): TopologyNode[] {
  return topology.nodes.filter(({ function: fn }) =>
    fn.vendorId === NVIDIA_VENDOR_ID && fn.classCode >> 16 === DISPLAY_CLASS
  );
}

/** Step 1: both are there, awake, decoding, with addresses. */
export function deviceChecks(drive: TopologyNode, gpu: TopologyNode | null, gpuCount: number): P2pCheck[] {
  return [
    barCheck("drive", drive.function, 0),
    gpu === null
      ? {
        step: 1,
        name: "GPU",
        outcome: "unknown",
        text: gpuCount === 0 ? "this machine has no NVIDIA GPU" : `this machine has ${gpuCount} GPUs, and not that one`,
        evidence: "vendor 10de and class 03 in /sys/bus/pci/devices",
        rule: ruleText("window"),
        remedy: gpuCount === 0 ? "lspci -d 10de: lists what there is; a GPU in a slot that is off shows nothing" : null,
      }
      : gpuCheck(gpu.function),
  ];
}

function barCheck(name: string, fn: PciFunction, index: number): P2pCheck {
  const base = { step: 1, name, rule: ruleText("window") };
  if (name === "drive" && fn.classCode !== CLASS_NVME) {
    return {
      ...base,
      outcome: "fail",
      text: `${fn.name} is no NVMe controller: ${summarize(fn)}`,
      evidence: `class ${fn.classCode.toString(16).padStart(6, "0")}`,
      remedy: "lspci -d ::0108 lists the NVMe controllers",
    };
  }
  try {
    const bar = usableBar(fn, index);
    return {
      ...base,
      outcome: "pass",
      text: `${fn.name} is awake, decodes memory, and BAR${index} has ${formatBytes(bar.sizeBytes)}`,
      evidence: `${fn.folder}/resource: 0x${bar.start.toString(16)}`,
      remedy: null,
    };
  } catch (error) {
    if (!isBusbarError(error)) throw error;
    return {
      ...base,
      outcome: "fail",
      text: error.message,
      evidence: `${fn.folder}: power_state, config, resource`,
      remedy: error.hint,
    };
  }
}

function gpuCheck(fn: PciFunction): P2pCheck {
  const asleep = [fn.powerState, shownPowerState(fn)].find((state) => state === "D3hot" || state === "D3cold");
  if (asleep === undefined) return barCheck("GPU", fn, 0);
  return {
    step: 1,
    name: "GPU",
    outcome: "warn",
    text: `${fn.name} is asleep (${asleep}); the driver wakes it when CUDA starts`,
    evidence: `${fn.folder}/power_state`,
    rule: ruleText("window"),
    remedy: `to look at it awake: echo on > ${fn.folder}/power/control`,
  };
}

/** Steps 2 and 3: the way from the GPU to the drive, and what on it says no. */
export function pathChecks(
  topology: Topology,
  drive: TopologyNode,
  gpu: TopologyNode | null,
): { checks: P2pCheck[]; pair: PairVerdict | null } {
  const pair = gpu === null ? null : judgePair(topology, gpu, drive);
  const checks = pair === null ? driveOnly(drive) : pair.findings.map((finding): P2pCheck => ({
    step: finding.rule === "path" || finding.rule === "rootComplex" ? 2 : 3,
    name: P2P_NAMES[finding.rule] ?? finding.rule,
    outcome: outcomeOf(finding.writes, finding.reads),
    text: finding.text,
    evidence: finding.evidence,
    rule: ruleText(finding.rule),
    remedy: finding.remedy,
  }));
  const ordered = [...checks, lockdownCheck(topology.host), mappingCheck(topology.host, drive.function)];
  return { checks: ordered.toSorted((a, b) => a.step - b.step), pair };
}

const P2P_NAMES: Readonly<Record<string, string>> = {
  path: "path",
  rootComplex: "root complex",
  acs: "ACS",
  iommu: "IOMMU",
  window: "window",
  gpuPolicy: "GPU memory",
};

/** Reads that do not return leave tier 1 possible. */
function outcomeOf(writes: P2pAnswer, reads: P2pAnswer): P2pOutcome {
  if (writes === "no") return "fail";
  if (writes === "unknown") return "unknown";
  return reads === "yes" ? "pass" : "warn";
}

/** What can be said of the drive's end alone. */
function driveOnly(drive: TopologyNode): P2pCheck[] {
  const above = nodesAbove(drive);
  const ports = above.map((port) => `${port.function.name} ${describeAcs(port.acs)}`);
  const { state, group, type } = drive.iommu;
  return [
    {
      step: 2,
      name: "path",
      outcome: "unknown",
      text: "without a GPU there is no way to look at, only the drive's end of it",
      evidence: `${drive.function.name} below ${
        above.map((port) => port.function.name).join(", ") || "nothing"
      }, ${drive.rootComplex.name}`,
      rule: ruleText("path"),
      remedy: null,
    },
    {
      step: 3,
      name: "ACS",
      outcome: "unknown",
      text: `ports above the drive: ${ports.join("; ") || "none"}`,
      evidence: "ACS control",
      rule: ruleText("acs"),
      remedy: null,
    },
    {
      step: 3,
      name: "IOMMU",
      outcome: "unknown",
      text: state === "group"
        ? `the drive is in group ${group}, domain ${type ?? "not told"}; what counts is the GPU's group`
        : state === "none"
        ? "there is no IOMMU, or it is off"
        : "it was not recorded whether there is one",
      evidence: group === null ? "no iommu_group" : `/sys/kernel/iommu_groups/${group}/type`,
      rule: ruleText("iommu"),
      remedy: null,
    },
  ];
}

function lockdownCheck(host: Host): P2pCheck {
  const mode = lockdownMode(host);
  const isOff = mode === null || mode === "none";
  return {
    step: 3,
    name: "lockdown",
    outcome: isOff ? "pass" : "fail",
    text: mode === null
      ? "the kernel shows no lockdown"
      : isOff
      ? "the kernel is not locked down"
      : `the kernel is locked down (${mode}): BARs cannot be mapped`,
    evidence: `/sys/kernel/security/lockdown: ${mode ?? "not there"}`,
    rule: ruleText("hostRegister"),
    remedy: isOff ? null : "turn Secure Boot off: CUDA needs a mapping of resource0, which VFIO does not give",
  };
}

function mappingCheck(host: Host, fn: PciFunction): P2pCheck {
  const base = { step: 3, name: "mapping", rule: ruleText("hostRegister") };
  const strict = examineMachine(host).find((finding) => finding.name === "BARs of bound devices");
  if (fn.driver === null) {
    const text = "no driver holds the drive, so BAR0 may be mapped";
    return { ...base, outcome: "pass", text, evidence: `${fn.folder}/driver is not there`, remedy: null };
  }
  const mayBeMapped = strict?.result === "good";
  return {
    ...base,
    outcome: mayBeMapped ? "pass" : "warn",
    text: mayBeMapped
      ? `the driver ${fn.driver} holds the drive; BAR0 may be mapped all the same`
      : `the driver ${fn.driver} holds the drive: ${strict?.text ?? "not known"}`,
    evidence: strict?.evidence ?? "/proc/cmdline",
    remedy: mayBeMapped ? null : strict?.remedy ?? null,
  };
}

/** What a machine says of NVIDIA's driver. */
export interface NvidiaModule {
  /** `580.82.07`; null where it is not loaded. */
  readonly version: string | null;
  /** Open or closed kernel module; null where it does not say. */
  readonly flavour: "open" | "proprietary" | null;
  /** Its parameters, as /proc/driver/nvidia/params shows them. */
  readonly parameters: ReadonlyMap<string, string>;
  /** The kernel's release. */
  readonly kernel: string;
}

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
    flavour: version === null || about === null ? null : /Open Kernel Module/i.test(about) ? "open" : "proprietary",
    parameters: new Map(parameters),
    kernel: text("/proc/sys/kernel/osrelease")?.trim() ?? "",
  };
}

/** True when the option that lets every user map I/O memory is set. */
export function hasPeerMappingOverride(module: NvidiaModule): boolean {
  const words = [...module.parameters].filter(([name]) => name.startsWith("RegistryDwords")).map(([, value]) => value);
  return words.some((value) => /(^|;)\s*PeerMappingOverride=(1|0x0*1)\s*(;|$)/.test(value));
}

/** Step 4: the GPU's driver, and who asks. */
export function driverChecks(host: Host, gpu: TopologyNode | null): P2pCheck[] {
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
        : "NVIDIA's kernel module is not loaded",
      evidence: "/proc/driver/nvidia/version, /sys/module/nvidia/version",
      remedy: isBound ? null : "install NVIDIA's driver, or: modprobe nvidia nvidia-uvm",
    };
  }
  const driver = gpu?.function.driver ?? null;
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
    module.version ?? "not loaded"
  }`;
  if (module.version === null || !isTrap) {
    return {
      ...base,
      outcome: module.version === null ? "unknown" : "pass",
      text: module.version === null
        ? module.kernel === ""
          ? "neither kernel nor driver are known"
          : isTrap
          ? "from Linux 6.10 on a driver needs follow_pfnmap_start or follow_pte to map a BAR; none is loaded to look at"
          : "this kernel has follow_pfn; no driver is loaded to look at"
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
  const digits = /^CapEff:\s*([0-9a-f]+)/m.exec(ifReadable(() => host.readText("/proc/self/status")) ?? "")?.[1];
  const base = { step: 4, name: "privilege", rule: ruleText("hostRegister") };
  const override = hasPeerMappingOverride(module);
  const evidence = `/proc/self/status: CapEff ${digits ?? "not readable"}; PeerMappingOverride ${
    override ? "1" : "not set"
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
