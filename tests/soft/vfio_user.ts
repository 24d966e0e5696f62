/**
 * A client of the vfio-user protocol, as QEMU's vfio-user-pci is one, without a guest: regions by messages. It takes no
 * descriptors, so DATA goes by messages too.
 * @module
 */

import type { Deadline } from "../../src/core/deadline.ts";
import { registerOffset } from "../../src/type2/registers.ts";
import type { Completion, Submission, Type2Transport } from "../../src/type2/transport.ts";

/** Numbers of messages. */
export const MESSAGE = {
  version: 1,
  dmaMap: 2,
  dmaUnmap: 3,
  info: 4,
  region: 5,
  irq: 7,
  setIrqs: 8,
  read: 9,
  write: 10,
  reset: 13,
} as const;

/** A reply. */
export interface Reply {
  /** An errno; 0 when it was done. */
  readonly error: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

const MOST_BYTES = 1 << 20;

/** A connection to a server. */
export class VfioUserClient implements Disposable {
  readonly #connection: Deno.UnixConn;
  #id = 0;

  private constructor(connection: Deno.UnixConn) {
    this.#connection = connection;
  }

  static async connect(path: string): Promise<VfioUserClient> {
    return new VfioUserClient(await Deno.connect({ transport: "unix", path }));
  }

  /** Sends a message and waits for its reply. */
  async ask(command: number, body: Uint8Array<ArrayBuffer> = new Uint8Array(0)): Promise<Reply> {
    await this.send(command, body);
    const header = new DataView((await this.#receive(16)).buffer);
    const [id, flags] = [header.getUint16(0, true), header.getUint32(8, true)];
    if (id !== this.#id || (flags & 0xf) !== 1) throw new Error(`a reply to message ${id} with flags ${flags}`);
    const error = (flags & 0x20) === 0 ? 0 : header.getUint32(12, true);
    return { error, body: await this.#receive(header.getUint32(4, true) - 16) };
  }

  /** Sends a message. `flags` 0x10: no reply is wanted. */
  async send(command: number, body: Uint8Array<ArrayBuffer>, flags = 0): Promise<void> {
    this.#id = this.#id + 1 & 0xffff;
    const message = new Uint8Array(16 + body.length);
    const header = new DataView(message.buffer);
    header.setUint16(0, this.#id, true);
    header.setUint16(2, command, true);
    header.setUint32(4, message.length, true);
    header.setUint32(8, flags, true);
    message.set(body, 16);
    for (let at = 0; at < message.length;) at += await this.#connection.write(message.subarray(at));
  }

  async #receive(sizeBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(sizeBytes);
    for (let at = 0; at < sizeBytes;) {
      const got = await this.#connection.read(bytes.subarray(at));
      if (got === null) throw new Error("the server closed the connection");
      at += got;
    }
    return bytes;
  }

  #access(region: number, offset: number, count: number, data?: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const body = new Uint8Array(16 + (data?.length ?? 0));
    const view = new DataView(body.buffer);
    view.setBigUint64(0, BigInt(offset), true);
    view.setUint32(8, region, true);
    view.setUint32(12, count, true);
    if (data !== undefined) body.set(data, 16);
    return body;
  }

  /** Reads bytes of a region. */
  async read(region: number, offset: number, count: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at += MOST_BYTES) {
      const part = Math.min(MOST_BYTES, count - at);
      const { error, body } = await this.ask(MESSAGE.read, this.#access(region, offset + at, part));
      if (error !== 0) throw new Error(`reading ${part} bytes at ${offset + at} of region ${region}: errno ${error}`);
      bytes.set(body.subarray(16), at);
    }
    return bytes;
  }

  /** Writes bytes to a region. */
  async write(region: number, offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let at = 0; at < bytes.length; at += MOST_BYTES) {
      const part = bytes.slice(at, at + MOST_BYTES);
      const { error } = await this.ask(MESSAGE.write, this.#access(region, offset + at, part.length, part));
      if (error !== 0) throw new Error(`writing ${part.length} bytes at ${offset + at} of region ${region}: ${error}`);
    }
  }

  /** A word of a region. */
  async word(region: number, offset: number, widthBytes: 4 | 8): Promise<bigint> {
    const view = new DataView((await this.read(region, offset, widthBytes)).buffer);
    return widthBytes === 4 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true);
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }
}

const BAR2 = 2, BAR4 = 4;
const REGISTER_BYTES = 0x1000;
const CMD = registerOffset("CMD"), CMD_STATUS = registerOffset("CMD_STATUS"), CMD_RESULT = registerOffset("CMD_RESULT");
const PARAM0 = registerOffset("PARAM0"), RESULT0 = registerOffset("RESULT0"), SESSION = registerOffset("SESSION");

/**
 * The way to a device by such a client, as a guest's accesses would go. Registers are read after each command, as one block, for
 * reads of them must not wait. BAR4 is a copy here: what is put into it goes to the device before each command, and comes back
 * after.
 */
export class VfioUserTransport implements Type2Transport {
  readonly name = "vfio-user";
  readonly kind = "trapped registers";
  readonly windowBytes: number;
  readonly bar4: Uint8Array<ArrayBuffer> | null;
  readonly #client: VfioUserClient;
  #registers: DataView<ArrayBuffer>;
  #sent: Uint8Array<ArrayBuffer> | null;

  private constructor(
    client: VfioUserClient,
    windowBytes: number,
    registers: Uint8Array<ArrayBuffer>,
    bar4Bytes: number,
  ) {
    this.#client = client;
    this.windowBytes = windowBytes;
    this.#registers = new DataView(registers.buffer);
    this.bar4 = bar4Bytes === 0 ? null : new Uint8Array(bar4Bytes);
    this.#sent = this.bar4?.slice() ?? null;
  }

  /** @param bar4Bytes how much of BAR4 is used; 0: none */
  static async open(path: string, windowBytes: number, bar4Bytes = 0): Promise<VfioUserTransport> {
    const client = await VfioUserClient.connect(path);
    await client.ask(MESSAGE.version, new TextEncoder().encode('\0\0\0\0{"capabilities":{}}\0'));
    return new VfioUserTransport(client, windowBytes, await client.read(BAR2, 0, REGISTER_BYTES), bar4Bytes);
  }

  read32(offset: number): number {
    return this.#registers.getUint32(offset, true);
  }

  read64(offset: number): bigint {
    return this.#registers.getBigUint64(offset, true);
  }

  async submit(submission: Submission, _deadline: Deadline): Promise<Completion> {
    const client = this.#client;
    const { bar4 } = this;
    if (bar4 !== null && this.#sent !== null && bar4.some((byte, at) => byte !== this.#sent?.[at])) {
      await client.write(BAR4, 0, bar4);
    }
    if (submission.data !== null) await client.write(BAR2, REGISTER_BYTES, submission.data);
    const params = BigUint64Array.from(submission.params);
    for (const [i, value] of params.entries()) await client.write(BAR2, PARAM0 + 8 * i, bytesOf(value, 8));
    await client.write(BAR2, SESSION, bytesOf(BigInt(submission.session), 4));
    await client.write(BAR2, CMD, bytesOf(BigInt(submission.code), 4));
    while (await client.word(BAR2, CMD_STATUS, 4) !== 3n);
    const result = Number(await client.word(BAR2, CMD_RESULT, 4));
    const results: bigint[] = [];
    for (let i = 0; i < 4; i++) results.push(await client.word(BAR2, RESULT0 + 8 * i, 8));
    const data = await client.read(BAR2, REGISTER_BYTES, submission.readBytes);
    if (bar4 !== null) {
      bar4.set(await client.read(BAR4, 0, bar4.length));
      this.#sent = bar4.slice();
    }
    this.#registers = new DataView((await client.read(BAR2, 0, REGISTER_BYTES)).buffer);
    return { result, results, data };
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

function bytesOf(value: bigint, widthBytes: 4 | 8): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value, true);
  return new Uint8Array(view.buffer, 0, widthBytes).slice();
}
