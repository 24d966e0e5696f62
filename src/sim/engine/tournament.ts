/**
 * Which of some sources has the earliest event. Every source is in order by itself, so no heap of events is needed.
 * @module
 */

/** A winner tree over sources, each with the time and the number of its first event. */
export class Tournament {
  /** Time of each source's first event; Infinity when it has none. Call {@linkcode Tournament.update} after a change. */
  time: Float64Array<ArrayBuffer>;
  /** Order among events of equal time, lowest first. */
  order: Float64Array<ArrayBuffer>;
  #winners: Int32Array<ArrayBuffer>;
  #leaves: number;

  /** A tree over `sources` sources, none of which has an event. */
  constructor(sources: number) {
    this.#leaves = 2;
    while (this.#leaves < sources) this.#leaves *= 2;
    this.time = new Float64Array(this.#leaves).fill(Infinity);
    this.order = new Float64Array(this.#leaves);
    this.#winners = new Int32Array(2 * this.#leaves);
    this.#rebuild();
  }

  /** The source with the earliest event; its time is Infinity when there is none at all. */
  get winner(): number {
    return this.#winners[1] as number;
  }

  /** The time of the earliest event; Infinity when there is none. */
  get first(): number {
    return this.time[this.#winners[1] as number] as number;
  }

  /** Makes room for more sources. */
  grow(sources: number): void {
    if (sources <= this.#leaves) return;
    while (this.#leaves < sources) this.#leaves *= 2;
    const time = new Float64Array(this.#leaves).fill(Infinity);
    const order = new Float64Array(this.#leaves);
    time.set(this.time);
    order.set(this.order);
    this.time = time;
    this.order = order;
    this.#winners = new Int32Array(2 * this.#leaves);
    this.#rebuild();
  }

  /** Sets a source's first event. */
  set(source: number, time: number, order: number): void {
    this.time[source] = time;
    this.order[source] = order;
    this.update(source);
  }

  /** Plays a source's games again, after its time or order changed. */
  update(source: number): void {
    const { time, order } = this;
    const winners = this.#winners;
    for (let game = (this.#leaves + source) >> 1; game > 0; game >>= 1) {
      const a = winners[2 * game] as number;
      const b = winners[2 * game + 1] as number;
      const ta = time[a] as number;
      const tb = time[b] as number;
      winners[game] = ta < tb || (ta === tb && (order[a] as number) <= (order[b] as number)) ? a : b;
    }
  }

  #rebuild(): void {
    for (let leaf = 0; leaf < this.#leaves; leaf++) this.#winners[this.#leaves + leaf] = leaf;
    for (let leaf = 0; leaf < this.#leaves; leaf += 2) this.update(leaf);
  }
}
