/**
 * What all recorders have in common: a folder to work in, a program that runs, and what to make of how it ended.
 * @module
 */

import { BusbarError, systemError } from "../../core/error.ts";
import { mergeTraces } from "./merge.ts";
import { noRoomError } from "./output.ts";
import type { RecordedTrace, RecordRequest } from "./record_request.ts";

/** What the recorder said. */
interface RecorderLog {
  /** The last `end` line's values; null when it never came to one. */
  readonly end: Readonly<Record<string, number>> | null;
  readonly forks: number;
  readonly execs: number;
  readonly failedExecs: number;
  /** Error number of a write that failed, or null. */
  readonly failedErrno: number | null;
}

/** Reads the lines of the recorder among those of valgrind. */
export function parseRecorderLog(text: string): RecorderLog {
  let end: Record<string, number> | null = null;
  let forks = 0;
  let execs = 0;
  let failedExecs = 0;
  let failedErrno: number | null = null;
  for (const [, kind, rest = ""] of text.matchAll(/^==\d+== record: ([\w-]+)(.*)$/gm)) {
    const values = Object.fromEntries(
      [...rest.matchAll(/(\w+)=(\d+)/g)].map(([, name, value]) => [name, Number(value)]),
    );
    if (kind === "end") end = values;
    if (kind === "fork") forks++;
    if (kind === "exec") execs++;
    if (kind === "exec-failed") failedExecs++;
    if (kind === "failed") failedErrno = values["errno"] ?? 0;
  }
  return { end, forks, execs, failedExecs, failedErrno };
}

/** How a program ended. */
export interface Ended {
  /** Its exit status or signal. */
  readonly status: Deno.CommandStatus;
  /** True when it was ended because its time was over. */
  readonly timeOver: boolean;
}

/**
 * Starts a program and waits for its end, which is brought about when its time is over or the recording is interrupted.
 * Its input, output and errors are this process's.
 */
export async function runTarget(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  request: RecordRequest,
): Promise<Ended> {
  const child = new Deno.Command(program, {
    args: [...args],
    env: { ...request.env, ...env },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  let timeOver = false;
  const kill = (signal: Deno.Signal): void => {
    try {
      child.kill(signal);
    } catch {
      // It has ended meanwhile.
    }
  };
  const onAbort = (): void => kill("SIGKILL");
  request.signal.addEventListener("abort", onAbort);
  let last: ReturnType<typeof setTimeout> | undefined;
  const timer = request.durationMs === null ? undefined : setTimeout(() => {
    timeOver = true;
    kill("SIGTERM");
    last = setTimeout(() => kill("SIGKILL"), 5000);
  }, request.durationMs);
  try {
    return { status: await child.status, timeOver };
  } finally {
    clearTimeout(timer);
    clearTimeout(last);
    request.signal.removeEventListener("abort", onAbort);
  }
}

/** The recorder's messages; nothing when it wrote none. */
function readLog(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}

/**
 * Judges how a recording ended and puts the trace in place.
 *
 * @throws {BusbarError} as a recorder says it; nothing is written then
 */
export function finishRecording(request: RecordRequest, work: WorkFolder, ended: Ended): RecordedTrace {
  const log = parseRecorderLog(readLog(work.logPath));
  const { output } = request;
  const { status, timeOver } = ended;
  const name = request.command[0] ?? "";
  if (log.failedErrno !== null) {
    throw noRoomError(log.failedErrno, output) ??
      new BusbarError("out-of-range", `${output}: the recorder could not write (error ${log.failedErrno})`, {
        operation: "record",
        path: output,
        hint:
          "nothing was written; a program that gives up its rights cannot be recorded into a folder it may not write",
      });
  }
  const notes: string[] = [];
  const crashed = status.signal !== null && !timeOver;
  if (crashed && !request.keepPartial) {
    throw new BusbarError("malformed", `${name}: ended by ${status.signal} while it was recorded`, {
      operation: "record",
      path: name,
      hint: "nothing was written; --keep-partial keeps what was recorded until then",
    });
  }
  const traces = work.traces();
  if (log.end === null && !(crashed || timeOver)) {
    throw new BusbarError("library", `${name}: the recorder did not come to its end (status ${status.code})`, {
      operation: "record",
      path: name,
      hint: "valgrind's own message, if there is one, is above; is the program for this processor?",
    });
  }
  if (log.end === null) notes.push(salvage(traces));
  if (crashed) notes.push(`the program was ended by ${status.signal}: the trace ends there`);
  if (timeOver) notes.push("the program was ended because its time was over");
  if (log.forks > 0) notes.push(`${log.forks} child process(es) of a fork are not in the trace`);
  if (log.execs > log.failedExecs) {
    notes.push("the program replaced itself with another one (exec): the trace ends there");
  }
  if ((log.end?.["truncated"] ?? 0) > 0) notes.push(`the trace ends at --max-bytes ${request.maxBytes}`);
  const unrecorded = log.end?.["unrecorded"] ?? 0;
  if (unrecorded > 0) notes.push(`${unrecorded} thread(s) beyond 4096 at once are not in the trace`);
  if (traces.length === 0) {
    throw new BusbarError("malformed", `${name}: nothing was recorded`, {
      operation: "record",
      path: name,
      hint: "the program ended before its first access",
    });
  }
  const records = mergeTraces(traces, output);
  return {
    path: output,
    records,
    threads: traces.length,
    sizeBytes: 32 + 16 * Number(records),
    exitStatus: status.signal === null ? status.code : null,
    signal: status.signal,
    notes,
  };
}

/** Puts the count of whole records into traces whose recorder was killed. */
function salvage(traces: readonly string[]): string {
  for (const path of traces) {
    using file = Deno.openSync(path, { read: true, write: true });
    const count = BigInt(Math.floor(Math.max(0, file.statSync().size - 32) / 16));
    file.seekSync(24, Deno.SeekMode.Start);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, count, true);
    file.writeSync(bytes);
  }
  return "the recorder was killed: the last accesses of each thread, up to 16,384, are not in the trace";
}

/** A folder beside the output, on the same disk, that is gone when the recording is over. */
export class WorkFolder implements Disposable {
  /** The folder, absolute. */
  readonly path: string;
  /** The recorder's messages: elsewhere, because the output's disk may be full. */
  readonly logPath: string;

  private constructor(path: string, logPath: string) {
    this.path = path;
    this.logPath = logPath;
  }

  /**
   * Makes the folder.
   *
   * @throws {BusbarError} as the file system says
   */
  static beside(output: string): WorkFolder {
    const slash = output.lastIndexOf("/");
    const dir = slash < 0 ? "." : slash === 0 ? "/" : output.slice(0, slash);
    try {
      const path = Deno.realPathSync(Deno.makeTempDirSync({ dir, prefix: ".cxl_sim-record-" }));
      return new WorkFolder(path, Deno.makeTempFileSync({ prefix: "cxl_sim-record-", suffix: ".log" }));
    } catch (cause) {
      throw systemError(cause, "write into the folder of", output);
    }
  }

  /** The traces, in the order of their threads. */
  traces(): string[] {
    return Array.from(Deno.readDirSync(this.path), (entry) => /^trace\.(\d+)$/.exec(entry.name))
      .filter((match) => match !== null)
      .sort((a, b) => Number(a[1]) - Number(b[1]))
      .map((match) => `${this.path}/${match[0]}`);
  }

  /** Removes the folder and what is in it. */
  [Symbol.dispose](): void {
    for (const path of [this.path, this.logPath]) {
      try {
        Deno.removeSync(path, { recursive: true });
      } catch {
        // Somebody else removed it.
      }
    }
  }
}
