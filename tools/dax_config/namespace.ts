/**
 * `dax_config namespace list|create|destroy`: persistent memory as dax devices, as block devices for file systems, or raw.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { thisMachine } from "../../src/core/host.ts";
import type { UndoJournal } from "../../src/core/undo/journal.ts";
import { createNamespace, destroyNamespace, namespaceUses } from "../../src/memory/namespace.ts";
import { MADE_MODES, planNamespace } from "../../src/memory/namespace_plan.ts";
import { findNamespace, readPersistentMemory } from "../../src/memory/namespaces.ts";
import { sizeBytes } from "../cli/arguments.ts";
import { HOST_OPTION, hostFrom, SUDO_OPTION } from "../cli/machine.ts";
import { note, print, printJson } from "../cli/output.ts";
import { interruption, openJournal } from "../cli/run.ts";
import { withSchema } from "../cli/subcommand.ts";
import { namespaceListJson, namespaceListLines, namespaceListSchema } from "../render/memory/namespaces.ts";

interface Shown {
  readonly json?: true | undefined;
  readonly dryRun?: true | undefined;
}

function show(options: { readonly json?: true | undefined; readonly host?: string | undefined }): void {
  const host = hostFrom(options.host);
  const memory = readPersistentMemory(host);
  // Who uses a device can be told of this machine alone: the kernel's refusal is asked of it.
  const uses = new Map(
    memory.namespaces.map((one) => [one.name, options.host === undefined ? namespaceUses(host, one) : null]),
  );
  if (options.json) printJson(namespaceListJson(memory, uses));
  else print(namespaceListLines(memory, uses).join("\n"));
}

/** Makes changes that stay: a failure or Ctrl-C on the way puts everything back. */
function change(name: string, options: Shown, body: (journal: UndoJournal) => void): void {
  const dryRun = options.dryRun ? (options.json ? note : print) : undefined;
  using journal = openJournal(`dax_config namespace ${name}`, dryRun);
  body(journal);
  if (options.dryRun && !options.json) return;
  journal.keepChanges();
  show(options);
}

const list: CommandUnknownOpts = new Command("list")
  .description("Show regions with their free space, and namespaces with who uses them.")
  .option(...HOST_OPTION)
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .action(show);

const create: CommandUnknownOpts = new Command("create")
  .description("Make a namespace of free space, or make one into something else. What is not said is chosen.")
  .argument("[region-or-namespace]", "as in region0, or namespace0.0 to change that one")
  .addOption(new Option("--mode <mode>", "how its memory is used").choices(MADE_MODES).default("devdax" as const))
  .option("--size <size>", "bytes of the region, as in 1GiB; the longest free run by default", sizeBytes)
  .option("--align <size>", "what mappings are aligned to, as in 4KiB, 1GiB; 2MiB by default", sizeBytes)
  .addOption(new Option("--map <place>", "where the page map lies").choices(["dev", "mem"] as const))
  .option("--erase <namespace>", "the name of the namespace that is changed: its contents may go")
  .option("--dry-run", "list what would be written; write nothing")
  .option("--json", "print one JSON document")
  .action((target, options) => {
    const plan = planNamespace(thisMachine, readPersistentMemory(thisMachine), {
      target,
      mode: options.mode,
      sizeBytes: options.size,
      alignBytes: options.align,
      map: options.map,
    });
    change("create", options, (journal) => {
      createNamespace(journal, thisMachine, plan, { erase: options.erase, signal: interruption });
    });
  });

const destroy: CommandUnknownOpts = new Command("destroy")
  .description("Destroy a namespace: its space becomes free. Refused while anything uses it.")
  .argument("<namespace>", "as in namespace0.0")
  .option("--erase <namespace>", "its name again: its contents may go")
  .option("--dry-run", "list what would be written; write nothing")
  .option("--json", "print one JSON document")
  .action((name, options) => {
    const memory = readPersistentMemory(thisMachine);
    const namespace = findNamespace(memory, name);
    const hasLabels = memory.regions.find((region) => region.name === namespace.region)?.hasLabels === true;
    change("destroy", options, (journal) => {
      destroyNamespace(journal, thisMachine, namespace, hasLabels, { erase: options.erase, signal: interruption });
    });
  });

/** The command line of `dax_config namespace`. */
export const namespace: CommandUnknownOpts = withSchema(new Command("namespace"), namespaceListSchema)
  .description("Namespaces of persistent memory (NVDIMM, CXL): list them, make and destroy them.")
  .addCommand(list)
  .addCommand(create)
  .addCommand(destroy);
