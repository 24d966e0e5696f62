/**
 * The coprocessor as a library: whole vectors in, results out. Long vectors are cut into pieces that keep to the pages and
 * limits of the device; several pieces are in flight at a time.
 * @module
 */

import { combineBits, copyNumbers } from "../../ffi/oradax.ts";
import { Deadline, pause, yieldToEventLoop } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import type { Locator } from "../core/locator.ts";
import type { OradaxBuffer } from "../core/oradax_driver.ts";
import { buildCcb } from "./ccb.ts";
import { SUBMIT_RETRY } from "./codes.ts";
import type { Ccb, CcbData, CcbInput, ScanOperand } from "./ccb_command.ts";
import { openDefaultOradax, openOradax } from "./open.ts";
import { completionError, type OradaxCompletion, type OradaxTransport, submitError } from "./transport.ts";
import { type ElementSource, type NumberArray, numbers, PIECE_ELEMENTS, primaryInput, sourceBytes } from "./vector.ts";

/** Vectors as they are given: a source, or the numbers of a typed array. */
export type Vector = ElementSource | NumberArray;

/** What every operation takes. */
export interface RunOptions {
  /** Ends it early. */
  readonly signal?: AbortSignal | undefined;
  /** Called as elements are done. */
  readonly onProgress?: (elements: number) => void;
}

/** How results of a scan or translation are wanted. */
export interface ResultOptions extends RunOptions {
  /** `bits` by default: one for each element. `indexes`: of the ones. `count`: only how many there are. */
  readonly output?: "bits" | "indexes" | "count";
  /** Flips the results. */
  readonly invert?: boolean;
  /** Takes the output piece by piece instead of having it returned: bits from a byte's start, or indexes. */
  readonly sink?: (piece: Uint8Array | Uint32Array) => void;
}

/** What a scan or translation found. */
export interface ResultVector {
  /** Elements looked at. */
  readonly elements: number;
  /** Ones among the results. */
  readonly count: number;
  /** One bit for each element, most significant first; null when not asked for. */
  readonly bits: Uint8Array<ArrayBuffer> | null;
  /** Indexes of the ones; null when not asked for. */
  readonly indexes: Uint32Array<ArrayBuffer> | null;
}

/** How elements of an extraction or selection are wanted. */
export interface ElementOptions extends RunOptions {
  /** Bytes of an output element. */
  readonly bytes: 1 | 2 | 4 | 8;
  /** Zero bytes go behind short elements, so that they are no numbers of the same value. */
  readonly padRight?: boolean;
  /** Takes the output piece by piece, as the coprocessor wrote it (big-endian), instead of having it returned. */
  readonly sink?: (piece: Uint8Array) => void;
  /** Memory for the values, with room for all elements that go in. New memory costs more than what is done with it. */
  readonly into?: NumberArray;
}

/** What an extraction or selection gave. */
export interface ElementVector {
  /** Elements looked at. */
  readonly elements: number;
  /** Elements that came out. */
  readonly count: number;
  /** They as numbers of the host, in `into` where that was given; empty with a sink. */
  readonly values: NumberArray;
}

/** How a session works. */
export interface SessionOptions {
  /** Bytes of the largest stream of a piece; by default 2044 KiB, the most, for each piece costs time of its own. */
  readonly pieceBytes?: number;
  /** Pieces in flight, 1 to 32; 4 by default. */
  readonly inFlight?: number;
  /** When to give up waiting for a piece, in milliseconds; 30,000 by default. */
  readonly timeoutMs?: number;
}

/** Memory for one piece in flight. */
interface Slot {
  readonly index: number;
  readonly primary: OradaxBuffer;
  readonly secondary: OradaxBuffer;
  readonly output: OradaxBuffer;
  /** The piece that is in flight, or null. */
  piece: { readonly first: number; readonly count: number } | null;
}

/** An operation over pieces. */
interface Job extends RunOptions {
  readonly source: ElementSource;
  /** Most bits of output that an element makes. */
  readonly outputBits: number;
  /** Fills the secondary input. */
  readonly fillSecondary?: (first: number, count: number, to: Uint8Array<ArrayBuffer>) => void;
  /** The command for a piece. */
  readonly command: (slot: Slot, primary: CcbInput) => Ccb;
  /** The length counts elements; else bits. */
  readonly isCounted?: boolean;
  /** Takes what came of a piece. Pieces come in order. */
  readonly take: (output: Uint8Array<ArrayBuffer>, first: number, completion: OradaxCompletion) => void;
}

/** The event loop turns at least so often while pieces are in flight. */
const YIELD_MS = 40;
/** Most of one wait in C. */
const WAIT_US = 10_000;
/** Two areas for each slot: a long CCB takes both. */
const AREAS_PER_SLOT = 2;
const HUGE_PAGE_BYTES = 2 << 20;
/** Streams are cut short of a page, because whole lines are written behind the output, and a bit begins in front. */
const SLACK_BYTES = 4096;
const MOST_PIECE_BYTES = HUGE_PAGE_BYTES - SLACK_BYTES;

/**
 * An accelerator with memory for pieces in flight.
 *
 * @example
 * ```ts
 * import { OradaxSession } from "./session.ts";
 * using session = OradaxSession.open("soft:oradax");
 * const { count } = await session.scanValue(Uint32Array.of(7, 8, 7), 7);
 * console.assert(count === 2);
 * ```
 */
export class OradaxSession implements Disposable {
  /** The device. */
  readonly transport: OradaxTransport;
  readonly #slots: Slot[];
  readonly #pieceBytes: number;
  readonly #timeoutMs: number;
  #isBusy = false;

  /** Takes over an open device; dispose closes it. */
  constructor(transport: OradaxTransport, options: SessionOptions = {}) {
    const { pieceBytes = MOST_PIECE_BYTES, inFlight = 4, timeoutMs = 30_000 } = options;
    if (!(inFlight >= 1 && inFlight <= 32 && pieceBytes >= 8192 && pieceBytes <= MOST_PIECE_BYTES)) {
      throw new BusbarError("out-of-range", `a session with ${inFlight} pieces of ${pieceBytes} bytes in flight`, {
        hint: "1 to 32 pieces of 8 KiB to 2044 KiB",
      });
    }
    this.transport = transport;
    this.#pieceBytes = pieceBytes;
    this.#timeoutMs = timeoutMs;
    const allocate = (): OradaxBuffer => transport.allocate(pieceBytes + SLACK_BYTES, HUGE_PAGE_BYTES);
    this.#slots = Array.from({ length: inFlight }, (_, i) => ({
      index: AREAS_PER_SLOT * i,
      primary: allocate(),
      secondary: allocate(),
      output: allocate(),
      piece: null,
    }));
  }

  /** Opens a device by its locator; without one, the machine's own where it has one, else the software coprocessor. */
  static open(locator?: string | Locator, options: SessionOptions = {}): OradaxSession {
    const transport = locator === undefined ? openDefaultOradax() : openOradax(locator);
    return new OradaxSession(transport, options);
  }

  /** Finds the elements that equal one value, or one of two. */
  scanValue(
    input: Vector,
    value: number | bigint | readonly [number | bigint, number | bigint],
    options: ResultOptions = {},
  ): Promise<ResultVector> {
    const [first, second] = typeof value === "object" ? value : [value];
    return this.#results(input, options, (data) => ({
      command: "scanValue",
      ...data,
      first: { value: BigInt(first) },
      ...(second === undefined ? {} : { second: { value: BigInt(second) } }),
    }));
  }

  /** Finds the elements from `low` to `high`, both included; null has no bound. */
  scanRange(
    input: Vector,
    low: number | bigint | null,
    high: number | bigint | null,
    options: ResultOptions = {},
  ): Promise<ResultVector> {
    const bound = (name: "first" | "second", value: number | bigint | null): Record<string, ScanOperand> =>
      value === null ? {} : { [name]: { value: BigInt(value) } };
    return this.#results(input, options, (data) => ({
      command: "scanRange",
      ...data,
      ...bound("first", high),
      ...bound("second", low),
    }));
  }

  /**
   * Looks elements of at most 3 bytes up in a table of 32768 or 65536 bits, most significant bit of a byte first.
   *
   * @param test what the bits above the index must be; see the commands in the hypervisor's documentation
   */
  async translate(
    input: Vector,
    table: Uint8Array,
    options: ResultOptions & { readonly test?: number } = {},
  ): Promise<ResultVector> {
    if (table.length !== 4096 && table.length !== 8192) {
      throw new BusbarError("out-of-range", `a bit table of ${table.length} bytes`, { hint: "4096 or 8192 bytes" });
    }
    using buffer = this.transport.allocate(table.length, table.length);
    buffer.write(0, table);
    const version = table.length === 4096 ? 0 : 1;
    return await this.#results(input, options, (data) => ({
      command: "translate",
      ...data,
      test: options.test ?? 0,
      table: { address: buffer.address, version },
    }), false);
  }

  /** Makes elements of whole bytes out of packed ones. */
  async extract(input: Vector, options: ElementOptions): Promise<ElementVector> {
    return await this.#elements(input, options, {});
  }

  /** Keeps the elements whose bit in `mask` is 1; most significant bit of a byte first. */
  async select(input: Vector, mask: Uint8Array, options: ElementOptions): Promise<ElementVector> {
    const source = asSource(input);
    if (8 * mask.length < source.elements) {
      throw new BusbarError("out-of-range", `a mask of ${8 * mask.length} bits for ${source.elements} elements`);
    }
    return await this.#elements(source, options, {
      fillSecondary: (first, count, to) => to.set(mask.subarray(first / 8, Math.ceil((first + count) / 8))),
    });
  }

  /** A copy of bytes, made by the coprocessor. */
  async copy(bytes: Uint8Array, options: RunOptions & Pick<ElementOptions, "into"> = {}): Promise<Uint8Array> {
    const { values } = await this.extract(bytes, { bytes: 1, ...options });
    return values as Uint8Array;
  }

  /** `count` elements of one value, made by the coprocessor out of runs of up to 256. */
  async fill(
    value: number | bigint,
    count: number,
    bytes: 1 | 2 | 4 | 8,
    options: RunOptions = {},
  ): Promise<NumberArray> {
    // A piece has at least 512 runs, and has to hold what comes of them.
    const run = Math.min(256, Math.floor(this.#pieceBytes / (PIECE_ELEMENTS * bytes)));
    const runs = Math.ceil(count / run);
    const source: ElementSource = {
      elements: runs,
      bits: 8 * bytes,
      startBit: 0,
      fill(_first, pieces, to): void {
        const one = new DataView(new ArrayBuffer(8));
        one.setBigUint64(0, BigInt(value));
        for (let i = 0; i < pieces; i++) {
          for (let j = 0; j < bytes; j++) to[i * bytes + j] = one.getUint8(8 - bytes + j);
        }
      },
    };
    const result = new Uint8Array(count * bytes);
    let filled = 0;
    await this.#run({
      ...options,
      source,
      outputBits: run * 8 * bytes,
      isCounted: true,
      fillSecondary: (first, pieces, to) => {
        to.fill(run - 1, 0, pieces);
        if (first + pieces === runs) to[pieces - 1] = (count - 1) % run;
      },
      command: (slot, primary) => ({
        command: "extract",
        primary: { ...primary, format: "bytesRuns" },
        secondary: { address: slot.secondary.address, elementBits: 8 },
        output: { address: slot.output.address, format: `bytes${bytes}` },
      }),
      take: (output) => {
        copyNumbers(result.subarray(filled), output, bytes);
        filled += output.length;
      },
    });
    return numberArray(result, bytes, count);
  }

  /** Both bits are 1. The coprocessor has no such command: the processor computes it, as it does the other two. */
  and(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
    return combineBits("and", a, b);
  }

  /** One bit or both are 1. */
  or(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
    return combineBits("or", a, b);
  }

  /** The bits differ. */
  xor(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
    return combineBits("xor", a, b);
  }

  /** Closes the device, and frees the memory of the session. */
  [Symbol.dispose](): void {
    this.transport[Symbol.dispose]();
  }

  async #results(
    input: Vector,
    options: ResultOptions,
    command: (data: CcbData & { readonly invert?: boolean }) => Ccb,
    isCounted = true,
  ): Promise<ResultVector> {
    const source = asSource(input);
    const { output = "bits", sink, invert = false } = options;
    const keeps = sink === undefined;
    if (output === "indexes" && source.elements > 2 ** 32) {
      throw new BusbarError("out-of-range", `${source.elements} elements have no indexes of 32 bits`);
    }
    const bits = output === "bits" && keeps ? new Uint8Array(Math.ceil(source.elements / 8)) : null;
    const found: Uint32Array<ArrayBuffer>[] = [];
    let count = 0;
    await this.#run({
      ...options,
      source,
      isCounted,
      outputBits: output === "indexes" ? 32 : 1,
      command: (slot, primary) =>
        command({
          primary,
          output: { address: slot.output.address, format: output === "indexes" ? "index4" : "bits" },
          invert,
        }),
      take: (bytes, first, completion) => {
        count += Number(completion.returnValue);
        if (output === "indexes") {
          const indexes = indexesFrom(bytes, first);
          if (keeps) found.push(indexes);
          else sink(indexes);
        } else if (output === "bits") {
          if (keeps) bits?.set(bytes, first / 8);
          else sink(bytes);
        }
      },
    });
    return {
      elements: source.elements,
      count,
      bits,
      indexes: output === "indexes" && keeps ? joined(found, count) : null,
    };
  }

  async #elements(
    input: Vector,
    options: ElementOptions,
    select: Pick<Job, "fillSecondary">,
  ): Promise<ElementVector> {
    const source = asSource(input);
    const { bytes, sink } = options;
    const selects = select.fillSecondary !== undefined;
    const result = roomForElements(sink === undefined ? source.elements : 0, bytes, options.into);
    let outputBytes = 0;
    await this.#run({
      ...options,
      ...select,
      source,
      isCounted: true,
      outputBits: 8 * bytes,
      command: (slot, primary) => ({
        command: selects ? "select" : "extract",
        primary,
        ...(selects ? { secondary: { address: slot.secondary.address } } : {}),
        output: { address: slot.output.address, format: `bytes${bytes}`, padLeft: !options.padRight },
      }),
      take: (output) => {
        if (sink !== undefined) sink(output);
        else copyNumbers(result.subarray(outputBytes), output, bytes);
        outputBytes += output.length;
      },
    });
    const count = outputBytes / bytes;
    return { elements: source.elements, count, values: numberArray(result, bytes, sink === undefined ? count : 0) };
  }

  /** Runs an operation piece by piece. */
  async #run(job: Job): Promise<void> {
    if (this.#isBusy) throw new BusbarError("busy", `${this.transport.name}: an operation of this session is running`);
    this.#isBusy = true;
    try {
      await this.#runPieces(job);
    } finally {
      for (const slot of this.#slots) this.#abandon(slot);
      this.#isBusy = false;
    }
  }

  async #runPieces(job: Job): Promise<void> {
    const { source } = job;
    const widest = Math.max(source.bits, job.outputBits);
    const whole = Math.floor(8 * this.#pieceBytes / widest / PIECE_ELEMENTS) * PIECE_ELEMENTS;
    // A length in bits is at most 2^24.
    const most = Math.floor((1 << 24) / source.bits / PIECE_ELEMENTS) * PIECE_ELEMENTS;
    const pieceElements = Math.max(PIECE_ELEMENTS, Math.min(whole, most));
    let next = 0;
    let yieldedAt = performance.now();
    for (let turn = 0; next < source.elements || this.#slots.some((slot) => slot.piece !== null); turn++) {
      const slot = this.#slots[turn % this.#slots.length];
      if (slot === undefined) continue;
      if (slot.piece !== null) await this.#finish(slot, job);
      if (next < source.elements) {
        const count = Math.min(pieceElements, source.elements - next);
        await this.#start(slot, job, next, count);
        next += count;
      }
      if (performance.now() - yieldedAt > YIELD_MS) {
        await yieldToEventLoop(job.signal);
        yieldedAt = performance.now();
      }
    }
    job.signal?.throwIfAborted();
  }

  async #start(slot: Slot, job: Job, first: number, count: number): Promise<void> {
    fillBuffer(slot.primary, sourceBytes(job.source, count), (to) => job.source.fill(first, count, to));
    const { fillSecondary } = job;
    if (fillSecondary !== undefined) fillBuffer(slot.secondary, count, (to) => fillSecondary(first, count, to));
    const primary = primaryInput(job.source, slot.primary.address, count, job.isCounted ?? false);
    const ccb = buildCcb(job.command(slot, primary), this.transport);
    const deadline = Deadline.after(this.#timeoutMs);
    for (;;) {
      const submission = this.transport.submit(slot.index, ccb);
      if (submission.units * 64 === ccb.length) break;
      if (!SUBMIT_RETRY.includes(submission.status)) throw submitError(this.transport.name, submission);
      deadline.check("room for a CCB", this.transport.name);
      await pause(1, job.signal);
    }
    slot.piece = { first, count };
  }

  async #finish(slot: Slot, job: Job): Promise<void> {
    const piece = slot.piece;
    if (piece === null) return;
    const deadline = Deadline.after(this.#timeoutMs);
    let completion = this.transport.poll(slot.index, WAIT_US);
    while (completion === null) {
      deadline.check(
        "completion of a CCB",
        this.transport.name,
        "the device may be busy; a longer time limit may help",
      );
      await yieldToEventLoop(job.signal);
      completion = this.transport.poll(slot.index, WAIT_US);
    }
    slot.piece = null;
    if (completion.status !== 1) throw completionError(this.transport.name, completion);
    const { outputBytes } = completion;
    job.take(slot.output.bytes?.subarray(0, outputBytes) ?? slot.output.read(0, outputBytes), piece.first, completion);
    job.onProgress?.(piece.first + piece.count);
  }

  /** After an error or interruption: what is in flight is ended, so that its memory can be used again. */
  #abandon(slot: Slot): void {
    if (slot.piece === null) return;
    this.transport.kill(slot.index);
    slot.piece = null;
  }
}

/** Lets `fill` write the first bytes of a buffer, in place where it is in this process. */
function fillBuffer(buffer: OradaxBuffer, sizeBytes: number, fill: (to: Uint8Array<ArrayBuffer>) => void): void {
  if (buffer.bytes !== null) return fill(buffer.bytes);
  const copy = new Uint8Array(sizeBytes);
  fill(copy);
  buffer.write(0, copy);
}

function asSource(input: Vector): ElementSource {
  return "fill" in input && "elements" in input ? input : numbers(input);
}

/** The coprocessor's indexes within a piece, as numbers within the vector. */
function indexesFrom(bytes: Uint8Array<ArrayBuffer>, first: number): Uint32Array<ArrayBuffer> {
  const indexes = new Uint32Array(bytes.length / 4);
  copyNumbers(new Uint8Array(indexes.buffer), bytes, 4);
  if (first > 0) { for (let i = 0; i < indexes.length; i++) indexes[i] = first + (indexes[i] ?? 0); }
  return indexes;
}

function joined(pieces: readonly Uint32Array[], count: number): Uint32Array<ArrayBuffer> {
  const all = new Uint32Array(count);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Memory for the output of `elements` elements: what was given, or new. Pages that are never written take no memory. */
function roomForElements(elements: number, bytes: number, given: NumberArray | undefined): Uint8Array<ArrayBuffer> {
  if (given === undefined) return new Uint8Array(elements * bytes);
  const { buffer, byteOffset, byteLength } = given;
  if (given.BYTES_PER_ELEMENT !== bytes || !(buffer instanceof ArrayBuffer) || byteLength < elements * bytes) {
    throw new BusbarError("out-of-range", `${byteLength} bytes in numbers of ${given.BYTES_PER_ELEMENT} to go into`, {
      operation: "make room for elements",
      hint: `${elements} numbers of ${bytes} bytes are needed, in memory that is not shared`,
    });
  }
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function numberArray(
  { buffer, byteOffset }: Uint8Array<ArrayBuffer>,
  bytes: 1 | 2 | 4 | 8,
  count: number,
): NumberArray {
  if (bytes === 1) return new Uint8Array(buffer, byteOffset, count);
  if (bytes === 2) return new Uint16Array(buffer, byteOffset, count);
  return bytes === 4 ? new Uint32Array(buffer, byteOffset, count) : new BigUint64Array(buffer, byteOffset, count);
}

/**
 * Opens an accelerator to scan, extract, select and translate with: `soft:oradax`, `/dev/oradax1`, `/dev/oradax2`.
 *
 * @throws {BusbarError} `usage` for other locators; as open fails
 *
 * @example
 * ```ts
 * import { openOradaxSession, packed } from "@busbar/busbar";
 * using session = openOradaxSession("soft:oradax");
 * const found = await session.scanRange(packed(Uint8Array.of(3, 200, 40, 41), { bits: 8 }), 40, 50);
 * console.assert(found.count === 2);
 * ```
 */
export function openOradaxSession(locator: string | Locator, options: SessionOptions = {}): OradaxSession {
  return OradaxSession.open(locator, options);
}
