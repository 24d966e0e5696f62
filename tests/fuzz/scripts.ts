/**
 * Fuzz targets in TypeScript. Everything a target decides comes from the input, so that an input is a test of its own.
 * @module
 */

import { findSignatures } from "../../src/nvme/jobs/signature.ts";
import { decodePage, fitsPage, guessPage, NVME_PAGES } from "../../src/nvme/tables/pages.ts";
import { FILE_TARGETS } from "./file_targets.ts";
import type { ScriptTarget, Tried } from "./script_target.ts";

/** Bytes at the beginning of an input that are choices, not data. */
const HEAD_BYTES = 4;

async function signatures(input: Uint8Array): Promise<Tried> {
  const [size = 0, more = 0] = input;
  const bytes = input.subarray(HEAD_BYTES);
  const blockBytes = size % 2 === 0 ? 512 : 4096;
  // A drive of any whole number of blocks, of which the input is the beginning and the end.
  const blocks = Math.max(1, Math.floor(bytes.length / blockBytes)) + ([0, 1, 7, 100_000][more % 4] ?? 0);
  const capacity = BigInt(blocks * blockBytes);
  const reads: string[] = [];
  const found = await findSignatures(
    (offset, sizeBytes) => {
      if (offset < 0n || sizeBytes < 0 || offset + BigInt(sizeBytes) > capacity || sizeBytes > 1 << 20) {
        reads.push(`read of ${sizeBytes} bytes at ${offset} of ${capacity}`);
      }
      const part = new Uint8Array(Math.max(0, sizeBytes));
      part.set(bytes.subarray(0, sizeBytes));
      part.set(bytes.subarray(0, sizeBytes), Math.max(0, sizeBytes - bytes.length));
      return Promise.resolve(part);
    },
    capacity,
    blockBytes,
  );
  const outside = found.find(({ offset }) => offset < 0n || offset >= capacity);
  return {
    problem: reads[0] ?? (outside === undefined ? null : `${outside.name} at ${outside.offset} of ${capacity}`),
    features: found.map(({ name }) => name),
  };
}

function pages(input: Uint8Array): Promise<Tried> {
  const [which = 0, isHoled = 0, at = 0, sizeBytes = 0] = input;
  const bytes = input.subarray(HEAD_BYTES);
  const page = NVME_PAGES[which % NVME_PAGES.length];
  if (page === undefined) throw new Error("there are no pages");
  const fits = fitsPage(page, bytes.length);
  const missing = isHoled % 2 === 0 ? [] : [{ offset: 8 * at, end: 8 * at + sizeBytes }];
  const { rows } = decodePage(page, bytes, missing);
  const texts = JSON.stringify(rows, (_, value) => typeof value === "bigint" ? `${value}` : value);
  const guess = guessPage(bytes);
  return Promise.resolve({
    problem: texts.includes("NaN") ? `${page.name} shows NaN` : null,
    features: [`${page.name} ${fits}`, `taken for ${guess?.page.name ?? "nothing"}`],
  });
}

/** The targets by name. */
export const SCRIPT_TARGETS: Readonly<Record<string, ScriptTarget>> = {
  ...FILE_TARGETS,
  signature: {
    run: signatures,
    maxBytes: 1 << 17,
    words: [
      "XFSB",
      "LUKS",
      "EFI PART",
      "LABELONE",
      "0x55aa",
      "0xfc4e2ba9",
      "0x53ef",
      "0x0cb1ba0000000000",
      "SWAPSPACE2",
      "_BHRfS_M",
      "NTFS    ",
      "CD001",
      "0x80",
    ],
    places: [0, 3, 446, 510, 512, 1024, 1080, 4086, 4096, 0x8001, 0x10040].map((place) => HEAD_BYTES + place).concat(
      0,
      1,
    ),
  },
  pages: {
    run: pages,
    maxBytes: 8192,
    words: ["0xffffffffffffffff", "0x80", "0x00010400", "nqn.2014-08", "0x7f", "0x0100000000000000"],
    places: [0, 1, 2, 3, HEAD_BYTES, HEAD_BYTES + 8],
  },
};
