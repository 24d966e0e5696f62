/**
 * A kernel that stays on the GPU and takes requests from a ring in host memory until it is told to stop: no launch for each.
 * @module
 */

import { setImmediate } from "node:timers";

import { pause } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import { blockMemory, type NamespaceGeometry } from "../nvme/tables/identity.ts";
import type { FileMap } from "./files/file_map.ts";
import type { CatResult, TakeBytes } from "./cat_file.ts";
import residentPtx from "./kernels/resident.ptx" with { type: "text" };
import { type LoadedModel, loadModel, type LoadModelOptions } from "./load_model.ts";
import { Arena, type ArenaPlace } from "./nvme/arena.ts";
import { SEGMENT_BLOCK } from "./nvme/file_layout.ts";
import { type FileKernelOptions, fileTransferBytes, type RunReader } from "./nvme/file_kernels.ts";
import { DEFAULT_TIMEOUT_MS } from "./nvme/job_block.ts";
import { BlockView } from "./nvme/layout.ts";
import { requestError } from "./nvme/resident_errors.ts";
import { LIST_SEGMENTS, ResidentFiles } from "./nvme/resident_files.ts";
import { RESIDENT_BLOCK, RESIDENT_OPERATIONS, RING_BLOCK } from "./nvme/resident_layout.ts";
import { MEMORIES, ResidentMemories } from "./nvme/resident_memories.ts";
import { type ResidentCompletion, type ResidentRequest, ResidentRing } from "./nvme/resident_ring.ts";
import type { ByteRun, SegmentPlan } from "./nvme/segments.ts";
import type { NvmeDirect } from "./nvme_direct.ts";

const OPERATION = "serve requests by a kernel that stays";
const USUAL_PLACES = 64;
const USUAL_DATA_BYTES = 64 << 10;
const USUAL_IDLE_NS = 20_000;
/** Without a completion for this long the event loop is left alone between two looks. */
const SPIN_MS = 2;
/** What a kernel may take besides its commands. */
const SILENCE_MS = 5_000;

/** How a kernel stays. */
export interface ResidentOptions {
  /** Requests in flight at most, of each warp; a power of two from 1 to 1,024, 64 by default. */
  readonly places?: number;
  /** Most bytes of a read or write: a power of two; 64 KiB by default, or what the controller takes at once. */
  readonly dataBytes?: number;
  /** The kernel takes writes. False by default. */
  readonly mayWrite?: boolean;
  /** How long a command may take, in milliseconds; 10 s by default. */
  readonly timeoutMs?: number;
  /** Longest sleep of an idle kernel, in nanoseconds; 20,000 by default. */
  readonly idleNs?: number;
  /** Stops it: requests that it has taken are waited for, the others end with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** The PTX of the kernel, for tests that change it. */
  readonly ptx?: string;
}

/** A request that has not ended. */
interface Waiting {
  readonly number: number;
  readonly what: string;
  readonly end: (completion: ResidentCompletion, place: number) => void;
  readonly fail: (error: unknown) => void;
}

/** A kernel that stays. Dispose stops it; then its `NvmeDirect` takes other work again. */
export class ResidentKernel implements AsyncDisposable, RunReader {
  /** What it drives. */
  readonly direct: NvmeDirect;
  /** The namespace. */
  readonly namespace: NamespaceGeometry;
  /** Most bytes of a read or write. */
  readonly dataBytes: number;
  /** Most bytes of one command of a list. */
  readonly transferBytes: number;
  readonly #options: ResidentOptions;
  readonly #rings: ResidentRing[] = [];
  /** By ring and place. */
  readonly #waiting: (Waiting | null)[][] = [];
  /** By ring: the places that nobody uses. */
  readonly #free: number[][] = [];
  readonly #resources: Disposable[] = [];
  readonly #freeAtEnd: (() => void)[] = [];
  readonly #drain = new AbortController();
  readonly #now = new AbortController();
  readonly #silenceMs: number;
  readonly #files: ResidentFiles;
  #memories: ResidentMemories | null = null;
  #ended: Promise<void> = Promise.resolve();
  #isRunning = false;
  #isPolling = false;
  #inFlight = 0;
  #turn = 0;
  #movedAt = 0;
  /** Fulfilled when places came free, or none will. */
  #moved: PromiseWithResolvers<void> = Promise.withResolvers();
  /** Why no request is taken any more. */
  #over: unknown = null;
  #isTold = false;

  private constructor(
    direct: NvmeDirect,
    namespace: NamespaceGeometry,
    maxTransferBytes: number,
    options: ResidentOptions,
  ) {
    const { driver, mode, shape } = direct;
    const details = { operation: OPERATION, path: driver.name };
    const usage = (message: string, hint: string): BusbarError =>
      new BusbarError("usage", message, { ...details, hint });
    const { dataBytes: blockBytes, metadataBytes } = blockMemory(namespace, false);
    if (metadataBytes !== 0 || blockBytes !== namespace.blockBytes || namespace.protectionType !== 0) {
      const what = `${driver.name}, namespace ${namespace.id}: its blocks have metadata`;
      throw new BusbarError("unsupported", what, details);
    }
    if (mode === "thread") throw usage("requests are served by warps", "--mode warp or --mode grid");
    this.transferBytes = fileTransferBytes(driver.pageBytes, namespace.blockBytes, maxTransferBytes);
    const {
      places = USUAL_PLACES,
      dataBytes = Math.min(USUAL_DATA_BYTES, 2 ** Math.floor(Math.log2(maxTransferBytes))),
    } = options;
    const isPower = (value: number): boolean => value >= 1 && Number.isInteger(Math.log2(value));
    if (!isPower(places) || places > 1024) throw usage(`${places} places`, "a power of two from 1 to 1024");
    // The entries that a data area takes of a PRP list lie on one page of it.
    const most = Math.min(maxTransferBytes, driver.pageBytes * (driver.pageBytes / 8));
    if (!isPower(dataBytes) || dataBytes < namespace.blockBytes || dataBytes > most) {
      throw usage(`${dataBytes} bytes of data for a request`, `a power of two from ${namespace.blockBytes} to ${most}`);
    }
    this.direct = direct;
    this.namespace = namespace;
    this.dataBytes = dataBytes;
    this.#options = options;
    this.#files = new ResidentFiles({
      name: driver.name,
      namespace,
      pageBytes: driver.pageBytes,
      dataBytes,
      transferBytes: this.transferBytes,
      places: places * shape.blocks * shape.threads / 32,
      hasRoom: () => this.#freeRing() !== null,
      room: () => this.room(),
      list: (memory, segments, table, collect) => this.#list(memory, segments, table, collect),
    });
    this.#silenceMs = this.timeoutMs * (1 + Math.ceil(LIST_SEGMENTS / shape.lanes)) + SILENCE_MS;
  }

  /**
   * Launches a kernel that stays, and returns once it was launched.
   *
   * @param direct what drives the controller; until the kernel has ended it does nothing else
   * @param maxTransferBytes what the controller takes at once
   * @throws {BusbarError} `usage` for sizes that cannot be, and where one thread submits; `unsupported` for a namespace with
   * metadata; `busy` where another kernel runs; {@linkcode CudaError}
   */
  static async start(
    direct: NvmeDirect,
    namespace: NamespaceGeometry,
    maxTransferBytes: number,
    options: ResidentOptions = {},
  ): Promise<ResidentKernel> {
    const kernel = new ResidentKernel(direct, namespace, maxTransferBytes, options);
    try {
      await kernel.#start();
      return kernel;
    } catch (error) {
      await kernel.#ended;
      kernel.#freeAll();
      throw error;
    }
  }

  /** How long a command may take, in milliseconds. */
  get timeoutMs(): number {
    return this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /** Requests that were asked for and have not ended. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Requests that can be in flight. */
  get places(): number {
    return this.#waiting.reduce((sum, places) => sum + places.length, 0);
  }

  async #start(): Promise<void> {
    const { direct, namespace, dataBytes } = this;
    const { driver, gpu, shape, mode } = direct;
    const { places = USUAL_PLACES, mayWrite = false, idleNs = USUAL_IDLE_NS } = this.#options;
    const warps = shape.blocks * shape.threads / 32;
    const ringBlocks = new Uint8Array(warps * RING_BLOCK.sizeBytes);
    for (let warp = 0; warp < warps; warp++) {
      const sizes = { places, dataBytes, listSegments: LIST_SEGMENTS };
      const ring = this.#own(await ResidentRing.allocate(driver, gpu, sizes));
      ringBlocks.set(ring.block, warp * RING_BLOCK.sizeBytes);
      this.#rings.push(ring);
      this.#waiting.push(Array.from({ length: places }, () => null));
      this.#free.push(Array.from({ length: places }, (_, i) => places - 1 - i));
    }
    const pieceBytes = 2 ** Math.ceil(Math.log2(Math.max(this.transferBytes, driver.pageBytes)));
    const pieces = this.#own(Arena.allocate(driver, gpu, "pinned", warps * shape.lanes * pieceBytes));
    const memories = this.#own(ResidentMemories.allocate(gpu, driver.name));
    this.#memories = memories;
    const rings = this.#own(gpu.allocate(ringBlocks.length));
    await rings.write(ringBlocks);
    const block = new Uint8Array(RESIDENT_BLOCK.sizeBytes);
    new BlockView(RESIDENT_BLOCK, block).set({
      queues: direct.queuesAddress,
      rings: rings.address,
      memories: memories.address,
      control: direct.controlAddress,
      pieces: pieces.address,
      pieces_iova: pieces.iova,
      pieces_list: pieces.list,
      timeout_ns: BigInt(Math.round(this.timeoutMs * 1e6)),
      namespace_blocks: namespace.blocks,
      queue_count: direct.queueCount,
      namespace_id: namespace.id,
      block_bytes: namespace.blockBytes,
      page_bytes: driver.pageBytes,
      piece_bytes: pieceBytes,
      data_bytes: dataBytes,
      memory_count: MEMORIES,
      list_segments: LIST_SEGMENTS,
      lanes: shape.lanes,
      may_write: mayWrite,
      idle_ns: idleNs,
    });
    const job = this.#own(gpu.allocate(block.length));
    await job.write(block);
    const module = this.#own(gpu.module(this.#options.ptx ?? residentPtx));
    const kernel = module.function(`nvme_resident_${mode}`);
    const launched = Promise.withResolvers<void>();
    const { signal } = this.#options;
    const stop = (): void => this.#drain.abort(signal?.reason);
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted === true) stop();
    this.#isRunning = true;
    const run = direct.runKernel((_queues, stream) => {
      kernel.launch({ grid: shape.blocks, block: shape.threads, stream }, [job.address]);
      launched.resolve();
    }, { timeoutMs: this.timeoutMs, signal: this.#drain.signal, endNow: this.#now.signal });
    this.#ended = this.#afterEnd(run).finally(() => signal?.removeEventListener("abort", stop));
    await Promise.race([launched.promise, run.then(() => {})]);
  }

  #own<T extends Disposable>(one: T): T {
    this.#resources.push(one);
    return one;
  }

  /** The kernel has ended: nothing is taken any more, and what was not answered never will be. */
  async #afterEnd(run: Promise<void>): Promise<void> {
    let reason: unknown = STOPPED;
    try {
      await run;
      reason = new BusbarError("bug", `${this.direct.driver.name}: a kernel that stays ended by itself`);
    } catch (error) {
      reason = error;
    }
    // What it had answered before it ended is good.
    this.#harvest();
    this.#isRunning = false;
    this.#over = reason === STOPPED ? this.#closedError("the kernel was stopped") : reason;
    if (reason === STOPPED) this.#isTold = true;
    for (const places of this.#waiting) {
      for (const [place, waiting] of places.entries()) {
        places[place] = null;
        if (waiting === null) continue;
        this.#inFlight--;
        this.#isTold = true;
        waiting.fail(this.#over);
      }
    }
    this.#moved.resolve();
    for (const free of this.#freeAtEnd.splice(0)) free();
  }

  #closedError(why: string): BusbarError {
    return new BusbarError("closed", `${this.direct.driver.name}: ${why}`, {
      operation: OPERATION,
      path: this.direct.driver.name,
    });
  }

  /* ---- requests ---------------------------------------------------------------------------------------------------- */

  /**
   * Hands a request to the kernel as it stands, and returns what the kernel says of it.
   *
   * @param segments what belongs into the place's table of segments, for a list
   * @throws {BusbarError} `busy` when as many requests are in flight as there are places; why the kernel has ended
   */
  submit(request: ResidentRequest, segments: Uint8Array<ArrayBuffer> | null = null): Promise<ResidentCompletion> {
    return this.#post("a request", request, (ring, place) => {
      if (segments !== null) ring.segmentsOf(place).set(segments);
    }, (completion) => completion);
  }

  /**
   * Reads blocks.
   *
   * @param lba first block
   * @param blocks how many, at most {@linkcode dataBytes}
   * @param options `into` takes the bytes, in place of new memory
   * @throws {BusbarError} `busy` when as many requests are in flight as there are places ({@linkcode room} waits for one);
   * `out-of-range`; `device-failed` with the command's status; why the kernel has ended
   */
  read(
    lba: bigint,
    blocks: number,
    options: { readonly into?: Uint8Array<ArrayBuffer> } = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    const what = `Read of ${blocks} blocks at ${lba}`, sizeBytes = blocks * this.namespace.blockBytes;
    const { into } = options;
    if (into !== undefined && into.length < sizeBytes) {
      return Promise.reject(this.#rangeError(`${what} into ${into.length} bytes`));
    }
    const problem = this.#blocksProblem(what, lba, blocks);
    if (problem !== null) return Promise.reject(problem);
    const request = { operation: RESIDENT_OPERATIONS.read, lba, blocks };
    return this.#post(what, request, () => {}, (completion, ring, place) => {
      this.#check(what, completion);
      const data = ring.dataOf(place).subarray(0, sizeBytes);
      if (into === undefined) return data.slice();
      into.set(data);
      return into.subarray(0, sizeBytes);
    });
  }

  /**
   * Writes blocks, where the kernel was started with `mayWrite`.
   *
   * @param bytes whole blocks, at most {@linkcode dataBytes}; they may be used again at once
   * @throws {BusbarError} `permission` where it takes no writes; else as {@linkcode read}
   */
  write(lba: bigint, bytes: Uint8Array): Promise<void> {
    const blocks = bytes.length / this.namespace.blockBytes;
    const what = `Write of ${blocks} blocks at ${lba}`;
    if (!Number.isInteger(blocks)) return Promise.reject(this.#rangeError(`${bytes.length} bytes are no whole blocks`));
    const problem = this.#blocksProblem(what, lba, blocks);
    if (problem !== null) return Promise.reject(problem);
    return this.#post(
      what,
      { operation: RESIDENT_OPERATIONS.write, lba, blocks },
      (ring, place) => ring.dataOf(place).set(bytes),
      (completion) => this.#check(what, completion),
    );
  }

  /** Sends NVMe's Flush. @throws {BusbarError} as {@linkcode read} */
  flush(): Promise<void> {
    return this.#post("Flush", { operation: RESIDENT_OPERATIONS.flush }, () => {}, (completion) => {
      this.#check("Flush", completion);
    });
  }

  /** Waits until a place is free. @throws {BusbarError} why the kernel has ended */
  async room(): Promise<void> {
    for (;;) {
      if (this.#over !== null) throw this.#over;
      if (this.#freeRing() !== null) return;
      await this.#moved.promise;
    }
  }

  #rangeError(what: string): BusbarError {
    const { name } = this.direct.driver;
    return new BusbarError("out-of-range", `${name}: ${what}`, { operation: OPERATION, path: name });
  }

  /** What the kernel would say too, in words that say more. */
  #blocksProblem(what: string, lba: bigint, blocks: number): BusbarError | null {
    const { blocks: all, blockBytes, id } = this.namespace;
    if (lba < 0n || !Number.isInteger(blocks) || blocks < 1 || lba + BigInt(blocks) > all) {
      return this.#rangeError(`${what}: namespace ${id} has ${all}`);
    }
    if (blocks * blockBytes > this.dataBytes) return this.#rangeError(`${what}: at most ${this.dataBytes} bytes`);
    return null;
  }

  #check(what: string, completion: ResidentCompletion): void {
    const error = requestError(`${this.direct.driver.name}, namespace ${this.namespace.id}`, what, completion);
    if (error !== null) throw error;
  }

  /** A ring that has a free place, each in turn. */
  #freeRing(): number | null {
    for (let i = 0; i < this.#rings.length; i++) {
      const which = (this.#turn + i) % this.#rings.length;
      if ((this.#free[which]?.length ?? 0) > 0) return which;
    }
    return null;
  }

  #post<T>(
    what: string,
    request: ResidentRequest,
    prepare: (ring: ResidentRing, place: number) => void,
    collect: (completion: ResidentCompletion, ring: ResidentRing, place: number) => T,
  ): Promise<T> {
    if (this.#over !== null) {
      this.#isTold = true;
      return Promise.reject(this.#over);
    }
    const which = this.#freeRing() ?? 0, ring = this.#rings[which], place = this.#free[which]?.pop();
    if (ring === undefined || place === undefined) {
      const { name } = this.direct.driver;
      return Promise.reject(
        new BusbarError("busy", `${name}: ${this.#inFlight} requests are in flight: ${what} finds no free place`, {
          operation: OPERATION,
          path: name,
          hint: "room() waits for a place; more places let more be in flight",
        }),
      );
    }
    this.#turn = (which + 1) % this.#rings.length;
    return new Promise<T>((resolve, reject) => {
      prepare(ring, place);
      const number = ring.post(place, request);
      const end = (completion: ResidentCompletion): void => {
        try {
          resolve(collect(completion, ring, place));
        } catch (error) {
          reject(error);
        }
      };
      const places = this.#waiting[which];
      if (places !== undefined) places[place] = { number, what, end, fail: reject };
      if (this.#inFlight++ === 0) this.#movedAt = performance.now();
      void this.#poll();
    });
  }

  /** Takes completions. Returns how many there were. */
  #harvest(): number {
    let count = 0;
    for (const [which, places] of this.#waiting.entries()) {
      const ring = this.#rings[which];
      if (ring === undefined) continue;
      for (const [place, waiting] of places.entries()) {
        if (waiting === null) continue;
        const completion = ring.completionOf(place, waiting.number);
        if (completion === null) continue;
        // The bytes are taken before anybody else gets the place.
        waiting.end(completion, place);
        places[place] = null;
        this.#free[which]?.push(place);
        this.#inFlight--;
        count++;
      }
    }
    if (count > 0) {
      this.#movedAt = performance.now();
      const { resolve } = this.#moved;
      this.#moved = Promise.withResolvers();
      resolve();
    }
    return count;
  }

  /** Looks for completions as long as there are requests: at first as often as the event loop turns, later each millisecond. */
  async #poll(): Promise<void> {
    if (this.#isPolling) return;
    this.#isPolling = true;
    try {
      while (this.#inFlight > 0 && this.#isRunning) {
        this.#harvest();
        const quietMs = performance.now() - this.#movedAt;
        if (quietMs > this.#silenceMs) {
          this.#now.abort(this.#silentError());
          return;
        }
        if (quietMs < SPIN_MS) await new Promise<void>((resolve) => setImmediate(resolve));
        else await pause(1);
      }
    } finally {
      this.#isPolling = false;
    }
  }

  #silentError(): BusbarError {
    const { name } = this.direct.driver;
    const oldest = this.#waiting.flat().find((waiting) => waiting !== null);
    const what = oldest === undefined || oldest === null ? "a request" : oldest.what;
    return new BusbarError("timeout", `${name}: the kernel does not answer: ${what}`, {
      operation: OPERATION,
      path: name,
      hint: "the controller was reset",
    });
  }

  /* ---- files ------------------------------------------------------------------------------------------------------- */

  /** Memory for files. What is disposed of while the kernel runs is freed once it has ended: freeing waits for kernels. */
  allocate(place: ArenaPlace, sizeBytes: number): Arena {
    const { driver, gpu } = this.direct;
    return Arena.allocate(driver, gpu, place, sizeBytes, (free) => {
      if (this.#isRunning) this.#freeAtEnd.push(free);
      else free();
    });
  }

  /**
   * Brings runs of bytes of the drive to an arena, which stays until this has ended.
   *
   * @throws {BusbarError} `out-of-range` for runs outside the drive or the arena; `busy` when too many arenas are in use; else
   * as {@linkcode read}
   */
  async gather(runs: readonly ByteRun[], arena: Arena, options: FileKernelOptions = {}): Promise<SegmentPlan> {
    if (this.#memories === null) throw this.#closedError("the kernel was not started");
    return await this.#files.gather(runs, arena, this.#memories, options);
  }

  /**
   * Reads a file by its map, many pieces at once, and hands them over in order.
   *
   * @throws {BusbarError} as {@linkcode gather}
   */
  async cat(map: FileMap, take: TakeBytes, options: FileKernelOptions = {}): Promise<CatResult> {
    return await this.#files.cat(map, take, options);
  }

  /**
   * Loads tensors of a model file, as {@linkcode loadModel} does. The model may be disposed of at any time; while the kernel
   * runs, its memory stays.
   */
  async load(map: FileMap, options: LoadModelOptions = {}): Promise<LoadedModel> {
    return await loadModel(this, map, options);
  }

  #list<T>(
    memory: number,
    segments: number,
    table: Uint8Array<ArrayBuffer>,
    collect: (data: Uint8Array<ArrayBuffer>) => T,
  ): Promise<T> {
    const request = { operation: RESIDENT_OPERATIONS.list, memory, segments };
    return this.#post("Read of a list", request, (ring, place) => {
      ring.segmentsOf(place).set(table.subarray(0, segments * SEGMENT_BLOCK.sizeBytes));
    }, (completion, ring, place) => {
      this.#check("Read of a list", completion);
      return collect(ring.dataOf(place));
    });
  }

  /* ---- the end ----------------------------------------------------------------------------------------------------- */

  /**
   * Stops the kernel: what it has taken it ends, what it has not taken ends with an error.
   *
   * @param options after `timeoutMs`, by default as long as a command may take and a few seconds, it is ended at once, and the
   * controller is reset
   * @throws {BusbarError} `timeout` when it had to be ended so; why it had ended before
   */
  async stop(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const { timeoutMs = this.timeoutMs + SILENCE_MS } = options;
    const { name } = this.direct.driver;
    const timer = setTimeout(() => {
      const text = `${name}: the kernel did not stop within ${timeoutMs / 1000} s`;
      this.#now.abort(
        new BusbarError("timeout", text, { operation: OPERATION, path: name, hint: "the controller was reset" }),
      );
    }, timeoutMs);
    try {
      this.#drain.abort(STOPPED);
      await this.#ended;
    } finally {
      clearTimeout(timer);
    }
    if (this.#isTold) return;
    this.#isTold = true;
    throw this.#over;
  }

  #freeAll(): void {
    if (this.#isRunning) return;
    for (const one of this.#resources.splice(0).toReversed()) one[Symbol.dispose]();
  }

  /** Stops it and frees its memory. Throws where nobody was told yet why it ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#resources.length > 0) await this.stop();
    } finally {
      this.#freeAll();
    }
  }
}

/** The reason of a stop that was asked for. */
const STOPPED: unique symbol = Symbol("stopped");
