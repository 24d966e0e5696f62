/**
 * The listener of `health`: answers `GET /metrics` from the last look, and nothing else. A scrape never reaches a device.
 * @module
 */

import { BusbarError, systemError } from "../../src/core/error.ts";
import { METRIC_CONTENT_TYPES, type MetricFormat } from "../../src/core/metrics.ts";

/** What clients may take. */
export interface ListenLimits {
  /** Connections at a time; more are closed at once. */
  readonly connections: number;
  /** How long a connection may take from its first byte to its last, in milliseconds. */
  readonly connectionMs: number;
}

const USUAL_LIMITS: ListenLimits = { connections: 8, connectionMs: 5000 };
/** A request's head may have so many bytes. */
const MAX_HEAD_BYTES = 8192;

/** Where to listen. */
export interface ListenAddress {
  /** A name or an address. */
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
}

/** Reads `127.0.0.1:9944` or `[::1]:9944`. @throws {BusbarError} `usage` */
export function parseListenAddress(text: string): ListenAddress {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text) ?? [];
  const hostname = bracketed ?? plain;
  if (hostname === undefined || Number(port) > 65_535) {
    throw new BusbarError("usage", `'${text}' is no address to listen on`, { hint: "write it as in 127.0.0.1:9944" });
  }
  return { hostname, port: Number(port) };
}

/** True for addresses that only this machine reaches. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}

/** A listener. Dispose closes it and its connections. */
export class MetricsListener implements Disposable {
  readonly #listener: Deno.TcpListener;
  readonly #text: (format: MetricFormat) => string;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #limits: ListenLimits;

  /**
   * Listens. {@linkcode MetricsListener.serve} must run for anything to be answered.
   *
   * @param text the last look, in one of the forms
   * @throws {BusbarError} as listening fails
   */
  constructor(
    { hostname, port }: ListenAddress,
    text: (format: MetricFormat) => string,
    limits: ListenLimits = USUAL_LIMITS,
  ) {
    this.#text = text;
    this.#limits = limits;
    try {
      this.#listener = Deno.listen({ hostname, port, transport: "tcp" });
    } catch (cause) {
      throw systemError(cause, "listen", `${hostname}:${port}`);
    }
  }

  /** The port that it has. */
  get port(): number {
    return this.#listener.addr.port;
  }

  /** Answers until it is closed. */
  async serve(): Promise<void> {
    for (;;) {
      let connection: Deno.TcpConn;
      try {
        connection = await this.#listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) return;
        // One connection that could not be taken is not the end: the client is gone, or there are too many files.
        await new Promise((resolve) => setTimeout(resolve, 100));
        continue;
      }
      if (this.#open.size >= this.#limits.connections) {
        connection.close();
        continue;
      }
      this.#open.add(connection);
      void this.#answer(connection);
    }
  }

  async #answer(connection: Deno.TcpConn): Promise<void> {
    const timer = setTimeout(() => this.#close(connection), this.#limits.connectionMs);
    try {
      const head = await readHead(connection);
      const bytes = new TextEncoder().encode(head === null ? response(400, "") : this.#responseTo(head));
      for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    } catch {
      // The client went away, or took too long: there is nobody to tell.
    } finally {
      clearTimeout(timer);
      this.#close(connection);
    }
  }

  #responseTo(head: string): string {
    const [first = "", ...fields] = head.split("\r\n");
    const [, method, target] = /^([A-Z]{1,16}) (\S{1,2000}) HTTP\/1\.[01]$/.exec(first) ?? [];
    if (method === undefined || target === undefined) return response(400, "");
    if (target.split("?")[0] !== "/metrics") return response(404, "");
    if (method !== "GET") return response(405, "", ["Allow: GET"]);
    const accept = fields.find((field) => /^accept:/i.test(field)) ?? "";
    const format: MetricFormat = accept.includes("application/openmetrics-text") ? "openmetrics" : "prometheus";
    return response(200, this.#text(format), [`Content-Type: ${METRIC_CONTENT_TYPES[format]}`]);
  }

  #close(connection: Deno.TcpConn): void {
    if (!this.#open.delete(connection)) return;
    try {
      connection.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  [Symbol.dispose](): void {
    try {
      this.#listener.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
    for (const connection of [...this.#open]) this.#close(connection);
  }
}

/** The head of a request up to its empty line; null where it is too long, not text, or ends before. */
async function readHead(connection: Deno.TcpConn): Promise<string | null> {
  const buffer = new Uint8Array(MAX_HEAD_BYTES);
  let length = 0;
  while (length < buffer.length) {
    const count = await connection.read(buffer.subarray(length));
    if (count === null) return null;
    length += count;
    const text = new TextDecoder("latin1").decode(buffer.subarray(0, length));
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0) return text.slice(0, end);
  }
  return null;
}

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
};

function response(status: number, body: string, fields: readonly string[] = []): string {
  const length = new TextEncoder().encode(body).length;
  return [
    `HTTP/1.1 ${status} ${REASONS[status]}`,
    ...fields,
    `Content-Length: ${length}`,
    "Connection: close",
    "",
    body,
  ].join("\r\n");
}
