/**
 * `list`: what is on a machine.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { pause } from "../src/core/deadline.ts";
import { BusbarError } from "../src/core/error.ts";
import { valueOf } from "../src/core/fact.ts";
import { readPciNames } from "../src/pci/ids.ts";
import { DEVICE_KINDS, type InventoryDevice, readInventory } from "../src/pci/inventory.ts";
import { inventoryChanges } from "../src/pci/inventory_changes.ts";
import { onlyWith } from "./cli/applicable.ts";
import { nodeNumber, timeOption, wholeNumber } from "./cli/arguments.ts";
import { HOST_OPTION, hostFrom, SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson, printJsonLine, printSchema } from "./cli/output.ts";
import { changeJson, changeLine, inventoryJson, inventoryLines, inventorySchema } from "./render/pci/inventory.ts";
import { interruption, run } from "./cli/run.ts";

interface Options {
  readonly driver?: string | undefined;
  readonly node?: number | undefined;
  readonly class?: string | undefined;
}

/** The command line of `list`. */
export const command: CommandUnknownOpts = new Command("list")
  .description("List the devices of a machine: what they are, who has them, how they are connected. Only reads.")
  .addArgument(
    new Argument("[what]", "which devices").choices([...DEVICE_KINDS, "all"] as const).default("all" as const),
  )
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option("--driver <name>", "only devices that this driver has; none: that no driver has")
  .option("--node <n>", "only devices of this NUMA node", nodeNumber)
  .option("--class <code>", "only PCI functions of this class: 01, 0108 or 010802")
  .option("--temperatures", "also those that the kernel asks the device for: a command to each NVMe drive")
  .option("--wide", "all columns, whole")
  .addOption(timeOption("--watch [time]", "look again every 2s, or so often, and tell what came, went or changed"))
  .option("--count <n>", "with --watch: end after so many looks", wholeNumber)
  .option("--json", "print one JSON document; with --watch a line for each look that differs")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (what, options, self) => {
    if (options.jsonSchema) return printSchema(inventorySchema());
    onlyWith(self, options.watch !== undefined, ["--count"], "--watch");
    const host = hostFrom(options.host);
    const names = readPciNames();
    const look = (): { devices: InventoryDevice[]; problems: readonly string[] } => {
      const { devices, problems } = readInventory(host, { askDevices: options.temperatures === true });
      return {
        devices: devices.filter((device) => (what === "all" || device.kind === what) && isWanted(device, options)),
        problems,
      };
    };
    const first = look();
    for (const problem of first.problems) note(`list: ${problem}`);
    const { watch } = options;
    if (options.json && watch === undefined) {
      return printJson(inventoryJson(host.name, first.devices, names, first.problems));
    }
    if (options.json) printJsonLine(inventoryJson(host.name, first.devices, names, first.problems));
    else print(inventoryLines(first.devices, names, options.wide === true ? null : terminalWidth()).join("\n"));
    if (watch === undefined) return;
    let before = first.devices;
    for (let n = 1; n < (options.count ?? Infinity); n++) {
      await pause(watch === true ? 2000 : watch, interruption);
      const now = look().devices;
      const time = new Date().toISOString();
      const changes = inventoryChanges(before, now);
      before = now;
      if (options.json && changes.length > 0) printJsonLine(changeJson(host.name, time, changes, names));
      else for (const change of changes) print(changeLine(time, change, names));
    }
  });

function isWanted(device: InventoryDevice, { driver, node, class: code }: Options): boolean {
  if (driver !== undefined && (driver === "none" ? device.driver !== null : device.driver !== driver)) return false;
  if (node !== undefined && valueOf(device.numaNode) !== node) return false;
  if (code === undefined) return true;
  if (!/^(?:[0-9a-f]{2}){1,3}$/i.test(code)) {
    throw new BusbarError("usage", `'${code}' is no class`, {
      hint: "two, four or six hexadecimal digits, as in 0108",
    });
  }
  const own = device.node?.function.classCode.toString(16).padStart(6, "0");
  return own?.startsWith(code.toLowerCase()) === true;
}

/** Columns of the terminal; null where standard output is none, and nothing is cut. */
function terminalWidth(): number | null {
  return Deno.stdout.isTerminal() ? Deno.consoleSize().columns : null;
}

if (import.meta.main) await run(command);
