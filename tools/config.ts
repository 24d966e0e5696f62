/**
 * `config`: a function's configuration space, decoded; one register of it: read it, write it; its errors.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../src/core/error.ts";
import { thisMachine } from "../src/core/host.ts";
import { type Locator, parseLocator } from "../src/core/locator.ts";
import { maskedValue } from "../src/core/named_register.ts";
import { hex } from "../src/core/units.ts";
import { readPciFunction } from "../src/pci/function.ts";
import { pciLocatorOf } from "../src/pci/kernel_names.ts";
import { lockFunction } from "../src/pci/lock.ts";
import { configValue, findConfigRegister, heldRefusal, openConfig, writeConfig } from "../src/pci/register_access.ts";
import { accessBytes, timeOption, unsigned, wholeNumber } from "./cli/arguments.ts";
import { SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson, printSchema } from "./cli/output.ts";
import { showConfig } from "./config/show.ts";
import { reportSchemas } from "./render/pci/config_report.ts";
import { accessJson, accessLines, accessSchema, type RegisterAccess } from "./render/pci/register_access.ts";
import { documentSchema, openJournal, run } from "./cli/run.ts";

interface Options {
  readonly width?: 1 | 2 | 4 | 8;
  readonly mask?: bigint;
  readonly write?: true;
  readonly force?: true;
  readonly dryRun?: true;
}

function read(locator: Locator, text: string, options: Options): RegisterAccess {
  using config = openConfig(locator);
  for (const problem of config.problems) note(`config: ${problem}`);
  const register = findConfigRegister(config.bytes, text, options.width, config.function);
  const { name } = config.function;
  const before = configValue(config.bytes, register.offset, register.accessBytes, config.function);
  return { region: `configuration space of ${name}`, register, before, after: null, undo: null };
}

function write(locator: Locator, text: string, value: bigint, options: Options): RegisterAccess | null {
  if (options.write !== true && options.dryRun !== true) {
    throw new BusbarError("usage", "writing needs --write", { operation: "config" });
  }
  const named = locator.host === null ? pciLocatorOf(locator, thisMachine, "config") : locator;
  if (named.kind !== "pci" || named.host !== null) {
    throw new BusbarError("usage", `'${locator.text}' cannot be written to: config writes functions of this machine`);
  }
  const fn = readPciFunction(thisMachine, named.address);
  const dryRun = options.dryRun === true;
  using journal = openJournal("config write", dryRun ? print : undefined);
  const refusal = options.force === true ? null : heldRefusal(fn, "config");
  if (refusal !== null) journal.refuse(refusal);
  using _lock = dryRun ? null : lockFunction(thisMachine, fn);
  const { region, register, before } = read(locator, text, options);
  const { offset, accessBytes: width } = register;
  if (width === 8) throw new BusbarError("usage", "configuration space is accessed 1, 2 or 4 bytes wide");
  const wanted = maskedValue(register, before, value, options.mask ?? null);
  writeConfig(journal, fn, offset, width, wanted);
  if (options.dryRun) return null;
  const after = read(locator, hex(offset), { ...options, width }).before;
  const flags = `--width ${width} --write${options.force === true ? " --force" : ""}`;
  const undo = `config ${fn.name} write ${hex(offset)} ${hex(before, 2 * width)} ${flags}`;
  return { region, register, before, after, undo };
}

/** The command line of `config`. */
export const command: CommandUnknownOpts = new Command("config")
  .description("Show all of a PCI function's configuration space, decoded; or read or write one register of it.")
  .argument("[device]", "PCI address, nvme0, soft:NAME, or file:RECORDING (read only); alone: everything it says")
  .addArgument(new Argument("[action]", "what to do").choices(["read", "write"] as const))
  .argument("[register]", "its offset (0x04), or its name (COMMAND, PM.PMCSR)")
  .argument("[value]", "what to write")
  .option("--width <bytes>", "width of the access; the register's own, or 4", accessBytes)
  .option("--mask <bits>", "only these bits are written", unsigned)
  .option("--errors", "only its errors: the kernel's counters, error registers, header log; clears nothing")
  .addOption(
    timeOption("--watch [time]", "tell when errors, link speed or width change; looks each second, or in this time"),
  )
  .option("--count <n>", "with --watch: end after so many looks", wholeNumber)
  .option("--write", "allow writing")
  .option("--dry-run", "tell what would be written; write nothing")
  .option("--force", "write also while a kernel driver has the device")
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document; with --watch a line for each look")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (device, action, register, value, options) => {
    if (options.jsonSchema) return printSchema(documentSchema("config", [accessSchema("config"), ...reportSchemas()]));
    const missing = (what: string): BusbarError =>
      new BusbarError("usage", `which ${what}?`, { hint: "config 0000:01:00.0 read COMMAND" });
    if (device === undefined) throw missing("device");
    if (action === undefined) return await showConfig(parseLocator(device), options);
    if (options.errors || options.watch !== undefined) {
      throw new BusbarError("usage", `--errors and --watch are of the whole function, not with ${action}`);
    }
    if (register === undefined) throw missing("register");
    if (action === "write" && value === undefined) throw missing("value");
    const locator = parseLocator(device);
    const access = action === "read"
      ? read(locator, register, options)
      : write(locator, register, unsigned(value ?? ""), options);
    if (access === null) return;
    if (options.json) return printJson(accessJson("config", access));
    print(accessLines(access).join("\n"));
  });

if (import.meta.main) await run(command);
