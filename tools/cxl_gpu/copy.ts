/**
 * `cxl_gpu copy`: bytes to the device and back, compared.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { formatBytes } from "../../src/core/units.ts";
import { openType2 } from "../../src/type2/open.ts";
import { sizeBytes } from "../cli/arguments.ts";
import { print, printJson, printSchema } from "../cli/output.ts";
import { Progress } from "../cli/progress.ts";
import { documentSchema, interruption, raiseExitStatus } from "../cli/run.ts";
import { copySchema } from "../render/type2/run.ts";

/** Bytes that differ at every place: a multiplicative sequence. */
function pattern(size: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let i = 0, value = 1; i < words.length; i++) {
    value = Math.imul(value, 1664525) + 1013904223 >>> 0;
    words[i] = value;
  }
  return new Uint8Array(words.buffer, 0, size);
}

/** The command line of `cxl_gpu copy`. */
export const copy: CommandUnknownOpts = new Command("copy")
  .description("Copy bytes to the device and back, and compare them.")
  .argument("<device>", "soft:type2, or type2:PATH, the file of cxl_gpu serve")
  .addOption(new Option("--size <size>", "how many bytes, as in 64MiB").argParser(sizeBytes).default(1n << 20n, "1MiB"))
  .option("--json", "print one JSON document")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (device, options) => {
    if (options.jsonSchema) return printSchema(documentSchema("cxl_gpu", [copySchema()], "copy"));
    const size = Number(options.size);
    const bytes = pattern(size);
    await using gpu = openType2(device, { signal: interruption });
    await gpu.begin();
    const pointer = await gpu.allocate(size);
    using progress = new Progress("copying", 2 * size);
    const started = performance.now();
    await gpu.write(pointer, bytes, (done) => progress.update(done));
    const written = performance.now();
    const back = await gpu.read(pointer, size, (done) => progress.update(size + done));
    const read = performance.now();
    const differs = bytes.findIndex((byte, i) => back[i] !== byte);
    const [writeMs, readMs] = [written - started, read - written];
    if (options.json) {
      printJson({ schema: "cxl_gpu/1", command: "copy", sizeBytes: size, writeMs, readMs, equal: differs < 0 });
    } else {
      const rate = (ms: number): string => `${formatBytes(Math.round(size / ms * 1000))}/s`;
      print(
        `${formatBytes(size)} there in ${writeMs.toFixed(1)} ms (${rate(writeMs)}), back in ${readMs.toFixed(1)} ms (${
          rate(readMs)
        })`,
      );
      print(differs < 0 ? "equal" : `byte ${differs} differs`);
    }
    if (differs >= 0) raiseExitStatus("mismatch");
  });
