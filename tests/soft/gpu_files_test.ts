/** Files and models read by kernels of a software GPU, from a software drive that holds an image of a file system. */

import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";

import { BusbarError } from "../../src/core/error.ts";
import { catFile, catResolved, resolvableFile } from "../../src/gpu/cat_file.ts";
import { driveBytes } from "../../src/gpu/files/drive.ts";
import type { FileMap } from "../../src/gpu/files/file_map.ts";
import { findFile, findFileSystem } from "../../src/gpu/files/find_file.ts";
import { loadModel } from "../../src/gpu/load_model.ts";
import type { DirectOptions } from "../../src/gpu/nvme/direct_job.ts";
import { FileKernels } from "../../src/gpu/nvme/file_kernels.ts";
import { ext4Image, fat32Image, program } from "../disk_images.ts";
import { ggufFile, type MadeTensor, safetensorsFile } from "../model_files.ts";
import { withNeeds } from "../needs.ts";
import { Random } from "../unit/random.ts";
import { type DirectController, openDirect, withGpuLibraries } from "./gpu_nvme_device.ts";

withGpuLibraries();

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "busbar-images-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function openImage(path: string, sizeBytes: number, options: DirectOptions): Promise<DirectController> {
  // The file is only read: the size is what it has.
  return await openDirect(`size=${sizeBytes}&file=${encodeURIComponent(path)}`, options);
}

/** Says where bytes differ: a list of all would be long. */
function assertBytes(found: Uint8Array, wanted: Uint8Array, what: string): void {
  const at = found.findIndex((byte, i) => byte !== wanted[i]);
  assert(at < 0, `${what}: byte ${at} of ${wanted.length} differs`);
  assertEquals(found.length, wanted.length, what);
}

/** Gathers what is handed over. */
function collector(): { readonly take: (bytes: Uint8Array) => void; readonly all: () => Uint8Array<ArrayBuffer> } {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  return {
    take: (bytes) => void parts.push(bytes.slice()),
    all: () => {
      const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of parts) {
        whole.set(part, at);
        at += part.length;
      }
      return whole;
    },
  };
}

for (const make of [ext4Image, fat32Image]) {
  const what = make === ext4Image ? "ext4" : "FAT32";
  Deno.test({
    ...withNeeds(
      `a fragmented ${what} file is the same by its map and found by the kernel itself`,
      ...(make === ext4Image ? ["mkfs.ext4", "debugfs"] as const : ["mkfs.vfat", "mcopy"] as const),
    ),
    fn: async () => {
      await inFolder(async (folder) => {
        const image = await make(folder, 400_001);
        const { size } = await Deno.stat(image.path);
        for (const options of [{ mode: "warp", depth: 32 }, { mode: "grid", depth: 64, queues: 2 }] as const) {
          await using one = await openImage(image.path, size, options);
          const drive = await driveBytes(one.controller, 1);
          const map = await findFile(drive, image.file);
          using kernels = new FileKernels(one.direct, one.geometry, await one.controller.maxTransferBytes());
          const mapped = collector();
          await catFile(kernels, map, mapped.take);
          assertBytes(mapped.all(), image.bytes, `${what} ${options.mode}`);
          const found = await findFileSystem(drive);
          const file = await resolvableFile(found, image.file, one.geometry.blockBytes);
          const resolved = collector();
          const result = await catResolved(kernels, file, resolved.take);
          assertBytes(resolved.all(), image.bytes, `${what} ${options.mode}: resolved`);
          assert(result.metadataReads > 0);
        }
      });
    },
  });
}

const random = new Random("model tensors");

function tensor(name: string, type: string, shape: readonly number[], sizeBytes: number): MadeTensor {
  return { name, type, shape, bytes: random.noise(Math.ceil(sizeBytes / 4) * 4).slice(0, sizeBytes) };
}

/** Tensors that begin and end everywhere in blocks, some shorter than a block, some of many. */
const TENSORS = [
  tensor("a", "I8", [3], 3),
  tensor("b", "F16", [7, 5], 70),
  tensor("c", "F32", [70_001], 280_004),
  tensor("d", "I8", [511], 511),
  tensor("e", "F32", [1000], 4000),
  tensor("f", "I8", [1], 1),
];

for (const [format, bytes] of [["safetensors", safetensorsFile(TENSORS)], ["GGUF", ggufFile(TENSORS)]] as const) {
  Deno.test(`tensors of ${format} that begin anywhere load equal to the file, into pinned and into device memory`, async () => {
    await using one = await openDirect("size=4MiB", { mode: "warp", depth: 32 });
    // The file in pieces all over the drive, of 1 to 40 blocks, in no order.
    const blockBytes = one.geometry.blockBytes, blocks = Math.ceil(bytes.length / blockBytes);
    const padded = new Uint8Array(blocks * blockBytes);
    padded.set(bytes);
    const extents: { fileOffset: number; offset: number; sizeBytes: number }[] = [];
    for (let at = 0, turn = 0; at < blocks; turn++) {
      const count = Math.min(blocks - at, 1 + random.below(40));
      const lba = (turn % 2 === 0 ? 4000 - at - count : 4100 + at) % 8192;
      await one.controller.namespace(1).write(lba, padded.slice(at * blockBytes, (at + count) * blockBytes));
      extents.push({ fileOffset: at * blockBytes, offset: lba * blockBytes, sizeBytes: count * blockBytes });
      at += count;
    }
    const map: FileMap = {
      path: "/model",
      partitionOffset: 0,
      key: { fileSystem: "test", uuid: "", mountTime: null, mountCount: null, sizeBytes: bytes.length, changeTime: "" },
      extents,
      untouched: null,
    };
    using kernels = new FileKernels(one.direct, one.geometry, await one.controller.maxTransferBytes());
    for (const place of ["pinned", "device"] as const) {
      using model = await loadModel(kernels, map, { place });
      assertEquals([...model.tensors.keys()].sort(), TENSORS.map(({ name }) => name).sort());
      for (const { name, bytes: wanted, type, shape } of TENSORS) {
        const loaded = model.tensors.get(name);
        assert(loaded !== undefined);
        assertEquals([loaded.type, loaded.shape], [type, shape]);
        assertEquals(loaded.address % 256n, 0n);
        assertBytes(await model.arena.read(loaded.arenaOffset, loaded.sizeBytes), wanted, `${place} ${name}`);
        assertEquals(loaded.sha256, createHash("sha256").update(wanted).digest("hex"));
      }
      // A drive writes to multiples of 4 only, on which tensors of this safetensors file do not go on behind a block.
      if (place === "device") assertEquals(model.directBytes, 0);
      else assert(model.directBytes > (format === "GGUF" ? 200_000 : 0), `${model.directBytes} bytes direct`);
      assert(model.copiedBytes > 0);
    }
    using some = await loadModel(kernels, map, { tensors: ["c", "a"], place: "pinned" });
    assertEquals([...some.tensors.keys()], ["a", "c"]);
  });
}

Deno.test({
  ...withNeeds("a kernel that walks a damaged extent tree says so, and the queues stay good", "mkfs.ext4", "debugfs"),
  fn: async () => {
    await inFolder(async (folder) => {
      const image = await ext4Image(folder, 400_001);
      const { size } = await Deno.stat(image.path);
      await using one = await openImage(image.path, size, { mode: "warp", depth: 32 });
      const namespace = one.controller.namespace(1);
      const drive = await driveBytes(one.controller, 1);
      const file = await resolvableFile(await findFileSystem(drive), image.file, one.geometry.blockBytes);
      using kernels = new FileKernels(one.direct, one.geometry, await one.controller.maxTransferBytes());
      // The block of the tree that the inode points to first, as debugfs lists it.
      const listed = await program("debugfs", ["-R", `ex ${image.file}`, image.path]);
      const child = Number(/^\s*0\/ \d+\s+1\/\s*\d+\s+\d+ -\s*\d+\s+(\d+)/m.exec(listed)?.[1]) * 1024;
      const good = (await drive.read(child, 1024)).slice();
      const changes: readonly (readonly [what: string, change: (view: DataView) => void])[] = [
        ["magic", (view) => view.setUint16(0, 0, true)],
        ["more entries than fit", (view) => view.setUint16(2, 900, true)],
        ["deeper than its parent says", (view) => view.setUint16(6, 4, true)],
        ["a block beyond the end", (view) => view.setUint32(12 + 4 + 4, 0x7fff_ffff, true)],
        ["backwards", (view) => view.setUint32(24, 0, true)],
      ];
      for (const [what, change] of changes) {
        const bad = good.slice();
        change(new DataView(bad.buffer));
        await namespace.write(child / one.geometry.blockBytes, bad);
        const error = await catResolved(kernels, file, () => {}).then(() => null, (error) => error);
        assert(error instanceof BusbarError && error.code === "malformed", `${what}: ${error}`);
      }
      await namespace.write(child / one.geometry.blockBytes, good);
      const whole = collector();
      await catResolved(kernels, file, whole.take);
      assertBytes(whole.all(), image.bytes, "after the damage was undone");
      assertEquals(one.driver.resets, 0);
    });
  },
});
