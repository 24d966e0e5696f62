/**
 * An owner of a queue pair: the commands in flight on it, and who waits for them.
 *
 * Commands that are issued in the same turn of the event loop go to the controller together, with one doorbell. While any is
 * in flight the pair polls, in short slices; where it has an interrupt and nothing comes for a while, it waits for that.
 * Completions may come in any order and are matched by command identifier.
 * @module
 */

import { Deadline, pause, yieldToEventLoop } from "../../core/deadline.ts";
import { BusbarError } from "../../core/error.ts";
import { CQE_WORDS, NvmeQueue, SQE_WORDS } from "../../../ffi/nvme_queue.ts";
import type { PciInterrupts } from "../../pci/claimed_device.ts";
import type { NvmeCompletion } from "./command.ts";
import type { QueueRings } from "./rings.ts";

/** A command as 32-bit words, ready but for its identifier. Its memory stays untouched until it is done. */
export interface PreparedCommand {
  /** 16 words; the identifier is filled in here. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** For messages: `Read`. */
  readonly name: string;
}

/** Which queue pair is driven, and how it waits. */
export interface QueuePairOptions {
  /** Its memory and doorbells. */
  readonly rings: QueueRings;
  /** Whose it is, for messages. */
  readonly device: string;
  /** Interrupts, and this pair's vector, where it has one. */
  readonly interrupts: { readonly from: PciInterrupts; readonly vector: number } | null;
  /** Asked now and then while commands are in flight; throws when there is no use in waiting on. */
  readonly checkAlive: () => void;
}

interface Flight {
  readonly name: string;
  readonly deadline: Deadline;
  readonly resolve: (completion: NvmeCompletion) => void;
  readonly reject: (error: unknown) => void;
  readonly command: PreparedCommand;
}

/** Longest time in microseconds that one call into C polls while work is in flight: short, so that new work joins. */
const POLL_US = 100;
/** After this long without a completion, interrupts or pauses take the place of polling. */
const SPIN_MS = 2;
/** Between two looks when only commands without a time limit are in flight. */
const IDLE_PAUSE_MS = 10;
/** The event loop gets a turn at least this often. */
const YIELD_MS = 20;

/** A queue pair of a running controller. */
export class QueuePair implements Disposable {
  /** Queue identifier. */
  readonly id: number;
  /** How many commands can be in flight. */
  readonly depth: number;
  readonly #options: QueuePairOptions;
  readonly #queue: NvmeQueue;
  readonly #flights: (Flight | null)[];
  /** Identifiers in the order in which they became free: the longest unused goes first, as a ring. */
  readonly #freeIds: Uint16Array<ArrayBuffer>;
  #freeAt = 0;
  #freeCount: number;
  readonly #waiting: Flight[] = [];
  readonly #commands: Uint32Array<ArrayBuffer>;
  readonly #completions: Uint32Array<ArrayBuffer>;
  #inFlight = 0;
  #timed = 0;
  #isRunning = false;
  #failure: unknown = null;
  #strays = 0;

  /** The controller is told of it by whoever makes it. */
  constructor(options: QueuePairOptions) {
    const { rings, device } = options;
    const { id, entries, submission, completion } = rings;
    this.id = id;
    this.depth = entries - 1;
    this.#options = options;
    this.#queue = new NvmeQueue({
      name: id === 0 ? `admin queue of ${device}` : `queue ${id} of ${device}`,
      sq: submission.memory.pointer,
      isSqInDevice: submission.isInDevice,
      cq: completion.memory.pointer,
      entries,
      registers: rings.registers,
      sqDoorbell: rings.tailDoorbell,
      cqDoorbell: rings.headDoorbell,
    });
    this.#flights = Array.from({ length: entries }, () => null);
    this.#freeIds = Uint16Array.from({ length: this.depth }, (_, i) => i);
    this.#freeCount = this.depth;
    this.#commands = new Uint32Array(this.depth * SQE_WORDS);
    this.#completions = new Uint32Array(entries * CQE_WORDS);
  }

  /** Its memory and doorbells. */
  get rings(): QueueRings {
    return this.#options.rings;
  }

  /** Commands in flight or waiting for a place. */
  get outstanding(): number {
    return this.#inFlight + this.#waiting.length;
  }

  /** Completions so far that belonged to no command in flight: a broken controller. */
  get strayCompletions(): number {
    return this.#strays;
  }

  /** The queue itself, for loops that fill and drain it without promises. Nothing else may use the pair meanwhile. */
  get raw(): NvmeQueue {
    if (this.outstanding > 0) throw new BusbarError("bug", "a queue with commands in flight was taken for a loop");
    return this.#queue;
  }

  /** The number of the event counter of its interrupt; null where it has none. */
  get interruptCounter(): number | null {
    const { interrupts } = this.#options;
    return interrupts === null ? null : interrupts.from.counter(interrupts.vector);
  }

  /**
   * Issues a command and waits for its completion.
   *
   * @param deadline when it counts as lost; a deadline of Infinity waits on
   * @throws {BusbarError} `timeout` when the deadline is over: the command is then still in flight for the controller, and
   * its memory must not be reused until it was aborted or the controller was reset
   */
  submit(command: PreparedCommand, deadline: Deadline): Promise<NvmeCompletion> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = Promise.withResolvers<NvmeCompletion>();
    this.#waiting.push({ name: command.name, command, deadline, resolve, reject });
    if (!this.#isRunning) void this.#run();
    return promise;
  }

  /** Ends everything in flight and waiting with `error`; further commands fail with it too, until {@linkcode restart}. */
  fail(error: unknown): void {
    this.#failure = error;
    for (const flight of [...this.#flights.filter((flight) => flight !== null), ...this.#waiting]) flight.reject(error);
    this.#flights.fill(null);
    this.#waiting.length = 0;
    this.#inFlight = 0;
    this.#timed = 0;
    for (let id = 0; id < this.depth; id++) this.#freeIds[id] = id;
    this.#freeAt = 0;
    this.#freeCount = this.depth;
  }

  /** Ready again after a controller reset: both queues are empty. */
  restart(): void {
    this.fail(new BusbarError("device-failed", `${this.#options.device}: the controller was reset`));
    this.rings.completion.memory.bytes.fill(0);
    this.#queue.reset();
    this.#failure = null;
  }

  /** Ends all use. The controller must have been stopped. */
  [Symbol.dispose](): void {
    this.fail(new BusbarError("closed", `${this.#options.device}: the queue was closed`));
    this.#queue[Symbol.dispose]();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      // Commands of the same turn come together before the first ring.
      await undefined;
      const times = { turn: performance.now(), completion: performance.now() };
      while (this.outstanding > 0 && this.#failure === null) await this.#step(times);
    } catch (error) {
      this.fail(error);
    } finally {
      // In the same moment in which it was seen that nothing is left: a command that comes later starts the next run.
      this.#isRunning = false;
    }
  }

  /** One exchange, and a turn for others: a microtask's, now and then the event loop's. */
  async #step(times: { turn: number; completion: number }): Promise<void> {
    const came = this.#turn(times.completion);
    const now = performance.now();
    if (came) times.completion = now;
    this.#expire();
    const idle = now - times.completion > SPIN_MS;
    // Whoever waited for a completion runs at the end of this function at the latest, and may issue the next command.
    if (!idle && now - times.turn <= YIELD_MS) return;
    if (idle) await this.#waitQuietly();
    else await yieldToEventLoop();
    times.turn = performance.now();
    this.#look();
  }

  #look(): void {
    try {
      this.#options.checkAlive();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Submits what there is room for and takes what has come. */
  #turn(lastCompletion: number): boolean {
    const count = this.#stage();
    const spinning = performance.now() - lastCompletion <= SPIN_MS;
    try {
      const taken = this.#queue.exchange(this.#commands, count, this.#completions, 1, spinning ? POLL_US : 0);
      if (this.#queue.submitted !== count) {
        throw new BusbarError("bug", "the queue is full though identifiers were free");
      }
      for (let i = 0; i < taken; i++) this.#complete(i * CQE_WORDS);
      return taken > 0;
    } catch (error) {
      this.fail(error);
      return false;
    }
  }

  /** Gives waiting commands an identifier and a place in the batch. */
  #stage(): number {
    let count = 0;
    while (this.#freeCount > 0) {
      const flight = this.#waiting.shift();
      if (flight === undefined) break;
      const id = this.#takeId();
      const { words } = flight.command;
      words[0] = (words[0] ?? 0) & 0xffff | id << 16;
      this.#commands.set(words, count * SQE_WORDS);
      this.#flights[id] = flight;
      this.#inFlight++;
      if (flight.deadline.limitMs !== Infinity) this.#timed++;
      count++;
    }
    return count;
  }

  #complete(at: number): void {
    const words = this.#completions;
    const last = words[at + 3] ?? 0;
    const id = last & 0xffff;
    const flight = this.#flights[id];
    if (flight === null || flight === undefined) {
      this.#strays++;
      return;
    }
    this.#release(id, flight);
    flight.resolve({ dw0: words[at] ?? 0, dw1: words[at + 1] ?? 0, status: last >>> 17 });
  }

  #release(id: number, flight: Flight): void {
    this.#flights[id] = null;
    this.#giveId(id);
    this.#inFlight--;
    if (flight.deadline.limitMs !== Infinity) this.#timed--;
  }

  /** The identifier that has been free for longest: a completion that comes twice then finds nobody for a while. */
  #takeId(): number {
    const id = this.#freeIds[this.#freeAt] ?? 0;
    this.#freeAt = (this.#freeAt + 1) % this.depth;
    this.#freeCount--;
    return id;
  }

  #giveId(id: number): void {
    this.#freeIds[(this.#freeAt + this.#freeCount) % this.depth] = id;
    this.#freeCount++;
  }

  /** Tells those whose time is over. Their identifiers stay taken: the controller may still answer. */
  #expire(): void {
    if (this.#timed === 0 && this.#waiting.length === 0) return;
    for (const flight of [...this.#flights, ...this.#waiting]) {
      if (flight === null || !flight.deadline.expired) continue;
      const waiting = this.#waiting.indexOf(flight);
      if (waiting >= 0) this.#waiting.splice(waiting, 1);
      try {
        flight.deadline.check(`completion of ${flight.name}`, this.#options.device);
      } catch (error) {
        flight.reject(error);
      }
    }
  }

  /** The identifier that a command got, for Abort; null when it is not in flight. */
  identifierOf(command: PreparedCommand): number | null {
    const id = this.#flights.findIndex((flight) => flight?.command === command);
    return id < 0 ? null : id;
  }

  /** True when a command is done, as far as the controller has said. */
  isDone(command: PreparedCommand): boolean {
    return this.identifierOf(command) === null && !this.#waiting.some((flight) => flight.command === command);
  }

  /** Waits a little without polling: for the interrupt, or for time to pass. */
  async #waitQuietly(): Promise<void> {
    const { interrupts } = this.#options;
    if (interrupts === null || this.#timed === 0) {
      await pause(this.#timed === 0 ? IDLE_PAUSE_MS : 1);
      return;
    }
    interrupts.from.wait(interrupts.vector, 10);
    await yieldToEventLoop();
  }
}
