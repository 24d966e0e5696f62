/**
 * The same command for many hosts, some at a time: what each answered, or why it did not.
 * @module
 */

import { systemError } from "../../core/error.ts";
import type { Json } from "../../core/layout_json.ts";

/** What came of one host. */
export type HostAnswer =
  | { readonly host: string; readonly document: Json; readonly exitStatus: number; readonly durationMs: number }
  | { readonly host: string; readonly failure: HostFailure; readonly durationMs: number };

/** Why a host has no answer that can be compared. */
export interface HostFailure {
  /** `timeout`: too slow; `malformed`: what came is not this tool's document; else the tool's own error code. */
  readonly code: string;
  /** One line. */
  readonly message: string;
}

/** How a fleet is asked. */
export interface FleetOptions {
  /** The command for a host: program and arguments. It prints one JSON document. */
  readonly commandFor: (host: string) => readonly string[];
  /** `schema` of the document, without its version: the tool. */
  readonly tool: string;
  /** Whether a document can be one of this tool. */
  readonly fits: (document: Json) => boolean;
  /** Hosts at once; 1 or more. */
  readonly parallel: number;
  /** Milliseconds for one host. */
  readonly limitMs: number;
  /** Ends everything. */
  readonly signal: AbortSignal;
  /** Called after each host. */
  readonly onAnswer?: (answer: HostAnswer) => void;
}

/** Bytes of one answer. */
const ANSWER_LIMIT = 64 << 20;
/** From the polite signal to the other. */
const KILL_AFTER_MS = 2000;
const ERROR_TAIL = 4096;

/**
 * Asks all hosts. No host holds another one up for longer than its limit.
 *
 * @returns answers in the order of the hosts; those that an abort cut off are missing
 * @throws {BusbarError} as the program cannot be started at all
 */
export async function askFleet(hosts: readonly string[], options: FleetOptions): Promise<HostAnswer[]> {
  const answers: (HostAnswer | undefined)[] = hosts.map(() => undefined);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < hosts.length && !options.signal.aborted) {
      const i = next++;
      const answer = await askHost(hosts[i] ?? "", options);
      if (options.signal.aborted) return;
      answers[i] = answer;
      options.onAnswer?.(answer);
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.parallel, hosts.length) }, work));
  return answers.filter((answer) => answer !== undefined);
}

async function askHost(host: string, options: FleetOptions): Promise<HostAnswer> {
  const started = performance.now();
  const durationMs = (): number => performance.now() - started;
  const failed = (code: string, message: string): HostAnswer => ({
    host,
    failure: { code, message },
    durationMs: durationMs(),
  });
  const [program = "", ...args] = options.commandFor(host);
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
  } catch (cause) {
    throw systemError(cause, "start", program);
  }
  let timedOut = false;
  let tooLong = false;
  let killer: ReturnType<typeof setTimeout> | undefined;
  const end = (): void => {
    trySignal(child, "SIGTERM");
    killer ??= setTimeout(() => trySignal(child, "SIGKILL"), KILL_AFTER_MS);
  };
  const timer = setTimeout(() => {
    timedOut = true;
    end();
  }, options.limitMs);
  options.signal.addEventListener("abort", end);
  try {
    const [output, errors, status] = await Promise.all([
      collect(child.stdout, ANSWER_LIMIT, () => {
        tooLong = true;
        end();
      }),
      collect(child.stderr, ERROR_TAIL, () => {}),
      child.status,
    ]);
    if (timedOut) return failed("timeout", `no answer within ${options.limitMs / 1000} s`);
    if (tooLong) return failed("malformed", `it answered more than ${ANSWER_LIMIT} bytes`);
    return readAnswer(host, options, output, errors, status.code, durationMs());
  } finally {
    clearTimeout(timer);
    clearTimeout(killer);
    options.signal.removeEventListener("abort", end);
  }
}

function trySignal(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has ended by itself.
  }
}

/** Reads a stream to its end, and keeps its first bytes. */
async function collect(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  limit: number,
  onMore: () => void,
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const bytes of stream) {
    size += bytes.length;
    if (size <= limit) text += decoder.decode(bytes, { stream: true });
    else onMore();
  }
  return text + decoder.decode();
}

function readAnswer(
  host: string,
  { tool, fits }: FleetOptions,
  output: string,
  errors: string,
  exitStatus: number,
  durationMs: number,
): HostAnswer {
  const fail = (code: string, message: string): HostAnswer => ({ host, failure: { code, message }, durationMs });
  let document: unknown;
  try {
    document = JSON.parse(output);
  } catch {
    const [line = ""] = errors.split("\n");
    if (output.trim() === "") return fail("io", line === "" ? `it ended with status ${exitStatus}` : line);
    return fail("malformed", "what it answered is no JSON document");
  }
  const members = typeof document === "object" && document !== null ? document as Record<string, unknown> : {};
  if (typeof members.schema !== "string" || !new RegExp(`^${tool}(_\\w+)?/\\d+$`).test(members.schema)) {
    return fail("malformed", `what it answered is no document of ${tool}`);
  }
  if (typeof members.error === "object" && members.error !== null) {
    const { code, message } = members.error as Record<string, unknown>;
    return fail(String(code), String(message));
  }
  if (!fits(document as Json)) return fail("malformed", `what it answered is no whole document of ${tool}`);
  return { host, document: document as Json, exitStatus, durationMs };
}
