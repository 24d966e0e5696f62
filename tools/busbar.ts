/**
 * `busbar <tool> …`: every tool under one name. A tool is loaded when it is called.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import denoJson from "../deno.json" with { type: "json" };
import { nearest } from "../src/core/locator.ts";
import type { CommandDescription } from "./manual/command_facts.ts";
import { note, print } from "./cli/output.ts";
import { columns } from "./cli/table.ts";

interface Tool {
  readonly title: string;
  readonly load: () => Promise<{ readonly command: CommandUnknownOpts }>;
}

/** The tools, by name: the file's name without `.ts`. */
export const TOOLS: Readonly<Record<string, Tool>> = {
  bind: { title: "give a PCI function to user space, and back", load: () => import("./bind.ts") },
  check_p2p: {
    title: "can this GPU reach that NVMe controller, and if not, what says no",
    load: () => import("./check_p2p.ts"),
  },
  completion: { title: "complete command lines in bash, zsh and fish", load: () => import("./completion.ts") },
  config: { title: "read or write one register of configuration space", load: () => import("./config.ts") },
  cxl_region: { title: "create, destroy and use regions of CXL memory", load: () => import("./cxl_region.ts") },
  dax_config: {
    title: "direct-access memory: settings, checks, proofs, shell lines",
    load: () => import("./dax_config.ts"),
  },
  damon_config: { title: "DAMON: cold pages to slow memory, hot pages back", load: () => import("./damon_config.ts") },
  doctor: { title: "what this machine lacks for devices in user space", load: () => import("./doctor.ts") },
  dump_bar0: { title: "show the registers in a BAR of a PCI function", load: () => import("./dump_bar0.ts") },
  lab: { title: "virtual machines with real kernels and real-shaped hardware", load: () => import("./lab.ts") },
  man: { title: "manual pages", load: () => import("./man.ts") },
  mmio: { title: "read, write or wait for one register in a BAR", load: () => import("./mmio.ts") },
  numa_stats: {
    title: "count placement, promotion, demotion and migration of pages",
    load: () => import("./numa_stats.ts"),
  },
  nvme_identify: {
    title: "what an NVMe controller says of itself",
    load: () => import("./nvme_identify.ts"),
  },
  membench: { title: "measure memory: latency, bandwidth, random updates", load: () => import("./membench.ts") },
  nvme_io: { title: "read, write, verify and measure NVMe blocks", load: () => import("./nvme_io.ts") },
  oradax: {
    title: "scan and extract packed data by an accelerator, or in software",
    load: () => import("./oradax.ts"),
  },
  pcie_topology: {
    title: "the tree of PCI functions, and who can reach whom",
    load: () => import("./pcie_topology.ts"),
  },
  restore: { title: "put back what killed runs left changed", load: () => import("./restore.ts") },
  tiering: { title: "memory tiers, and the settings that move pages between them", load: () => import("./tiering.ts") },
};

/** What `busbar` takes: all tools, loaded, as its subcommands. */
export async function programFacts(): Promise<CommandDescription> {
  const { describeCommand } = await import("./manual/command_facts.ts");
  const tools = await Promise.all(Object.values(TOOLS).map(({ load }) => load()));
  return {
    name: "busbar",
    description: "Reach real hardware: map it, drive it, simulate it.",
    arguments: [],
    options: [
      { names: ["-V", "--version"], description: "print the version, and stop", value: null },
      { names: ["-h", "--help"], description: "list the tools, and stop", value: null },
    ],
    commands: tools.map(({ command }) => describeCommand(command)),
  };
}

function help(): string {
  const lines = columns(Object.keys(TOOLS).toSorted().map((name) => [name, TOOLS[name]?.title ?? ""]), "  ");
  return `Usage: busbar <tool> [arguments]\n\nTools:\n${
    lines.join("\n")
  }\n\nbusbar <tool> --help tells the rest. busbar --version`;
}

async function main(): Promise<void> {
  const [name, ...args] = Deno.args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") return print(help());
  if (name === "--version" || name === "-V") return print(`busbar ${denoJson.version}`);
  const tool = Object.hasOwn(TOOLS, name) ? TOOLS[name] : undefined;
  if (tool === undefined) {
    const near = nearest(name, Object.keys(TOOLS));
    note(
      `busbar: there is no tool '${name}'\n  hint: ${
        near === null ? "busbar --help lists them" : `did you mean '${near}'?`
      }`,
    );
    Deno.exitCode = 2;
    return;
  }
  const { run } = await import("./cli/run.ts");
  await run((await tool.load()).command, args);
}

// Not awaited: a tool that imports this module would wait for it, and it for the tool.
if (import.meta.main) main();
