/**
 * The memory server on TCP: several clients, each with limits; SIGTERM lets what has arrived be answered.
 * @module
 */

import { pause } from "../../core/deadline.ts";
import { BusbarError, systemError } from "../../core/error.ts";
import { REQUEST_BYTES } from "../serve/protocol.ts";
import type { MemoryService } from "../serve/service.ts";
import { MessageBuffer } from "./message_buffer.ts";

/** Where the server listens and what it grants. */
export interface TcpServerSettings {
  /** `127.0.0.1`, or an address that others can reach. */
  readonly hostname: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
  /** Clients at once; one more is closed at once. */
  readonly connections: number;
  /** Requests a second for each client; the rest waits. */
  readonly requestsPerSecond: number;
  /** A client that leaves a request unfinished for this long is closed. */
  readonly partialTimeoutMs: number;
  /** A client that is silent for this long is closed. */
  readonly idleTimeoutMs: number;
  /** How long the answers to what has arrived may take when the server ends. */
  readonly drainMs: number;
}

/** What the server did. */
export interface TcpServerReport {
  /** Clients that were served. */
  readonly clients: number;
  /** Clients that were turned away because there were too many. */
  readonly refused: number;
  /** Connections that ended in the middle of a request, or were closed for their silence. */
  readonly broken: number;
}

/** A server that listens. */
export class TcpServer implements Disposable {
  readonly #service: MemoryService;
  readonly #settings: TcpServerSettings;
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<Connection>();
  #clients = 0;
  #refused = 0;
  #broken = 0;
  #ending = false;

  private constructor(service: MemoryService, settings: TcpServerSettings, listener: Deno.TcpListener) {
    this.#service = service;
    this.#settings = settings;
    this.#listener = listener;
  }

  /**
   * Begins to listen.
   *
   * @throws {BusbarError} `usage` when another program listens there; `permission` for a port that needs root
   */
  static listen(service: MemoryService, settings: TcpServerSettings): TcpServer {
    const { hostname, port } = settings;
    const where = `${hostname}:${port}`;
    try {
      return new TcpServer(service, settings, Deno.listen({ hostname, port }));
    } catch (cause) {
      if (cause instanceof Deno.errors.AddrInUse) {
        throw new BusbarError("usage", `${where}: another program listens there`, {
          operation: "listen",
          path: where,
          hint: "choose another --port, or end the other server",
          cause,
        });
      }
      throw systemError(cause, "listen on", where);
    }
  }

  /** The port that it listens on. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** What it did so far. */
  get report(): TcpServerReport {
    return { clients: this.#clients, refused: this.#refused, broken: this.#broken };
  }

  /** Serves until `signal` is aborted; then no new client is taken, and what has arrived is answered. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = (): void => this.#stop();
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    const sweeping = setInterval(() => this.#sweep(), SWEEP_MS);
    try {
      for await (const socket of this.#listener) {
        if (this.#open.size < this.#settings.connections && !this.#ending) this.#serve(socket);
        else {
          this.#refused++;
          socket.close();
        }
      }
    } finally {
      clearInterval(sweeping);
      signal.removeEventListener("abort", stop);
      this.#stop();
      await this.#drain();
    }
  }

  /** Closes everything at once. */
  [Symbol.dispose](): void {
    this.#stop();
    for (const connection of this.#open) connection.close();
  }

  #stop(): void {
    if (this.#ending) return;
    this.#ending = true;
    try {
      this.#listener.close();
    } catch {
      // It is closed already.
    }
    for (const connection of this.#open) connection.end();
  }

  #sweep(): void {
    const now = performance.now();
    for (const connection of this.#open) if (now > connection.deadline) connection.close();
  }

  async #drain(): Promise<void> {
    const until = performance.now() + this.#settings.drainMs;
    while (this.#open.size > 0 && performance.now() < until) {
      await pause(5);
      this.#sweep();
    }
    for (const connection of this.#open) connection.close();
    while (this.#open.size > 0) await pause(1);
  }

  async #serve(socket: Deno.TcpConn): Promise<void> {
    const connection = new Connection(socket, this.#service, this.#settings);
    this.#open.add(connection);
    this.#clients++;
    try {
      if (!await connection.serve()) this.#broken++;
    } finally {
      connection.close();
      this.#open.delete(connection);
    }
  }
}

/** How often silent clients are looked for. */
const SWEEP_MS = 250;

/** What a client has sent before the server ends arrives within this time. */
const LAST_ARRIVAL_MS = 40;

/** One client. */
class Connection {
  readonly #socket: Deno.TcpConn;
  readonly #service: MemoryService;
  readonly #settings: TcpServerSettings;
  readonly #buffer = new MessageBuffer();
  #closed = false;
  #ending = false;
  /** When the connection is closed for its silence, by `performance.now()`. */
  deadline: number;

  constructor(socket: Deno.TcpConn, service: MemoryService, settings: TcpServerSettings) {
    this.#socket = socket;
    this.#service = service;
    this.#settings = settings;
    this.deadline = performance.now() + settings.idleTimeoutMs;
  }

  /** Serves until the client goes; false when that is in the middle of a request, or it was closed for its silence. */
  async serve(): Promise<boolean> {
    const client = this.#service.connect();
    try {
      this.#socket.setNoDelay(true);
      const pace = new Pace(this.#settings.requestsPerSecond);
      for (;;) {
        const length = await this.#socket.read(this.#buffer.room);
        if (length === null) return this.#buffer.partial === 0;
        const before = this.#buffer.partial;
        let requests = this.#buffer.came(length);
        while (requests > 0) {
          const some = await pace.take(requests);
          requests -= some;
          // A client that does not read its answers must not hold memory for ever.
          this.#wait(this.#settings.partialTimeoutMs);
          await this.#write(this.#buffer.answer(some, this.#service, client));
        }
        if (this.#buffer.partial === 0) this.#wait(this.#settings.idleTimeoutMs);
        // The limit of an unfinished request counts from its first byte.
        else if (before === 0 || before + length >= REQUEST_BYTES) this.#wait(this.#settings.partialTimeoutMs);
      }
    } catch (error) {
      if (error instanceof BusbarError) throw error;
      // The client went away, or the connection was closed here: the server goes on.
      return this.#ending && this.#buffer.partial === 0;
    } finally {
      this.#service.disconnect(client);
    }
  }

  /** The server ends: what has been sent is answered, and the connection closed when nothing more comes. */
  end(): void {
    this.#ending = true;
    this.#wait(0);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#socket.close();
    } catch {
      // The client closed it.
    }
  }

  #wait(milliseconds: number): void {
    this.deadline = performance.now() + (this.#ending ? LAST_ARRIVAL_MS : milliseconds);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) done += await this.#socket.write(bytes.subarray(done));
  }
}

/** Keeps a client below its requests a second, a tenth of a second's worth at once. */
class Pace {
  readonly #perSecond: number;
  #allowed: number;
  #counted = performance.now();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#allowed = Math.max(1, perSecond / 10);
  }

  /** Waits until at least one request is allowed; takes up to `requests`. */
  async take(requests: number): Promise<number> {
    for (;;) {
      const now = performance.now();
      this.#allowed = Math.min(
        Math.max(1, this.#perSecond / 10),
        this.#allowed + (now - this.#counted) / 1000 * this.#perSecond,
      );
      this.#counted = now;
      if (this.#allowed >= 1) break;
      await pause(Math.max(1, (1 - this.#allowed) / this.#perSecond * 1000));
    }
    const some = Math.min(requests, Math.floor(this.#allowed));
    this.#allowed -= some;
    return some;
  }
}
