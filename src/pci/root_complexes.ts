/**
 * Which root complexes pass traffic from one of their ports to another.
 *
 * The specification leaves that open (PCI Express Base 6.0 §1.3.1), so the kernel keeps a list of what was tested:
 * Linux drivers/pci/p2pdma.c (cpu_supports_p2pdma, pci_p2pdma_whitelist). It is about DMA mapping, and no promise: of
 * some that it trusts, people report reads that never return.
 * @module
 */

import { formatId } from "./config_space.ts";
import type { Processor, RootComplex, TopologyNode } from "./topology.ts";

/** What is known of a root complex that traffic between two of its ports has to pass. */
export interface RootComplexTrust {
  /** Posted writes arrive. */
  readonly writes: "yes" | "unknown";
  /** Reads return. */
  readonly reads: "yes" | "unknown" | "no";
  /** Why, in one sentence. */
  readonly text: string;
  /** What it was told by. */
  readonly evidence: string;
}

/** A row of the kernel's list. */
interface ListedHostBridge {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly title: string;
  /** Trusted only between two ports of one host bridge. */
  readonly onlyWithin: boolean;
}

const INTEL = 0x8086;
const AMD = 0x1022;

/** Linux 6.12, drivers/pci/p2pdma.c; the two accelerators are of later kernels. */
const LISTED: readonly ListedHostBridge[] = [
  { vendorId: INTEL, deviceId: 0x3c00, title: "Xeon E5 (Sandy Bridge)", onlyWithin: true },
  { vendorId: INTEL, deviceId: 0x3c01, title: "Xeon E5 (Sandy Bridge)", onlyWithin: true },
  { vendorId: INTEL, deviceId: 0x2f00, title: "Xeon E5 v3 and E7 v3 (Haswell)", onlyWithin: true },
  { vendorId: INTEL, deviceId: 0x2f01, title: "Xeon E5 v3 and E7 v3 (Haswell)", onlyWithin: true },
  { vendorId: INTEL, deviceId: 0x2030, title: "Xeon (Skylake-E), root port A", onlyWithin: false },
  { vendorId: INTEL, deviceId: 0x2031, title: "Xeon (Skylake-E), root port B", onlyWithin: false },
  { vendorId: INTEL, deviceId: 0x2032, title: "Xeon (Skylake-E), root port C", onlyWithin: false },
  { vendorId: INTEL, deviceId: 0x2033, title: "Xeon (Skylake-E), root port D", onlyWithin: false },
  { vendorId: INTEL, deviceId: 0x2020, title: "Xeon (Skylake-E), DMI", onlyWithin: false },
  { vendorId: INTEL, deviceId: 0x09a2, title: "Xeon (Ice Lake and later)", onlyWithin: false },
  { vendorId: INTEL, deviceId: 0x0b25, title: "Xeon (Sapphire Rapids), data streaming accelerator", onlyWithin: false },
  { vendorId: INTEL, deviceId: 0x0cfe, title: "Xeon (Sapphire Rapids), analytics accelerator", onlyWithin: false },
];

/** AMD root complexes of family 0x17 and later, for machines whose /proc/cpuinfo was not recorded. */
const ZEN_ROOT_COMPLEXES: ReadonlyMap<number, string> = new Map([
  [0x1450, "Zen (family 17h)"],
  [0x1480, "Zen 2 or 3: EPYC, Threadripper or Ryzen, all with this ID"],
  [0x14a4, "Zen 4: EPYC"],
  [0x14b5, "Zen 3+ mobile"],
  [0x14d8, "Zen 4 desktop"],
  [0x14e8, "Zen 4 mobile"],
  [0x15d0, "Zen mobile (Raven)"],
  [0x1630, "Zen 2 or 3 mobile (Renoir)"],
  [0x1645, "Zen 2 (Van Gogh)"],
]);

/** Desktop parts that pass posted writes and drop reads: AMD family and models, with their names. */
const DROPS_READS: readonly { family: number; first: number; last: number; title: string }[] = [
  { family: 0x17, first: 0x70, last: 0x7f, title: "Matisse" },
  { family: 0x19, first: 0x20, last: 0x2f, title: "Vermeer" },
];

/**
 * What is known of traffic from a port of `a` to a port of `b`, which may be the same root complex.
 *
 * @param processor what /proc/cpuinfo says; null where it was not recorded
 */
export function judgeRootComplex(a: RootComplex, b: RootComplex, processor: Processor | null): RootComplexTrust {
  if (processor?.isVirtual === true) {
    return {
      writes: "unknown",
      reads: "unknown",
      text: "this is a virtual machine: whether traffic passes is up to its hypervisor and to the real root complex",
      evidence: "/proc/cpuinfo: flags say hypervisor",
    };
  }
  const amd = judgeAmd(a, b, processor);
  if (amd !== null) return amd;
  const rows = [listed(a), listed(b)];
  const names = [...new Set([a, b].map(describe))].join(" and ");
  const [first, second] = rows;
  const hidden = [a, b].find((root) => root.mayLackFirst);
  if (hidden !== undefined) {
    return {
      writes: "unknown",
      reads: "unknown",
      text: `the first function of ${hidden.name}, by which the kernel knows a root complex, was not recorded`,
      evidence: names,
    };
  }
  if (first === undefined || first === null || second === undefined || second === null) {
    return {
      writes: "unknown",
      reads: "unknown",
      text: "nobody has reported whether this root complex passes traffic between its ports: the kernel's list does " +
        "not have it",
      evidence: names,
    };
  }
  if (a !== b && (first.onlyWithin || second.onlyWithin)) {
    return {
      writes: "unknown",
      reads: "unknown",
      text: `${first.title}: the kernel trusts it within one host bridge only, and these are two`,
      evidence: names,
    };
  }
  return {
    writes: "yes",
    reads: "yes",
    text: `${first.title}: the kernel trusts it to pass traffic between ports`,
    evidence: names,
  };
}

function judgeAmd(a: RootComplex, b: RootComplex, processor: Processor | null): RootComplexTrust | null {
  const isAmds = [a, b].every((root) => [AMD, undefined].includes(hostBridge(root)?.function.vendorId));
  if (isAmds && processor?.vendor === "AuthenticAMD" && (processor.family ?? 0) >= 0x17) {
    const { family, model } = processor;
    const name = processor.name ?? "AMD processor";
    const evidence = `/proc/cpuinfo: ${name}, family 0x${(family ?? 0).toString(16)}, model ${
      model === null ? "?" : `0x${model.toString(16)}`
    }`;
    const part = DROPS_READS.find((row) =>
      row.family === family && model !== null && row.first <= model && model <= row.last
    );
    if (part !== undefined) {
      return {
        writes: "yes",
        reads: "no",
        text:
          `${part.title} passes posted writes and drops reads: a read returns all ones, and repeating it can take ` +
          "the device off the bus until a power cycle",
        evidence,
      };
    }
    const isServer = /EPYC|Threadripper/i.test(name);
    return {
      writes: "yes",
      reads: isServer ? "yes" : "unknown",
      text: isServer
        ? "AMD Zen: the kernel trusts it to pass traffic between ports"
        : "AMD Zen: the kernel trusts it, but desktop parts of this kind are known to drop reads",
      evidence,
    };
  }
  const zen = [a, b].map((root) => {
    const fn = hostBridge(root)?.function;
    return fn?.vendorId === AMD ? ZEN_ROOT_COMPLEXES.get(fn.deviceId) ?? null : null;
  });
  const [title] = zen;
  if (processor !== null || title === null || title === undefined || zen.includes(null)) return null;
  return {
    writes: "yes",
    reads: "unknown",
    text: `AMD ${title}: the kernel trusts it, but desktop parts of this kind are known to drop reads, and the ` +
      "processor was not recorded",
    evidence: [...new Set([a, b].map(describe))].join(" and "),
  };
}

/**
 * The function that stands for a root complex in the kernel's list: the first on its first bus, when it is 00.0 or a
 * root port.
 */
export function hostBridge(root: RootComplex): TopologyNode | null {
  const first = root.children[0];
  if (first === undefined || root.isBelowUnknown || root.mayLackFirst) return null;
  const { address, vendorId, deviceId } = first.function;
  const is00 = address?.device === 0 && address.function === 0;
  return is00 || first.kind === "root port" || find(vendorId, deviceId) !== undefined ? first : null;
}

function listed(root: RootComplex): ListedHostBridge | null {
  const fn = hostBridge(root)?.function;
  return fn === undefined ? null : find(fn.vendorId, fn.deviceId) ?? null;
}

function find(vendorId: number, deviceId: number): ListedHostBridge | undefined {
  return LISTED.find((row) => row.vendorId === vendorId && row.deviceId === deviceId);
}

function describe(root: RootComplex): string {
  const fn = hostBridge(root)?.function;
  return fn === undefined
    ? `${root.name}: no host bridge function`
    : `${root.name}: ${fn.name} is ${formatId(fn.vendorId, fn.deviceId)}`;
}
