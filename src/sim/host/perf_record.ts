/**
 * Records a program with `perf mem`, where the machine has the counters for it.
 * @module
 */

import { BusbarError, systemError } from "../../core/error.ts";
import type { Host } from "../../core/host.ts";
import { PERF_FIELDS } from "../trace/perf_script.ts";
import { checkMemoryCounters, perfRecordCommand, perfScriptCommand } from "./perf.ts";
import type { RecordedTrace, RecordRequest } from "./record_request.ts";
import { runTarget, WorkFolder } from "./record_work.ts";
import { checkTarget } from "./target.ts";
import { openTrace } from "./trace_file.ts";
import { writeTrace } from "./trace_writer.ts";

function findPerf(): string | null {
  const folders = (Deno.env.get("PATH") ?? "/usr/bin:/bin").split(":");
  return folders.map((folder) => `${folder}/perf`).find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  }) ?? null;
}

/**
 * Samples a program and converts the samples.
 *
 * @throws {BusbarError} `unsupported`, naming what the machine lacks; `io` when perf fails
 */
export async function recordWithPerf(host: Host, request: RecordRequest): Promise<RecordedTrace> {
  const perf = findPerf();
  const { source } = checkMemoryCounters(host, perf !== null, Deno.uid() === 0);
  const program = checkTarget(request.command);
  using work = WorkFolder.beside(request.output);
  const data = `${work.path}/perf.data`;
  const text = `${work.path}/samples.perf`;
  const [, ...recordArgs] = perfRecordCommand(data, [program, ...request.command.slice(1)]);
  const ended = await runTarget(perf ?? "perf", recordArgs, {}, request);
  request.signal.throwIfAborted();
  if (ended.status.signal !== null && !ended.timeOver && !request.keepPartial) {
    throw new BusbarError("malformed", `${program}: ended by ${ended.status.signal} while it was recorded`, {
      operation: "record with perf",
      path: program,
      hint: "nothing was written; --keep-partial keeps what was recorded until then",
    });
  }
  const [, ...scriptArgs] = perfScriptCommand(data, PERF_FIELDS);
  const output = await new Deno.Command(perf ?? "perf", { args: scriptArgs, stdout: "piped", stderr: "piped" })
    .output();
  if (!output.success) {
    const said = new TextDecoder().decode(output.stderr).trim().split("\n")[0] ?? "";
    throw new BusbarError("io", `perf script failed: ${said}`, {
      operation: "record with perf",
      hint: "see perf report -i",
    });
  }
  try {
    await Deno.writeFile(text, output.stdout);
  } catch (cause) {
    throw systemError(cause, "write", text);
  }
  await using trace = await openTrace(text, { format: "perf" });
  const written = await writeTrace(trace, request.output, { format: "binary", signal: request.signal });
  return {
    path: request.output,
    records: BigInt(written.accesses),
    threads: 0,
    sizeBytes: (await Deno.stat(request.output)).size,
    exitStatus: ended.status.signal === null ? ended.status.code : null,
    signal: ended.status.signal,
    notes: [`samples of ${source}, not every access: multiply by the period when you convert or run`],
  };
}
