/**
 * What a program in the guest prints, shown on the host.
 * @module
 */

import { LineReader } from "./line_reader.ts";

/** Shows what a program prints, line by line, and tells when a mark comes by. */
export class MarkedOutput {
  readonly #lines: LineReader;
  readonly #mark: string;
  readonly #to: { writeSync(bytes: Uint8Array): number };
  #atMark: Promise<void>;

  /** Begins to show at once. */
  constructor(from: ReadableStream<Uint8Array>, mark: string, to: { writeSync(bytes: Uint8Array): number }) {
    this.#lines = new LineReader(from);
    this.#mark = mark;
    this.#to = to;
    this.#atMark = this.#show();
  }

  /** Settles when everything printed before the next mark has been shown. */
  async mark(): Promise<void> {
    await this.#atMark;
    this.#atMark = this.#show();
  }

  async #show(): Promise<void> {
    for (let line = await this.#next(); line !== null; line = await this.#next()) {
      const marked = line.endsWith(this.#mark);
      const shown = marked ? line.slice(0, -this.#mark.length) : `${line}\n`;
      const bytes = new TextEncoder().encode(shown);
      for (let at = 0; at < bytes.length;) at += this.#to.writeSync(bytes.subarray(at));
      if (marked) return;
    }
  }

  /** Null at the end, also when the guest is lost: whoever waits for an answer says so. */
  async #next(): Promise<string | null> {
    try {
      return await this.#lines.next();
    } catch {
      return null;
    }
  }

  /** Shows no more. */
  async close(): Promise<void> {
    await this.#lines.cancel().catch(() => {});
  }
}
