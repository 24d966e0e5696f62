/**
 * `cxl_region list|create|destroy|online|offline|devdax|system-ram`: regions of CXL memory, and what they are used for.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { Deadline } from "../src/core/deadline.ts";
import { thisMachine } from "../src/core/host.ts";
import type { UndoJournal } from "../src/core/undo/journal.ts";
import { createEquivalents, daxEquivalents, destroyEquivalents, listEquivalents } from "../src/cxl/equivalents.ts";
import { checkInvalidationGate } from "../src/cxl/gate.ts";
import { planRegion } from "../src/cxl/plan.ts";
import { createRegion, destroyRegion } from "../src/cxl/region.ts";
import { daxDevicesNamed, findRegion, readCxlOverview } from "../src/cxl/overview.ts";
import { readCxl } from "../src/cxl/topology.ts";
import { type DaxModeOptions, daxToDevdax, daxToSystemRam, offlineDax, onlineDax } from "../src/memory/dax_mode.ts";
import type { DaxDevice } from "../src/memory/devdax.ts";
import { sizeBytes, timeOption, wholeNumber } from "./cli/arguments.ts";
import { cxlJson, cxlLines, cxlSchema } from "./render/cxl/cxl_region.ts";
import { HOST_OPTION, hostFrom, SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson } from "./cli/output.ts";
import { withoutWord, withSchema } from "./cli/subcommand.ts";
import { interruption, openJournal, run } from "./cli/run.ts";

const zoneOption = new Option("--zone <zone>", "what the kernel may put into the memory: only what it can move away")
  .choices(["movable", "kernel"] as const).default("movable" as const);

interface Shown {
  readonly json?: true | undefined;
  readonly explain?: true | undefined;
  readonly dryRun?: true | undefined;
  readonly timeout: number;
}

function show(options: Pick<Shown, "json"> & { readonly host?: string | undefined }): void {
  const state = readCxlOverview(hostFrom(options.host));
  if (options.json) printJson(cxlJson(state));
  else print(cxlLines(state).join("\n"));
}

/** Makes changes that stay: a failure or Ctrl-C on the way puts everything back. */
async function change(
  name: string,
  options: Shown,
  equivalents: readonly string[],
  body: (journal: UndoJournal, wait: Pick<DaxModeOptions, "deadline" | "signal">) => Promise<void>,
): Promise<void> {
  if (options.explain) note(`other tools do the same with:\n${equivalents.map((line) => `  ${line}`).join("\n")}`);
  using journal = openJournal(`cxl_region ${name}`, options.dryRun ? (options.json ? note : print) : undefined);
  await body(journal, { deadline: Deadline.after(options.timeout), signal: interruption });
  if (options.dryRun && !options.json) return;
  journal.keepChanges();
  show(options);
}

const list: CommandUnknownOpts = new Command("list")
  .description("Show windows, memory devices, regions and dax devices. This is what it does without a word.")
  .option("--explain", "print the commands of other tools that show the same")
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .action((options) => {
    if (options.explain) note(`other tools: ${listEquivalents().join("; ")}`);
    show(options);
  });

const create: CommandUnknownOpts = new Command("create")
  .description("Create a region. What is not said is chosen: all that is free, on devices that the window reaches.")
  .argument("[memdev...]", "memory devices by name (mem0) or serial number (0x1); one for each way")
  .option("--window <decoder>", "the window of addresses, as in decoder0.0")
  .addOption(new Option("--type <type>", "volatile or persistent").choices(["ram", "pmem"] as const))
  .option("--ways <n>", "over how many devices it is interleaved", wholeNumber)
  .option("--granularity <size>", "bytes to one device before the next one's turn: 256 to 16KiB", sizeBytes)
  .option("--size <size>", "as in 256MiB", sizeBytes)
  .option("--uuid <uuid>", "of persistent memory; random by default")
  .addOption(
    new Option("--as <use>", "what volatile memory becomes").choices(["system-ram", "devdax", "offline"] as const)
      .default("system-ram" as const),
  )
  .addOption(zoneOption)
  .option("--force", "try although the kernel is known to refuse under a hypervisor")
  .addOption(timeOption("--timeout <time>", "for taking memory into use", "60s"))
  .option("--dry-run", "list what would be written; write nothing")
  .option("--explain", "print the commands of other tools that do the same")
  .option("--json", "print one JSON document")
  .action(async (memdevs, options) => {
    const granularityBytes = options.granularity === undefined ? undefined : Number(options.granularity);
    const plan = planRegion(readCxl(thisMachine), {
      ...options,
      memdevs: memdevs.length === 0 ? undefined : memdevs,
      granularityBytes,
      sizeBytes: options.size,
    });
    await change("create", options, createEquivalents(plan, options.as), async (journal, wait) => {
      if (!options.force) checkInvalidationGate(journal, thisMachine);
      await createRegion(journal, thisMachine, plan, { ...wait, use: options.as, zone: options.zone });
    });
  });

const destroy: CommandUnknownOpts = new Command("destroy")
  .description("Take a region's memory out of use and destroy the region. Refused while programs have it.")
  .argument("<region>", "as in region0")
  .option("--erase <serial>", "persistent memory: the serial number of a device says that its contents may go")
  .option("--force", "destroy it although programs have its dax device open or mapped")
  .addOption(timeOption("--timeout <time>", "for taking memory out of use", "60s"))
  .option("--dry-run", "list what would be written; write nothing")
  .option("--explain", "print the commands of other tools that do the same")
  .option("--json", "print one JSON document")
  .action(async (name, options) => {
    const topology = readCxl(thisMachine);
    const region = findRegion(topology, name);
    const { erase, force = false } = options;
    await change("destroy", options, destroyEquivalents(name, region.daxDevices), async (journal, wait) => {
      await destroyRegion(journal, thisMachine, topology, region, { ...wait, erase, force });
    });
  });

type DaxAction = "online" | "offline" | "devdax" | "system-ram";

/** A command that changes the dax devices of a region, or one dax device. */
function daxCommand(
  name: DaxAction,
  description: string,
  body: (journal: UndoJournal, device: DaxDevice, options: DaxModeOptions) => Promise<void>,
): CommandUnknownOpts {
  return new Command(name)
    .description(description)
    .argument("<region-or-dax>", "as in region0 or dax0.0")
    .addOption(zoneOption)
    .option("--erase <word>", "persistent memory: its serial number or namespace says that its contents may go")
    .option("--force", "although programs have it open or mapped")
    .option("--no-online", "system-ram: give it to the kernel, and do not take it into use")
    .addOption(timeOption("--timeout <time>", "for taking memory into or out of use", "60s"))
    .option("--dry-run", "list what would be written; write nothing")
    .option("--explain", "print the commands of other tools that do the same")
    .option("--json", "print one JSON document")
    .action(async (target, options) => {
      const devices = daxDevicesNamed(thisMachine, target);
      const equivalents = devices.flatMap((device) => daxEquivalents(device.name, name));
      const { erase, force = false } = options;
      await change(name, options, equivalents, async (journal, wait) => {
        const zone = options.online ? options.zone : null;
        for (const device of devices) await body(journal, device, { ...wait, zone, erase, force });
      });
    });
}

/** The command line of `cxl_region`. */
export const command: CommandUnknownOpts = withoutWord(withSchema(new Command("cxl_region"), cxlSchema), "list")
  .description("Regions of CXL memory: create, destroy, use as system RAM or for programs to map.")
  .action(() => show({}))
  .addCommand(list)
  .addCommand(create)
  .addCommand(destroy)
  .addCommand(daxCommand(
    "online",
    "Take memory that the kernel has into use.",
    (journal, device, options) => onlineDax(journal, thisMachine, device, options),
  ))
  .addCommand(daxCommand(
    "offline",
    "Take memory out of use: its pages are moved elsewhere. Names the block that is stuck.",
    (journal, device, options) => offlineDax(journal, thisMachine, device, options),
  ))
  .addCommand(daxCommand(
    "devdax",
    "Make it memory that programs map.",
    (journal, device, options) => daxToDevdax(journal, thisMachine, device, options),
  ))
  .addCommand(daxCommand(
    "system-ram",
    "Give it to the kernel, and take it into use.",
    (journal, device, options) => daxToSystemRam(journal, thisMachine, device, options),
  ));

if (import.meta.main) await run(command);
