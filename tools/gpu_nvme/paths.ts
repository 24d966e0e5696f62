/**
 * `gpu_nvme <device> paths`: the ways from a drive to the GPU's memory, measured in one run.
 * @module
 */

import type { DirectDoorbells, DirectMode, DirectOptions } from "../../src/gpu/nvme/direct_job.ts";
import { exists, type Host, ifReadable, thisMachine } from "../../src/core/host.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { formatPciAddress } from "../../src/core/pci_address.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { type DrivePath, driverPaths, type KernelDisk, kernelPaths, type PathsJob } from "../../src/gpu/nvme_paths.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { planTransfers } from "../../src/nvme/jobs/transfer_plan.ts";
import { bindVfio, blockDevicesOf } from "../../src/pci/bind.ts";
import { type PciFunction, readPciFunction } from "../../src/pci/function.ts";
import { note, print, printJson } from "../cli/output.ts";
import { interruption, openJournal } from "../cli/run.ts";
import { pathsCharts } from "../render/gpu/gpu_nvme_charts.ts";
import { writeCharts } from "./charts.ts";
import { type PathsDescription, pathsJson, pathsLines, pathsMethodLines } from "../render/gpu/gpu_nvme_paths.ts";

const KERNEL_DRIVER = "nvme";
const USUAL_TRANSFER_BYTES = 4096;
const CUFILE = "libcufile.so.0";
/** Where the toolkit and the distributions put it. */
const LIBRARY_FOLDERS = [
  "/usr/local/cuda/lib64",
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib64",
];

/** What the command line says. */
export interface PathsOptions {
  readonly gpu: string;
  readonly mode: DirectMode;
  readonly doorbells: DirectDoorbells;
  readonly vramThroughBar1?: true | undefined;
  readonly namespace: number;
  readonly lba?: bigint | undefined;
  readonly blocks?: bigint | undefined;
  readonly blockSize?: bigint | undefined;
  readonly depth: number;
  readonly queues: number;
  readonly duration: number;
  readonly timeout: number;
  readonly iommu: boolean;
  readonly json?: true | undefined;
  readonly svg?: string | undefined;
  readonly html?: string | undefined;
}

/** Measures every way that there is, and says of the others why not. A drive that the kernel has goes back to it. */
export async function performPaths(device: string, options: PathsOptions): Promise<void> {
  const locator = parseLocator(device);
  const fn = locator.kind === "pci" ? readPciFunction(thisMachine, formatPciAddress(locator.address)) : null;
  const isKernels = fn?.driver === KERNEL_DRIVER;
  using gpu = Cuda.open(options.gpu);
  const ways: DrivePath[] = [];
  const take = (way: DrivePath): void => {
    ways.push(way);
    if (!options.json) note(`${way.name}: ${way.missing ?? "measured"}`);
  };
  const driving = { drive: true, noIommu: !options.iommu, lentQueues: options.queues, signal: interruption };
  const { what, job } = await (async () => {
    await using controller = await NvmeController.open(device, isKernels ? {} : driving);
    const what = await describe(controller, device, gpu, options);
    if (!options.json) print(pathsMethodLines(what).join("\n"));
    const job: PathsJob = { ...what, timeoutMs: options.timeout, signal: interruption };
    await kernelPaths(kernelDisk(device, fn, options.namespace), gpu, job, take);
    if (!isKernels) await driverPaths(controller.driver, gpu, directOptions(device, options), job, take);
    return { what, job };
  })();
  if (fn !== null && isKernels) {
    using journal = openJournal("gpu_nvme");
    bindVfio(journal, thisMachine, fn);
    await using controller = await NvmeController.open(device, driving);
    await driverPaths(controller.driver, gpu, directOptions(device, options), job, take);
  }
  for (const way of otherWays(thisMachine)) take(way);
  await writeCharts(options, [...pathsMethodLines(what), "", ...pathsLines(ways)], pathsCharts(ways));
  if (options.json) return printJson(pathsJson(what, ways));
  print(pathsLines(ways).join("\n"));
}

function directOptions(device: string, options: PathsOptions): DirectOptions {
  const { mode, doorbells, depth, queues } = options;
  return {
    mode,
    doorbells,
    depth,
    queues,
    vramThroughBar1: options.vramThroughBar1 === true,
    registersAreMemory: device.startsWith("soft:") && !options.gpu.startsWith("soft:"),
  };
}

async function describe(
  controller: NvmeController,
  device: string,
  gpu: Gpu,
  options: PathsOptions,
): Promise<PathsDescription> {
  const wanted = {
    sizeBytes: Number(options.blockSize ?? USUAL_TRANSFER_BYTES),
    isExact: options.blockSize !== undefined,
  };
  const plan = await planTransfers(controller, options.namespace, options.lba ?? 0n, options.blocks, wanted);
  return {
    ...plan,
    device,
    gpu: `${gpu.name} (${options.gpu}, compute capability ${gpu.capability})`,
    mode: options.mode,
    doorbells: options.doorbells,
    depth: options.depth,
    queues: options.queues,
    durationMs: options.duration,
  };
}

/** The kernel's block device of a namespace, or why there is none. */
function kernelDisk(device: string, fn: PciFunction | null, nsid: number): KernelDisk {
  if (fn === null) return { path: null, why: `${device} is no device of the kernel's` };
  if (fn.driver !== KERNEL_DRIVER) {
    return { path: null, why: `the kernel's driver does not have it: ${fn.driver ?? "no driver"} has` };
  }
  for (const name of blockDevicesOf(thisMachine, fn)) {
    // With native multipath, the path nvme0c0n1 cannot be opened.
    if (/^nvme\d+c\d+n\d+$/.test(name)) continue;
    const found = ifReadable(() => thisMachine.readText(`/sys/class/block/${name}/nsid`).trim());
    if (found === String(nsid)) return { path: `/dev/${name}`, why: null };
  }
  return { path: null, why: `the kernel has no block device of namespace ${nsid}` };
}

/** Ways that need what few machines have. Neither is measured: what is missing is said. */
function otherWays(host: Host): DrivePath[] {
  const folder = "/sys/bus/pci/devices";
  const provider = (ifReadable(() => host.list(folder)) ?? []).find((name) =>
    ifReadable(() => host.readText(`${folder}/${name}/p2pmem/size`)) !== null
  );
  const library = LIBRARY_FOLDERS.map((path) => `${path}/${CUFILE}`).find((path) => exists(host, path));
  const missing = (name: string, why: string): DrivePath => ({ name, copies: 0, figures: null, missing: why });
  return [
    missing(
      "kernel's P2PDMA",
      provider === undefined
        ? "no function offers its memory to the kernel (p2pmem)"
        : `${provider} offers memory (p2pmem), which is not the GPU's`,
    ),
    missing(
      "cuFile",
      library === undefined ? `${CUFILE} is not installed` : `${library} is there; this version does not call it`,
    ),
  ];
}
