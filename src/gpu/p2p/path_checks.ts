/**
 * Steps 2 and 3 of the chain: the path between GPU and drive, and what may be mapped. Nothing is opened but files of /sys.
 *
 * Source: Linux Documentation/admin-guide/kernel-parameters.txt.
 * @module
 */

import { Unknown } from "../../core/fact.ts";
import type { Host } from "../../core/host.ts";
import { describeAcs } from "../../pci/acs.ts";
import { examineMachine } from "../../pci/doctor.ts";
import type { PciFunction } from "../../pci/function.ts";
import { judgePair, type P2pAnswer, type PairVerdict } from "../../pci/p2p.ts";
import { LOCKDOWN_FILE, lockdownMode } from "../../pci/accessibility.ts";
import { nodesAbove, type Topology, type TopologyNode } from "../../pci/topology.ts";
import { type P2pCheck, type P2pOutcome, ruleText } from "./check.ts";

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
        above.map((port) => port.function.name).join(", ") || "no bridge that is known"
      }, ${drive.rootComplex.name}`,
      rule: ruleText("path"),
      remedy: null,
    },
    {
      step: 3,
      name: "ACS",
      outcome: "unknown",
      text: `ports above the drive: ${ports.join("; ") || "none that is known"}`,
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
        : "it is not known whether there is one",
      evidence: state === "unknown"
        ? "iommu_group was not read"
        : group === null
        ? "no iommu_group"
        : `/sys/kernel/iommu_groups/${group}/type`,
      rule: ruleText("iommu"),
      remedy: null,
    },
  ];
}

function lockdownCheck(host: Host): P2pCheck {
  const mode = lockdownMode(host);
  if (mode instanceof Unknown) {
    return {
      step: 3,
      name: "lockdown",
      outcome: "unknown",
      text: `whether the kernel is locked down is ${mode}`,
      evidence: LOCKDOWN_FILE,
      rule: ruleText("hostRegister"),
      remedy: null,
    };
  }
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
  if (fn.driver instanceof Unknown) {
    const text = `whether a driver holds the drive is ${fn.driver}`;
    return { ...base, outcome: "unknown", text, evidence: `${fn.folder}/driver`, remedy: null };
  }
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
