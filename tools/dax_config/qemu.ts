/**
 * `dax_config qemu`: a QEMU command line whose guest has this host's memory as a CXL device.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { thisMachine } from "../../src/core/host.ts";
import { formatBytes } from "../../src/core/units.ts";
import { type Machine, runsLabGuest } from "../../src/lab/description.ts";
import { cxlMemoryBytes, type HostMemory, hostMemoryMachine, hostMemoryNotes } from "../../src/lab/host_memory.ts";
import { type HostPlace, hostPlaces } from "../../src/lab/host_network.ts";
import { printedPlaces } from "../../src/lab/printed_places.ts";
import { planMachine, shellText } from "../../src/lab/qemu.ts";
import { localFiles } from "../../ffi/files.ts";
import { firstError, inspectResource, type MemoryResource, resourcePath } from "../../src/memory/resource.ts";
import { memorySize, wholeNumber } from "../cli/arguments.ts";
import { qemuSchema } from "../render/memory/dax_config.ts";
import { note, print, printJson, printSchema } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { OPTIONS } from "./settings.ts";

/** Memory of the host, and what has to be known of it. */
interface Backing extends HostMemory {
  readonly notes: readonly string[];
}

/** The command line of `dax_config qemu`. */
export const qemu: CommandUnknownOpts = new Command("qemu")
  .description("Print a checked QEMU command line: /dev/dax0.0, a file or /dev/pmem0 becomes the guest's CXL memory.")
  .argument("[resource...]", "dax devices, files (made when they do not exist), pmem block devices: each a CXL device")
  .option("--size <size>", "CXL memory of each, a multiple of 256MiB; all of the resource by default", memorySize)
  .option("--memory <size>", "the guest's ordinary memory", memorySize)
  .option("--cpus <n>", "the guest's processors", wholeNumber, 4)
  .option("--disk <image>", "boot this image; without one and without a kernel, the lab's own guest")
  .option("--keep-disk", "keep what the guest writes to the disk; without it a snapshot takes it")
  .option("--firmware <file>", "boot by this firmware, as in /usr/share/OVMF/OVMF_CODE.fd")
  .option("--kernel <bzImage>", "boot this kernel")
  .option("--append <words>", "for the kernel's command line", "")
  .option("--volatile", "volatile memory for the guest, without labels")
  .option("--ssh <port>", "a network for the guest, and this port of 127.0.0.1 for its port 22", wholeNumber)
  .option("--hosts <n>", "a line for each of so many hosts, and what joins their guests' networks", wholeNumber)
  .option("--interface <name>", "with --hosts: the network device of each that leads to the others")
  .option("--kvm", "use KVM instead of emulation")
  .option(...OPTIONS.json)
  .option(...OPTIONS.jsonSchema)
  .action(async (resources, options) => {
    if (options.jsonSchema) return printSchema(qemuSchema());
    if (resources.length === 0) {
      throw new BusbarError("usage", "which memory?", { hint: "dax_config qemu /dev/dax0.0 --disk qemu.img" });
    }
    if (options.keepDisk && options.disk === undefined) {
      throw new BusbarError("usage", "--keep-disk is about --disk, which is not given");
    }
    if (new Set(resources).size < resources.length) throw new BusbarError("usage", "the same memory is named twice");
    if ((options.hosts === undefined) !== (options.interface === undefined)) {
      throw new BusbarError("usage", "--hosts and --interface go together", { hint: "--hosts 2 --interface eth0" });
    }
    if (options.hosts !== undefined && options.ssh !== undefined) {
      throw new BusbarError("usage", "--ssh is about a guest alone, and with --hosts each has the network of all");
    }
    const neighbours = options.interface === undefined ? [] : hostPlaces(options.hosts ?? 0, options.interface);
    const backings = resources.map((resource) => checkBacking(resource, options.size));
    const files = [options.disk, options.kernel, options.firmware].filter((file) => file !== undefined);
    for (const file of files) requireFile(file);
    const guest = { ...options, memory: options.memory ?? 4n << 30n };
    const machine = await hostMemoryMachine(backings, guest, `${Deno.cwd()}/dax_config.yaml`);
    const onProgress = (line: string): void => note(`lab: ${line}`);
    const { places, folder } = await printedPlaces(machine, "dax-config", { onProgress, signal: interruption });
    const plan = planMachine(machine, places);
    const notes = [...backings.flatMap((one) => one.notes), ...hostMemoryNotes(backings, guest)];
    const hosts = neighbours.map((one) => ({ ...one, plan: planMachine(withCard(machine, one), places) }));
    if (options.json && hosts.length > 0) {
      const made = plan.files.map(({ path, sizeBytes }) => ({ path, sizeBytes: sizeBytes.toString() }));
      const lines = hosts.map(({ address, before, after, plan: { argv } }) => ({ address, before, argv, after }));
      return printJson({ schema: "dax_config_qemu_hosts/1", hosts: lines, files: made, notes });
    }
    if (options.json) {
      const made = plan.files.map(({ path, sizeBytes }) => ({ path, sizeBytes: sizeBytes.toString() }));
      return printJson({ schema: "dax_config_qemu/1", argv: plan.argv, files: made, notes });
    }
    for (const text of notes) note(`dax_config: ${text}`);
    if (!runsLabGuest(machine)) {
      const type = options.volatile ? "ram" : "pmem";
      for (const i of backings.keys()) {
        note(`dax_config: in the guest: cxl create-region -t ${type} -d decoder0.0 mem${i}`);
      }
    }
    if (hosts.length === 0) return print(shellText(plan, folder));
    for (const [i, { address, before, after, plan: own }] of hosts.entries()) {
      print(
        `# host ${i + 1} of ${hosts.length}; in the guest: ip addr add ${address}/24 dev eth0 && ip link set eth0 up`,
      );
      print([...before, shellText(own, folder), ...after].join("\n"));
    }
  });

/** The machine with the card that joins it to those of the other hosts. */
function withCard(machine: Machine, place: HostPlace): Machine {
  return { ...machine, "qemu-arguments": [...machine["qemu-arguments"], ...place.arguments] };
}

function requireFile(path: string): void {
  if (localFiles.status(path.startsWith("/") ? path : `${Deno.cwd()}/${path}`) !== null) return;
  throw new BusbarError("absent", `${path} does not exist`, { operation: "plan a machine", path });
}

/** What a guest gets, after the checks of `dax_config check`; a file that does not exist will be made. */
function checkBacking(name: string, wanted: bigint | undefined): Backing {
  const path = resourcePath("mmap", name);
  const resource = inspectResource(thisMachine, localFiles, {
    backend: path.startsWith("/dev/dax") ? "dax" : "mmap",
    resource: path,
    ...(wanted === undefined ? {} : { sizeBytes: wanted }),
  });
  const isNew = resource.kind === "none" && localFiles.status(path) === null && !path.startsWith("/dev/");
  const error = isNew ? null : firstError(resource);
  if (error !== null) throw error;
  if (isNew && wanted === undefined) {
    throw new BusbarError("usage", `${path} does not exist`, { hint: "--size 1GiB says how large it is to be made" });
  }
  const sizeBytes = cxlMemoryBytes(resource.sizeBytes, wanted, path);
  return { path, sizeBytes, alignBytes: resource.device?.alignBytes ?? null, notes: backingNotes(resource, sizeBytes) };
}

function backingNotes({ device, sizeBytes, findings }: MemoryResource, used: bigint): string[] {
  const limited = findings.filter(({ result }) => result === "limited").map(({ text }) => text);
  const left = (sizeBytes ?? used) - used;
  return [
    ...(device === null ? [] : [`align=: QEMU maps ${device.path} at multiples of ${formatBytes(device.alignBytes)}`]),
    ...(left > 0n ? [`${formatBytes(left)} stay unused: CXL memory comes in multiples of 256 MiB`] : []),
    ...limited,
  ];
}
