/**
 * Step 1 of the chain: the drive and the GPU, as the PCI tree shows them.
 * @module
 */

import { isBusbarError } from "../../core/error.ts";
import { Unknown } from "../../core/fact.ts";
import { formatBytes } from "../../core/units.ts";
import { CLASS_NVME, type PciFunction, summarize } from "../../pci/function.ts";
import { isUnresponsive, powerDown, shownPowerState, usableBar } from "../../pci/accessibility.ts";
import type { Topology, TopologyNode } from "../../pci/topology.ts";
import { type P2pCheck, ruleText } from "./check.ts";

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
export function deviceChecks(
  drive: TopologyNode,
  gpu: TopologyNode | null,
  gpuCount: number,
  isPartial: boolean,
): P2pCheck[] {
  const without = isPartial ? "no NVIDIA GPU was recorded" : "this machine has no NVIDIA GPU";
  const others = isPartial
    ? `${gpuCount} GPUs were recorded, and not that one`
    : `this machine has ${gpuCount} GPUs, and not that one`;
  return [
    barCheck("drive", drive.function, 0),
    gpu === null
      ? {
        step: 1,
        name: "GPU",
        outcome: "unknown",
        text: gpuCount === 0 ? without : others,
        evidence: "vendor 10de and class 03 in /sys/bus/pci/devices",
        rule: ruleText("window"),
        remedy: isPartial
          ? "record the GPU too: pcie_topology --save on that machine"
          : gpuCount === 0
          ? "lspci -d 10de: lists what there is; a GPU in a slot that is off shows nothing"
          : null,
      }
      : gpuCheck(gpu.function),
  ];
}

function barCheck(name: string, fn: PciFunction, index: number): P2pCheck {
  const base = { step: 1, name, rule: ruleText("window") };
  // The class of a function that reads all ones is not known; that it does is told below.
  if (name === "drive" && fn.classCode !== CLASS_NVME && !isUnresponsive(fn)) {
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
    // What has no power management is awake; of what was recorded in part that is not known.
    const isAwake = shownPowerState(fn) !== null || !(fn.powerState instanceof Unknown);
    return {
      ...base,
      outcome: "pass",
      text: `${fn.name} ${isAwake ? "is awake, " : ""}decodes memory, and BAR${index} has ${
        formatBytes(bar.sizeBytes)
      }`,
      evidence: `${fn.folder}/resource: 0x${bar.start.toString(16)}`,
      remedy: null,
    };
  } catch (error) {
    if (!isBusbarError(error)) throw error;
    return {
      ...base,
      outcome: error.code === "not-recorded" ? "unknown" : "fail",
      text: error.message,
      evidence: `${fn.folder}: power_state, config, resource`,
      remedy: error.hint,
    };
  }
}

function gpuCheck(fn: PciFunction): P2pCheck {
  const asleep = powerDown(fn);
  if (asleep === null) return barCheck("GPU", fn, 0);
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
