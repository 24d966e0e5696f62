/**
 * `bind status|vfio|restore <device>`: who has a function, and giving it to user space and back.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { valueOf } from "../src/core/fact.ts";
import { thisMachine } from "../src/core/host.ts";
import { closedObject, type JsonObject } from "../src/core/layout_json.ts";
import { parseLocator, wrongLocatorKind } from "../src/core/locator.ts";
import { localHostOf } from "../ffi/machine.ts";
import type { Restored } from "../src/core/undo/roll_back.ts";
import { UndoJournal } from "../src/core/undo/journal.ts";
import { bindingName, bindVfio, vfioObstacles } from "../src/pci/bind.ts";
import { type PciFunction, readPciFunction } from "../src/pci/function.ts";
import { pciLocatorOf } from "../src/pci/kernel_names.ts";
import { groupMembers, VFIO_DRIVER } from "../src/pci/vfio.ts";
import { print, printJson } from "./cli/output.ts";
import { FUNCTION_SCHEMA, functionJson, functionLine } from "./render/pci/pci.ts";
import { withSchema } from "./cli/subcommand.ts";
import { documentSchema, openJournal, raiseExitStatus, run } from "./cli/run.ts";

function functionAt(text: string): PciFunction {
  const given = parseLocator(text);
  const host = localHostOf(given, "bind");
  const locator = pciLocatorOf(given, host, "bind");
  if (locator.kind !== "pci") throw wrongLocatorKind(locator, "bind", ["a PCI address (as in 0000:01:00.0)", "nvme0"]);
  return readPciFunction(host, locator.address);
}

const SCHEMA: JsonObject = documentSchema("bind", [
  closedObject({
    schema: { const: "bind/1" },
    device: FUNCTION_SCHEMA,
    group: {
      type: "array",
      items: closedObject({ name: { type: "string" }, driver: { type: ["string", "null"] } }),
    },
    obstacles: {
      type: "array",
      items: closedObject({
        kind: { enum: ["in use", "impossible"] },
        text: { type: "string" },
        hint: { type: "string" },
      }),
    },
  }),
]);

const status: CommandUnknownOpts = new Command("status")
  .description("Tell who has a function, and what speaks against giving it to user space.")
  .argument("<device>", "PCI address")
  .option("--json", "print one JSON document")
  .action((text, options) => {
    const fn = functionAt(text);
    const group = valueOf(fn.iommuGroup);
    const members = group === null ? [] : groupMembers(thisMachine, group);
    const obstacles = fn.driver === VFIO_DRIVER ? [] : vfioObstacles(thisMachine, fn);
    if (options.json) {
      return printJson({
        schema: "bind/1",
        device: functionJson(fn),
        group: members.map(({ name, driver }) => ({ name, driver: valueOf(driver) })),
        obstacles,
      });
    }
    print(functionLine(fn));
    for (const { name, driver } of members) print(`  IOMMU group ${fn.iommuGroup}: ${name} (${driver ?? "no driver"})`);
    if (fn.driver === VFIO_DRIVER) print(`  in user space's hands: busbar bind restore ${fn.name} gives it back`);
    else if (obstacles.length === 0) print(`  free to be given to user space: busbar bind vfio ${fn.name}`);
    for (const { text, hint } of obstacles) print(`  ${text}: ${hint}`);
  });

const vfio: CommandUnknownOpts = new Command("vfio")
  .description("Give a function to user space: unbind its driver, bind vfio-pci. It stays so until bind restore.")
  .argument("<device>", "PCI address")
  .option("--dry-run", "list what would be written; write nothing")
  .option("--force", "take it away although it is in use")
  .option("--json", "print one JSON document")
  .action((text, options) => {
    const fn = functionAt(text);
    using journal = openJournal("bind vfio", options.dryRun ? print : undefined);
    bindVfio(journal, thisMachine, fn, { force: options.force === true });
    if (options.dryRun) return;
    journal.keepAs(bindingName(fn));
    const now = readPciFunction(thisMachine, fn.name);
    if (options.json) printJson({ schema: "bind/1", device: functionJson(now), group: [], obstacles: [] });
    else print(`${functionLine(now)}\nbusbar bind restore ${fn.name} gives it back`);
  });

const restore: CommandUnknownOpts = new Command("restore")
  .description("Give a function back to the driver that it was taken from.")
  .argument("<device>", "PCI address")
  .option("--json", "print one JSON document")
  .action((text, options) => {
    const fn = functionAt(text);
    const restored = UndoJournal.restoreKept(bindingName(fn));
    for (const one of restored) if (!isBack(one)) raiseExitStatus("io");
    const now = readPciFunction(thisMachine, fn.name);
    if (options.json) return printJson({ schema: "bind/1", device: functionJson(now), group: [], obstacles: [] });
    for (const one of restored.filter((one) => !isBack(one))) print(`${one.what}: ${one.error ?? one.outcome}`);
    print(functionLine(now));
  });

function isBack(one: Restored): boolean {
  return one.outcome === "restored" || one.outcome === "unchanged";
}

/** The command line of `bind`. */
export const command: CommandUnknownOpts = withSchema(
  new Command("bind")
    .description("Who has a PCI function: the kernel, or user space by vfio-pci.")
    .action((_, self) => self.help()),
  () => SCHEMA,
)
  .addCommand(status)
  .addCommand(vfio)
  .addCommand(restore);

if (import.meta.main) await run(command);
