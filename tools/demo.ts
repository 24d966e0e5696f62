/**
 * `deno task demo`: the tools, one after the other, on software devices. Needs a C compiler and no hardware.
 * @module
 */

import { bold } from "@std/fmt/colors";

import { print, setUpColors } from "./cli/output.ts";

/** What is shown. `FILE` is a file that keeps the blocks of the software drive from one step to the next. */
const STEPS: readonly (readonly [title: string, ...command: string[]])[] = [
  ["The registers of a software NVMe controller", "dump_bar0", "soft:nvme"],
  ["What the controller says of itself", "nvme_identify", "soft:nvme"],
  [
    "4 MiB of a pattern that says of each block which one it is",
    ...["nvme_io", "soft:nvme?size=4MiB&file=FILE", "write", "--pattern", "1", "--write"],
  ],
  [
    "The same blocks by another process: is every one as the pattern says?",
    ...["nvme_io", "soft:nvme?size=4MiB&file=FILE", "verify", "--pattern", "1"],
  ],
  [
    "A kernel on a software GPU drives the controller by itself: doorbells, commands, completions",
    ...["gpu_nvme", "soft:nvme?size=4MiB&file=FILE", "write", "--pattern", "2", "--write"],
  ],
  [
    "It reads the blocks back and checks each",
    ...["gpu_nvme", "soft:nvme?size=4MiB&file=FILE", "verify", "--pattern", "2"],
  ],
  [
    "So does the processor",
    ...["nvme_io", "soft:nvme?size=4MiB&file=FILE", "verify", "--pattern", "2"],
  ],
];

/** Runs every step; returns the highest exit status. */
async function demo(): Promise<number> {
  setUpColors();
  const folder = await Deno.makeTempDir({ prefix: "busbar-demo-" });
  let status = 0;
  try {
    for (const [title, tool, ...args] of STEPS) {
      const words = args.map((word) => word.replace("FILE", `${folder}/blocks`));
      print(`\n${bold(title)}`);
      print(`$ deno run -A tools/${tool}.ts ${words.map(quoted).join(" ")}`);
      const script = new URL(`${tool}.ts`, import.meta.url).pathname;
      const { code } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", script, ...words],
        stdout: "inherit",
        stderr: "inherit",
      }).spawn().status;
      status = Math.max(status, code);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return status;
}

function quoted(word: string): string {
  return /^[\w:./=-]+$/.test(word) ? word : `'${word}'`;
}

if (import.meta.main) Deno.exitCode = await demo();
