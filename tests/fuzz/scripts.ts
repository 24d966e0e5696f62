/**
 * Fuzz targets in TypeScript: a seeded generator makes and changes bytes, and the target may throw nothing but a
 * BusbarError. The seed is printed, and `BUSBAR_SEED` repeats a run.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { findSignatures } from "../../src/nvme/jobs/signature.ts";
import { decodePage, fitsPage, guessPage, NVME_PAGES } from "../../src/nvme/tables/pages.ts";
import { Random } from "../unit/random.ts";
import type { FuzzResult } from "./fuzz.ts";

interface ScriptTarget {
  /** Takes any bytes. Throws, or returns what is wrong. */
  readonly run: (bytes: Uint8Array, random: Random) => Promise<string | null>;
  /** Longest input in bytes. */
  readonly maxBytes: number;
  /** Words that make an input interesting, as text or hexadecimal digits behind `0x`. */
  readonly words: readonly string[];
}

/** The limit of one input: nothing that is read here is long work. */
const LIMIT_MS = 2000;

async function signatures(bytes: Uint8Array, random: Random): Promise<string | null> {
  const blockBytes = random.pick([512, 4096]);
  // A drive of any whole number of blocks, of which the input is the beginning and the end.
  const blocks = Math.max(1, Math.floor(bytes.length / blockBytes)) + random.pick([0, 1, 7, 100_000]);
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
  return reads[0] ?? (outside === undefined ? null : `${outside.name} at ${outside.offset} of ${capacity}`);
}

function pages(bytes: Uint8Array, random: Random): Promise<string | null> {
  for (const page of [random.pick(NVME_PAGES), random.pick(NVME_PAGES)]) {
    fitsPage(page, bytes.length);
    const { rows } = decodePage(page, bytes);
    const texts = JSON.stringify(rows, (_, value) => typeof value === "bigint" ? `${value}` : value);
    if (texts.includes("NaN")) return Promise.resolve(`${page.name} shows NaN`);
  }
  guessPage(bytes);
  return Promise.resolve(null);
}

/** The targets by name. */
export const SCRIPT_TARGETS: Readonly<Record<string, ScriptTarget>> = {
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
    ],
  },
  pages: {
    run: pages,
    maxBytes: 8192,
    words: ["0xffffffffffffffff", "0x80", "0x00010400", "nqn.2014-08", "0x7f", "0x0100000000000000"],
  },
};

function wordBytes(word: string): Uint8Array {
  return word.startsWith("0x") ? Uint8Array.fromHex(word.slice(2)) : new TextEncoder().encode(word);
}

function nextInput(random: Random, target: ScriptTarget, kept: readonly Uint8Array[]): Uint8Array {
  const base = kept.length > 0 && random.below(2) === 0
    ? random.pick(kept).slice()
    : random.bytes(random.below(random.pick([64, 600, 4200, target.maxBytes])));
  for (let i = random.below(8); i > 0 && base.length > 0; i--) {
    const word = wordBytes(random.pick(target.words));
    const places = [0, 510, 512, 1024, 1080, 4096, random.below(base.length)];
    const at = random.pick(places);
    if (at + word.length <= base.length) base.set(word, at);
    else base[random.below(base.length)] = random.below(256);
  }
  return base;
}

/**
 * Runs a target for a time. Some inputs are kept and changed further.
 *
 * @param seconds 0 runs a hundred inputs
 */
export async function fuzzScript(name: string, seconds: number, folder: string): Promise<FuzzResult> {
  const target = SCRIPT_TARGETS[name];
  if (target === undefined) throw new Error(`no target '${name}'`);
  const random = new Random(`fuzz ${name}`);
  const end = performance.now() + 1000 * seconds;
  const kept: Uint8Array[] = [];
  let count = 0;
  for (; count < 100 || performance.now() < end; count++) {
    const bytes = nextInput(random, target, kept);
    const began = performance.now();
    let problem: string | null;
    try {
      problem = await target.run(bytes, random);
    } catch (error) {
      problem = error instanceof BusbarError ? null : String(error instanceof Error ? error.stack : error);
    }
    const tookMs = performance.now() - began;
    if (problem === null && tookMs > LIMIT_MS) problem = `it took ${Math.round(tookMs)} ms`;
    if (problem !== null) {
      await Deno.writeFile(`${folder}/crash`, bytes);
      return { ok: false, words: `seed ${random.seed}, input ${count}: ${problem}` };
    }
    if (random.below(20) === 0) kept.splice(kept.length < 200 ? kept.length : random.below(200), 1, bytes);
    if (count % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  return { ok: true, words: `${name}: ${count} inputs` };
}
