/**
 * What a recording is asked for, and what it gives: the same for every way to record.
 * @module
 */

/** What is recorded, and how. */
export interface RecordRequest {
  /** Program and arguments. */
  readonly command: readonly string[];
  /** The trace that is written. */
  readonly output: string;
  /** Every access, not only what misses the cache filter. */
  readonly all: boolean;
  /** Size of each thread's cache filter, in bytes. */
  readonly filterBytes: number;
  /** Its associativity. */
  readonly filterWays: number;
  /** Allocations are recorded too. */
  readonly allocations: boolean;
  /** RecordedTrace stops, and the program goes on, when the trace has this many bytes; null for no limit. */
  readonly maxBytes: number | null;
  /** Time of an instruction. */
  readonly nsPerInstruction: number;
  /** Environment entries for the program, beside this process's own. */
  readonly env: Readonly<Record<string, string>>;
  /** The program is ended after this time, which is no error; null for no limit. */
  readonly durationMs: number | null;
  /** Keep what was recorded of a program that crashed or was killed. */
  readonly keepPartial: boolean;
  /** Ends the recording; nothing is written. */
  readonly signal: AbortSignal;
}

/** A recording that was made. */
export interface RecordedTrace {
  /** The trace. */
  readonly path: string;
  /** Records in it: accesses, allocations and their sizes, long pauses. */
  readonly records: bigint;
  /** Threads that were recorded. */
  readonly threads: number;
  /** Bytes of the trace. */
  readonly sizeBytes: number;
  /** Exit status of the program, null when a signal ended it. */
  readonly exitStatus: number | null;
  /** The signal that ended it, or null. */
  readonly signal: string | null;
  /** What the trace does not hold, and why. */
  readonly notes: readonly string[];
}
