/**
 * A data analytics accelerator that an agent drives.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import type { OradaxBuffer, OradaxDriver, OradaxTaken } from "../core/oradax_driver.ts";
import type { AgentConnection } from "./connection.ts";
import { type Ask, ask, type Reply, ReplyReader } from "./wire.ts";

/** Bytes of one request that reads or changes a buffer. */
const TRANSFER_BYTES = 4 << 20;
/** The driver waits about a second for what is in flight when it is closed, and killing takes as long. */
const CLOSE_MS = 5_000;
const ALLOCATE_MS = 30_000;

/** Opens an accelerator. @throws {BusbarError} as opening it fails there */
export function openAgentOradax(connection: AgentConnection, path: string): OradaxDriver {
  return new AgentOradax(connection, path);
}

class AgentOradax implements OradaxDriver {
  readonly name: string;
  readonly #connection: AgentConnection;
  #handle: number | null;

  constructor(connection: AgentConnection, path: string) {
    this.name = path;
    this.#connection = connection;
    this.#handle = new ReplyReader(connection.askOne(ask("openOradax", path), "open", { path }).bytes).u32();
  }

  allocate(sizeBytes: number, pageBytes: number): OradaxBuffer {
    const one = ask("oradaxAllocate", this.#open(), sizeBytes, pageBytes);
    const details = { path: this.name, hint: "huge pages are set aside in /proc/sys/vm/nr_hugepages there" };
    const reply = this.#connection.askOne(one, "allocate memory", details, ALLOCATE_MS);
    const reader = new ReplyReader(reply.bytes);
    return new AgentOradaxBuffer(this.#connection, reader.u32(), reader.u64(), sizeBytes, Number(reader.u64()));
  }

  submit(index: number, ccbs: Uint8Array<ArrayBuffer>): OradaxTaken {
    const { status: takenBytes, bytes } = this.#ask(ask("oradaxSubmit", this.#open(), index, ccbs), "submit");
    const reader = new ReplyReader(bytes);
    return { takenBytes, status: reader.u32(), statusData: reader.u64() };
  }

  wait(index: number, limitUs: number): number {
    return this.#ask(ask("oradaxWait", this.#open(), index, limitUs), "wait").status;
  }

  completion(index: number): Uint8Array<ArrayBuffer> {
    return this.#ask(ask("oradaxCompletion", this.#open(), index), "read a completion area").bytes.slice();
  }

  info(index: number): readonly [state: number, unit: number, queue: number, position: number] {
    const reader = new ReplyReader(this.#ask(ask("oradaxInfo", this.#open(), index), "ask for the state").bytes);
    return [reader.u16(), reader.u16(), reader.u16(), reader.u16()];
  }

  kill(index: number): number {
    return this.#ask(ask("oradaxKill", this.#open(), index), "kill").status;
  }

  dequeue(): void {
    this.#ask(ask("oradaxDequeue", this.#open()), "dequeue");
  }

  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = null;
    if (handle !== null && !this.#connection.isBroken) this.#connection.ask([ask("close", handle)], CLOSE_MS);
  }

  #open(): number {
    if (this.#handle !== null) return this.#handle;
    throw new BusbarError("closed", `${this.name} was used after it was closed`, { path: this.name });
  }

  #ask(one: Ask, operation: string): Reply {
    return this.#connection.askOne(one, operation, { path: this.name });
  }
}

class AgentOradaxBuffer implements OradaxBuffer {
  readonly bytes = null;
  readonly address: bigint;
  readonly sizeBytes: number;
  readonly pageBytes: number;
  readonly #connection: AgentConnection;
  #handle: number | null;

  constructor(
    connection: AgentConnection,
    handle: number,
    address: bigint,
    sizeBytes: number,
    pageBytes: number,
  ) {
    this.#connection = connection;
    this.#handle = handle;
    this.address = address;
    this.sizeBytes = sizeBytes;
    this.pageBytes = pageBytes;
  }

  read(offset: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
    const handle = this.#check(offset, sizeBytes);
    const asks: Ask[] = [];
    for (let at = 0; at < sizeBytes; at += TRANSFER_BYTES) {
      asks.push(ask("oradaxRead", handle, offset + at, Math.min(TRANSFER_BYTES, sizeBytes - at)));
    }
    const whole = new Uint8Array(sizeBytes);
    let at = 0;
    for (const reply of this.#connection.ask(asks)) {
      const { bytes } = this.#connection.checked(reply, "read memory");
      whole.set(bytes.subarray(0, sizeBytes - at), at);
      at += bytes.length;
    }
    if (at !== sizeBytes) throw new BusbarError("io", `${this.#connection.name}: ${at} of ${sizeBytes} bytes came`);
    return whole;
  }

  write(offset: number, bytes: Uint8Array): void {
    const handle = this.#check(offset, bytes.length);
    const asks: Ask[] = [];
    for (let at = 0; at < bytes.length; at += TRANSFER_BYTES) {
      asks.push(ask("oradaxWrite", handle, offset + at, bytes.subarray(at, at + TRANSFER_BYTES)));
    }
    for (const reply of this.#connection.ask(asks)) this.#connection.checked(reply, "write memory");
  }

  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = null;
    // The agent has let go of it already when its accelerator was closed first.
    if (handle !== null && !this.#connection.isBroken) this.#connection.ask([ask("close", handle)]);
  }

  #check(offset: number, sizeBytes: number): number {
    if (this.#handle === null) throw new BusbarError("closed", "memory of an accelerator was used after it was freed");
    if (offset >= 0 && sizeBytes >= 0 && offset + sizeBytes <= this.sizeBytes) return this.#handle;
    throw new BusbarError("out-of-range", `${sizeBytes} bytes at ${offset} lie outside a buffer of ${this.sizeBytes}`);
  }
}
