/**
 * An owner of a queue pair: the commands in flight on it, and who waits for them.
 *
 * Commands that are issued in the same turn of the event loop go to the controller together, with one doorbell. While any is
 * in flight the pair polls, in short slices; where it has an interrupt and nothing comes for a while, it waits for that.
 * Completions may come in any order and are matched by command identifier.
 * @module
 */

import { type Deadline, pause, timeoutError, yieldToEventLoop } from "../../core/deadline.ts";
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

/**
 * A command on its way, and whoever waits for it: an object for each command, so that none is made on the way there and back.
 * It is told once how the command ended, and may be told of the command's end after it was told of its time being over.
 * Neither of the two calls may throw.
 */
export abstract class QueuedCommand implements PreparedCommand {
  /** 16 words; the identifier is filled in by the queue pair. */
  abstract readonly words: Uint32Array<ArrayBuffer>;
  /** For messages: `Read`. */
  abstract readonly name: string;
  /** Milliseconds until it counts as lost; Infinity waits on. */
  abstract readonly limitMs: number;
  /** The time of its end by the clock of `performance.now`; the queue pair sets it when it first sees the command. */
  endMs: number = Infinity;

  /** The controller has answered. */
  abstract completed(dw0: number, dw1: number, status: number): void;
  /** Its time is over, or the queue failed. */
  abstract failed(error: unknown): void;
}

/** A command whose end is a promise's. */
class PromisedCommand extends QueuedCommand {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly name: string;
  readonly limitMs: number;
  readonly command: PreparedCommand;
  readonly #resolve: (completion: NvmeCompletion) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    command: PreparedCommand,
    limitMs: number,
    resolve: (completion: NvmeCompletion) => void,
    reject: (error: unknown) => void,
  ) {
    super();
    this.command = command;
    this.words = command.words;
    this.name = command.name;
    this.limitMs = limitMs;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  completed(dw0: number, dw1: number, status: number): void {
    this.#resolve({ dw0, dw1, status });
  }

  failed(error: unknown): void {
    this.#reject(error);
  }
}

/** Longest time in microseconds that one call into C polls while work is in flight: short, so that new work joins. */
const POLL_US = 100;
/** After this long without a completion, interrupts or pauses take the place of polling. */
const SPIN_MS = 2;
/** Between two looks when only commands without a time limit are in flight. */
const IDLE_PAUSE_MS = 10;
/** The event loop gets a turn at least this often. */
const YIELD_MS = 20;
/** Most microtasks that pass before the queue is looked at again: the answers' receivers issue their next commands in them. */
const MOST_HOPS = 8;
/** How many places of commands that have left the list of waiting ones are kept at least before the list is moved up. */
const PASSED_WAITING = 1024;

/** A queue pair of a running controller. */
export class QueuePair implements Disposable {
  /** Queue identifier. */
  readonly id: number;
  /** How many commands can be in flight. */
  readonly depth: number;
  readonly #options: QueuePairOptions;
  readonly #queue: NvmeQueue;
  readonly #flights: (QueuedCommand | null)[];
  /** Identifiers in the order in which they became free: the longest unused goes first, as a ring. */
  readonly #freeIds: Uint16Array<ArrayBuffer>;
  #freeAt = 0;
  #freeCount: number;
  /** Commands without a place, from `#waitingAt` on: taking one moves no others. */
  readonly #waiting: QueuedCommand[] = [];
  #waitingAt = 0;
  /** Before this place, those that wait have got their time of end. */
  #timedTo = 0;
  /** No command's time is over before this. */
  #earliestEndMs = Infinity;
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
    return this.#inFlight + this.#waiting.length - this.#waitingAt;
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
    return new Promise((resolve, reject) =>
      this.enqueue(new PromisedCommand(command, deadline.limitMs, resolve, reject))
    );
  }

  /** Issues a command, which is told of its end itself. Its time begins now. */
  enqueue(command: QueuedCommand): void {
    if (this.#failure !== null) {
      command.failed(this.#failure);
      return;
    }
    this.#waiting.push(command);
    if (!this.#isRunning) void this.#run();
  }

  /** Ends everything in flight and waiting with `error`; further commands fail with it too, until {@linkcode restart}. */
  fail(error: unknown): void {
    this.#failure = error;
    const ended = [...this.#flights.filter((flight) => flight !== null), ...this.#waiting.slice(this.#waitingAt)];
    this.#flights.fill(null);
    this.#clearWaiting();
    this.#inFlight = 0;
    this.#timed = 0;
    this.#earliestEndMs = Infinity;
    for (let id = 0; id < this.depth; id++) this.#freeIds[id] = id;
    this.#freeAt = 0;
    this.#freeCount = this.depth;
    for (const flight of ended) flight.failed(error);
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
      let now = performance.now();
      let turnMs = now;
      let completionMs = now;
      while (this.outstanding > 0 && this.#failure === null) {
        const came = this.#turn(now - completionMs <= SPIN_MS);
        now = performance.now();
        if (came > 0) completionMs = now;
        if (now >= this.#earliestEndMs) this.#expire(now);
        const isIdle = now - completionMs > SPIN_MS;
        if (!isIdle && now - turnMs <= YIELD_MS) {
          await this.#receivers(came);
          continue;
        }
        if (isIdle) await this.#waitQuietly();
        else await yieldToEventLoop();
        now = turnMs = performance.now();
        this.#look();
      }
    } catch (error) {
      this.fail(error);
    } finally {
      // In the same moment in which it was seen that nothing is left: a command that comes later starts the next run.
      this.#isRunning = false;
    }
  }

  /** Lets those run who waited for the completions that came: each may issue its next command, and those go together. */
  async #receivers(came: number): Promise<void> {
    let hops = 0;
    do await undefined; while (++hops < MOST_HOPS && this.#waiting.length - this.#waitingAt < came);
  }

  #look(): void {
    try {
      this.#options.checkAlive();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Submits what there is room for and takes what has come: how many came. */
  #turn(isSpinning: boolean): number {
    const count = this.#stage();
    try {
      const taken = this.#queue.exchange(this.#commands, count, this.#completions, 1, isSpinning ? POLL_US : 0);
      if (this.#queue.submitted !== count) {
        throw new BusbarError("bug", "the queue is full though identifiers were free");
      }
      for (let i = 0; i < taken; i++) this.#complete(i * CQE_WORDS);
      return taken;
    } catch (error) {
      this.fail(error);
      return 0;
    }
  }

  /** Gives waiting commands an identifier and a place in the batch. */
  #stage(): number {
    const waiting = this.#waiting;
    if (this.#timedTo < waiting.length) this.#setEnds();
    let count = 0;
    while (this.#freeCount > 0 && this.#waitingAt < waiting.length) {
      const flight = waiting[this.#waitingAt++];
      if (flight === undefined) break;
      const id = this.#takeId();
      const { words } = flight;
      words[0] = (words[0] ?? 0) & 0xffff | id << 16;
      this.#commands.set(words, count * SQE_WORDS);
      this.#flights[id] = flight;
      this.#inFlight++;
      if (flight.limitMs !== Infinity) this.#timed++;
      count++;
    }
    if (this.#waitingAt === waiting.length) this.#clearWaiting();
    else if (this.#waitingAt >= PASSED_WAITING && 2 * this.#waitingAt >= waiting.length) this.#forgetPassed();
    return count;
  }

  /** The time of those that came since the last turn begins: one look at the clock for all. */
  #setEnds(): void {
    const now = performance.now();
    for (let at = this.#timedTo; at < this.#waiting.length; at++) {
      const command = this.#waiting[at];
      if (command === undefined) continue;
      command.endMs = now + command.limitMs;
      if (command.endMs < this.#earliestEndMs) this.#earliestEndMs = command.endMs;
    }
    this.#timedTo = this.#waiting.length;
  }

  /** A queue that never empties must not keep all that ever waited. */
  #forgetPassed(): void {
    this.#waiting.splice(0, this.#waitingAt);
    this.#timedTo -= this.#waitingAt;
    this.#waitingAt = 0;
  }

  #clearWaiting(): void {
    this.#waiting.length = 0;
    this.#waitingAt = 0;
    this.#timedTo = 0;
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
    flight.completed(words[at] ?? 0, words[at + 1] ?? 0, last >>> 17);
  }

  #release(id: number, flight: QueuedCommand): void {
    this.#flights[id] = null;
    this.#giveId(id);
    this.#inFlight--;
    if (flight.limitMs !== Infinity) this.#timed--;
  }

  /** The identifier that has been free for longest: a completion that comes twice then finds nobody for a while. */
  #takeId(): number {
    const id = this.#freeIds[this.#freeAt] ?? 0;
    this.#freeAt = this.#freeAt + 1 === this.depth ? 0 : this.#freeAt + 1;
    this.#freeCount--;
    return id;
  }

  #giveId(id: number): void {
    this.#freeIds[(this.#freeAt + this.#freeCount) % this.depth] = id;
    this.#freeCount++;
  }

  /** Tells those whose time is over. Their identifiers stay taken: the controller may still answer. */
  #expire(now: number): void {
    const waiting = this.#waiting.slice(this.#waitingAt);
    const timed = waiting.slice(0, this.#timedTo - this.#waitingAt);
    const late = [...this.#flights, ...waiting].filter((flight) => flight !== null && flight.endMs <= now);
    const kept = waiting.filter((flight) => flight.endMs > now);
    this.#clearWaiting();
    this.#waiting.push(...kept);
    this.#timedTo = timed.filter((flight) => flight.endMs > now).length;
    this.#earliestEndMs = Infinity;
    for (const flight of [...this.#flights, ...kept]) {
      if (flight !== null && flight.endMs > now) this.#earliestEndMs = Math.min(this.#earliestEndMs, flight.endMs);
    }
    for (const flight of late) {
      if (flight === null) continue;
      flight.endMs = Infinity;
      flight.failed(timeoutError(`completion of ${flight.name}`, flight.limitMs, this.#options.device));
    }
  }

  /** The identifier that a command got, for Abort; null when it is not in flight. */
  identifierOf(command: PreparedCommand): number | null {
    const id = this.#flights.findIndex((flight) => flight !== null && isOf(flight, command));
    return id < 0 ? null : id;
  }

  /** True when a command is done, as far as the controller has said. */
  isDone(command: PreparedCommand): boolean {
    return this.identifierOf(command) === null &&
      !this.#waiting.some((flight, at) => at >= this.#waitingAt && isOf(flight, command));
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

function isOf(flight: QueuedCommand, command: PreparedCommand): boolean {
  return flight === command || (flight instanceof PromisedCommand && flight.command === command);
}
