/**
 * Cuts a stream of bytes into requests and answers them.
 * @module
 */

import { decodeRequest, encodeResponse, REQUEST_BYTES, RESPONSE_BYTES } from "../serve/protocol.ts";
import type { MemoryService } from "../serve/service.ts";
import type { ServiceClient } from "../serve/service_settings.ts";

/** Requests that are answered with one write: what one read brings at most. */
const BUFFERED_REQUESTS = 624;

/** The bytes of one connection that are not yet answered. */
export class MessageBuffer {
  readonly #bytes = new Uint8Array(BUFFERED_REQUESTS * REQUEST_BYTES);
  readonly #answers = new Uint8Array(BUFFERED_REQUESTS * RESPONSE_BYTES);
  #held = 0;

  /** Where the next bytes are to be read into. Never empty after {@linkcode MessageBuffer.answer}. */
  get room(): Uint8Array {
    return this.#bytes.subarray(this.#held);
  }

  /** Bytes of a request that is not whole yet. */
  get partial(): number {
    return this.#held;
  }

  /** Says that `length` bytes came into {@linkcode MessageBuffer.room}; gives the whole requests that there are now. */
  came(length: number): number {
    this.#held += length;
    return Math.floor(this.#held / REQUEST_BYTES);
  }

  /** Answers the first `requests` requests; the answers are valid until the next call. */
  answer(requests: number, service: MemoryService, client: ServiceClient): Uint8Array {
    for (let i = 0; i < requests; i++) {
      encodeResponse(
        service.handle(decodeRequest(this.#bytes, i * REQUEST_BYTES), client),
        this.#answers,
        i * RESPONSE_BYTES,
      );
    }
    this.#bytes.copyWithin(0, requests * REQUEST_BYTES, this.#held);
    this.#held -= requests * REQUEST_BYTES;
    return this.#answers.subarray(0, requests * RESPONSE_BYTES);
  }
}
