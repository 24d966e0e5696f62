/**
 * Images of file systems with a fragmented file, made without mounting by mkfs.ext4 and debugfs, mkfs.vfat and mtools.
 * @module
 */

import { Random } from "./unit/random.ts";

/** An image and the file in it. */
export interface DiskImage {
  /** The image. */
  readonly path: string;
  /** Path of the fragmented file inside. */
  readonly file: string;
  /** What the file holds. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Runs a program, and throws with what it said where it fails. Returns its standard output. */
export async function program(name: string, args: readonly string[], input?: string): Promise<string> {
  const env = { PATH: `${Deno.env.get("PATH")}:/usr/sbin:/sbin`, MTOOLS_SKIP_CHECK: "1" };
  const child = new Deno.Command(name, {
    args: [...args],
    env,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  }
  const { success, stdout, stderr } = await child.output();
  if (success) return new TextDecoder().decode(stdout);
  throw new Error(`${name} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

/** Noise with runs of zeros, on and off the borders of blocks; its end is in the middle of a block. */
export function sparseNoise(sizeBytes: number, name: string): Uint8Array<ArrayBuffer> {
  const random = new Random(name);
  const bytes = random.noise(Math.ceil(sizeBytes / 4) * 4).slice(0, sizeBytes);
  for (let i = 0; i < 6; i++) {
    const at = random.below(Math.max(1, Math.floor(sizeBytes / 4096))) * 4096;
    bytes.fill(0, at, Math.min(sizeBytes - 1, at + 8192 + random.below(30_000)));
  }
  return bytes;
}

const FILLER_BYTES = 1024;

/** Numbers of files that fill a disk, so that taking every other one away leaves gaps. */
function fillers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `filler${i}`);
}

/**
 * An ext4 file system of 1 KiB blocks, whose file lies in gaps: its extent tree has several levels.
 *
 * @param folder where the image goes
 * @param sizeBytes of the file
 */
export async function ext4Image(folder: string, sizeBytes: number, features: string = ""): Promise<DiskImage> {
  const path = `${folder}/ext4.img`, source = `${folder}/source`, names = fillers(Math.ceil(sizeBytes / FILLER_BYTES));
  await Deno.mkdir(source);
  await Deno.mkdir(`${source}/fill`);
  await Deno.mkdir(`${source}/deep`);
  await Deno.mkdir(`${source}/deep/er`);
  for (const name of names) await Deno.writeFile(`${source}/fill/${name}`, new Uint8Array(FILLER_BYTES).fill(0x66));
  const size = Math.ceil(3 * sizeBytes / 1e6 + 8);
  const options = features === "" ? [] : ["-O", features];
  await program("mkfs.ext4", ["-q", "-F", "-b", "1024", ...options, "-d", source, path, `${size}M`]);
  const bytes = sparseNoise(sizeBytes, "file on ext4");
  await Deno.writeFile(`${folder}/content`, bytes);
  // What is not a gap is filled too, so that the file has to take the gaps.
  const commands = [
    ...names.filter((_, i) => i % 2 === 0).map((name) => `rm /fill/${name}`),
    `write ${folder}/content /deep/er/model.bin`,
    `write ${folder}/content /deep/er/again`,
  ];
  await program("debugfs", ["-w", "-f", "-", path], commands.join("\n") + "\n");
  await Deno.remove(source, { recursive: true });
  return { path, file: "/deep/er/model.bin", bytes };
}

/** A FAT32 file system of small clusters, whose file lies in gaps, under a long name in a folder. */
export async function fat32Image(folder: string, sizeBytes: number): Promise<DiskImage> {
  const path = `${folder}/fat32.img`, source = `${folder}/fill`, names = fillers(Math.ceil(sizeBytes / FILLER_BYTES));
  await Deno.mkdir(source);
  for (const name of names) await Deno.writeFile(`${source}/${name}`, new Uint8Array(FILLER_BYTES).fill(0x66));
  await program("mkfs.vfat", ["-F", "32", "-s", "1", "-S", "512", "-C", path, "36000"]);
  await program("mcopy", ["-s", "-i", path, source, "::fill"]);
  const gone = names.filter((_, i) => i % 2 === 0).map((name) => `::fill/${name}`);
  await program("mdel", ["-i", path, ...gone]);
  // What takes clusters goes on behind the last that was taken, which the second sector says: back to the front.
  const NEXT_FREE = 512 + 492;
  using file = await Deno.open(path, { write: true });
  await file.seek(NEXT_FREE, Deno.SeekMode.Start);
  await file.write(Uint8Array.of(2, 0, 0, 0));
  const bytes = sparseNoise(sizeBytes, "file on FAT32");
  await Deno.writeFile(`${folder}/content`, bytes);
  await program("mmd", ["-i", path, "::Some Models"]);
  await program("mcopy", ["-i", path, `${folder}/content`, "::Some Models/A long model name.safetensors"]);
  await Deno.remove(source, { recursive: true });
  return { path, file: "/Some Models/A long model name.safetensors", bytes };
}
