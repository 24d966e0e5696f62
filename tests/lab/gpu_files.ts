/**
 * Files of a drive that the kernel wrote, read by kernels of a software GPU through VFIO. On the machine `nvme`.
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { createHash } from "node:crypto";

import { closeAll } from "../../ffi/library.ts";
import { BusbarError } from "../../src/core/error.ts";
import { catFile, catResolved, resolvableFile } from "../../src/gpu/cat_file.ts";
import { openGpu } from "../../src/gpu/cuda.ts";
import { driveBytes } from "../../src/gpu/files/drive.ts";
import type { FileMap } from "../../src/gpu/files/file_map.ts";
import type { DriveBytes } from "../../src/gpu/files/find_file.ts";
import { findMappedFile } from "../../src/gpu/files/mapped_file.ts";
import { mapMountedFile } from "../../src/gpu/files/mounted.ts";
import { loadModel } from "../../src/gpu/load_model.ts";
import { FileKernels } from "../../src/gpu/nvme/file_kernels.ts";
import { NvmeDirect } from "../../src/gpu/nvme_direct.ts";
import { type MadeTensor, safetensorsFile } from "../model_files.ts";
import { Random } from "../unit/random.ts";
import { blockDevice, driven, must } from "./controllers.ts";
import type { Lab } from "./lab.ts";

const NVME = "0000:01:00.0";
const MIB = 1 << 20;
const CHUNK_BYTES = 1 << 16;

/** Partitions: type in the MBR, first MiB, length in MiB, how it is made, and mounted; XFS is not read by ourselves. */
const DISKS = [
  { type: 0x83, startMib: 1, sizeMib: 256, make: ["mkfs.ext4", "-q", "-F"], mount: ["-t", "ext4"] },
  { type: 0x0c, startMib: 300, sizeMib: 256, make: ["mkfs.vfat", "-F", "32"], mount: ["-t", "vfat"] },
  { type: 0x83, startMib: 600, sizeMib: 320, make: ["mkfs.xfs", "-q", "-f"], mount: ["-t", "xfs"] },
] as const;

const [EXT4, FAT, XFS] = [0, 1, 2];
const XFS_BYTES = 6 << 20;

/** Tensors that begin and end in the middle of blocks. */
const TENSORS: readonly MadeTensor[] = [["a", 3], ["b", 70], ["c", 280_004], ["d", 511], ["e", 40_000]].map(
  ([name, sizeBytes]) => {
    const size = Number(sizeBytes);
    const bytes = new Random(`tensor ${name}`).noise(Math.ceil(size / 4) * 4).slice(0, size);
    return { name: String(name), type: "I8", shape: [size], bytes };
  },
);
const MODEL = safetensorsFile(TENSORS);

async function partition(device: string): Promise<void> {
  const sector = new Uint8Array(512), view = new DataView(sector.buffer);
  for (const [i, { type, startMib, sizeMib }] of DISKS.entries()) {
    const at = 446 + 16 * i;
    sector[at + 4] = type;
    view.setUint32(at + 8, startMib * MIB / 512, true);
    view.setUint32(at + 12, sizeMib * MIB / 512, true);
  }
  view.setUint16(510, 0xaa55, true);
  using file = await Deno.open(device, { write: true });
  await file.write(sector);
  await file.sync();
  await must("blockdev", "--rereadpt", device);
  for (let i = 0; i < 100 && (await Deno.stat(`${device}p3`).catch(() => null)) === null; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Writes a file in pieces, in no order, some of them never: many extents, and holes where the file system has them. */
async function writeScattered(path: string, sizeBytes: number, canSkip: boolean): Promise<void> {
  const random = new Random(`scattered ${path}`);
  const noise = random.noise(CHUNK_BYTES);
  const chunks = Array.from({ length: Math.ceil(sizeBytes / CHUNK_BYTES) }, (_, i) => i);
  if (canSkip) {
    for (let i = chunks.length - 1; i > 0; i--) {
      const other = random.below(i + 1);
      [chunks[i], chunks[other]] = [chunks[other] ?? 0, chunks[i] ?? 0];
    }
  }
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  // What comes between, where files are written front to back.
  using between = await Deno.open(`${path}.between`, { write: true, create: true, truncate: true });
  await file.truncate(canSkip ? sizeBytes : 0);
  for (const [i, chunk] of chunks.entries()) {
    if (canSkip && chunk % 9 === 4) continue;
    const bytes = noise.subarray(0, Math.min(CHUNK_BYTES, sizeBytes - chunk * CHUNK_BYTES));
    new DataView(bytes.buffer).setUint32(0, chunk);
    await file.seek(chunk * CHUNK_BYTES, Deno.SeekMode.Start);
    for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
    if (!canSkip && i % 2 === 0) await between.write(noise);
    if (i % 8 === 7) await file.syncData();
  }
}

async function kernelSum(path: string): Promise<string> {
  await Deno.writeTextFile("/proc/sys/vm/drop_caches", "3");
  return new TextDecoder().decode(await must("sha256sum", path)).slice(0, 64);
}

async function refusal(drive: DriveBytes, map: FileMap): Promise<string> {
  try {
    await findMappedFile(drive, map);
  } catch (error) {
    assert(error instanceof BusbarError && error.code === "mismatch", `${error}`);
    return error.message;
  }
  throw new Error(`${map.path} on ${map.key.fileSystem}: what changed was taken`);
}

/** Registers the test of files of `sizeBytes`. */
export function gpuFilesTest(lab: Lab, what: string, sizeBytes: number): void {
  lab.test(
    `${what} on ext4, FAT32 and XFS is read by kernels of a GPU as the kernel reads it, unless it changed`,
    async () => {
      const device = await blockDevice(NVME, 1);
      await partition(device);
      const maps: FileMap[] = [], sums: string[] = [], stale: FileMap[] = [];
      let modelMap: FileMap | null = null;
      for (const [i, { make, mount }] of DISKS.entries()) {
        const [program, ...args] = make, point = `/tmp/files${i}`, path = `${point}/some/deep folder/model.bin`;
        await must(program, ...args, `${device}p${i + 1}`);
        await Deno.mkdir(point, { recursive: true });
        await must("mount", ...mount, `${device}p${i + 1}`, point);
        await Deno.mkdir(`${point}/some/deep folder`, { recursive: true });
        await writeScattered(path, i === XFS ? XFS_BYTES : sizeBytes, i !== FAT);
        if (i === XFS) {
          // Only what is mounted read-only is taken, as the hint of the refusal says.
          const error = await assertRejects(() => mapMountedFile(path), BusbarError, "mounted for writing");
          assertEquals(error.hint, "mount it read-only: mount -o remount,ro");
          await must("mount", "-o", "remount,ro", point);
          maps.push(await mapMountedFile(path));
          sums.push(await kernelSum(path));
          await must("umount", point);
          continue;
        }
        if (i === EXT4) {
          await Deno.writeFile(`${point}/tensors.safetensors`, MODEL);
          modelMap = await mapMountedFile(`${point}/tensors.safetensors`);
        }
        await Deno.copyFile("/etc/passwd", `${point}/changed`);
        maps.push(await mapMountedFile(path));
        sums.push(await kernelSum(path));
        stale.push(await mapMountedFile(`${point}/changed`));
        // FAT keeps times of two seconds.
        await new Promise((resolve) => setTimeout(resolve, 2100));
        await Deno.writeTextFile(`${point}/changed`, "more", { append: true });
        await must("umount", point);
      }
      assert(
        maps.every(({ extents, key }) => extents.length > key.sizeBytes / MIB),
        `${maps.map(({ extents }) => extents.length)} extents`,
      );
      await driven(NVME, async (controller) => {
        const drive = await driveBytes(controller, 1);
        for (const map of stale) assert(/ was .* when the file was mapped/.test(await refusal(drive, map)));
        const namespace = await controller.namespace(1).geometry();
        using gpu = openGpu("soft:cuda?memory=64MiB");
        await using direct = await NvmeDirect.open(controller.driver, gpu, { mode: "grid", depth: 64 });
        using kernels = new FileKernels(direct, namespace, await controller.maxTransferBytes());
        for (const [i, before] of maps.entries()) {
          // Our own reader finds what FIEMAP and FIBMAP said, or this throws.
          const { map, found } = await findMappedFile(drive, before);
          const { fileSystem } = map.key;
          const mapped = createHash("sha256");
          await catFile(kernels, map, (bytes) => void mapped.update(bytes), { timeoutMs: 60_000 });
          assertEquals(mapped.digest("hex"), sums[i], `${fileSystem}, by its map`);
          if (found === null) continue;
          const resolved = createHash("sha256");
          const file = await resolvableFile(found, map.path, namespace.blockBytes);
          await catResolved(kernels, file, (bytes) => void resolved.update(bytes), { timeoutMs: 60_000 });
          assertEquals(resolved.digest("hex"), sums[i], `${fileSystem}, found by the kernel`);
        }
        assert(modelMap !== null);
        const { map } = await findMappedFile(drive, modelMap);
        using model = await loadModel(kernels, map, { timeoutMs: 60_000 });
        for (const { name, bytes } of TENSORS) {
          assertEquals(model.tensors.get(name)?.sha256, createHash("sha256").update(bytes).digest("hex"), name);
        }
      }, { lentQueues: 1 });
      // Mounted once more, and a file written beside it: FAT does not say.
      for (const i of [EXT4, XFS]) {
        await must("mount", ...(DISKS[i]?.mount ?? []), `${await blockDevice(NVME, 1)}p${i + 1}`, `/tmp/files${i}`);
        if (i === XFS) await Deno.writeTextFile(`/tmp/files${i}/some/deep folder/model.bin`, "more", { append: true });
        else await Deno.writeTextFile(`/tmp/files${i}/another`, "file");
        await must("umount", `/tmp/files${i}`);
      }
      await driven(NVME, async (controller) => {
        const drive = await driveBytes(controller, 1);
        for (const [i, told] of [[EXT4, /mount/], [XFS, /written to since/]] as const) {
          const map = maps[i];
          assert(map !== undefined);
          assertMatch(await refusal(drive, map), told);
        }
      }, { lentQueues: 1 });
      closeAll();
    },
    { timeoutMs: 800_000 },
  );
}
