/**
 * Records the memory accesses of any program: runs it under our valgrind tool, then puts the trace in place.
 * @module
 */

import { type Recorder, TOOL_NAME } from "./recorder_build.ts";
import type { RecordedTrace, RecordRequest } from "./record_request.ts";
import { finishRecording, runTarget, WorkFolder } from "./record_work.ts";
import { checkTarget } from "./target.ts";

/**
 * Runs a program under the recorder. Its input, output and errors are this process's.
 *
 * @throws {BusbarError} `usage`: no such program; `out-of-range`: the disk is full; `malformed`: the program crashed or
 * was killed; `library`: the recorder did not start; the reason of `signal`. Nothing is written then.
 */
export async function record(recorder: Recorder, request: RecordRequest): Promise<RecordedTrace> {
  const program = checkTarget(request.command);
  using work = WorkFolder.beside(request.output);
  const args = [
    `--tool=${TOOL_NAME}`,
    `--log-file=${work.logPath}`,
    "--vgdb=no",
    "--trace-children=no",
    `--out=${work.path}/trace`,
    `--filter=${request.all ? "no" : "yes"}`,
    `--filter-bytes=${request.filterBytes}`,
    `--filter-ways=${request.filterWays}`,
    `--allocations=${request.allocations ? "yes" : "no"}`,
    `--ns-per-instruction=${request.nsPerInstruction}`,
    ...(request.maxBytes === null ? [] : [`--max-bytes=${request.maxBytes}`]),
    program,
    ...request.command.slice(1),
  ];
  const ended = await runTarget(recorder.valgrind, args, { VALGRIND_LIB: recorder.library }, request);
  request.signal.throwIfAborted();
  return finishRecording(request, work, ended);
}
