/**
 * NUMA nodes that PCI functions are next to, with their processors and memory.
 *
 * Source: Linux Documentation/ABI/stable/sysfs-devices-node.
 * @module
 */

import { valueOf } from "../core/fact.ts";
import { type Host, ifReadable } from "../core/host.ts";
import type { PciFunction } from "./function.ts";

/** A NUMA node. */
export interface NumaNode {
  /** Its number. */
  readonly id: number;
  /** Its processors, as the kernel lists them: `0-15,32-47`; empty for none, null where it is not known. */
  readonly cpus: string | null;
  /** Its memory in bytes; null where it is not known. */
  readonly memoryBytes: bigint | null;
}

/** The files that tell of the nodes that functions are next to: for each node its processors, then its memory. */
export function numaFiles(
  functions: readonly Pick<PciFunction, "numaNode">[],
): (readonly [cpus: string, memory: string])[] {
  return nodeIds(functions).map((id) => {
    const folder = `/sys/devices/system/node/node${id}`;
    return [`${folder}/cpulist`, `${folder}/meminfo`];
  });
}

/** The nodes that functions are next to, by number. What cannot be read of one is null. */
export function readNumaNodes(host: Host, functions: readonly Pick<PciFunction, "numaNode">[]): NumaNode[] {
  const ids = nodeIds(functions);
  return numaFiles(functions).map(([cpus, memory], index) => {
    const kibibytes = /\bMemTotal:\s*(\d+) kB/.exec(ifReadable(() => host.readText(memory)) ?? "")?.[1];
    return {
      id: ids[index] ?? 0,
      cpus: ifReadable(() => host.readText(cpus))?.trim() ?? null,
      memoryBytes: kibibytes === undefined ? null : BigInt(kibibytes) * 1024n,
    };
  });
}

function nodeIds(functions: readonly Pick<PciFunction, "numaNode">[]): number[] {
  const ids = functions.flatMap(({ numaNode }) => valueOf(numaNode) ?? []);
  return [...new Set(ids)].sort((a, b) => a - b);
}
