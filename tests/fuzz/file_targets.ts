/**
 * Fuzz targets for what lies in files and on drives: headers of models, file systems.
 * @module
 */

import { findFile } from "../../src/gpu/files/find_file.ts";
import { readGguf } from "../../src/gpu/models/gguf.ts";
import type { ModelHeader } from "../../src/gpu/models/model.ts";
import { readSafetensors } from "../../src/gpu/models/safetensors.ts";
import type { ScriptTarget, Tried } from "./script_target.ts";

type ReadHeader = (
  read: (offset: number, sizeBytes: number) => Promise<Uint8Array>,
  fileBytes: number,
  path: string,
) => Promise<ModelHeader>;

/** Reads from an input, and notes reads that leave it. */
function watched(
  bytes: Uint8Array,
): { readonly read: (offset: number, sizeBytes: number) => Promise<Uint8Array>; readonly wrong: string[] } {
  const wrong: string[] = [];
  return {
    wrong,
    read: (offset, sizeBytes) => {
      const isInside = Number.isSafeInteger(offset) && offset >= 0 && sizeBytes >= 0 &&
        offset + sizeBytes <= bytes.length;
      if (!isInside) wrong.push(`read of ${sizeBytes} bytes at ${offset} of ${bytes.length}`);
      const part = new Uint8Array(isInside ? sizeBytes : 0);
      if (isInside) part.set(bytes.subarray(offset, offset + sizeBytes));
      return Promise.resolve(part);
    },
  };
}

function model(readHeader: ReadHeader): ScriptTarget["run"] {
  return async (bytes): Promise<Tried> => {
    const { read, wrong } = watched(bytes);
    const { tensors, format } = await readHeader(read, bytes.length, "model");
    let end = 0;
    for (const { offset, sizeBytes, name } of tensors) {
      if (offset < end || offset + sizeBytes > bytes.length) wrong.push(`tensor '${name}' at ${offset}`);
      end = offset + sizeBytes;
    }
    return { problem: wrong[0] ?? null, features: [format, ...tensors.map(({ type }) => type)] };
  };
}

async function file(bytes: Uint8Array): Promise<Tried> {
  const { read, wrong } = watched(bytes);
  const capacityBytes = bytes.length - bytes.length % 512;
  const drive = { name: "drive", read, capacityBytes, blockBytes: 512 };
  const { extents, key } = await findFile(drive, "/dir/a long name.bin");
  let end = 0;
  for (const { fileOffset, offset, sizeBytes } of extents) {
    const isRight = fileOffset >= end && offset >= 0 && sizeBytes > 0 && offset + sizeBytes <= capacityBytes;
    if (!isRight) wrong.push(`extent of ${sizeBytes} bytes at ${offset} for ${fileOffset}`);
    end = fileOffset + sizeBytes;
  }
  if (end > Math.ceil(key.sizeBytes / 512) * 512) wrong.push(`extents up to ${end} of ${key.sizeBytes} bytes`);
  return { problem: wrong[0] ?? null, features: [key.fileSystem, `${Math.min(9, extents.length)} extents`] };
}

/** Offsets of an ext4 image that the corpus begins with: superblock, descriptor, inodes, extents. */
const EXT4_PLACES = [
  ...[0, 4, 0x14, 0x18, 0x28, 0x38, 0x3a, 0x4c, 0x58, 0x60, 0xfe, 0x150].map((at) => 1024 + at),
  ...[8, 0x28].map((at) => 2048 + at),
];

/** The targets by name. */
export const FILE_TARGETS: Readonly<Record<string, ScriptTarget>> = {
  safetensors: {
    run: model(readSafetensors),
    maxBytes: 4096,
    words: [
      '"shape":[',
      '"data_offsets":[0,',
      '"dtype":"F4"',
      "__metadata__",
      "{",
      "}",
      "[[[[",
      "1e400",
      "-1",
      "9007199254740993",
      "\\u0000",
    ],
    places: [0, 1, 7, 8, 9, 20, 40, 60, 80],
  },
  gguf: {
    run: model(readGguf),
    maxBytes: 4096,
    words: [
      "0x08000000",
      "0x09000000",
      "0xffffffffffffffff",
      "0x0000000000000080",
      "0x02000000",
      "general.alignment",
      "0x0100000000000000",
      "0x27000000",
    ],
    places: [0, 4, 8, 16, 24, 32, 52, 56, 64, 80, 100],
  },
  ext4: {
    run: file,
    maxBytes: 1 << 17,
    words: ["0x53ef", "0x0af3", "0xffffffff", "0x00000800", "0x0180", "0x0500", "0x00000010", "0x01000000", "0x0000"],
    places: EXT4_PLACES,
  },
  fat32: {
    run: file,
    maxBytes: 1 << 17,
    words: ["0xffffff0f", "0xf8ffff0f", "0x02000000", "0x0f", "0xe5", "0x40", "0x0002", "FAT32   ", "0x55aa", "0x00"],
    places: [0x0b, 0x0d, 0x0e, 0x10, 0x11, 0x20, 0x24, 0x28, 0x2c, 0x41, 0x52, 510],
  },
};
