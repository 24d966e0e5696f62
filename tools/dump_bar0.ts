/**
 * `dump_bar0 <device>`: the registers in a BAR. NVMe controllers are decoded; of other devices bytes are shown, on request.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { Deadline } from "../src/core/deadline.ts";
import { BusbarError } from "../src/core/error.ts";
import type { AccessBytes, RecordedPiece } from "../src/core/mmio.ts";
import {
  compareDumps,
  readRegisters,
  REGISTER_BYTES,
  REGISTER_RUNS,
  type RegisterDump,
} from "../src/nvme/tables/register_dump.ts";
import { watchRegisters } from "../src/nvme/driver/watch.ts";
import { type ByteRun, imageOf, readBarBytes } from "../src/pci/bar_bytes.ts";
import type { PciDevice } from "../src/pci/device.ts";
import { openPciDevice } from "../src/pci/open_device.ts";
import { enableMemory } from "../src/pci/enable.ts";
import { CLASS_NVME } from "../src/pci/function.ts";
import { formatDevice } from "../src/pci/machine_file.ts";
import type { Resource } from "../src/pci/resources.ts";
import { onlyWith } from "./cli/applicable.ts";
import { accessBytes, barIndex, byteRange, timeOption } from "./cli/arguments.ts";
import { bytesJson, changeJson, diffJson, dumpBar0Schema, registersJson } from "./render/pci/dump_bar0.ts";
import { writeOutput } from "./cli/files.ts";
import { hexLines } from "./render/pci/hexdump.ts";
import { SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson, printJsonLine, printSchema } from "./cli/output.ts";
import { barLine, functionLine } from "./render/pci/pci.ts";
import { changeLines, registerLines } from "./render/pci/registers.ts";
import { interruption, openJournal, raiseExitStatus, run } from "./cli/run.ts";

/** The command line of `dump_bar0`. */
export const command: CommandUnknownOpts = new Command("dump_bar0")
  .description("Show the registers in a BAR of a PCI function: NVMe decoded, others as bytes. Never writes to them.")
  .argument("[device]", "0000:01:00.0, soft:nvme, or file:RECORDING")
  .option("--bar <n>", "the BAR", barIndex, 0)
  .option("--range <start+length>", "show these bytes, as in 0x1000+64", byteRange)
  .option("--all", "show every byte of the BAR")
  .option("--width <bytes>", "width of one access to bytes: 1, 2, 4 or 8", accessBytes, 4 as AccessBytes)
  .option("--hex", "show NVMe registers as bytes, not decoded")
  .option("--raw <file>", "write the bytes to a file too, from the first to the last; what was not read is zero")
  .option("--save <file>", "write a recording too: file:FILE shows the same again, lspci -F reads it")
  .option("--diff <file>", "compare NVMe registers with a recording; exit 1 when any differs")
  .addOption(
    timeOption("--watch [time]", "go on, and show the NVMe registers that change; looks each second, or in this time"),
  )
  .addOption(timeOption("--timeout <time>", "end --watch after this time"))
  .option("--enable-memory", "turn memory decoding on for the time of the command, then put it back")
  .option("--dry-run", "list what --enable-memory would change, and stop")
  .option("--force", "read although a driver holds the device, or where reading is not defined")
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document; with --watch, JSON Lines")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (text, options, self) => {
    if (options.jsonSchema) return printSchema(dumpBar0Schema());
    if (text === undefined) {
      throw new BusbarError("usage", "which device?", {
        hint: "dump_bar0 0000:01:00.0 (lspci -D lists them), or dump_bar0 soft:nvme to try it",
      });
    }
    onlyWith(self, options.watch !== undefined, ["--timeout"], "--watch");
    onlyWith(self, options.enableMemory === true, ["--dry-run"], "--enable-memory");
    onlyWith(self, options.all !== true, ["--range"], "a part of the BAR, not --all");
    using device = openPciDevice(text);
    for (const problem of device.problems ?? []) note(`dump_bar0: ${problem}`);
    using journal = openJournal("dump_bar0", options.dryRun ? print : undefined, device.host ?? undefined);
    if (options.enableMemory) enableMemory(journal, device);
    if (options.dryRun) return;
    const isController = device.function.classCode === CLASS_NVME && options.bar === 0;
    if (isController && !options.range && !options.all && !options.hex) await showRegisters(device, options);
    else showBytes(device, isController, options);
  });

interface Options {
  readonly bar: number;
  readonly width: AccessBytes;
  readonly range?: ByteRun | undefined;
  readonly all?: true | undefined;
  readonly hex?: true | undefined;
  readonly raw?: string | undefined;
  readonly save?: string | undefined;
  readonly diff?: string | undefined;
  readonly watch?: number | true | undefined;
  readonly timeout?: number | undefined;
  readonly force?: true | undefined;
  readonly json?: true | undefined;
}

async function showRegisters(device: PciDevice, options: Options): Promise<void> {
  const bar = barOf(device, 0);
  const mmio = device.bar(0, { sizeBytes: Math.min(REGISTER_BYTES, Number(bar?.sizeBytes ?? REGISTER_BYTES)) });
  const dump = readRegisters(mmio);
  keep(device, bar, dump.pieces, options);
  if (options.diff !== undefined) return showDifferences(dump, options.diff, options.json === true);
  const { json, watch } = options;
  if (!json) print([...headLines(device, bar), ...registerLines(dump)].join("\n"));
  else if (watch === undefined) printJson(registersJson(device.function, bar, dump));
  else printJsonLine(registersJson(device.function, bar, dump));
  if (watch === undefined) return;
  const intervalMs = watch === true ? 1000 : watch;
  const deadline = Deadline.after(options.timeout ?? Infinity);
  for await (const event of watchRegisters(device, mmio, dump, { intervalMs, deadline, signal: interruption })) {
    if (json) printJsonLine(changeJson(event.time, event.changes));
    else for (const line of changeLines(event.changes)) print(`${event.time.toISOString().slice(11, 23)}  ${line}`);
  }
}

function showDifferences(dump: RegisterDump, file: string, json: boolean): void {
  using recorded = openPciDevice(`file:${file}`);
  const changes = compareDumps(readRegisters(recorded.bar(0)), dump);
  if (json) printJson(diffJson(file, changes));
  else if (changes.length === 0) print(`no register differs from ${file}`);
  else for (const line of changeLines(changes)) print(line);
  if (changes.length > 0) raiseExitStatus("no");
}

function showBytes(device: PciDevice, isController: boolean, options: Options): void {
  if (options.watch !== undefined || options.diff !== undefined) {
    throw new BusbarError("usage", "--watch and --diff need NVMe registers, decoded");
  }
  const bar = barOf(device, options.bar);
  const runs = options.range
    ? [options.range]
    : options.all && bar
    ? [{ offset: 0, sizeBytes: Number(bar.sizeBytes) }]
    : null;
  if (runs === null && !isController) {
    // Which BAR is missing, or why it cannot be read, comes before how much of it is wanted.
    device.bar(options.bar);
    throw new BusbarError("usage", `${device.function.name}: reading may have side effects, so say what to read`, {
      hint: "--range START+LENGTH, or --all",
    });
  }
  const safeEnd = isController ? REGISTER_BYTES : 0;
  const how = { accessBytes: options.width, safeEnd, force: options.force === true };
  const pieces = readBarBytes(device, options.bar, runs ?? REGISTER_RUNS, how);
  keep(device, bar, pieces, options);
  if (options.json) return printJson(bytesJson(device.function, bar, options.width, pieces));
  const lines = pieces.flatMap((piece) => hexLines(piece.bytes, piece.offset, options.width));
  print([...headLines(device, bar), ...lines].join("\n"));
}

function barOf(device: PciDevice, index: number): Resource | null {
  return device.function.resources?.find((bar) => bar.role === "BAR" && bar.index === index) ?? null;
}

function headLines(device: PciDevice, bar: Resource | null): string[] {
  return [functionLine(device.function), ...(bar === null ? [] : [barLine(bar)])];
}

/** What `--raw` and `--save` ask for. */
function keep(device: PciDevice, bar: Resource | null, pieces: readonly RecordedPiece[], options: Options): void {
  if (options.raw !== undefined) writeOutput(options.raw, imageOf(pieces));
  if (options.save === undefined) return;
  writeOutput(options.save, formatDevice(device, options.bar, bar === null ? null : Number(bar.sizeBytes), pieces));
}

if (import.meta.main) await run(command);
