/**
 * `oradax scan|extract|select|translate FILE`: commands over files.
 * @module
 */

import { readInput } from "../../src/core/input.ts";
import { Command, type CommandUnknownOpts, InvalidArgumentError } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { OradaxSession } from "../../src/oradax/session.ts";
import { unsigned, wholeNumber } from "../cli/arguments.ts";
import { type OradaxRun, runJson, runLines } from "../render/oradax/oradax.ts";
import { SUDO_OPTION } from "../cli/machine.ts";
import { print, printBytes, printJson } from "../cli/output.ts";
import { Progress } from "../cli/progress.ts";
import { interruption } from "../cli/run.ts";
import { ElementFile, ResultFile } from "../../src/oradax/element_file.ts";

/** What all of these commands take. */
interface CommonOptions {
  readonly device?: string | undefined;
  readonly width: number;
  readonly start: number;
  readonly output?: string | undefined;
  readonly json?: true | undefined;
}

type Outputs = "bits" | "indexes" | "count";
const FORMS: readonly string[] = ["bits", "indexes", "count"] satisfies Outputs[];
type ElementBytes = 1 | 2 | 4 | 8;

function outputNamed(text: string): Outputs {
  if (text === "bits" || text === "indexes" || text === "count") return text;
  throw new InvalidArgumentError(`'${text}' is no form of a result: write bits, indexes or count`);
}

function elementBytes(text: string): ElementBytes {
  if (text === "1" || text === "2" || text === "4" || text === "8") return Number(text) as ElementBytes;
  throw new InvalidArgumentError(`'${text}' is no size of output elements: write 1, 2, 4 or 8 (bytes)`);
}

function startBit(text: string): number {
  if (/^[0-7]$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`'${text}' is no bit of a byte: write 0 to 7, 0 is the most significant`);
}

/** `LOW..HIGH`, each of which may be missing. */
function range(text: string): readonly [low: bigint | null, high: bigint | null] {
  const parts = /^([^.]*)\.\.([^.]*)$/.exec(text);
  const bound = (part: string | undefined): bigint | null => part === undefined || part === "" ? null : unsigned(part);
  const [low, high] = [bound(parts?.[1]), bound(parts?.[2])];
  if (parts !== null && (low !== null || high !== null)) return [low, high];
  throw new InvalidArgumentError(`'${text}' is no range: write LOW..HIGH, LOW.. or ..HIGH`);
}

function collected(text: string, before: readonly bigint[] | undefined): readonly bigint[] {
  return [...(before ?? []), unsigned(text)];
}

/** Opens what a command needs, runs it and says what came of it. */
async function perform(
  action: string,
  path: string,
  options: CommonOptions,
  work: (
    session: OradaxSession,
    source: ElementFile,
    result: ResultFile,
    more: { readonly signal: AbortSignal; readonly onProgress: (elements: number) => void },
  ) => Promise<{ readonly count: number; readonly output: OradaxRun["output"] }>,
): Promise<void> {
  if (options.output !== undefined && FORMS.includes(options.output)) {
    throw new BusbarError("usage", `--output names a file, and '${options.output}' is a form`, {
      hint: `--as ${options.output}; for a file of this name --output ./${options.output}`,
    });
  }
  using source = new ElementFile(path, options.width, options.start);
  using session = OradaxSession.open(options.device);
  using result = new ResultFile(options.output, printBytes);
  using progress = new Progress(`${action} ${path}`, source.sizeBytes);
  const started = performance.now();
  const onProgress = (elements: number): void => progress.update(elements * options.width / 8);
  const { count, output } = await work(session, source, result, { signal: interruption, onProgress });
  const run: OradaxRun = {
    action,
    path,
    device: session.transport,
    source,
    count,
    output,
    head: result.head,
    outputBytes: result.sizeBytes,
    to: options.output ?? null,
    elapsedMs: performance.now() - started,
  };
  if (options.json) printJson(runJson(run));
  else print(runLines(run).join("\n"));
}

function common(name: string, title: string): Command<[string], { width: number; start: number }> {
  return new Command(name)
    .description(title)
    .argument("<file>", "the elements, packed, most significant bit first")
    .requiredOption("--width <bits>", "width of an element in bits", wholeNumber)
    .option("--start <bit>", "first bit of the first byte", startBit, 0) as Command<
      [string],
      { width: number; start: number }
    >;
}

/** Bits of a result, indexes of its ones (4 bytes each, big-endian), or nothing but their number. */
function resultSink(result: ResultFile, output: Outputs): (piece: Uint8Array | Uint32Array) => void {
  return (piece) => {
    if (output === "bits") return result.put(piece as Uint8Array);
    const bytes = new Uint8Array(4 * piece.length);
    const view = new DataView(bytes.buffer);
    for (const [i, index] of piece.entries()) view.setUint32(4 * i, index);
    result.put(bytes);
  };
}

const scan: CommandUnknownOpts = common(
  "scan",
  "Find the elements with a value, with one of two values, or in a range.",
)
  .option("--value <n>", "the value; twice for one of two", collected)
  .option("--range <low..high>", "both included; one may be missing", range)
  .option("--invert", "find the others")
  .option("--as <form>", "bits, indexes or count", outputNamed, "bits" as Outputs)
  .option("--output <file>", "write the result there; - is standard output; indexes as 4 bytes each, big-endian")
  .option("--device <locator>", "soft:oradax or /dev/oradax1; the machine's own if it has one")
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .action(async (path, options) => {
    const [first, second, third] = options.value ?? [];
    if ((first === undefined) === (options.range === undefined) || third !== undefined) {
      throw new BusbarError("usage", "what is to be found?", {
        hint: "--value N, --value N --value M, or --range A..B",
      });
    }
    const { as: output, invert = false } = options;
    await perform("scan", path, options, async (session, source, result, more) => {
      const how = { ...more, output, invert, sink: resultSink(result, output) };
      const [low, high] = options.range ?? [null, null];
      const found = first === undefined
        ? await session.scanRange(source, low, high, how)
        : await session.scanValue(source, second === undefined ? first : [first, second], how);
      return { count: found.count, output };
    });
  });

const translate: CommandUnknownOpts = common("translate", "Look every element up in a table of bits.")
  .requiredOption("--table <file>", "4096 or 8192 bytes, one bit for each value")
  .option("--test <n>", "what the bits above the index must be", unsigned, undefined)
  .option("--invert", "flip the table's bits")
  .option("--as <form>", "bits, indexes or count", outputNamed, "bits" as Outputs)
  .option("--output <file>", "write the result there; - is standard output; indexes as 4 bytes each, big-endian")
  .option("--device <locator>", "soft:oradax or /dev/oradax1; the machine's own if it has one")
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .action(async (path, options) => {
    const { as: output, invert = false } = options;
    const table = readWhole(options.table);
    await perform("translate", path, options, async (session, source, result, more) => {
      const test = Number(options.test ?? 0n);
      const how = { ...more, output, invert, test, sink: resultSink(result, output) };
      const { count } = await session.translate(source, table, how);
      return { count, output };
    });
  });

const extract: CommandUnknownOpts = common("extract", "Make elements of whole bytes out of packed ones.")
  .requiredOption("--bytes <n>", "bytes of an output element: 1, 2, 4 or 8", elementBytes)
  .option("--pad-right", "put zero bytes behind short elements, not in front")
  .option("--output <file>", "write the elements there, big-endian; - is standard output")
  .option("--device <locator>", "soft:oradax or /dev/oradax1; the machine's own if it has one")
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .action(async (path, options) => {
    const { bytes, padRight = false } = options;
    await perform("extract", path, options, async (session, source, result, more) => {
      const how = { ...more, bytes, padRight, sink: (piece: Uint8Array) => result.put(piece) };
      return { count: (await session.extract(source, how)).count, output: "elements" };
    });
  });

const select: CommandUnknownOpts = common("select", "Keep the elements whose bit in a mask is 1.")
  .requiredOption("--mask <file>", "one bit for each element, as scan writes them")
  .requiredOption("--bytes <n>", "bytes of an output element: 1, 2, 4 or 8", elementBytes)
  .option("--pad-right", "put zero bytes behind short elements, not in front")
  .option("--output <file>", "write the elements there, big-endian; - is standard output")
  .option("--device <locator>", "soft:oradax or /dev/oradax1; the machine's own if it has one")
  .option(...SUDO_OPTION)
  .option("--json", "print one JSON document")
  .action(async (path, options) => {
    const { bytes, padRight = false } = options;
    const mask = readWhole(options.mask);
    await perform("select", path, options, async (session, source, result, more) => {
      const how = { ...more, bytes, padRight, sink: (piece: Uint8Array) => result.put(piece) };
      return { count: (await session.select(source, mask, how)).count, output: "elements" };
    });
  });

/** A bit for each element of a vector that fits into memory. */
const MOST_MASK_BYTES = 256 << 20;

function readWhole(path: string): Uint8Array<ArrayBuffer> {
  return readInput(path, { limitBytes: MOST_MASK_BYTES, what: "a mask", operation: "read" });
}

/** The commands over files. */
export const vectorCommands: readonly CommandUnknownOpts[] = [scan, extract, select, translate];
