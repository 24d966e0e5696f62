/**
 * `tiering workload`: a workload of the experiments by itself, or one after the other.
 * @module
 */

import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import type { JsonObject } from "../../src/core/layout_json.ts";
import { formatBytes, parseBytes } from "../../src/core/units.ts";
import { holdingMemory, holdMemory, updateAtRandom } from "../../src/memory/workload.ts";
import { onlyWith } from "../cli/applicable.ts";
import { positiveNumber, sizeBytes } from "../cli/arguments.ts";
import { print, printJson, printJsonLine } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { heldJson, updatesJson, updatesLine } from "../render/memory/tiering.ts";

/** HPC Challenge RandomAccess: four updates for each word. */
export const DEFAULT_UPDATES = 4;

/** The longest line that is taken for a size, in characters. */
const LONGEST_SIZE = 64;

/** The command line of `tiering workload`. */
export const workload: CommandUnknownOpts = new Command("workload")
  .description("Run a workload of the experiments by itself: random updates of a table, or a hog that holds memory.")
  .addArgument(
    new Argument("<kind>", "gups ends when its updates are made, hog when it is ended").choices(["gups", "hog"]),
  )
  .argument(
    "<size>",
    "as in 1GiB; - for sizes from standard input, a line each, one after the other; 0 holds and updates nothing",
    (text) => text === "-" ? null : sizeBytes(text),
  )
  .option("--updates <n>", "gups: updates for each word of 8 bytes", positiveNumber, DEFAULT_UPDATES)
  .option("--json", "print one JSON document; a line for each size of standard input")
  .action(async (kind, size, { updates, json = false }, self) => {
    onlyWith(self, kind === "gups", ["--updates"], "gups");
    const show = (document: JsonObject, line: string): void => {
      if (!json) print(line);
      else if (size === null) printJsonLine(document);
      else printJson(document);
    };
    const showHeld = (bytes: bigint): void => show(heldJson(bytes), heldLine(bytes));
    const update = async (bytes: bigint): Promise<void> => {
      const done = await updateAtRandom(bytes, { perWord: updates, signal: interruption });
      show(updatesJson(done), updatesLine(done));
    };
    if (size !== null) {
      if (kind === "gups") await update(size);
      else await holdMemory(size, () => showHeld(size), interruption);
      return;
    }
    let held: Disposable | null = null;
    try {
      for await (const bytes of sizesOf(Deno.stdin.readable)) {
        held?.[Symbol.dispose]();
        held = kind === "hog" && bytes > 0n ? await holdingMemory(bytes, interruption) : null;
        if (kind === "gups" && bytes > 0n) await update(bytes);
        else showHeld(bytes);
      }
    } finally {
      held?.[Symbol.dispose]();
    }
  });

function heldLine(bytes: bigint): string {
  return bytes === 0n ? "holds nothing" : `holds ${formatBytes(bytes)}`;
}

/** Sizes, a line each, until the stream ends or the run is interrupted. */
async function* sizesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<bigint> {
  const reader = stream.getReader();
  const stop = (): void => void reader.cancel();
  interruption.addEventListener("abort", stop, { once: true });
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (rest + decoder.decode(part.value, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > LONGEST_SIZE) {
        throw new BusbarError("usage", `a line of more than ${LONGEST_SIZE} characters is no size`, {
          operation: "run a workload",
          hint: "write bytes or a unit: 4096, 0x1000, 64KiB, 1GiB",
        });
      }
      for (const line of lines) yield parseBytes(line);
    }
  } finally {
    interruption.removeEventListener("abort", stop);
  }
  interruption.throwIfAborted();
}
