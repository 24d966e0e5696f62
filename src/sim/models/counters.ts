/**
 * Counter mode: the delay of an epoch from the counters of a processor, without a trace.
 *
 * Source: CXLMemSim (arXiv 2303.06153), with its mistakes left out.
 * @module
 */

/** Counters of one epoch. */
export interface EpochCounters {
  /** Cycles stalled on an L2 miss. */
  readonly stallCycles: number;
  /** LLC hits and misses of the program. */
  readonly llcHits: number;
  readonly llcMisses: number;
  /** DRAM reads and write-backs of the whole socket. */
  readonly socketReads: number;
  readonly socketWritebacks: number;
  /** Share of reads and writes that go to each endpoint. */
  readonly readShare: readonly number[];
  readonly writeShare: readonly number[];
}

/** What a machine and its endpoints are like. */
export interface CounterSettings {
  readonly frequencyMHz: number;
  /** LLC hits that one miss weighs. */
  readonly missWeight: number;
  readonly dramLatencyNs: number;
  /** Path of a read and a write by endpoint, in ns. */
  readonly pathNs: readonly (readonly [number, number])[];
}

/** The delay and how it came about. */
export interface CounterDelay {
  readonly stallNs: number;
  readonly readMisses: number;
  readonly writebackMisses: number;
  readonly delayNs: number;
}

/** The delay of one epoch in ns. Overlap is in the stall that was measured: nothing is divided by it again. */
export function counterDelay(counters: EpochCounters, settings: CounterSettings): CounterDelay {
  const { stallCycles, llcHits, llcMisses, socketReads, socketWritebacks } = counters;
  const { missWeight, dramLatencyNs } = settings;
  const writebackMisses = socketReads === 0 ? 0 : Math.min(llcMisses, socketWritebacks * llcMisses / socketReads);
  const readMisses = llcMisses - writebackMisses;
  const stallNs = 1000 * stallCycles / settings.frequencyMHz;
  const divisor = llcHits + missWeight * llcMisses;
  const attributed = (misses: number): number => divisor === 0 ? 0 : stallNs * missWeight * misses / divisor;
  const serialReads = attributed(readMisses) / dramLatencyNs;
  const serialWrites = attributed(writebackMisses) / dramLatencyNs;
  let delayNs = 0;
  for (const [i, [read, write]] of settings.pathNs.entries()) {
    delayNs += serialReads * (counters.readShare[i] ?? 0) * (read - dramLatencyNs);
    delayNs += serialWrites * (counters.writeShare[i] ?? 0) * (write - dramLatencyNs);
  }
  return { stallNs, readMisses, writebackMisses, delayNs };
}
