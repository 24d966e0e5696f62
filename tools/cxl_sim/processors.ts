/**
 * Runs a program on some processors and keeps the simulator off them: both by this process's affinity.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { formatNumbers } from "../../src/core/units.ts";

/** While it is held, what this process starts runs on the processors; afterwards this process runs on the others. */
export interface Pinned extends Disposable {
  /** Processors that were left out, or why nothing was pinned. */
  readonly notes: readonly string[];
}

async function taskset(...args: readonly string[]): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command("taskset", {
      args: [...args],
      stdout: "piped",
      stderr: "null",
      signal: AbortSignal.timeout(5000),
    }).output();
    return success ? new TextDecoder().decode(stdout) : null;
  } catch {
    return null;
  }
}

/** The processors of a list as `taskset` prints it: `0-3,8`. */
export function processorsOf(list: string): number[] {
  return list.trim().split(",").flatMap((part) => {
    const [from = NaN, to = from] = part.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/**
 * Pins this process, and so what it starts.
 *
 * @throws {BusbarError} `usage` when the machine has none of the processors
 */
export async function pinTo(processors: readonly number[] | null): Promise<Pinned> {
  const nothing = (notes: readonly string[]): Pinned => ({ notes, [Symbol.dispose]: () => {} });
  if (processors === null) return nothing([]);
  const printed = await taskset("-cp", String(Deno.pid));
  if (printed === null) return nothing(["the program was not pinned: taskset (util-linux) did not answer"]);
  const there = processorsOf(printed.slice(printed.lastIndexOf(":") + 1));
  const usable = processors.filter((one) => there.includes(one));
  const missing = processors.filter((one) => !there.includes(one));
  if (usable.length === 0) {
    throw new BusbarError(
      "usage",
      `processors ${formatNumbers(processors)}: this machine has ${formatNumbers(there)}`,
      {
        operation: "pin the program",
        hint: "name a processor that is there, or leave -c out",
      },
    );
  }
  if (await taskset("-acp", usable.join(","), String(Deno.pid)) === null) {
    return nothing([`the program was not pinned: taskset refused processors ${usable.join(",")}`]);
  }
  const rest = there.filter((one) => !usable.includes(one));
  return {
    notes: missing.length === 0 ? [] : [`processors ${formatNumbers(missing)} are not there: left out`],
    [Symbol.dispose]: () => {
      const list = (rest.length === 0 ? there : rest).join(",");
      try {
        new Deno.Command("taskset", { args: ["-acp", list, String(Deno.pid)], stdout: "null", stderr: "null" })
          .outputSync();
      } catch {
        // It was there a moment ago; staying on the program's processors changes no result.
      }
    },
  };
}
