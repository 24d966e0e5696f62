/**
 * `check_p2p`: can a GPU reach an NVMe controller's registers, and if not, which link of the chain says no.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../src/core/error.ts";
import { type Host, thisMachine } from "../src/core/host.ts";
import { type FileLocator, parseLocator, readOptions, wrongLocatorKind } from "../src/core/locator.ts";
import { parsePciAddress, type PciAddress } from "../src/core/pci_address.ts";
import { machineOf } from "../ffi/machine.ts";
import { openCudaDriver } from "../src/gpu/driver.ts";
import { checkP2p, type P2pOptions } from "../src/gpu/p2p/chain.ts";
import { pciLocatorOf } from "../src/pci/kernel_names.ts";
import { CLASS_NVME } from "../src/pci/function.ts";
import { readMachineFile } from "../src/pci/machine_file.ts";
import { readTopology } from "../src/pci/topology.ts";
import { p2pLines, p2pSchema } from "./render/gpu/check_p2p.ts";
import { SUDO_OPTION } from "./cli/machine.ts";
import { note, print, printJson, printSchema } from "./cli/output.ts";
import { documentSchema, raiseExitStatus, run } from "./cli/run.ts";

/** An ordinal, a PCI address, or a CUDA device by its locator. */
function gpuOf(text: string): Pick<P2pOptions, "gpu" | "cudaDevice" | "openCuda"> {
  if (/^\d{1,3}$/.test(text)) return { gpu: Number(text) };
  if (!/^(?:soft|cuda|type2|ssh):/.test(text)) return { gpu: parsePciAddress(text) };
  const locator = parseLocator(text);
  if (locator.kind === "soft" && locator.device === "cuda") {
    return { cudaDevice: 0, openCuda: () => openCudaDriver(locator.text) };
  }
  if (locator.kind === "cuda") {
    return { cudaDevice: locator.device, openCuda: () => openCudaDriver(locator.library ?? "") };
  }
  throw wrongLocatorKind(locator, "check_p2p", [
    "a GPU's number in PCI order",
    "its PCI address",
    "cuda:N",
    "cuda:LIBRARY?device=N",
    "soft:cuda",
  ]);
}

/** Another machine, as a recording or by its locator: its files can be looked at, its CUDA driver cannot be asked. */
function otherMachine(text: string): Pick<P2pOptions, "host" | "openCuda"> {
  const locator = parseLocator(text);
  if (locator.kind !== "file" && locator.kind !== "machine") {
    throw wrongLocatorKind(locator, "check_p2p", ["file:RECORDING", "ssh:HOST/ for another machine"]);
  }
  return {
    host: locator.kind === "file" ? recordedHost(locator) : machineOf(locator).host,
    openCuda: () => {
      const what = locator.kind === "file" ? "a recorded machine" : "another machine";
      throw new BusbarError("unsupported", `the CUDA driver of ${what} cannot be asked`, {
        path: locator.text,
        hint: "run check_p2p on that machine",
      });
    },
  };
}

function recordedHost(locator: FileLocator): Host {
  readOptions(locator, {});
  const { host, problems } = readMachineFile(locator.path);
  for (const problem of problems) note(`check_p2p: ${problem}`);
  return host;
}

/** By its address, or by the kernel's name for it. */
function driveAddress(text: string): PciAddress {
  if (!/^(?:nvme|\/dev\/)/.test(text)) return parsePciAddress(text);
  const named = pciLocatorOf(parseLocator(text), thisMachine, "check_p2p");
  if (named.kind !== "pci") throw wrongLocatorKind(named, "check_p2p", ["a PCI address", "nvme0"]);
  return named.address;
}

/** The one NVMe controller of another machine. On this one it is named: the check may write to it. */
function onlyDrive(host: Host | undefined): PciAddress {
  const drives = host === undefined
    ? []
    : readTopology(host).nodes.map((node) => node.function).filter(({ classCode }) => classCode === CLASS_NVME);
  const [only, ...others] = drives;
  const address = only?.address ?? null;
  if (address !== null && others.length === 0) return address;
  throw new BusbarError("usage", "which drive?", {
    hint: only === undefined
      ? "check_p2p 0000:01:00.0; lspci -d ::0108 lists them"
      : `name one of them: ${drives.map(({ name }) => name).join(", ")}`,
  });
}

function isMachine(text: string): boolean {
  return text.startsWith("file:") || text.startsWith("ssh:");
}

/** The command line of `check_p2p`. */
export const command: CommandUnknownOpts = new Command("check_p2p")
  .description(
    "Check, link by link, whether a GPU can reach an NVMe controller's registers. Reads and maps; the drive is not touched " +
      "unless --write-test is given. Exit 0 yes, 1 no, 3 not determined (mapped, but no write was tried).",
  )
  .argument(
    "[what...]",
    "PCI address of the NVMe controller (as in 0000:01:00.0; a recording's only one need not be named), then the GPU: its number in PCI order, its address, " +
      "cuda:N, cuda:LIBRARY?device=N or soft:cuda; " +
      "file:RECORDING: on that machine, as far as a recording tells",
  )
  .option("--write-test", "let a kernel write one register (AQA) of a disabled, unbound drive, and put it back")
  .option("--read-test", "after that, let a kernel read one register (VS), once")
  .option("--force", "read also where a read is not known to return: it may lose the drive until a power cycle")
  .option("--host <machine>", "as the machine among the arguments: ssh:[USER@]NAME[:PORT], or file:RECORDING")
  .option("--verbose", "show the rule that each check rests on")
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (what, options) => {
    if (options.jsonSchema) return printSchema(documentSchema("check_p2p", [p2pSchema()]));
    const machines = [...what.filter(isMachine), ...(options.host === undefined ? [] : [options.host])];
    const [drive, gpu, more] = what.filter((text) => !isMachine(text));
    if (more !== undefined || machines.length > 1) {
      throw new BusbarError("usage", "one drive, one GPU and one machine at a time");
    }
    if (options.readTest && !options.writeTest) {
      throw new BusbarError("usage", "--read-test comes after --write-test: give both");
    }
    const machine = machines[0] === undefined ? {} : otherMachine(machines[0]);
    const report = await checkP2p(drive === undefined ? onlyDrive(machine.host) : driveAddress(drive), {
      ...(gpu === undefined ? {} : gpuOf(gpu)),
      ...machine,
      writeTest: options.writeTest === true,
      readTest: options.readTest === true,
      force: options.force === true,
    });
    if (report.verdict !== "yes") raiseExitStatus(report.verdict === "no" ? "no" : "unsupported");
    if (options.json) return printJson({ schema: "check_p2p/1", ...report });
    print(p2pLines(report, options.verbose === true).join("\n"));
  });

if (import.meta.main) await run(command);
