/** Readers of ext4 and FAT32: the file that they find is the one that debugfs and mtools find, byte by byte. */

import { assert, assertEquals, assertRejects } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { Ext4 } from "../../src/gpu/files/ext4.ts";
import { Fat32 } from "../../src/gpu/files/fat32.ts";
import { checkUnchanged, type FileMap, fileReader } from "../../src/gpu/files/file_map.ts";
import { type DriveBytes, findFile, findFileSystem } from "../../src/gpu/files/find_file.ts";
import { findMappedFile } from "../../src/gpu/files/mapped_file.ts";
import { hashOfState } from "../../src/gpu/files/untouched_state.ts";
import { ext4Image, fat32Image, program } from "../disk_images.ts";
import { withNeeds } from "../needs.ts";

/** A file as a drive, from `start` on. */
function driveOf(bytes: Uint8Array, blockBytes: number = 512): DriveBytes {
  return {
    name: "image",
    capacityBytes: bytes.length,
    blockBytes,
    read: (offset, sizeBytes) => {
      assert(offset >= 0 && offset + sizeBytes <= bytes.length, `${sizeBytes} bytes at ${offset}`);
      return Promise.resolve(bytes.slice(offset, offset + sizeBytes));
    },
  };
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "busbar-images-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  ...withNeeds("a fragmented ext4 file with holes is found as debugfs finds it", "mkfs.ext4", "debugfs"),
  fn: async () => {
    await inFolder(async (folder) => {
      const image = await ext4Image(folder, 1_000_003);
      const bytes = await Deno.readFile(image.path);
      const drive = driveOf(bytes);
      const map = await findFile(drive, image.file);
      // debugfs lists each extent: level, entry, logical blocks, physical blocks, length.
      const listed = await program("debugfs", ["-R", `ex ${image.file}`, image.path]);
      const rows = [
        ...listed.matchAll(/^\s*(\d+)\/ (\d+)\s+\d+\/\s*\d+\s+(\d+) -\s*(\d+)\s+(\d+) -\s*(\d+)\s+\d+\s*$/gm),
      ];
      const leaves = rows.filter(([, level, depth]) => level === depth);
      assert(leaves.length > 300 && Number(leaves[0]?.[2]) >= 2, `${leaves.length} extents: not fragmented`);
      const theirs = leaves.map(([, , , first, last, start]) => ({
        fileOffset: 1024 * Number(first),
        offset: 1024 * Number(start),
        sizeBytes: 1024 * (Number(last) - Number(first) + 1),
      }));
      const ends = map.extents.at(-1), last = theirs.at(-1);
      assert(ends !== undefined && last !== undefined);
      theirs[theirs.length - 1] = { ...last, sizeBytes: ends.sizeBytes };
      assertEquals(map.extents.map((one) => one.fileOffset), theirs.map((one) => one.fileOffset));
      assertEquals(map.extents, theirs);
      assert(
        map.extents.some((one, i) =>
          i > 0 && one.fileOffset > (map.extents[i - 1]?.fileOffset ?? 0) + (map.extents[i - 1]?.sizeBytes ?? 0)
        ),
        "no hole",
      );
      await program("debugfs", ["-R", `dump ${image.file} ${folder}/out`, image.path]);
      const content = await fileReader(map, drive.read)(0, map.key.sizeBytes);
      assertEquals(content, await Deno.readFile(`${folder}/out`));
      assertEquals(content, image.bytes);
      const { fileSystem } = await findFileSystem(drive);
      assert(fileSystem instanceof Ext4);
      const stat = await program("debugfs", ["-R", `stat ${image.file}`, image.path]);
      assertEquals(await fileSystem.inodeOf(image.file), Number(/Inode: (\d+)/.exec(stat)?.[1]));
      const ctime = /ctime: 0x([0-9a-f]{8}):([0-9a-f]{8})/.exec(stat);
      assert(ctime !== null);
      const nanoseconds = parseInt(ctime[2] ?? "", 16) >>> 2;
      assertEquals(
        map.key.changeTime,
        `${BigInt(parseInt(ctime[1] ?? "", 16)) * 1_000_000_000n + BigInt(nanoseconds)}`,
      );
      const headers = await program("dumpe2fs", ["-h", image.path]);
      assertEquals(map.key.uuid, /UUID:\s+(\S+)/.exec(headers)?.[1]);
      await assertRejects(() => findFile(drive, "/deep/er/nothing"), BusbarError, "no such file");
      await assertRejects(() => findFile(drive, "/deep/er"), BusbarError, "no regular file");
    });
  },
});

Deno.test({
  ...withNeeds("a map of a file that changed since is refused, with what changed", "mkfs.ext4", "debugfs"),
  fn: async () => {
    await inFolder(async (folder) => {
      const image = await ext4Image(folder, 100_000);
      const read = async (): Promise<DriveBytes> => driveOf(await Deno.readFile(image.path));
      const before = await findFile(await read(), image.file);
      checkUnchanged(before, await findFile(await read(), image.file));
      const changes: readonly (readonly [command: string, told: string])[] = [
        ["sif /deep/er/model.bin ctime 20300101", "its change time"],
        ["sif /deep/er/model.bin size 99000", "its size"],
        ["ssv mnt_count 9", "mount count"],
        ["ssv mtime 20300101", "mount time"],
        ["ssv uuid 00112233-4455-6677-8899-aabbccddeeff", "UUID"],
      ];
      for (const [command, told] of changes) {
        const was = await Deno.readFile(image.path);
        await program("debugfs", ["-w", "-R", command, image.path]);
        const now = await findFile(await read(), image.file);
        try {
          checkUnchanged(before, now);
          throw new Error(`${command}: taken`);
        } catch (error) {
          assert(error instanceof BusbarError && error.code === "mismatch", `${command}: ${error}`);
          assert(error.message.includes(told), error.message);
        }
        await Deno.writeFile(image.path, was);
      }
      // Moved to other blocks, with all else as it was.
      const moved = {
        ...before,
        extents: before.extents.map((one, i) => i === 1 ? { ...one, offset: one.offset + 512 } : one),
      };
      try {
        checkUnchanged(before, moved);
        throw new Error("taken");
      } catch (error) {
        assert(error instanceof BusbarError && error.code === "mismatch", `${error}`);
      }
    });
  },
});

Deno.test({
  ...withNeeds("ext4 that needs recovery, and encrypted and inline files, are refused", "mkfs.ext4", "debugfs"),
  fn: async () => {
    await inFolder(async (folder) => {
      const image = await ext4Image(folder, 50_000, "inline_data");
      await program("debugfs", ["-w", "-f", "-", image.path], `write ${folder}/content /encrypted\n`);
      const clean = await Deno.readFile(image.path);
      const refused = async (bytes: Uint8Array, path: string, told: string): Promise<void> => {
        const error = await assertRejects(() => findFile(driveOf(bytes), path), BusbarError);
        assert(error.code === "unsupported" && error.message.includes(told), `${error.code}: ${error.message}`);
      };
      await Deno.writeTextFile(`${folder}/small`, "few bytes");
      await program("debugfs", ["-w", "-f", "-", image.path], `write ${folder}/small /small\n`);
      await refused(await Deno.readFile(image.path), "/small", "its data lie in the inode");
      await refused(await Deno.readFile(image.path), image.file, "/deep: its data lie in the inode");
      await program("debugfs", ["-w", "-R", "sif /encrypted flags 0x80800", image.path]);
      await refused(await Deno.readFile(image.path), "/encrypted", "it is encrypted");
      await Deno.writeFile(image.path, clean);
      await program("debugfs", ["-w", "-R", "feature needs_recovery", image.path]);
      await refused(await Deno.readFile(image.path), "/encrypted", "journal");
      const { fileSystem } = await findFileSystem(driveOf(clean));
      assert(fileSystem instanceof Ext4);
      const unknown = clean.slice();
      new DataView(unknown.buffer).setUint32(1024 + 0x60, 0x8000_0000 | fileSystemFeatures(clean), true);
      await refused(unknown, "/encrypted", "features 0x80000000");
    });
  },
});

function fileSystemFeatures(bytes: Uint8Array<ArrayBuffer>): number {
  return new DataView(bytes.buffer).getUint32(1024 + 0x60, true);
}

Deno.test({
  ...withNeeds("a fragmented FAT32 file under a long name is found as mtools finds it", "mkfs.vfat", "mcopy"),
  fn: async () => {
    await inFolder(async (folder) => {
      const image = await fat32Image(folder, 300_001);
      const bytes = await Deno.readFile(image.path);
      const drive = driveOf(bytes);
      const map = await findFile(drive, image.file);
      // mtools lists clusters as <first-last>.
      const listed = await program("mshowfat", ["-i", image.path, `:${":"}${image.file.slice(1)}`]);
      const runs = [...listed.matchAll(/<(\d+)(?:-(\d+))?>/g)].map((
        [, first, last],
      ) => [Number(first), Number(last ?? first)]);
      const { fileSystem } = await findFileSystem(drive);
      assert(fileSystem instanceof Fat32);
      const { dataOffset, clusterBytes } = fileSystem.geometry;
      assertEquals(
        map.extents.map((one) => one.offset),
        runs.map(([first = 0]) => dataOffset + (first - 2) * clusterBytes),
      );
      await program("mcopy", ["-n", "-i", image.path, `::${image.file.slice(1)}`, `${folder}/out`]);
      const content = await fileReader(map, drive.read)(0, map.key.sizeBytes);
      assertEquals(content, await Deno.readFile(`${folder}/out`));
      assertEquals(content, image.bytes);
      assertEquals((await findFile(drive, image.file.toUpperCase())).extents, map.extents);
      assert(map.extents.length > 50, `${map.extents.length} extents: not fragmented`);
      const dirty = bytes.slice();
      dirty[0x41] = 1;
      await assertRejects(() => findFile(driveOf(dirty), image.file), BusbarError, "not unmounted cleanly");
    });
  },
});

Deno.test({
  ...withNeeds("a file is found in its partition, by MBR and by GPT", "mkfs.ext4", "debugfs", "sfdisk"),
  fn: async () => {
    await inFolder(async (folder) => {
      const image = await ext4Image(folder, 20_000);
      const inner = await Deno.readFile(image.path);
      const start = 1 << 20;
      for (const label of ["dos", "gpt"]) {
        const path = `${folder}/${label}`;
        await Deno.writeFile(path, new Uint8Array(2 * start + inner.length));
        await program("sfdisk", ["-q", path], `label: ${label}\nstart=2048, size=${inner.length / 512}\n`);
        const disk = await Deno.readFile(path);
        disk.set(inner, start);
        const drive = driveOf(disk);
        const map = await findFile(drive, image.file);
        assertEquals(map.partitionOffset, start, label);
        assertEquals(await fileReader(map, drive.read)(0, map.key.sizeBytes), image.bytes);
        await assertRejects(() => findFile(drive, image.file, 2), BusbarError, "in partition 2");
        if (label !== "gpt") continue;
        disk[1024 + 40] = (disk[1024 + 40] ?? 0) ^ 1;
        await assertRejects(() => findFile(driveOf(disk), image.file), BusbarError, "checksum");
      }
    });
  },
});

Deno.test({
  ...withNeeds(
    "of XFS, what unmounting a read-only mount writes is no change, and what a change writes is",
    "mkfs.xfs",
    "xfs_db",
  ),
  fn: async () => {
    await inFolder(async (folder) => {
      const path = `${folder}/xfs.img`, proto = `${folder}/proto`;
      await Deno.writeTextFile(`${folder}/content`, "weights ".repeat(10_000));
      await Deno.writeTextFile(proto, `/none\n0 0\nd--755 0 0\nmodel ---644 0 0 ${folder}/content\n$\n`);
      await program("mkfs.xfs", ["-q", "-f", "-d", `name=${path},file,size=400m`, "-p", proto]);
      const [, number] = /inode number is (\d+)/.exec(
        await program("xfs_db", ["-r", "-c", "path /model", "-c", "inode", path]),
      ) ?? [];
      const inode = Number(number);
      const { size } = await Deno.stat(path);
      const read = async (offset: number, sizeBytes: number): Promise<Uint8Array> => {
        using file = await Deno.open(path);
        await file.seek(offset, Deno.SeekMode.Start);
        const bytes = new Uint8Array(sizeBytes);
        for (let done = 0; done < sizeBytes;) done += await file.read(bytes.subarray(done)) ?? sizeBytes;
        return bytes;
      };
      const before: FileMap = {
        path: "/model",
        partitionOffset: 0,
        key: { fileSystem: "xfs", uuid: "", mountTime: null, mountCount: null, sizeBytes: 80_000, changeTime: "" },
        extents: [],
        untouched: { inode, sha256: await hashOfState(read, inode) },
      };
      const drive: DriveBytes = { name: "image", capacityBytes: size, blockBytes: 512, read };
      const change = async (...commands: string[]): Promise<void> =>
        void await program("xfs_db", ["-x", ...commands.flatMap((command) => ["-c", command]), path]);
      assertEquals((await findMappedFile(drive, before)).map, before);
      await change("sb 0", "write lsn 0x100000123");
      assertEquals((await findMappedFile(drive, before)).map, before);
      // What lies in the first MiB is put back after each change.
      const was = await read(0, 1 << 20);
      for (const [place, field] of [["sb 0", "fdblocks"], [`inode ${inode}`, "v3.change_count"]] as const) {
        await change(place, `write ${field} 77`);
        const error = await assertRejects(() => findMappedFile(drive, before), BusbarError, "written to since");
        assertEquals(error.code, "mismatch", field);
        using file = await Deno.open(path, { write: true });
        for (let done = 0; done < was.length;) done += await file.write(was.subarray(done));
        assertEquals((await findMappedFile(drive, before)).map, before);
      }
      await assertRejects(() => hashOfState(read, inode + 1_000_000), BusbarError);
    });
  },
});
