/**
 * Fuzzing of TypeScript, guided by coverage: an input that reaches a block of code for the first time is kept and changed
 * further. The seed is printed, and `BUSBAR_SEED` repeats a run.
 * @module
 */

import { cpuUsage } from "node:process";

import { BusbarError } from "../../src/core/error.ts";
import { Random } from "../unit/random.ts";
import { CoverageFeedback } from "./coverage.ts";
import type { FuzzResult } from "./fuzz.ts";
import type { ScriptTarget, Tried } from "./script_target.ts";

/** The limit of one input in processor time, which others on this machine do not lengthen: nothing here is long work. */
const LIMIT_MS = 2000;
/** Inputs of a run without a time. */
const LEAST_INPUTS = 100;

const CORPUS = new URL("corpus/", import.meta.url);

function wordBytes(word: string): Uint8Array {
  return word.startsWith("0x") ? Uint8Array.fromHex(word.slice(2)) : new TextEncoder().encode(word);
}

/** One change: a word or a byte somewhere, bytes of another input, longer or shorter. */
function changed(random: Random, target: ScriptTarget, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const place = (): number => random.below(2) === 0 ? random.pick(target.places) : random.below(bytes.length + 1);
  switch (random.below(6)) {
    case 0:
    case 1: {
      const at = place();
      const word = wordBytes(random.pick(target.words));
      const longer = new Uint8Array(Math.min(target.maxBytes, Math.max(bytes.length, at + word.length)));
      longer.set(bytes);
      longer.set(word.subarray(0, Math.max(0, longer.length - at)), Math.min(at, longer.length));
      return longer;
    }
    case 2:
    case 3: {
      const at = place();
      if (at < bytes.length) bytes[at] = random.below(2) === 0 ? random.below(256) : 1 << random.below(8);
      return bytes;
    }
    case 4: {
      const from = random.below(bytes.length + 1);
      bytes.set(other.subarray(from, bytes.length), Math.min(from, bytes.length));
      return bytes;
    }
    default: {
      const sizes = [random.below(target.maxBytes + 1), bytes.length >> 1, Math.min(target.maxBytes, bytes.length * 2)];
      const resized = new Uint8Array(random.pick(sizes));
      resized.set(bytes.subarray(0, resized.length));
      return resized;
    }
  }
}

function nextInput(random: Random, target: ScriptTarget, kept: readonly Uint8Array[]): Uint8Array {
  if (kept.length === 0 || random.below(10) === 0) {
    return random.bytes(random.below(random.pick([64, 600, 4200, target.maxBytes]) % (target.maxBytes + 1) + 1));
  }
  let bytes: Uint8Array = random.pick(kept).slice();
  for (let i = random.below(4); i >= 0; i--) bytes = changed(random, target, bytes, random.pick(kept));
  return bytes;
}

async function corpusOf(name: string): Promise<Uint8Array[]> {
  const inputs: Uint8Array[] = [];
  try {
    for await (const { name: file } of Deno.readDir(new URL(`${name}/`, CORPUS))) {
      inputs.push(await Deno.readFile(new URL(`${name}/${file}`, CORPUS)));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return inputs;
}

async function tried(target: ScriptTarget, bytes: Uint8Array): Promise<Tried> {
  const before = cpuUsage();
  let result: Tried;
  try {
    result = await target.run(bytes);
  } catch (error) {
    const problem = error instanceof BusbarError ? null : String(error instanceof Error ? error.stack : error);
    result = { problem, features: [] };
  }
  const { user, system } = cpuUsage(before);
  const tookMs = (user + system) / 1000;
  return result.problem === null && tookMs > LIMIT_MS
    ? { ...result, problem: `it took ${Math.round(tookMs)} ms of processor time` }
    : result;
}

/** How long a run is: at least `inputs` inputs, and at least `seconds`. */
export interface GuidedLimits {
  /** Wall time in seconds. */
  readonly seconds: number;
  /** Inputs that are tried in any case; 100 by default. */
  readonly inputs?: number;
}

/**
 * Runs a target over its corpus, then with new inputs.
 *
 * @param name the corpus's folder
 * @param folder where an input with a problem is written
 */
export async function fuzzGuided(
  name: string,
  target: ScriptTarget,
  { seconds, inputs = LEAST_INPUTS }: GuidedLimits,
  folder: string,
): Promise<FuzzResult> {
  const random = new Random(`fuzz ${name}`);
  const corpus = await corpusOf(name);
  const kept: Uint8Array[] = [];
  const features = new Set<string>();
  await using coverage = await CoverageFeedback.start();
  const end = performance.now() + 1000 * seconds;
  let count = 0;
  for (; count < corpus.length + inputs || performance.now() < end; count++) {
    const bytes = corpus[count] ?? nextInput(random, target, kept);
    // A target may change what it gets.
    const copy = bytes.slice();
    const { problem, features: seen } = await tried(target, bytes);
    if (problem !== null) {
      await Deno.writeFile(`${folder}/crash`, copy);
      return { ok: false, words: `seed ${random.seed}, input ${count}: ${problem}` };
    }
    const before = features.size;
    for (const feature of seen) features.add(feature);
    if (await coverage.take() || features.size > before) kept.push(copy);
  }
  const words =
    `${count} inputs, ${kept.length} of them kept, ${coverage.blocks} blocks of code, ${features.size} features`;
  return { ok: true, words: `${name}: ${words}` };
}
