/**
 * Accesses in memory: a batch of columns, which every reader fills and every model reads.
 *
 * Accesses are in trace order: by time, then host, then thread, then place in the file ({@linkcode orderAccesses}).
 * @module
 */

/** What an access or event is. The number stands in binary traces too and does not change. */
export const Op = {
  /** A load. */
  Read: 0,
  /** A store. */
  Write: 1,
  /** An atomic read-modify-write. */
  Atomic: 2,
  /** A prefetch: uses bandwidth and queues, nobody waits for it. */
  Prefetch: 3,
  /** Flush (write back and drop) the line. */
  Flush: 4,
  /** Invalidate (drop without writing back) the line. */
  Invalidate: 5,
  /** A barrier: the end of an epoch. The address and the size mean nothing. */
  Barrier: 6,
  /** An allocation at `address`. The next entry is its {@linkcode Op.Size}. */
  Allocate: 7,
  /** The allocation at `address` is freed. */
  Free: 8,
  /** Follows {@linkcode Op.Allocate}: the `address` column holds the number of bytes. */
  Size: 9,
  /** Only in binary traces: the address field holds ticks by which the stream's time goes on. Never in a batch. */
  Wait: 10,
} as const;

/** One number of {@linkcode Op}. */
export type OpCode = typeof Op[keyof typeof Op];

/** Set in the op column: the address depends on the stream's previous load (a pointer chase). */
export const DEPENDENT = 0x80;

/** The bits of the op column that hold the {@linkcode Op}. */
export const OP_MASK = 0x7f;

/** Letters of {@linkcode Op} in text traces, by number: R W A P F I B M U. */
export const OP_LETTERS = "RWAPFIBMU";

/** Hosts are 0…31: a sharer set of the directory is 32 bits. */
export const HOST_LIMIT = 32;

/** Threads of a host are 0…4095. */
export const THREAD_LIMIT = 4096;

/** Bytes of an access when a text trace leaves them out. */
export const DEFAULT_BYTES = 64;

/** The largest size of one access: what a binary record holds. */
export const MAX_ACCESS_BYTES = 0xffff;

/** Accesses in columns. An entry is valid below {@linkcode AccessBatch.count}. */
export class AccessBatch {
  /** Absolute time of the trace in ticks of 1/1024 ns, never less than the entry before. */
  readonly time: Float64Array<ArrayBuffer>;
  /** Byte address below 2^52, exact in a float64. */
  readonly address: Float64Array<ArrayBuffer>;
  /** Bytes accessed, 1…65535; 0 for events. */
  readonly bytes: Uint16Array<ArrayBuffer>;
  /** {@linkcode Op}, with {@linkcode DEPENDENT}. */
  readonly op: Uint8Array<ArrayBuffer>;
  /** Host, 0…31. */
  readonly host: Uint8Array<ArrayBuffer>;
  /** Thread of the host, 0…4095. */
  readonly thread: Uint16Array<ArrayBuffer>;
  /** Entries that fit. */
  readonly capacity: number;
  /** Valid entries. */
  count = 0;

  /** Makes an empty batch of `capacity` entries. */
  constructor(capacity: number = 16384) {
    this.capacity = capacity;
    this.time = new Float64Array(capacity);
    this.address = new Float64Array(capacity);
    this.bytes = new Uint16Array(capacity);
    this.op = new Uint8Array(capacity);
    this.host = new Uint8Array(capacity);
    this.thread = new Uint16Array(capacity);
  }

  /** True when nothing more fits. */
  get full(): boolean {
    return this.count >= this.capacity;
  }

  /**
   * Appends an entry. The caller has checked the ranges and that the batch is not full.
   *
   * @param time ticks of 1/1024 ns since the start of the trace
   * @param op {@linkcode Op}, with {@linkcode DEPENDENT}
   */
  append(time: number, host: number, thread: number, op: number, address: number, bytes: number): void {
    const at = this.count++;
    this.time[at] = time;
    this.address[at] = address;
    this.bytes[at] = bytes;
    this.op[at] = op;
    this.host[at] = host;
    this.thread[at] = thread;
  }
}

/** Where accesses come from: a file being read, a generator, a list. */
export interface TraceSource {
  /**
   * Fills `batch` from its start with the next accesses in trace order and sets its `count`; 0 is the end.
   * An {@linkcode Op.Allocate} and its {@linkcode Op.Size} are never torn apart.
   *
   * @throws {BusbarError} `malformed`, naming the file and the line or byte
   */
  read(batch: AccessBatch): number | Promise<number>;
}

/** What takes accesses: a converter, a model. */
export interface TraceSink {
  /** Takes the entries of `batch`; does not keep it. */
  write(batch: AccessBatch): void;
}
