/**
 * A connection to an agent: a program whose pipes lead there, requests with a limit of time, and the end of both.
 * @module
 */

import { yieldToEventLoop } from "../core/deadline.ts";
import { BusbarError, errnoError, type ErrorDetails } from "../core/error.ts";
import { formatDurationMs } from "../core/units.ts";
import { PipedProcess } from "../../ffi/process.ts";
import { PROTOCOL_VERSION } from "./operations.ts";
import { shownText } from "./shown_text.ts";
import {
  type Ask,
  decodeReplies,
  encodeAsk,
  encodeFrame,
  MAX_ANSWER_BYTES,
  MAX_REQUEST_BYTES,
  type Reply,
  ReplyReader,
} from "./wire.ts";

/** How an agent is started, and what is said before it is there. */
export interface Launch {
  /** What the machine is called in messages: `ssh:lab7`. */
  readonly name: string;
  /** The program that is started here, and its arguments. */
  readonly command: readonly [program: string, ...args: string[]];
  /** A line that came before the agent was ready; what is sent then, or null. Throws where the line says that there will be no agent. */
  readonly onLine: (line: string) => Uint8Array<ArrayBuffer> | null;
  /** The error for a program that ended before an agent was ready. */
  readonly onEnd: (status: number, errors: string) => BusbarError;
}

/** Limits of time, in milliseconds. */
export interface ConnectionLimits {
  /** Until the agent says that it is ready, with the sending of it. */
  readonly connectMs: number;
  /** Without a byte of an answer. */
  readonly silenceMs: number;
  /** For a whole answer, however it trickles. */
  readonly answerMs: number;
}

/** What is waited for by default. */
export const LIMITS: ConnectionLimits = { connectMs: 30_000, silenceMs: 5_000, answerMs: 120_000 };

/** What an agent says of itself. */
export interface Hello {
  /** Bits of what it may do: 1 read, 2 write, 4 accelerator. */
  readonly rights: number;
  /** The user that it runs as. */
  readonly uid: number;
  /** Its process. */
  readonly pid: number;
  /** True where numbers begin with the highest byte. */
  readonly isBigEndian: boolean;
  /** Size of a page there. */
  readonly pageBytes: number;
  /** Of the boot that it runs in. */
  readonly bootId: string;
}

const READY = `busbar-agent ready ${PROTOCOL_VERSION}`;
/** What a shell may print before the agent is there. */
const MAX_GREETING_BYTES = 256 * 1024;
/** Once the other side says more than this without an end of line, it is no greeting. */
const EMSGSIZE = 90;
const NOTHING = new Uint8Array(0);

/** A connection. Dispose ends it, and with it the agent. */
export class AgentConnection implements Disposable {
  /** What the machine is called in messages. */
  readonly name: string;
  readonly #process: PipedProcess;
  readonly #limits: ConnectionLimits;
  readonly #launch: Launch;
  #received: Uint8Array<ArrayBuffer>[] = [];
  #receivedBytes = 0;
  #nextNumber = 1;
  #answered = new Map<number, Uint8Array<ArrayBuffer>>();
  #failure: BusbarError | null = null;
  #hello: Hello | null = null;
  #roundTrips = 0;

  private constructor(launch: Launch, process: PipedProcess, limits: ConnectionLimits) {
    this.name = launch.name;
    this.#launch = launch;
    this.#process = process;
    this.#limits = limits;
  }

  /**
   * Starts the program, waits for the agent and asks what it is.
   *
   * @throws {BusbarError} as starting fails; `unreachable`, `permission`, `timeout` as the launch tells
   */
  static open(launch: Launch, limits: ConnectionLimits = LIMITS): AgentConnection {
    const [program, ...args] = launch.command;
    const connection = new AgentConnection(launch, PipedProcess.start(program, args), limits);
    try {
      connection.#waitUntilReady();
      connection.#hello = connection.#greet();
    } catch (error) {
      connection[Symbol.dispose]();
      throw error;
    }
    return connection;
  }

  /** What the agent says of itself. */
  get hello(): Hello {
    if (this.#hello === null) throw new BusbarError("bug", `${this.name}: the agent has not said what it is`);
    return this.#hello;
  }

  /** How many requests were sent and answered. */
  get roundTrips(): number {
    return this.#roundTrips;
  }

  /** True after the connection broke or was closed: nothing more can be asked. */
  get isBroken(): boolean {
    return this.#failure !== null;
  }

  /**
   * Asks for operations, all in as few frames as they fit, and waits.
   *
   * @param extraMs how much longer than usual the other side may need
   * @returns a reply for each; errors of operations are replies too
   * @throws {BusbarError} `timeout`, `unreachable`: the connection is broken then
   */
  ask(asks: readonly Ask[], extraMs: number = 0): Reply[] {
    return this.#askEncoded(asks.map(encodeAsk), extraMs);
  }

  /** Asks for one operation. @throws {BusbarError} as it failed there, or the connection */
  askOne(one: Ask, operation: string, details: ErrorDetails = {}, extraMs: number = 0): Reply {
    const [reply] = this.ask([one], extraMs);
    return this.checked(reply, operation, details);
  }

  /** As {@linkcode AgentConnection.askOne}, while the event loop goes on. */
  async askSlowly(one: Ask, operation: string, details: ErrorDetails, extraMs: number): Promise<Reply> {
    const number = this.#send([encodeAsk(one)]);
    const end = performance.now() + this.#limits.silenceMs + extraMs;
    for (;;) {
      const frame = this.#answered.get(number);
      if (frame !== undefined) {
        this.#answered.delete(number);
        return this.checked(this.#repliesOf(frame, 1)[0], operation, details);
      }
      this.#takeFrames(this.#exchange(NOTHING, new Uint32Array(1), 0));
      if (this.#answered.has(number)) continue;
      if (performance.now() > end) throw this.#fail(this.#silence(this.#limits.silenceMs + extraMs));
      await yieldToEventLoop();
    }
  }

  /** The reply, or the error that it is. */
  checked(reply: Reply | undefined, operation: string, details: ErrorDetails = {}): Reply {
    if (reply === undefined) throw new BusbarError("bug", `${this.name}: an answer is missing`);
    if (reply.status < 0) throw errnoError(-reply.status, operation, details);
    return reply;
  }

  /** Ends the connection. Whoever holds it gets an error from then on. */
  [Symbol.dispose](): void {
    this.#failure ??= new BusbarError("closed", `${this.name}: the connection is closed`);
    this.#process[Symbol.dispose]();
  }

  #askEncoded(encoded: readonly Uint8Array<ArrayBuffer>[], extraMs: number): Reply[] {
    const replies: Reply[] = [];
    for (let next = 0; next < encoded.length;) {
      const frame: Uint8Array<ArrayBuffer>[] = [];
      for (let bytes = 0; next + frame.length < encoded.length;) {
        const part = encoded[next + frame.length] ?? NOTHING;
        bytes += part.length;
        if (frame.length > 0 && bytes > MAX_REQUEST_BYTES) break;
        frame.push(part);
      }
      const number = this.#send(frame);
      const got = this.#repliesOf(this.#waitFor(number, extraMs), frame.length);
      // What found no room in the answer is asked for again; alone, it never will.
      const full = got.findIndex(({ status }, i) => status === -EMSGSIZE && i > 0);
      const kept = full < 0 ? got : got.slice(0, full);
      replies.push(...kept);
      next += kept.length;
    }
    return replies;
  }

  #repliesOf(frame: Uint8Array<ArrayBuffer>, count: number): Reply[] {
    const replies = decodeReplies(frame, count);
    if (replies === null) throw this.#fail(this.#garbage("an answer that is none"));
    return replies;
  }

  /** Sends a frame, and keeps what comes meanwhile. */
  #send(parts: readonly Uint8Array<ArrayBuffer>[]): number {
    if (this.#failure !== null) throw this.#failure;
    const number = this.#nextNumber++;
    const frame = encodeFrame(number, parts);
    const sent = new Uint32Array(1);
    let end = performance.now() + this.#limits.silenceMs;
    for (;;) {
      const before = sent[0];
      this.#takeFrames(this.#exchange(frame, sent, 50));
      if (sent[0] === frame.length) break;
      if (sent[0] !== before) end = performance.now() + this.#limits.silenceMs;
      if (performance.now() > end) throw this.#fail(this.#silence(this.#limits.silenceMs));
    }
    this.#roundTrips++;
    return number;
  }

  #waitFor(number: number, extraMs: number): Uint8Array<ArrayBuffer> {
    const limitMs = this.#limits.silenceMs + extraMs;
    const last = performance.now() + this.#limits.answerMs + extraMs;
    for (let end = performance.now() + limitMs;;) {
      const frame = this.#answered.get(number);
      if (frame !== undefined) {
        this.#answered.delete(number);
        return frame;
      }
      const bytes = this.#exchange(NOTHING, new Uint32Array(1), 50);
      this.#takeFrames(bytes);
      const now = performance.now();
      if (bytes.length > 0) end = now + limitMs;
      if (!this.#answered.has(number) && now > Math.min(end, last)) throw this.#fail(this.#silence(limitMs));
    }
  }

  #exchange(bytes: Uint8Array<ArrayBuffer>, sent: Uint32Array<ArrayBuffer>, limitMs: number): Uint8Array<ArrayBuffer> {
    if (this.#failure !== null) throw this.#failure;
    const got = this.#process.exchange(bytes, sent, limitMs);
    if (got === null) throw this.#fail(this.#ended());
    return got;
  }

  /** Cuts what came into frames. */
  #takeFrames(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0) return;
    this.#received.push(bytes);
    this.#receivedBytes += bytes.length;
    while (this.#receivedBytes >= 8) {
      const first = this.#received[0] ?? NOTHING;
      if (first.length < 8) {
        this.#received = [joined(this.#received)];
        continue;
      }
      const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
      const size = view.getUint32(0, true);
      const number = view.getUint32(4, true);
      if (size < 4 || size > MAX_ANSWER_BYTES) throw this.#fail(this.#garbage(`an answer of ${size} bytes`));
      if (number === 0 || number >= this.#nextNumber || this.#answered.has(number)) {
        throw this.#fail(this.#garbage(`an answer to request ${number}, which was not asked`));
      }
      if (this.#receivedBytes < 4 + size) return;
      const whole = joined(this.#received);
      this.#answered.set(number, whole.slice(8, 4 + size));
      const rest = whole.slice(4 + size);
      this.#received = rest.length === 0 ? [] : [rest];
      this.#receivedBytes = rest.length;
    }
  }

  #waitUntilReady(): void {
    const end = performance.now() + this.#limits.connectMs;
    let text: Uint8Array<ArrayBuffer> = NOTHING;
    let greeted = 0;
    for (;;) {
      const bytes = this.#exchange(NOTHING, new Uint32Array(1), 50);
      if (bytes.length > 0) text = joined([text, bytes]);
      greeted += bytes.length;
      for (let newline = text.indexOf(10); newline >= 0; newline = text.indexOf(10)) {
        const line = new TextDecoder().decode(text.subarray(0, newline)).replace(/\r$/, "");
        text = text.subarray(newline + 1);
        if (line === READY) return this.#takeFrames(text);
        const answer = this.#launch.onLine(line);
        if (answer !== null) text = joined([text, ...this.#sendRaw(answer, end)]);
      }
      if (greeted > MAX_GREETING_BYTES) throw this.#fail(this.#garbage(`${greeted} bytes before it was ready`));
      if (performance.now() > end) throw this.#fail(this.#silence(this.#limits.connectMs));
    }
  }

  /** Sends what is no frame. @returns what came meanwhile */
  #sendRaw(bytes: Uint8Array<ArrayBuffer>, end: number): Uint8Array<ArrayBuffer>[] {
    const sent = new Uint32Array(1);
    const came: Uint8Array<ArrayBuffer>[] = [];
    while (sent[0] !== bytes.length) {
      came.push(this.#exchange(bytes, sent, 50));
      if (came.reduce((sum, { length }) => sum + length, 0) > MAX_GREETING_BYTES) {
        throw this.#fail(this.#garbage("words while the agent was sent"));
      }
      if (performance.now() > end) throw this.#fail(this.#silence(this.#limits.connectMs));
    }
    return came;
  }

  #greet(): Hello {
    const reply = this.askOne({ operation: "hello", arguments: [] }, "ask what the agent is");
    const reader = new ReplyReader(reply.bytes);
    const version = reader.u32();
    if (version !== PROTOCOL_VERSION) throw this.#fail(this.#garbage(`protocol ${version}`));
    const [rights, uid, pid, order] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()];
    const pageBytes = Number(reader.u64());
    return { rights, uid, pid, isBigEndian: order === 1, pageBytes, bootId: reader.text(reader.u16()).trim() };
  }

  #fail(error: BusbarError): BusbarError {
    this.#failure ??= error;
    this.#process.kill();
    return this.#failure;
  }

  #ended(): BusbarError {
    const status = this.#process.status(500) ?? -1;
    const errors = shownText(this.#process.errorText);
    if (this.#hello === null) return this.#launch.onEnd(status, errors);
    return new BusbarError("unreachable", `${this.name}: the connection ended${because(errors)}`, {
      operation: "ask the agent",
      path: this.name,
      hint:
        "the agent was killed, the machine was restarted, or the network broke: what was being changed is put back " +
        `there by the agent, or by busbar restore --host ${this.name}`,
    });
  }

  #silence(limitMs: number): BusbarError {
    const errors = shownText(this.#process.errorText);
    const what = this.#hello === null ? "no agent answered" : "no answer";
    return new BusbarError("timeout", `${this.name}: ${what} within ${formatDurationMs(limitMs)}${because(errors)}`, {
      operation: this.#hello === null ? "connect" : "ask the agent",
      path: this.name,
      hint: "look whether the machine is up and not hung",
    });
  }

  #garbage(what: string): BusbarError {
    return new BusbarError("io", `${this.name}: what answers is no agent of this busbar: it sent ${what}`, {
      operation: "ask the agent",
      path: this.name,
      hint: "look at what the login shell there prints, and which program BUSBAR_AGENT names",
    });
  }
}

function joined(parts: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function because(errors: string): string {
  const line = errors.split("\n").findLast((one) => one.trim() !== "");
  return line === undefined ? "" : `: ${line.trim()}`;
}
