/**
 * The generators of synthetic traces. Each makes a burst of accesses of one stream.
 * @module
 */

import type { RandomStream } from "../random.ts";
import { ticksOf } from "../units.ts";
import { DEPENDENT, Op } from "./batch.ts";
import type { Generator, SyntheticSettings } from "./synthetic_types.ts";
import { Zipf } from "./zipf.ts";

type Factory = (settings: SyntheticSettings, random: RandomStream, host: number, thread: number) => Generator;

function op(settings: SyntheticSettings, random: RandomStream): number {
  return settings.writes > 0 && random.unit() < settings.writes ? Op.Write : Op.Read;
}

/** Lines one after another, again and again. */
const stream: Factory = (settings, random, host, thread) => {
  const { sizeBytes, lineBytes, baseAddress } = settings;
  const lines = Math.floor(sizeBytes / lineBytes);
  const gap = ticksOf(settings.gapNs);
  let line = Math.floor(lines * (host * settings.threads + thread) / (settings.hosts * settings.threads));
  return (emit) => {
    for (let i = 0; i < 256; i++) {
      emit(host, thread, op(settings, random), baseAddress + line * lineBytes, gap);
      line = line + 1 === lines ? 0 : line + 1;
    }
  };
};

/** Random updates: a load and a store of one line; a share of the table is hot. */
const gups: Factory = (settings, random, host, thread) => {
  const { sizeBytes, lineBytes, baseAddress, hot, hotShare } = settings;
  const lines = Math.floor(sizeBytes / lineBytes);
  const hotLines = Math.max(1, Math.floor(lines * hot));
  const gap = ticksOf(settings.gapNs);
  return (emit) => {
    for (let i = 0; i < 128; i++) {
      const line = random.unit() < hotShare ? random.below(hotLines) : random.below(lines);
      emit(host, thread, Op.Read, baseAddress + line * lineBytes, gap);
      emit(host, thread, Op.Write, baseAddress + line * lineBytes, 0);
    }
  };
};

/** A pointer chase over random lines: every load depends on the one before. */
const chase: Factory = (settings, random, host, thread) => {
  const lines = Math.floor(settings.sizeBytes / settings.lineBytes);
  const gap = ticksOf(settings.gapNs);
  return (emit) => {
    for (let i = 0; i < 256; i++) {
      emit(host, thread, Op.Read | DEPENDENT, settings.baseAddress + random.below(lines) * settings.lineBytes, gap);
    }
  };
};

/** Poisson arrivals at random lines, for studies of queues with `--replay open`. */
const poisson: Factory = (settings, random, host, thread) => {
  const lines = Math.floor(settings.sizeBytes / settings.lineBytes);
  return (emit) => {
    for (let i = 0; i < 256; i++) {
      const gap = ticksOf(random.exponential(settings.gapNs));
      emit(host, thread, op(settings, random), settings.baseAddress + random.below(lines) * settings.lineBytes, gap);
    }
  };
};

/** Shares of reads, updates, inserts, scans and read-modify-writes of the YCSB core workloads. */
const YCSB: Readonly<
  Record<string, readonly [read: number, update: number, insert: number, scan: number, rmw: number]>
> = {
  A: [0.5, 0.5, 0, 0, 0],
  B: [0.95, 0.05, 0, 0, 0],
  C: [1, 0, 0, 0, 0],
  D: [0.95, 0, 0.05, 0, 0],
  E: [0, 0, 0.05, 0.95, 0],
  F: [0.5, 0, 0, 0, 0.5],
};

/** A key-value store under the YCSB core mixes: an index of one line for each record, then the record. */
const ycsb: Factory = (settings, random, host, thread) => {
  const { lineBytes, baseAddress, workload } = settings;
  const linesPerRecord = Math.ceil(settings.recordBytes / lineBytes);
  const gap = ticksOf(settings.gapNs);
  const mix = YCSB[workload] ?? [1, 0, 0, 0, 0];
  const zipf = new Zipf(settings.records, settings.theta);
  const indexBytes = settings.records * lineBytes;
  let newest = settings.records - 1;
  return (emit) => {
    const choice = random.unit();
    const [read, update, insert, scan] = mix;
    const rank = zipf.next(random);
    // D reads what was inserted last; the others spread hot records over the table.
    const record = workload === "D" ? Math.max(0, newest - rank) : (rank * 2654435761) % settings.records;
    const touch = (number: number, code: number): void => {
      const place = number % settings.records;
      emit(host, thread, Op.Read, baseAddress + place * lineBytes, gap);
      for (let i = 0; i < linesPerRecord; i++) {
        const address = baseAddress + indexBytes + (place * linesPerRecord + i) * lineBytes;
        emit(host, thread, i === 0 && code === Op.Read ? code | DEPENDENT : code, address, i === 0 ? gap : 0);
      }
    };
    if (choice < read) touch(record, Op.Read);
    else if (choice < read + update) touch(record, Op.Write);
    else if (choice < read + update + insert) touch(++newest, Op.Write);
    else if (choice < read + update + insert + scan) {
      const length = 1 + random.below(Math.max(1, Math.min(100, Math.floor(4096 / (linesPerRecord + 1)))));
      for (let i = 0; i < length; i++) touch(record + i, Op.Read);
    } else {
      touch(record, Op.Read);
      touch(record, Op.Write);
    }
  };
};

/** Transactions as TPC-C has them: which tables each touches, and how skewed; one line stands for a row. */
const tpcc: Factory = (settings, random, host, thread) => {
  const { lineBytes, baseAddress, warehouses } = settings;
  const gap = ticksOf(settings.gapNs);
  const sizes = [warehouses, warehouses * 10, warehouses * 30_000, 100_000, warehouses * 100_000, warehouses * 300_000];
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((sum, size) => sum + size, 0));
  const row = (table: number, number: number): number =>
    baseAddress + ((starts[table] ?? 0) + number % (sizes[table] ?? 1)) * lineBytes;
  // The standard's non-uniform random: an or of two uniform numbers.
  const skewed = (bits: number, limit: number): number => ((random.below(bits + 1) | random.below(limit)) + 42) % limit;
  let orders = 0;
  return (emit) => {
    const warehouse = random.below(warehouses);
    const district = warehouse * 10 + random.below(10);
    const customer = district * 3000 + skewed(1023, 3000);
    const get = (table: number, number: number, code: number): void =>
      emit(host, thread, code, row(table, number), gap);
    const kind = random.unit();
    if (kind < 0.45) {
      get(0, warehouse, Op.Read);
      get(1, district, Op.Read);
      get(1, district, Op.Write);
      get(2, customer, Op.Read);
      for (let i = 5 + random.below(11); i > 0; i--) {
        const item = skewed(8191, 100_000);
        get(3, item, Op.Read);
        get(4, warehouse * 100_000 + item, Op.Read);
        get(4, warehouse * 100_000 + item, Op.Write);
        get(5, orders++, Op.Write);
      }
    } else if (kind < 0.88) {
      for (const [table, number] of [[0, warehouse], [1, district], [2, customer]] as const) {
        get(table, number, Op.Read);
        get(table, number, Op.Write);
      }
    } else if (kind < 0.92) {
      get(2, customer, Op.Read);
      for (let i = 0; i < 10; i++) get(5, Math.max(0, orders - i), Op.Read);
    } else if (kind < 0.96) {
      for (let i = 0; i < 10; i++) {
        get(5, Math.max(0, orders - 100 - i), Op.Write);
        get(2, district * 3000 + random.below(3000), Op.Write);
      }
    } else {
      get(1, district, Op.Read);
      for (let i = 0; i < 20; i++) {
        get(5, Math.max(0, orders - i), Op.Read);
        get(4, warehouse * 100_000 + skewed(8191, 100_000), Op.Read);
      }
    }
  };
};

/** Host 0 fills chunks of a ring, the others read them one chunk behind; `flush=1` adds what software coherence needs. */
const producer: Factory = (settings, _random, host, thread) => {
  const { lineBytes, baseAddress, chunkBytes, flush } = settings;
  const gap = ticksOf(settings.gapNs);
  const linesPerChunk = Math.floor(chunkBytes / lineBytes);
  const chunks = Math.max(2, Math.floor(settings.sizeBytes / chunkBytes));
  let chunk = host === 0 ? 0 : chunks - 1;
  return (emit) => {
    for (let i = 0; i < Math.min(linesPerChunk, 2048); i++) {
      const address = baseAddress + (chunk * linesPerChunk + i) * lineBytes;
      if (host === 0) {
        emit(host, thread, Op.Write, address, gap);
        if (flush) emit(host, thread, Op.Flush, address, 0);
      } else {
        if (flush) emit(host, thread, Op.Invalidate, address, gap);
        emit(host, thread, Op.Read, address, flush ? 0 : gap);
      }
    }
    chunk = (chunk + 1) % chunks;
  };
};

/** The generators by name. */
export const GENERATORS: Readonly<Record<string, Factory>> = { stream, gups, chase, ycsb, tpcc, producer, poisson };
