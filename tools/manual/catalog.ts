/**
 * The tools by name. A tool is loaded when it is called.
 *
 * `completion` and `man` describe every tool, so their commands are made from this table.
 * @module
 */

import type { Tool } from "./describe_program.ts";

/** The tools, by name: the file's name without `.ts`. */
export const TOOLS: Readonly<Record<string, Tool>> = {
  bind: { title: "give a PCI function to user space, and back", load: () => import("../bind.ts") },
  check_p2p: {
    title: "can this GPU reach that NVMe controller, and if not, what says no",
    load: () => import("../check_p2p.ts"),
  },
  completion: {
    title: "complete command lines in bash, zsh and fish",
    load: async () => ({ command: (await import("./completion.ts")).completionCommand(TOOLS) }),
  },
  config: { title: "read or write one register of configuration space", load: () => import("../config.ts") },
  cxl_region: { title: "create, destroy and use regions of CXL memory", load: () => import("../cxl_region.ts") },
  dax_config: {
    title: "direct-access memory: settings, checks, proofs, shell lines",
    load: () => import("../dax_config.ts"),
  },
  damon_config: { title: "DAMON: cold pages to slow memory, hot pages back", load: () => import("../damon_config.ts") },
  doctor: { title: "what this machine lacks for devices in user space", load: () => import("../doctor.ts") },
  dump_bar0: { title: "show the registers in a BAR of a PCI function", load: () => import("../dump_bar0.ts") },
  lab: { title: "virtual machines with real kernels and real-shaped hardware", load: () => import("../lab.ts") },
  man: { title: "manual pages", load: async () => ({ command: (await import("./man.ts")).manCommand(TOOLS) }) },
  mmio: { title: "read, write or wait for one register in a BAR", load: () => import("../mmio.ts") },
  numa_stats: {
    title: "count placement, promotion, demotion and migration of pages",
    load: () => import("../numa_stats.ts"),
  },
  nvme_identify: {
    title: "what an NVMe controller says of itself",
    load: () => import("../nvme_identify.ts"),
  },
  membench: { title: "measure memory: latency, bandwidth, random updates", load: () => import("../membench.ts") },
  nvme_io: { title: "read, write, verify and measure NVMe blocks", load: () => import("../nvme_io.ts") },
  oradax: {
    title: "scan and extract packed data by an accelerator, or in software",
    load: () => import("../oradax.ts"),
  },
  pcie_topology: {
    title: "the tree of PCI functions, and who can reach whom",
    load: () => import("../pcie_topology.ts"),
  },
  restore: { title: "put back what killed runs left changed", load: () => import("../restore.ts") },
  tiering: {
    title: "memory tiers, and the settings that move pages between them",
    load: () => import("../tiering.ts"),
  },
};
