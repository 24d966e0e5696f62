/**
 * Registers that an agent has mapped.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { type AccessBytes, checkAccess, goneError, type PollResult, type WritableMmio } from "../core/mmio.ts";
import type { RegisterRange } from "../core/machine.ts";
import type { AgentConnection } from "./connection.ts";
import { type Ask, ask, type Reply, ReplyReader } from "./wire.ts";

const EFAULT = 14;
const MAX_BLOCK_BYTES = 1 << 20;
/** As `pollSlice` says. */
const MAX_POLL_MS = 50;

/** Registers through an agent. */
export class AgentRegisters implements WritableMmio, Disposable {
  readonly name: string;
  readonly firstOffset: number;
  readonly endOffset: number;
  readonly #connection: AgentConnection;
  #handle: number | null;

  /**
   * Maps registers.
   *
   * @param writable also for writing, which the connection has to be allowed
   * @throws {BusbarError} as mapping them fails
   */
  constructor(connection: AgentConnection, { name, path, offset, sizeBytes }: RegisterRange, writable: boolean) {
    const reply = connection.askOne(ask("mapRegisters", path, offset, sizeBytes, writable ? 1 : 0), "map", { path });
    const reader = new ReplyReader(reply.bytes);
    this.name = name;
    this.#connection = connection;
    this.#handle = reader.u32();
    this.firstOffset = Number(reader.u64());
    this.endOffset = offset + sizeBytes;
  }

  read8(offset: number): number {
    return Number(this.#read(offset, 1));
  }

  read16(offset: number): number {
    return Number(this.#read(offset, 2));
  }

  read32(offset: number): number {
    return Number(this.#read(offset, 4));
  }

  read64(offset: number): bigint {
    return this.#read(offset, 8);
  }

  readBlock(offset: number, sizeBytes: number, accessBytes: AccessBytes): Uint8Array<ArrayBuffer> {
    return this.readBlockInto(new Uint8Array(sizeBytes), offset, accessBytes);
  }

  readBlockInto(to: Uint8Array<ArrayBuffer>, offset: number, accessBytes: AccessBytes): Uint8Array<ArrayBuffer> {
    const handle = this.#open();
    checkAccess(this, offset, to.length, accessBytes);
    const asks: Ask[] = [];
    for (let at = 0; at < to.length; at += MAX_BLOCK_BYTES) {
      asks.push(ask("readBlock", handle, offset + at, Math.min(MAX_BLOCK_BYTES, to.length - at), accessBytes));
    }
    let at = 0;
    for (const reply of this.#connection.ask(asks)) {
      const { bytes } = this.#checked(reply);
      to.set(bytes.subarray(0, to.length - at), at);
      at += bytes.length;
    }
    if (at !== to.length) {
      throw new BusbarError("io", `${this.name}: ${at} of ${to.length} bytes came`, { path: this.name });
    }
    return to;
  }

  pollSlice(offset: number, accessBytes: AccessBytes, mask: bigint, wanted: bigint, limitMs: number): PollResult {
    const handle = this.#open();
    checkAccess(this, offset, accessBytes, accessBytes);
    const limitUs = Math.round(1000 * Math.min(MAX_POLL_MS, Math.max(0, limitMs)));
    const [reply] = this.#connection.ask([ask("pollRegister", handle, offset, accessBytes, mask, wanted, limitUs)]);
    const { status, bytes } = this.#checked(reply);
    return { matched: status === 1, last: new ReplyReader(bytes).u64() };
  }

  write8(offset: number, value: number): void {
    this.#write(offset, 1, value);
  }

  write16(offset: number, value: number): void {
    this.#write(offset, 2, value);
  }

  write32(offset: number, value: number): void {
    this.#write(offset, 4, value);
  }

  write64(offset: number, value: bigint): void {
    this.#write(offset, 8, value);
  }

  writeBlock(offset: number, bytes: Uint8Array<ArrayBuffer>, accessBytes: AccessBytes): void {
    const handle = this.#open();
    checkAccess(this, offset, bytes.length, accessBytes);
    const asks: Ask[] = [];
    for (let at = 0; at < bytes.length; at += MAX_BLOCK_BYTES) {
      asks.push(ask("writeBlock", handle, offset + at, accessBytes, bytes.subarray(at, at + MAX_BLOCK_BYTES)));
    }
    for (const reply of this.#connection.ask(asks)) this.#checked(reply);
  }

  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = null;
    if (handle !== null && !this.#connection.isBroken) this.#connection.ask([ask("close", handle)]);
  }

  #open(): number {
    if (this.#handle !== null) return this.#handle;
    throw new BusbarError("closed", `${this.name} was used after it was closed`, { path: this.name });
  }

  #read(offset: number, accessBytes: AccessBytes): bigint {
    const handle = this.#open();
    checkAccess(this, offset, accessBytes, accessBytes);
    const [reply] = this.#connection.ask([ask("readRegister", handle, offset, accessBytes)]);
    return new ReplyReader(this.#checked(reply).bytes).u64();
  }

  #write(offset: number, accessBytes: AccessBytes, value: number | bigint): void {
    const handle = this.#open();
    checkAccess(this, offset, accessBytes, accessBytes);
    const bits = BigInt.asUintN(8 * accessBytes, BigInt(value));
    const [reply] = this.#connection.ask([ask("writeRegister", handle, offset, accessBytes, bits)]);
    this.#checked(reply);
  }

  #checked(reply: Reply | undefined): Reply {
    if (reply?.status === -EFAULT) throw goneError(this.name, "an access faulted");
    return this.#connection.checked(reply, "access registers", { path: this.name });
  }
}
