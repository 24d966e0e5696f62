/**
 * `cxl_gpu run`: one kernel.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { BusbarError, systemError } from "../../src/core/error.ts";
import type { HasDeviceAddress, KernelArgument } from "../../src/gpu/ptx.ts";
import type { Type2Gpu } from "../../src/type2/client.ts";
import { openType2 } from "../../src/type2/open.ts";
import { timeOption, wholeNumber } from "../cli/arguments.ts";
import { writeOutput } from "../cli/files.ts";
import { print, printJson, printSchema } from "../cli/output.ts";
import { Progress } from "../cli/progress.ts";
import { documentSchema, interruption } from "../cli/run.ts";
import { printable } from "../../src/core/printable.ts";
import { runSchema } from "../render/type2/run.ts";
import {
  type BufferArgument,
  elementBytes,
  elementsText,
  parseInput,
  parseOutput,
  parseSides,
  parseValue,
  readInput,
} from "./values.ts";

/** An argument of the kernel, in the order of the command line. */
type Argument =
  | { readonly kind: "value"; readonly value: number | bigint }
  | { readonly kind: "in" | "out" | "inout"; readonly buffer: BufferArgument };

/** A buffer on the device that is read back. */
interface Output {
  readonly buffer: BufferArgument;
  readonly pointer: bigint;
  readonly sizeBytes: number;
}

const ONE: [number, number, number] = [1, 1, 1];

function collect(into: Argument[], argument: Argument): Argument[] {
  into.push(argument);
  return into;
}

/** --arg, --in and --out stand in one order, the kernel's: they fill one list. */
function makeCommand(): CommandUnknownOpts {
  const given: Argument[] = [];
  return new Command("run")
    .description("Load PTX, launch one of its kernels, and show what it computed.")
    .argument("<device>", "soft:type2, or type2:PATH, the file of cxl_gpu serve")
    .argument("<ptx>", "a file of PTX text")
    .argument("<kernel>", "the kernel's name")
    .addOption(new Option("--grid <sides>", "blocks: x, x,y or x,y,z").argParser(parseSides).default(ONE, "1"))
    .addOption(new Option("--block <sides>", "threads of a block").argParser(parseSides).default(ONE, "1"))
    .option("--shared <bytes>", "dynamic shared memory of a block", wholeNumber, 0)
    .option(
      "--arg <value>",
      "the next argument: TYPE:VALUE, as in u32:5 or f32:2.5",
      (text) => collect(given, { kind: "value", value: parseValue(text) }),
    )
    .option(
      "--in <buffer>",
      "the next argument: a pointer to a file's bytes or to zeros, as in f32:FILE or f32:100",
      (text) => collect(given, { kind: "in", buffer: parseInput(text) }),
    )
    .option(
      "--out <buffer>",
      "the next argument: a pointer to zeros that are printed after, or written: f32:100 or f32:100:FILE",
      (
        text,
      ) => collect(given, { kind: "out", buffer: parseOutput(text) }),
    )
    .option(
      "--inout <buffer>",
      "as --in, and printed after",
      (text) => collect(given, { kind: "inout", buffer: parseInput(text) }),
    )
    .addOption(timeOption("--timeout <time>", "how long the kernel may take", "60s"))
    .option("--json", "print one JSON document")
    .option("--json-schema", "print the schema of --json, and stop")
    .action(async (device, ptx, kernel, options) => {
      if (options.jsonSchema) return printSchema(documentSchema("cxl_gpu", [runSchema()], "run"));
      const text = readText(ptx);
      await using gpu = openType2(device, { launchMs: options.timeout, signal: interruption });
      await gpu.begin();
      const fn = await gpu.function(await gpu.load(text), kernel);
      const { values, outputs } = await place(gpu, given);
      const started = performance.now();
      await gpu.launch(fn, { grid: options.grid, block: options.block, sharedBytes: options.shared }, values);
      await gpu.synchronize();
      const tookMs = performance.now() - started;
      const printed = await gpu.printed();
      const shown: { type: string; values: string }[] = [];
      for (const { buffer, pointer, sizeBytes } of outputs) {
        const bytes = await gpu.read(pointer, sizeBytes);
        if (buffer.file !== null && buffer.count !== null) writeOutput(buffer.file, bytes);
        else shown.push({ type: buffer.type, values: elementsText(buffer.type, bytes) });
      }
      if (options.json) {
        printJson({ schema: "cxl_gpu/1", command: "run", kernel, tookMs, printed, outputs: shown });
        return;
      }
      if (printed !== "") print(printed.trimEnd().split("\n").map(printable).join("\n"));
      for (const { values } of shown) print(values);
    });
}

function readText(path: string): string {
  let bytes: Uint8Array;
  try {
    bytes = Deno.readFileSync(path);
  } catch (cause) {
    throw systemError(cause, "read PTX", path);
  }
  // Machine code begins with 7F, a fat binary with 50 ED.
  if (bytes[0] === 0x7f || (bytes[1] ?? 0) >= 0x80) {
    throw new BusbarError("malformed", `${path}: an image without PTX text`, {
      operation: "read PTX",
      path,
      hint: "nvcc -ptx makes the text of a kernel",
    });
  }
  return new TextDecoder().decode(bytes);
}

/** Brings buffers to the device. */
async function place(
  gpu: Type2Gpu,
  given: readonly Argument[],
): Promise<{ values: KernelArgument[]; outputs: Output[] }> {
  const values: KernelArgument[] = [];
  const outputs: Output[] = [];
  for (const argument of given) {
    if (argument.kind === "value") {
      values.push(argument.value);
      continue;
    }
    const { buffer } = argument;
    const bytes = argument.kind === "out"
      ? new Uint8Array(elementBytes(buffer.type) * (buffer.count ?? 0))
      : readInput(buffer);
    if (bytes.length === 0) throw new BusbarError("usage", "a buffer of no bytes");
    const pointer = await gpu.allocate(bytes.length);
    using progress = new Progress("copying", bytes.length);
    await gpu.write(pointer, bytes, (done) => progress.update(done));
    const address: HasDeviceAddress = { address: pointer };
    values.push(address);
    if (argument.kind !== "in") outputs.push({ buffer, pointer, sizeBytes: bytes.length });
  }
  return { values, outputs };
}

/** The command line of `cxl_gpu run`. */
export const runKernel: CommandUnknownOpts = makeCommand();
