/**
 * A multi-headed single logical device: up to 32 host ports to one memory, and what happens when they meet on a line.
 * @module
 */

/** Heads that a device may have. */
export const HEAD_LIMIT = 32;

/** Latency of an access through a head, in ns: what the reference says. */
export const HEAD_LATENCY_NS = 200;

/** Bytes of a line. */
const LINE_BYTES = 64;

/** Lines whose last users are remembered: more cost memory for lines that nobody shares. */
const LINE_LIMIT = 1 << 20;

/** What went through a head. */
export interface HeadState {
  readonly head: number;
  readonly reads: number;
  readonly writes: number;
  readonly latencyNs: number;
  readonly conflicts: number;
}

interface Head {
  reads: number;
  writes: number;
  latencyNs: number;
  conflicts: number;
}

/** Which heads touched a line since it was last written by one of them, as bits. */
interface Line {
  readers: number;
  writer: number;
}

/** The heads of one device. */
export class MultiHeadedDevice {
  readonly #heads = new Map<number, Head>();
  readonly #lines = new Map<number, Line>();

  /** The heads that are attached, in order of their numbers. */
  get heads(): HeadState[] {
    return [...this.#heads].sort(([a], [b]) => a - b).map(([head, state]) => ({ head, ...state }));
  }

  /** What went through a head, or null when it is not attached. */
  head(number: number): HeadState | null {
    const state = this.#heads.get(number);
    return state === undefined ? null : { head: number, ...state };
  }

  /** Attaches a head; false when there is no such number, or it is attached. */
  attach(number: number): boolean {
    if (!Number.isInteger(number) || number < 0 || number >= HEAD_LIMIT || this.#heads.has(number)) return false;
    this.#heads.set(number, { reads: 0, writes: 0, latencyNs: 0, conflicts: 0 });
    return true;
  }

  /** Detaches a head; false when it is not attached. */
  detach(number: number): boolean {
    return this.#heads.delete(number);
  }

  /**
   * Counts an access through a head. It conflicts when another head touched a line of it since, and one of the two wrote.
   *
   * @returns true when it conflicts; false too for a head that is not attached
   */
  access(number: number, address: number, sizeBytes: number, write: boolean, latencyNs: number): boolean {
    const head = this.#heads.get(number);
    if (head === undefined) return false;
    const bit = (1 << number) >>> 0;
    let conflict = false;
    for (let line = Math.floor(address / LINE_BYTES); line * LINE_BYTES < address + sizeBytes; line++) {
      const known = this.#lines.get(line) ?? { readers: 0, writer: 0 };
      const others = write ? (known.readers | known.writer) & ~bit : known.writer & ~bit;
      if (others !== 0) conflict = true;
      if (write) {
        known.writer = bit;
        known.readers = 0;
      } else {
        known.readers |= bit;
        // A conflict is counted once: the reader has the new data now.
        if (others !== 0) known.writer = 0;
      }
      this.#remember(line, known);
    }
    if (write) head.writes++;
    else head.reads++;
    head.latencyNs += latencyNs;
    if (conflict) head.conflicts++;
    return conflict;
  }

  #remember(line: number, known: Line): void {
    this.#lines.delete(line);
    this.#lines.set(line, known);
    if (this.#lines.size <= LINE_LIMIT) return;
    for (const oldest of this.#lines.keys()) {
      this.#lines.delete(oldest);
      return;
    }
  }
}
