/**
 * The coherency engine of a Type 2 GPU: which domains hold which line of its memory. The rules of csrc/soft/type2/coherency.c
 * once more, written to be read; a test holds the two against each other.
 *
 * Source: the coherency engine of the public device `cxl-type2`, with busbar's decisions where it leaves a case open.
 * @module
 */

import { BusbarError } from "../core/error.ts";

/** Who may hold a line, by number. */
export const DOMAINS = ["CPU", "GPU", "HOST", "DEV"] as const;
/** What a domain asks for, by number. */
export const REQUESTS = [
  "RD_SHARED",
  "RD_OWN",
  "RD_ANY",
  "WR_INV",
  "WR_CUR",
  "CLR_DEV_CACHE",
  "CLEAN_EVICT",
  "DIRTY_EVICT",
] as const;
/** What it is answered, by number. */
export const RESPONSES = ["I", "V", "S", "E", "M"] as const;

/** A domain. */
export type Domain = typeof DOMAINS[number];
/** A request. */
export type Request = typeof REQUESTS[number];
/** A response. */
export type Response = typeof RESPONSES[number];
/** The state of a line that is tracked. */
export type LineState = "S" | "E" | "M";

/** A line that some domain holds. */
export interface LineEntry {
  /** Shared, exclusive or modified. */
  readonly state: LineState;
  /** Who holds it; one alone in E and M. */
  readonly holders: ReadonlySet<Domain>;
}

/** What was counted. */
export interface CoherencyCounters {
  /** All requests: hits and misses together. */
  requests: number;
  /** Requests for a line that was tracked. */
  hits: number;
  /** Requests for one that was not. */
  misses: number;
  /** Copies of others that were invalidated, one for each domain. */
  backInvalidations: number;
  /** Dirty lines that went to memory. */
  writebacks: number;
  /** Copies that were dropped by their holder or by the filter. */
  evictions: number;
  /** Writes by a domain that shared the line. */
  upgrades: number;
  /** Lines that others may only share from then on. */
  downgrades: number;
}

const ZERO: CoherencyCounters = {
  requests: 0,
  hits: 0,
  misses: 0,
  backInvalidations: 0,
  writebacks: 0,
  evictions: 0,
  upgrades: 0,
  downgrades: 0,
};

/** Lines and who holds them, in a snoop filter of limited size. */
export class CoherencyEngine {
  readonly #capacity: number;
  /** By age: the least recently used line comes first. */
  readonly #lines = new Map<bigint, LineEntry>();
  #counters: CoherencyCounters = { ...ZERO };

  /**
   * An engine in which no line is tracked.
   *
   * @param lines the snoop filter's limit
   */
  constructor(lines: number = 4096) {
    if (!Number.isInteger(lines) || lines < 1) {
      throw new BusbarError("out-of-range", `a snoop filter of ${lines} lines`);
    }
    this.#capacity = lines;
  }

  /** The lines that are tracked, the least recently used first. */
  get lines(): ReadonlyMap<bigint, LineEntry> {
    return this.#lines;
  }

  /** What was counted so far. */
  get counters(): Readonly<CoherencyCounters> {
    return this.#counters;
  }

  /** Sets the counters to 0; lines stay. */
  resetCounters(): void {
    this.#counters = { ...ZERO };
  }

  /** One request for each line of 64 bytes that a range touches. Returns the responses in order. */
  range(domain: Domain, request: Request, offset: bigint, sizeBytes: bigint): Response[] {
    const responses: Response[] = [];
    if (sizeBytes === 0n) return responses;
    for (let line = offset / 64n; line <= (offset + sizeBytes - 1n) / 64n; line++) {
      responses.push(this.request(domain, request, line));
    }
    return responses;
  }

  /** One request for one line, by the line's number. */
  request(domain: Domain, request: Request, line: bigint): Response {
    const counters = this.#counters;
    counters.requests++;
    const entry = this.#lines.get(line);
    if (entry === undefined) {
      counters.misses++;
      return this.#first(domain, request, line);
    }
    counters.hits++;
    const next = this.#next(domain, request, entry);
    // The line is the most recently used one now, or gone.
    this.#lines.delete(line);
    if (next.entry !== null) this.#lines.set(line, next.entry);
    return next.response;
  }

  #first(domain: Domain, request: Request, line: bigint): Response {
    const state = { RD_SHARED: "S", RD_OWN: "E", RD_ANY: "E", WR_INV: "M" } as const;
    if (!(request in state)) return "I";
    const wanted = state[request as keyof typeof state];
    this.#makeRoom();
    this.#lines.set(line, { state: wanted, holders: new Set([domain]) });
    return wanted;
  }

  /** Pushes the least recently used line out when the filter is full. */
  #makeRoom(): void {
    if (this.#lines.size < this.#capacity) return;
    for (const [line, { state, holders }] of this.#lines) {
      this.#counters.evictions++;
      this.#counters.backInvalidations += holders.size;
      if (state === "M") this.#counters.writebacks++;
      this.#lines.delete(line);
      return;
    }
  }

  #next(domain: Domain, request: Request, entry: LineEntry): { entry: LineEntry | null; response: Response } {
    const counters = this.#counters;
    const { state, holders } = entry;
    const others = [...holders].filter((one) => one !== domain).length;
    const alone = (next: LineState): LineEntry => {
      counters.backInvalidations += others;
      if (state === "M" && !holders.has(domain)) counters.writebacks++;
      return { state: next, holders: new Set([domain]) };
    };
    switch (request) {
      case "RD_SHARED":
      case "RD_ANY":
        if (holders.has(domain)) return { entry, response: state };
        if (state === "M") counters.writebacks++;
        if (state !== "S") counters.downgrades++;
        return { entry: { state: "S", holders: new Set([...holders, domain]) }, response: "S" };
      case "RD_OWN": {
        const next = others === 0 && state === "M" ? entry : alone("E");
        return { entry: next, response: next.state };
      }
      case "WR_INV":
        if (state === "S" && holders.has(domain)) counters.upgrades++;
        return { entry: alone("M"), response: "M" };
      case "WR_CUR":
        // The data of the request is newer than any copy: nothing is written back.
        counters.backInvalidations += others;
        return { entry: null, response: "I" };
      case "CLR_DEV_CACHE":
        if (!holders.has("GPU")) return { entry, response: "I" };
        return this.#drop("GPU", entry);
      case "CLEAN_EVICT":
      case "DIRTY_EVICT":
        if (!holders.has(domain)) return { entry, response: "I" };
        return { entry: this.#drop(domain, entry).entry, response: "I" };
    }
  }

  /** A domain gives its copy up. Modified data is never lost, whatever kind of eviction was asked for. */
  #drop(domain: Domain, { state, holders }: LineEntry): { entry: LineEntry | null; response: Response } {
    this.#counters.evictions++;
    if (state === "M") this.#counters.writebacks++;
    const rest = new Set([...holders].filter((one) => one !== domain));
    if (rest.size === 0) return { entry: null, response: "I" };
    return { entry: { state: "S", holders: rest }, response: "S" };
  }

  /** What is wrong with the lines as they are, in a sentence; null when all invariants hold. */
  broken(): string | null {
    if (this.#lines.size > this.#capacity) {
      return `${this.#lines.size} lines are tracked, and the limit is ${this.#capacity}`;
    }
    for (const [line, { state, holders }] of this.#lines) {
      if (holders.size === 0) return `line ${line} is ${state} and nobody holds it`;
      if (state !== "S" && holders.size > 1) return `line ${line} is ${state} and ${holders.size} domains hold it`;
    }
    const { requests, hits, misses } = this.#counters;
    return requests === hits + misses ? null : `${requests} requests are not ${hits} hits and ${misses} misses`;
  }
}

/** A line of a trace: `domain request address bytes`. */
export interface TraceLine {
  /** Who asks. */
  readonly domain: Domain;
  /** For what. */
  readonly request: Request;
  /** The first byte, as an offset into BAR4. */
  readonly address: bigint;
  /** How many bytes; each line that they touch is a request of its own. */
  readonly sizeBytes: bigint;
}

/**
 * Reads a trace: lines of `domain request address bytes`; what follows `#` is a remark.
 *
 * @throws {BusbarError} `malformed`, with the line's number
 */
export function parseTrace(text: string): TraceLine[] {
  const lines: TraceLine[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const words = line.replace(/#.*/, "").trim().split(/\s+/);
    if (words[0] === "") continue;
    const domain = DOMAINS.find((one) => one === words[0]?.toUpperCase());
    const request = REQUESTS.find((one) => one === words[1]?.toUpperCase());
    const numbers = words.slice(2).map((word) => /^(?:0x[0-9a-f]{1,16}|\d{1,19})$/i.test(word) ? BigInt(word) : null);
    const [address, sizeBytes] = numbers;
    const isWhole = words.length === 4 && address !== null && address !== undefined && sizeBytes !== null;
    if (domain === undefined || request === undefined || !isWhole || sizeBytes === undefined || sizeBytes > 1n << 30n) {
      throw new BusbarError("malformed", `line ${index + 1}: '${line.trim().slice(0, 80)}' is no line of a trace`, {
        operation: "read a coherency trace",
        hint: `write domain, request, address, bytes: GPU WR_INV 0x1000 64. Domains: ${DOMAINS.join(" ")}; requests: ${
          REQUESTS.join(" ")
        }`,
      });
    }
    lines.push({ domain, request, address, sizeBytes });
  }
  return lines;
}
