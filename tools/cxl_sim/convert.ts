/**
 * `cxl_sim convert INPUT OUTPUT`: a trace in another form.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { openTrace, type OpenTraceOptions } from "../../src/sim/host/trace_file.ts";
import { writeTrace } from "../../src/sim/host/trace_writer.ts";
import { BINARY_FORMAT, TEXT_FORMATS } from "../../src/sim/trace/formats.ts";
import { sizeBytes, wholeNumber } from "../cli/arguments.ts";
import { note, print, printBytes, printJson } from "../cli/output.ts";
import { ElapsedProgress } from "../cli/progress.ts";
import { interruption } from "../cli/run.ts";
import { positiveNumber, safeSize } from "./trace_options.ts";

const FORMS = [BINARY_FORMAT, ...TEXT_FORMATS.map((format) => format.name)].join(", ");

/** The command line of `cxl_sim convert`. */
export const convert: CommandUnknownOpts = new Command("convert")
  .description(
    "Read a trace of any form and write it in another. Text becomes the binary form, which is read 30 times faster.",
  )
  .argument("<input>", "the trace; - is standard input; .gz and .zst are unpacked")
  .argument("<output>", "the file; - is standard output, for text")
  .option("--format <name>", `the form of the input, found out by default: ${FORMS}`)
  .option("--to <name>", "the form of the output, by default what its name ends with: .bbt .csv .jsonl .alloc")
  .option("--fields <list>", "the columns of perf script -F, or of gem5's decoder")
  .option("--ns-per-instruction <ns>", "lackey, drmemtrace: time of an instruction", positiveNumber)
  .option("--ns-per-tick <ns>", "gem5, dramsim3: time of a tick or cycle", positiveNumber)
  .option("--gap <ns>", "ramulator2, alloc: time between two lines", positiveNumber)
  .option("--period <n>", "perf: accesses that a sample stands for", wholeNumber)
  .option("--physical", "perf: physical addresses")
  .option("--host <n>", "the host of a form without hosts; 0 by default", hostNumber)
  .option("--max-input <size>", "what may come out of a packed file; 1TiB by default", sizeBytes)
  .option("--json", "print one JSON document; OUTPUT is a file then")
  .action(async (input, output, options) => {
    const reading: OpenTraceOptions = {
      format: options.format,
      fields: options.fields,
      nsPerInstruction: options.nsPerInstruction,
      nsPerTick: options.nsPerTick,
      gapNs: options.gap,
      period: options.period,
      physical: options.physical,
      host: options.host,
      limitBytes: options.maxInput === undefined ? undefined : safeSize(options.maxInput),
    };
    // A trace that goes to the terminal is its own progress.
    using progress = output === "-" ? null : new ElapsedProgress("convert");
    await using trace = await openTrace(input, reading);
    const encoder = new TextEncoder();
    const written = await writeTrace(trace, output, {
      nsPerInstruction: options.nsPerInstruction,
      nsPerTick: options.nsPerTick,
      gapNs: options.gap,
      format: options.to,
      flags: trace.flags,
      print: (text) => printBytes(encoder.encode(text)),
      signal: interruption,
    });
    progress?.[Symbol.dispose]();
    if (written.loses !== "") note(`convert: ${written.format} cannot carry: ${written.loses}`);
    if (options.json) {
      return printJson({
        schema: "cxl_sim_convert/1",
        input,
        output,
        from: trace.format,
        to: written.format,
        entries: written.accesses,
        loses: written.loses === "" ? null : written.loses,
      });
    }
    if (output !== "-") print(`${output}: ${written.accesses} entries, ${trace.format} to ${written.format}`);
  });

/** A host's number. */
function hostNumber(text: string): number {
  return text === "0" ? 0 : wholeNumber(text);
}
