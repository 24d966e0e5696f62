/**
 * One process for many points, which saves its start for each: a point goes in as a line of JSON, and a line with
 * `{"id", "result"}` or `{"id", "failure"}` comes back.
 * @module
 */

import { type Child, DOCUMENT_LIMIT, endedFailure, startChild, timeoutFailure, watched } from "./child.ts";
import type { PointWorker } from "./local.ts";
import type { Point } from "./point.ts";
import type { Outcome } from "./results.ts";

/** The line that asks for a point. */
export interface PointRequest {
  /** Identity of the point. */
  readonly id: string;
  /** Words of the command line, without the program. */
  readonly commandLine: readonly string[];
}

/** The line that answers it. */
export type PointAnswer = { readonly id: string } & Outcome;

interface Running {
  readonly child: Child;
  readonly lines: AsyncGenerator<string, void>;
  readonly input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
}

/** Runs points in one process, which is started again when it dies. */
export class LineWorker implements PointWorker {
  readonly #command: readonly string[];
  readonly #limitMs: number;
  #running: Running | null = null;

  /**
   * Starts when the first point comes.
   *
   * @param command program and arguments of a process that answers {@linkcode PointRequest}s until its input ends
   * @param limitMs of one point
   */
  constructor(command: readonly string[], limitMs: number) {
    this.#command = command;
    this.#limitMs = limitMs;
  }

  /** {@inheritDoc PointWorker.run} */
  async run(point: Point, signal: AbortSignal): Promise<Outcome | null> {
    if (signal.aborted) return null;
    const running = this.#running ??= start(this.#command);
    const { child, lines, input } = running;
    const request: PointRequest = { id: point.id, commandLine: point.commandLine };
    const { value: line, timedOut } = await watched(child, this.#limitMs, signal, async () => {
      try {
        await input.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
      } catch {
        // It died before it was asked: its end says more.
      }
      return (await lines.next()).value ?? null;
    });
    const answer = line === null ? null : answerOf(line, point.id);
    if (answer !== null && !timedOut && !signal.aborted) return answer;
    this.#running = null;
    if (line !== null) child.end();
    const ending = await child.ended;
    await closePipes(running);
    if (signal.aborted) return null;
    if (timedOut) return { failure: timeoutFailure(this.#limitMs) };
    if (line !== null) {
      return { failure: { code: "malformed", message: "the worker's answer is none to this point", hint: null } };
    }
    return ending.interrupted ? null : { failure: endedFailure(ending, child.errorText()) };
  }

  /** Ends the program. */
  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#running;
    if (running === null) return;
    this.#running = null;
    await closeInput(running);
    await running.child.end();
    await closePipes(running);
  }
}

async function closeInput({ input }: Running): Promise<void> {
  try {
    await input.close();
  } catch {
    // It has ended, or was closed.
  }
}

/** Gives back both ends of a process that has ended. */
async function closePipes(running: Running): Promise<void> {
  await closeInput(running);
  await running.lines.return();
}

function start(command: readonly string[]): Running {
  const child = startChild(command, "piped");
  return { child, lines: linesOf(child.process.stdout), input: child.process.stdin.getWriter() };
}

function answerOf(line: string, id: string): Outcome | null {
  try {
    const answer = JSON.parse(line) as Partial<{ id: string; result: unknown; failure: unknown }> | null;
    if (answer?.id !== id) return null;
    if ("result" in answer) return { result: answer.result };
    return "failure" in answer ? answer as Outcome : null;
  } catch {
    return null;
  }
}

/** Lines of a stream; it ends where a line would be too long. */
async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  let size = 0;
  for await (const bytes of stream) {
    const [first = "", ...rest] = decoder.decode(bytes, { stream: true }).split("\n");
    parts.push(first);
    size += first.length;
    if (size > DOCUMENT_LIMIT) return;
    for (const text of rest) {
      yield parts.join("");
      parts = [text];
      size = text.length;
    }
  }
}
