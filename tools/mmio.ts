/**
 * `mmio`: one register in a BAR: read it, write it, wait for it.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { Deadline } from "../src/core/deadline.ts";
import { BusbarError } from "../src/core/error.ts";
import { type Locator, parseLocator } from "../src/core/locator.ts";
import { pollRegister } from "../src/core/mmio.ts";
import { findRegister, maskedValue, type NamedRegister } from "../src/core/named_register.ts";
import { hex } from "../src/core/units.ts";
import { NVME_REGISTERS } from "../src/nvme/tables/registers.ts";
import { openPciDevice } from "../src/pci/open_device.ts";
import { CLASS_NVME, type PciFunction } from "../src/pci/function.ts";
import { openWritableBar, readRegister, writeRegister } from "../src/pci/register_access.ts";
import { accessBytes, barIndex, suggesting, timeOption, unsigned } from "./cli/arguments.ts";
import { note, print, printJson, printSchema } from "./cli/output.ts";
import { accessJson, accessLines, accessSchema, type RegisterAccess } from "./render/pci/register_access.ts";
import { documentSchema, interruption, run } from "./cli/run.ts";

interface Options {
  readonly bar: number;
  readonly width?: 1 | 2 | 4 | 8;
  readonly mask?: bigint;
  readonly write?: true;
  readonly force?: true;
  readonly timeout: number;
}

/** Tables are known for NVMe controllers' BAR0. */
function registerOf(fn: PciFunction, text: string, { bar, width }: Options): NamedRegister {
  const tables = fn.classCode === CLASS_NVME && bar === 0 ? [{ prefix: "", base: 0, layout: NVME_REGISTERS }] : [];
  return findRegister(tables, text, width);
}

function read(locator: Locator, text: string, options: Options): RegisterAccess {
  using device = openPciDevice(locator);
  for (const problem of device.problems ?? []) note(`mmio: ${problem}`);
  const register = registerOf(device.function, text, options);
  const bar = device.bar(options.bar, { offset: register.offset, sizeBytes: register.accessBytes });
  const before = readRegister(bar, register.offset, register.accessBytes);
  return { region: bar.name, register, before, after: null, undo: null };
}

function write(locator: Locator, text: string, value: bigint, options: Options): RegisterAccess {
  if (options.write !== true) throw new BusbarError("usage", "writing needs --write", { operation: "mmio" });
  using bar = openWritableBar(locator, { bar: options.bar, force: options.force === true });
  const register = registerOf(bar.function, text, options);
  const { offset, accessBytes: width } = register;
  const before = readRegister(bar.mmio, offset, width);
  writeRegister(bar.mmio, offset, width, maskedValue(register, before, value, options.mask ?? null));
  const after = readRegister(bar.mmio, offset, width);
  const flags = `--bar ${options.bar} --width ${width} --write${options.force === true ? " --force" : ""}`;
  const undo = `mmio '${locator.text}' write ${hex(offset)} ${hex(before, 2 * width)} ${flags}`;
  return { region: bar.mmio.name, register, before, after, undo };
}

async function poll(locator: Locator, text: string, wanted: bigint, options: Options): Promise<RegisterAccess> {
  using device = openPciDevice(locator);
  const register = registerOf(device.function, text, options);
  const { offset, accessBytes: width } = register;
  const bar = device.bar(options.bar, { offset, sizeBytes: width });
  const mask = options.mask ?? (1n << BigInt(8 * width)) - 1n;
  const what = `${register.name ?? hex(offset)} & ${hex(mask)} = ${hex(wanted)}`;
  const deadline = Deadline.after(options.timeout);
  const signal = interruption;
  const before = await pollRegister(bar, { offset, accessBytes: width, mask, wanted, what, deadline, signal });
  return { region: bar.name, register, before, after: null, undo: null };
}

/** The command line of `mmio`. */
export const command: CommandUnknownOpts = new Command("mmio")
  .description("Read or write one register in a BAR, or wait until it has a value. One access of exactly its width.")
  .argument("[device]", "PCI address, soft:NAME, or file:RECORDING (read only)")
  .addArgument(new Argument("[action]", "what to do").choices(["read", "write", "poll"] as const))
  .addArgument(
    suggesting(
      new Argument("[register]", "its offset (0x24), or its name where a table knows it (AQA of an NVMe controller)"),
      NVME_REGISTERS.rows.map(({ name }) => name),
    ),
  )
  .argument("[value]", "what to write, or to wait for")
  .option("--bar <n>", "which BAR", barIndex, 0)
  .option("--width <bytes>", "width of the access; the register's own, or 4", accessBytes)
  .option("--mask <bits>", "only these bits are written, or waited for", unsigned)
  .addOption(timeOption("--timeout <time>", "poll: how long to wait", "1s"))
  .option("--write", "allow writing")
  .option("--force", "write also while a kernel driver has the device")
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (device, action, register, value, options) => {
    if (options.jsonSchema) return printSchema(documentSchema("mmio", [accessSchema("mmio")]));
    const missing = (what: string): BusbarError =>
      new BusbarError("usage", `which ${what}?`, { hint: "mmio 0000:01:00.0 read 0x08" });
    if (device === undefined || action === undefined) throw missing("device, and read, write or poll");
    if (register === undefined) throw missing("register");
    if (action !== "read" && value === undefined) throw missing("value");
    const locator = parseLocator(device);
    const number = value === undefined ? 0n : unsigned(value);
    const access = action === "read"
      ? read(locator, register, options)
      : action === "write"
      ? write(locator, register, number, options)
      : await poll(locator, register, number, options);
    if (options.json) return printJson(accessJson("mmio", access));
    print(accessLines(access).join("\n"));
  });

if (import.meta.main) await run(command);
