/**
 * Every k-th access by address and time, for the heat map: k grows, so that memory does not.
 * @module
 */

import { type AccessBatch, Op, OP_MASK } from "./trace/batch.ts";

const SAMPLE_LIMIT = 32768;

/** Samples of a trace, evenly spaced in it. */
export class HeatSamples {
  /** Trace time in ticks, and address. */
  readonly time: Float64Array<ArrayBuffer> = new Float64Array(SAMPLE_LIMIT);
  /** Address of each sample. */
  readonly address: Float64Array<ArrayBuffer> = new Float64Array(SAMPLE_LIMIT);
  /** Samples. */
  count = 0;
  /** Every so many accesses there is one. */
  every = 1;
  #skip = 0;

  /** Takes the accesses of a batch. */
  add(batch: AccessBatch): void {
    let i = this.#skip;
    for (; i < batch.count; i += this.every) {
      if (((batch.op[i] as number) & OP_MASK) > Op.Prefetch) continue;
      if (this.count === SAMPLE_LIMIT) this.#thin();
      this.time[this.count] = batch.time[i] as number;
      this.address[this.count] = batch.address[i] as number;
      this.count++;
    }
    this.#skip = i - batch.count;
  }

  #thin(): void {
    this.every *= 2;
    this.count /= 2;
    for (let i = 0; i < this.count; i++) {
      this.time[i] = this.time[2 * i] as number;
      this.address[i] = this.address[2 * i] as number;
    }
  }
}
