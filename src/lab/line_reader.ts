/**
 * Lines from a byte stream.
 * @module
 */

/** Reads a stream line by line. */
export class LineReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #rest = "";
  #ready: string[] = [];

  /** Takes the stream over. */
  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** The next line without its end, or null when the stream has ended. A last line without an end is dropped. */
  async next(): Promise<string | null> {
    for (;;) {
      const line = this.#ready.shift();
      if (line !== undefined) return line;
      const { done, value } = await this.#reader.read();
      if (done) return null;
      const parts = (this.#rest + this.#decoder.decode(value, { stream: true })).split("\n");
      this.#rest = parts.pop() ?? "";
      this.#ready = parts;
    }
  }

  /** Gives the stream up; a waiting {@linkcode LineReader.next} returns null. */
  async cancel(): Promise<void> {
    await this.#reader.cancel();
  }
}
