/**
 * Which code an input reached: V8's precise block coverage, by the inspector's Profiler domain.
 *
 * Source: the Chrome DevTools protocol, Profiler.startPreciseCoverage and takePreciseCoverage.
 * @module
 */

import { Session } from "node:inspector/promises";

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

interface Coverage {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly Range[] }[];
  }[];
}

const ROOT = new URL("../../", import.meta.url).href;
/** The fuzzer's own code tells nothing of an input. */
const OWN = [`${ROOT}tests/fuzz/`, `${ROOT}tests/unit/random.ts`];

/** How often, coarsely: a loop that runs once more is nothing new, one that runs twice as often is. */
function bucket(count: number): number {
  return count < 4 ? count : 2 + Math.floor(Math.log2(Math.min(count, 128)));
}

/** Counts what was reached for the first time. One at a time in a process: V8 has one set of counters. */
export class CoverageFeedback implements AsyncDisposable {
  readonly #session = new Session();
  /** The blocks of each function that V8 ever told apart, by the function's place. */
  readonly #blocks = new Map<string, Map<string, Range>>();
  readonly #reached = new Set<string>();

  private constructor() {}

  /** Starts to count. */
  static async start(): Promise<CoverageFeedback> {
    const feedback = new CoverageFeedback();
    feedback.#session.connect();
    await feedback.#session.post("Profiler.enable");
    await feedback.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    await feedback.take();
    return feedback;
  }

  /** Blocks that were reached so far. */
  get blocks(): number {
    return new Set(Array.from(this.#reached, (feature) => feature.slice(0, feature.lastIndexOf(" ")))).size;
  }

  /** Whether anything since the last call reached a block for the first time, or another order of times. */
  async take(): Promise<boolean> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage") as unknown as Coverage;
    const before = this.#reached.size;
    for (const { url, functions } of result) {
      if (!url.startsWith(ROOT) || OWN.some((own) => url.startsWith(own))) continue;
      for (const { ranges } of functions) this.#reach(url, ranges);
    }
    return this.#reached.size > before;
  }

  /**
   * V8 names a block only where its count differs from that of what encloses it. So each block that was ever named gets
   * the count of the innermost one that encloses it now.
   */
  #reach(url: string, ranges: readonly Range[]): void {
    const [whole] = ranges;
    if (whole === undefined) return;
    const place = `${url} ${whole.startOffset}`;
    const blocks = this.#blocks.get(place) ?? new Map<string, Range>();
    this.#blocks.set(place, blocks);
    for (const range of ranges) blocks.set(`${range.startOffset}-${range.endOffset}`, range);
    for (const [name, block] of blocks) {
      const innermost = ranges.findLast((range) =>
        range.startOffset <= block.startOffset && block.endOffset <= range.endOffset
      );
      const count = innermost?.count ?? 0;
      if (count > 0) this.#reached.add(`${place} ${name} ${bucket(count)}`);
    }
  }

  /** Stops to count. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.post("Profiler.stopPreciseCoverage");
    await this.#session.post("Profiler.disable");
    this.#session.disconnect();
  }
}
