/**
 * A process for each point: any tool that prints one document with `--json`.
 * @module
 */

import { type Child, DOCUMENT_LIMIT, endedFailure, startChild, timeoutFailure, watched } from "./child.ts";
import type { PointWorker } from "./local.ts";
import type { Point } from "./point.ts";
import type { Failure, Outcome } from "./results.ts";

/** Runs each point in a process of its own. */
export class ProcessWorker implements PointWorker {
  readonly #command: readonly string[];
  readonly #limitMs: number;
  #child: Child | null = null;

  /**
   * Starts a process for each point.
   *
   * @param command program and arguments before the point's own; `--json` and the point's command line follow
   * @param limitMs of one point
   */
  constructor(command: readonly string[], limitMs: number) {
    this.#command = command;
    this.#limitMs = limitMs;
  }

  /** {@inheritDoc PointWorker.run} */
  async run(point: Point, signal: AbortSignal): Promise<Outcome | null> {
    if (signal.aborted) return null;
    const child = startChild([...this.#command, "--json", ...point.commandLine], "null");
    this.#child = child;
    const { value: text, timedOut } = await watched(child, this.#limitMs, signal, () => collect(child));
    const ending = await child.ended;
    this.#child = null;
    if (signal.aborted) return null;
    if (timedOut) return { failure: timeoutFailure(this.#limitMs) };
    if (ending.interrupted) return null;
    if (text === null) {
      return { failure: { code: "malformed", message: `it printed more than ${DOCUMENT_LIMIT} bytes`, hint: null } };
    }
    return outcomeOf(text, ending.success) ?? { failure: endedFailure(ending, child.errorText()) };
  }

  /** Ends what still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child?.end();
  }
}

/** What a process prints; null when it is too much, and then the process is ended. */
async function collect(child: Child): Promise<string | null> {
  const decoder = new TextDecoder();
  const parts: string[] = [];
  let size = 0;
  for await (const bytes of child.process.stdout) {
    size += bytes.length;
    if (size <= DOCUMENT_LIMIT) parts.push(decoder.decode(bytes, { stream: true }));
    else child.end();
  }
  return size > DOCUMENT_LIMIT ? null : parts.join("") + decoder.decode();
}

/** The result or the failure that a document tells; null when it is none of both. */
function outcomeOf(text: string, success: boolean): Outcome | null {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof document !== "object" || document === null) return null;
  if (!("error" in document)) return success ? { result: document } : null;
  const error = document.error as Partial<Failure> | null;
  return {
    failure: { code: error?.code ?? "bug", message: error?.message ?? "it failed", hint: error?.hint ?? null },
  };
}
