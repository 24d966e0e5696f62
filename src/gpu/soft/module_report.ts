/**
 * What a CUDA module holds, as the software device reads it: kernels, instructions and how exact they are, problems by line.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { inspectModule } from "../../../ffi/soft_cuda.ts";

/** How the software device computes an instruction: as hardware does to the bit, within the documented error, or not at all. */
export type Exactness = "exact" | "approximate" | "ignored";

/** A kernel of a module. */
export interface ModuleKernel {
  /** Its name, mangled as the compiler wrote it. */
  readonly name: string;
  /** 32-bit registers of a thread, as the text names them; an assembler shares them. */
  readonly registers: number;
  /** Static shared memory of a block in bytes. */
  readonly sharedBytes: number;
  /** Local memory of a thread in bytes: the kernel's own, and that of all calls that do not recurse. */
  readonly localBytes: number;
  /** Local memory that calls take, in bytes. */
  readonly stackBytes: number;
  /** How many parameters it has. */
  readonly parameters: number;
}

/** A spelling of an instruction: `add.s32`. */
export interface ModuleInstruction {
  /** As the text has it. */
  readonly spelling: string;
  /** How it is computed. */
  readonly exactness: Exactness;
  /** Where it stands first, from 1. */
  readonly firstLine: number;
  /** How often it stands in the text. */
  readonly count: number;
}

/** What keeps a module from being loaded. */
export interface ModuleProblem {
  /** The driver's result: 218, say. */
  readonly result: number;
  /** Line of the text, from 1; null where it is not one line's. */
  readonly line: number | null;
  /** The word as written; "" where there is none. */
  readonly spelling: string;
  /** What is wrong, in a sentence. */
  readonly text: string;
}

/** What a module holds. */
export interface ModuleReport {
  /** What loading it gives: 0 is success. */
  readonly result: number;
  /** `.version`, as in 9.0; null for a module that cannot be read. */
  readonly ptxVersion: string | null;
  /** `.target`, as in sm_75; null for a module that cannot be read. */
  readonly target: string | null;
  /** Its kernels. */
  readonly kernels: readonly ModuleKernel[];
  /** Its instructions, in the order of the text. */
  readonly instructions: readonly ModuleInstruction[];
  /** What is not known or wrong, by line. */
  readonly problems: readonly ModuleProblem[];
}

function exactnessOf(word: string): Exactness {
  if (word === "exact" || word === "approximate" || word === "ignored") return word;
  throw new BusbarError("bug", `the software CUDA driver calls an instruction '${word}'`);
}

/**
 * Reads PTX or a fat binary.
 *
 * @param capability of the device that is to run it, 10 × major + minor
 */
export function moduleReport(image: Uint8Array<ArrayBuffer>, capability: number): ModuleReport {
  const { result, rows } = inspectModule(image, capability);
  const kernels: ModuleKernel[] = [];
  const instructions: ModuleInstruction[] = [];
  const problems: ModuleProblem[] = [];
  let ptxVersion: string | null = null, target: string | null = null;
  for (const [kind = "", ...fields] of rows) {
    const [a = "", b = "", c = "", ...rest] = fields;
    if (kind === "module") {
      ptxVersion = `${Math.floor(Number(a) / 10)}.${Number(a) % 10}`;
      target = `sm_${b}`;
    } else if (kind === "kernel") {
      const [local, stack, parameters] = rest.map(Number);
      kernels.push({
        name: a,
        registers: Number(b),
        sharedBytes: Number(c),
        localBytes: local ?? 0,
        stackBytes: stack ?? 0,
        parameters: parameters ?? 0,
      });
    } else if (kind === "instruction") {
      instructions.push({
        spelling: rest[0] ?? "",
        exactness: exactnessOf(a),
        firstLine: Number(b),
        count: Number(c),
      });
    } else if (kind === "problem") {
      problems.push({
        result: Number(a),
        line: Number(b) === 0 ? null : Number(b),
        spelling: c,
        text: rest.join("\t"),
      });
    }
  }
  instructions.sort((one, other) => one.firstLine - other.firstLine);
  problems.sort((one, other) => (one.line ?? 0) - (other.line ?? 0));
  return { result, ptxVersion, target, kernels, instructions, problems };
}

/** The name that the driver gives a text in its file of counts: FNV-1a of 64 bits, up to the first NUL. */
export function textHash(text: Uint8Array): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of text) {
    if (byte === 0) break;
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, "0");
}

/**
 * The executions by line of one text, from the file that the setting `count` names.
 *
 * @param counts the file: hash, line and count, separated by tabs
 */
export function lineCounts(counts: string, text: Uint8Array): Map<number, bigint> {
  const hash = textHash(text);
  const byLine = new Map<number, bigint>();
  for (const row of counts.split("\n")) {
    const [of = "", line = "", count = ""] = row.split("\t");
    if (of !== hash || !/^\d+$/.test(line) || !/^\d+$/.test(count)) continue;
    byLine.set(Number(line), (byLine.get(Number(line)) ?? 0n) + BigInt(count));
  }
  return byLine;
}
