/**
 * A client of the memory server, on TCP or on its shared-memory file.
 * @module
 */

import { pause } from "../../core/deadline.ts";
import { BusbarError, systemError } from "../../core/error.ts";
import {
  decodeResponse,
  DEFAULT_PORT,
  encodeRequest,
  RESPONSE_BYTES,
  type ServerRequest,
  type ServerResponse,
} from "../serve/protocol.ts";
import {
  SHARED_HEADER_BYTES,
  SHARED_MAGIC,
  sharedFileBytes,
  SharedHeader,
  SLOT_BYTES,
  SLOT_REQUEST,
  SLOT_RESPONSE,
  SlotState,
} from "../serve/shared_layout.ts";
import type { MapFile } from "./shared_server.ts";

/** Sends requests and waits for the answers. */
export interface MemoryClient extends Disposable {
  /**
   * Sends requests, all at once where the way allows it, and gives their answers in the same order.
   *
   * @throws {BusbarError} `timeout` when an answer does not come; `unreachable` when the server is gone
   */
  exchange(requests: readonly (Partial<ServerRequest> & { readonly op: number })[]): Promise<ServerResponse[]>;
}

/** Where a server is. */
export type ServerAddress =
  | { readonly kind: "tcp"; readonly hostname: string; readonly port: number }
  | { readonly kind: "shared"; readonly path: string };

/**
 * Reads `HOST:PORT`, `HOST`, `:PORT`, `PORT`, or the path of a shared-memory file (with a `/`).
 *
 * @throws {BusbarError} `usage`
 */
export function parseServerAddress(text: string): ServerAddress {
  if (text.includes("/")) return { kind: "shared", path: text };
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]*))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const onlyPort = bracketed === undefined && port === undefined && /^\d{1,5}$/.test(plain ?? "");
  const number = Number(onlyPort ? plain : port ?? DEFAULT_PORT);
  if ((bracketed === undefined && plain === undefined) || text === "" || number < 1 || number > 65535) {
    throw new BusbarError("usage", `'${text}' is no address of a server`, {
      operation: "connect",
      hint: "HOST:PORT, :PORT, or the path of a shared-memory file",
    });
  }
  const hostname = bracketed ?? (onlyPort || plain === "" ? "127.0.0.1" : plain ?? "127.0.0.1");
  return { kind: "tcp", hostname, port: number };
}

/**
 * Connects.
 *
 * @param timeoutMs for connecting, and for each exchange
 * @throws {BusbarError} `unreachable` when nobody serves there
 */
export function connectMemory(address: ServerAddress, timeoutMs: number, map: MapFile): Promise<MemoryClient> {
  return address.kind === "tcp"
    ? TcpMemoryClient.connect(address.hostname, address.port, timeoutMs)
    : Promise.resolve(SharedMemoryClient.open(address.path, timeoutMs, map));
}

function timeoutError(where: string, timeoutMs: number): BusbarError {
  return new BusbarError("timeout", `${where}: no answer within ${timeoutMs} ms`, {
    operation: "ask the memory server",
    path: where,
    hint: "is the server busy? raise --timeout",
  });
}

function goneError(where: string, cause?: unknown): BusbarError {
  return new BusbarError("unreachable", `${where}: the server closed the connection`, {
    operation: "ask the memory server",
    path: where,
    hint: "look at what the server says",
    cause,
  });
}

class TcpMemoryClient implements MemoryClient {
  readonly #where: string;
  readonly #socket: Deno.TcpConn;
  readonly #timeoutMs: number;
  #closed = false;

  private constructor(where: string, socket: Deno.TcpConn, timeoutMs: number) {
    this.#where = where;
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.setNoDelay(true);
  }

  static async connect(hostname: string, port: number, timeoutMs: number): Promise<TcpMemoryClient> {
    const where = `${hostname}:${port}`;
    try {
      const socket = await Deno.connect({ hostname, port, signal: AbortSignal.timeout(timeoutMs) });
      return new TcpMemoryClient(where, socket, timeoutMs);
    } catch (cause) {
      if (cause instanceof Error && cause.name === "TimeoutError") throw timeoutError(where, timeoutMs);
      throw new BusbarError("unreachable", `${where}: nobody serves memory there`, {
        operation: "connect",
        path: where,
        hint: `start it: cxl_sim serve --port ${port}`,
        cause,
      });
    }
  }

  async exchange(requests: readonly (Partial<ServerRequest> & { readonly op: number })[]): Promise<ServerResponse[]> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this[Symbol.dispose]();
    }, this.#timeoutMs);
    try {
      const answers = new Uint8Array(requests.length * RESPONSE_BYTES);
      // Written and read at once: with many requests both sides' buffers are too small for one after the other.
      await Promise.all([this.#send(requests), this.#receive(answers)]);
      return requests.map((_, i) => decodeResponse(answers.subarray(i * RESPONSE_BYTES, (i + 1) * RESPONSE_BYTES)));
    } catch (cause) {
      if (late) throw timeoutError(this.#where, this.#timeoutMs);
      throw cause instanceof BusbarError ? cause : goneError(this.#where, cause);
    } finally {
      clearTimeout(timer);
    }
  }

  async #send(requests: readonly (Partial<ServerRequest> & { readonly op: number })[]): Promise<void> {
    const encoded = requests.map(encodeRequest);
    const bytes = new Uint8Array(encoded.reduce((sum, one) => sum + one.length, 0));
    encoded.forEach((one, i) => bytes.set(one, i * one.length));
    for (let done = 0; done < bytes.length;) done += await this.#socket.write(bytes.subarray(done));
  }

  async #receive(answers: Uint8Array): Promise<void> {
    for (let done = 0; done < answers.length;) {
      const length = await this.#socket.read(answers.subarray(done));
      if (length === null) throw goneError(this.#where);
      done += length;
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#socket.close();
    } catch {
      // The server closed it.
    }
  }
}

class SharedMemoryClient implements MemoryClient {
  readonly #path: string;
  readonly #mapping: ReturnType<MapFile>;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #timeoutMs: number;
  readonly #slot: number;

  private constructor(path: string, mapping: ReturnType<MapFile>, timeoutMs: number, slots: number) {
    this.#path = path;
    this.#mapping = mapping;
    this.#bytes = mapping.bytes();
    this.#words = new Int32Array(this.#bytes.buffer);
    this.#timeoutMs = timeoutMs;
    this.#slot = this.#claim(slots);
  }

  static open(path: string, timeoutMs: number, map: MapFile): SharedMemoryClient {
    const slots = readSlots(path, map);
    const mapping = map(path, sharedFileBytes(slots));
    try {
      return new SharedMemoryClient(path, mapping, timeoutMs, slots);
    } catch (error) {
      mapping[Symbol.dispose]();
      throw error;
    }
  }

  async exchange(requests: readonly (Partial<ServerRequest> & { readonly op: number })[]): Promise<ServerResponse[]> {
    const responses: ServerResponse[] = [];
    for (const request of requests) responses.push(await this.#one(request));
    return responses;
  }

  async #one(request: Partial<ServerRequest> & { readonly op: number }): Promise<ServerResponse> {
    const start = this.#slot;
    this.#bytes.set(encodeRequest(request), start + SLOT_REQUEST);
    // Sequentially consistent: the server sees the request before it sees the state.
    Atomics.store(this.#words, start / 4, SlotState.Request);
    const until = performance.now() + this.#timeoutMs;
    for (let round = 0; Atomics.load(this.#words, start / 4) !== SlotState.Response; round++) {
      if (round < 20_000) continue;
      if (performance.now() > until) {
        throw this.#words[SharedHeader.Process / 4] === 0
          ? goneError(this.#path)
          : timeoutError(this.#path, this.#timeoutMs);
      }
      await pause(1);
    }
    const response = decodeResponse(this.#bytes.slice(start + SLOT_RESPONSE, start + SLOT_BYTES));
    Atomics.store(this.#words, start / 4, SlotState.Claimed);
    return response;
  }

  /** A slot of our own, by its offset. */
  #claim(slots: number): number {
    for (let slot = 0; slot < slots; slot++) {
      const start = SHARED_HEADER_BYTES + slot * SLOT_BYTES;
      if (Atomics.compareExchange(this.#words, start / 4, SlotState.Free, SlotState.Claimed) !== SlotState.Free) {
        continue;
      }
      // A guest's number of a process means nothing to the host.
      this.#words[start / 4 + 1] = this.#path.startsWith("/sys/") ? 0 : Deno.pid;
      return start;
    }
    throw new BusbarError("busy", `${this.#path}: all ${slots} places for clients are taken`, {
      operation: "connect",
      path: this.#path,
      hint: "end another client, or start the server with more --connections",
    });
  }

  [Symbol.dispose](): void {
    if (this.#bytes.length > 0) {
      this.#words[this.#slot / 4 + 1] = 0;
      Atomics.store(this.#words, this.#slot / 4, SlotState.Free);
    }
    this.#mapping[Symbol.dispose]();
  }
}

/** The number of slots that the header says, checked against the file. A BAR can be mapped, and not read. */
function readSlots(path: string, map: MapFile): number {
  let size: number;
  try {
    size = Deno.statSync(path).size;
  } catch (cause) {
    throw systemError(cause, "open", path, "start the server: cxl_sim serve --shared FILE");
  }
  if (size >= SHARED_HEADER_BYTES) {
    using mapping = map(path, SHARED_HEADER_BYTES);
    const head = mapping.bytes();
    const slots = new DataView(head.buffer).getUint32(SharedHeader.Slots, true);
    const magic = new TextDecoder().decode(head.slice(0, SHARED_MAGIC.length));
    if (magic === SHARED_MAGIC && slots >= 1 && size >= sharedFileBytes(slots)) return slots;
  }
  throw new BusbarError("malformed", `${path}: is no shared-memory file of a server`, {
    operation: "connect",
    path,
    hint: "cxl_sim serve --shared FILE makes one",
  });
}
