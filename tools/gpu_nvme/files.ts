/**
 * `gpu_nvme <device> cat|load FILE`: files of a drive, read by kernels.
 * @module
 */

import { createHash } from "node:crypto";

import { BusbarError, systemError } from "../../src/core/error.ts";
import { catFile, catResolved, type CatResult, type ResolvableFile, resolvableFile } from "../../src/gpu/cat_file.ts";
import { Cuda } from "../../src/gpu/cuda.ts";
import { driveBytes } from "../../src/gpu/files/drive.ts";
import type { FileMap } from "../../src/gpu/files/file_map.ts";
import { checkedMap, type DriveBytes, findFileSystem } from "../../src/gpu/files/find_file.ts";
import { findMappedFile, type FoundFile } from "../../src/gpu/files/mapped_file.ts";
import { mapMountedFile } from "../../src/gpu/files/mounted.ts";
import { loadModel } from "../../src/gpu/load_model.ts";
import type { ArenaPlace } from "../../src/gpu/nvme/arena.ts";
import type { DirectDoorbells, DirectMode, DirectTier } from "../../src/gpu/nvme/direct_job.ts";
import { FileKernels } from "../../src/gpu/nvme/file_kernels.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { writeOutput } from "../cli/files.ts";
import { print, printBytes, printJson } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { catJson, catLines, type FileDescription, loadJson, loadLines } from "../render/gpu/gpu_nvme_files.ts";

/** What the command line says about files. */
export interface FileOptions {
  readonly gpu: string;
  readonly mode: DirectMode;
  readonly doorbells: DirectDoorbells;
  readonly tier: `${DirectTier}`;
  readonly namespace: number;
  readonly depth: number;
  readonly queues: number;
  readonly timeout: number;
  readonly output?: string | undefined;
  readonly partition?: number | undefined;
  readonly map?: string | undefined;
  readonly saveMap?: string | undefined;
  readonly resolve: "host" | "gpu";
  readonly tensor?: readonly string[] | undefined;
  readonly all?: true | undefined;
  readonly place: ArenaPlace;
  readonly iommu: boolean;
  readonly json?: true | undefined;
}

/** Reads a file, or loads a model, by kernels. */
export async function performFile(
  device: string,
  action: "cat" | "load",
  path: string | undefined,
  options: FileOptions,
): Promise<void> {
  const usage = (message: string, hint: string): BusbarError => new BusbarError("usage", message, { hint });
  if (options.saveMap !== undefined) {
    if (path === undefined) throw usage("which file is to be mapped?", `gpu_nvme ${device} cat FILE --save-map MAP`);
    return await saveMap(path, options.saveMap);
  }
  if (path === undefined && options.map === undefined) {
    throw usage(`${action} which file?`, `gpu_nvme ${device} ${action} /models/some.safetensors`);
  }
  if (action === "load" && (options.tensor === undefined) === (options.all === undefined)) {
    throw usage("load which tensors?", "--tensor NAME, as often as there are tensors, or --all");
  }
  if (options.tier !== "1") {
    throw usage(`files are not read at tier ${options.tier}`, "--tier 1, with --place device or pinned");
  }
  await using controller = await NvmeController.open(device, {
    drive: true,
    noIommu: !options.iommu,
    lentQueues: options.queues,
    signal: interruption,
  });
  // By the CPU's own queue, which with shadow doorbells rests later.
  const drive = await driveBytes(controller, options.namespace);
  const { map, found } = await findAgain(drive, path, options);
  const file = options.resolve === "gpu" ? await resolvable(found, map, drive) : null;
  const geometry = await controller.namespace(options.namespace).geometry();
  const maxTransferBytes = await controller.maxTransferBytes();
  using gpu = Cuda.open(options.gpu);
  await using direct = await NvmeDirect.open(controller.driver, gpu, {
    mode: options.mode,
    depth: options.depth,
    queues: options.queues,
    doorbells: options.doorbells,
    registersAreMemory: device.startsWith("soft:") && !options.gpu.startsWith("soft:"),
  });
  using kernels = new FileKernels(direct, geometry, maxTransferBytes);
  const started = performance.now();
  const describe = (): FileDescription => ({
    device,
    gpu: `${gpu.name} (${options.gpu}, compute capability ${gpu.capability})`,
    map,
    resolve: options.resolve,
    elapsedMs: performance.now() - started,
  });
  if (action === "cat") return await cat(kernels, map, file, options, describe);
  using model = await loadModel(kernels, map, {
    place: options.place,
    timeoutMs: options.timeout,
    signal: interruption,
    ...(options.tensor === undefined ? {} : { tensors: options.tensor }),
  });
  if (options.json) return printJson(loadJson(describe(), model));
  print(loadLines(describe(), model).join("\n"));
}

async function saveMap(path: string, to: string): Promise<void> {
  const { mapText } = await import("../../src/gpu/files/map_file.ts");
  const map = await mapMountedFile(path);
  writeOutput(to, mapText(map));
  print(
    `${map.path} on ${map.key.fileSystem}: ${map.extents.length} extents; unmount it before it is read by this map`,
  );
}

async function findAgain(drive: DriveBytes, path: string | undefined, options: FileOptions): Promise<FoundFile> {
  if (options.map !== undefined) {
    const { readMap } = await import("../../src/gpu/files/map_file.ts");
    return await findMappedFile(drive, readMap(options.map));
  }
  const found = await findFileSystem(drive, options.partition);
  const map: FileMap = await found.fileSystem.map(path ?? "", found.partition.offset);
  return { map: checkedMap(map, drive), found };
}

async function resolvable(found: FoundFile["found"], map: FileMap, drive: DriveBytes): Promise<ResolvableFile> {
  if (found !== null) return await resolvableFile(found, map.path, drive.blockBytes);
  throw new BusbarError("unsupported", `${map.path}: the kernel walks ext4 and FAT32 only, not ${map.key.fileSystem}`, {
    operation: "find a file's blocks by a kernel",
    path: map.path,
    hint: "--resolve host",
  });
}

async function cat(
  kernels: FileKernels,
  map: FileMap,
  file: ResolvableFile | null,
  options: FileOptions,
  describe: () => FileDescription,
): Promise<void> {
  const hash = createHash("sha256");
  const { output } = options;
  const isStream = output === "-";
  let opened: Deno.FsFile | null = null;
  try {
    if (output !== undefined && !isStream) {
      opened = await Deno.open(output, { write: true, create: true, truncate: true });
    }
  } catch (cause) {
    throw systemError(cause, "write", output ?? "");
  }
  using _file = opened;
  const take = (bytes: Uint8Array): void => {
    hash.update(bytes);
    if (isStream) printBytes(bytes);
    for (let done = 0; opened !== null && done < bytes.length;) done += opened.writeSync(bytes.subarray(done));
  };
  const how = { timeoutMs: options.timeout, signal: interruption };
  const result: CatResult = file === null
    ? await catFile(kernels, map, take, how)
    : await catResolved(kernels, file, take, how);
  const sha256 = hash.digest("hex");
  if (options.json) return printJson(catJson(describe(), result, sha256));
  print(catLines(describe(), result, sha256).join("\n"));
}
