/**
 * `busbar <tool> …`: every tool under one name. A tool is loaded when it is called.
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";

import denoJson from "../deno.json" with { type: "json" };
import { nearest } from "../src/core/locator.ts";
import { note, print } from "./render/output.ts";
import { columns } from "./render/table.ts";

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
  doctor: { title: "what this machine lacks for devices in user space", load: () => import("./doctor.ts") },
  dump_bar0: { title: "show the registers in a BAR of a PCI function", load: () => import("./dump_bar0.ts") },
  lab: { title: "virtual machines with real kernels and real-shaped hardware", load: () => import("./lab.ts") },
  nvme_identify: {
    title: "what an NVMe controller says of itself",
    load: () => import("./nvme_identify.ts"),
  },
  nvme_io: { title: "read, write, verify and measure NVMe blocks", load: () => import("./nvme_io.ts") },
  pcie_topology: {
    title: "the tree of PCI functions, and who can reach whom",
    load: () => import("./pcie_topology.ts"),
  },
  restore: { title: "put back what killed runs left changed", load: () => import("./restore.ts") },
};

function help(): string {
  const lines = columns(Object.entries(TOOLS).map(([name, { title }]) => [name, title]), "  ");
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
  const { run } = await import("./run.ts");
  await run((await tool.load()).command, args);
}

if (import.meta.main) await main();
