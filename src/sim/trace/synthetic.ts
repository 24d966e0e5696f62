/**
 * Synthetic traces, seeded: the same text gives the same accesses on every machine.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { nearest } from "../../core/locator.ts";
import { parseBytes } from "../../core/units.ts";
import { RandomStream } from "../random.ts";
import { type AccessBatch, HOST_LIMIT, type TraceSource } from "./batch.ts";
import type { Generator, SyntheticSettings } from "./synthetic_types.ts";
import { GENERATORS } from "./workloads.ts";

/** Keys that every generator takes, and those of some. */
const KEYS = [
  "count",
  "size",
  "base",
  "gap",
  "writes",
  "seed",
  "hosts",
  "threads",
  "line",
  "hot",
  "hotshare",
  "workload",
  "records",
  "record",
  "theta",
  "flush",
  "warehouses",
  "chunk",
] as const;

/** A key of a synthetic trace. */
export type SyntheticKey = typeof KEYS[number];

/** Names of the generators. */
export const SYNTHETIC_NAMES: readonly string[] = Object.keys(GENERATORS);

function usage(message: string, hint: string): BusbarError {
  return new BusbarError("usage", message, { operation: "read a synthetic trace", hint });
}

/**
 * Reads `NAME?key=value&key=value`, as in `gups?count=1e6&size=64MiB&hot=0.1`.
 *
 * @throws {BusbarError} `usage` for a name or key that does not exist, and for values out of range
 */
export function parseSynthetic(text: string): { readonly name: string; readonly settings: SyntheticSettings } {
  const [name = "", query = ""] = text.split("?", 2);
  if (!Object.hasOwn(GENERATORS, name)) {
    const near = nearest(name, SYNTHETIC_NAMES);
    throw usage(
      `there is no synthetic trace '${name}'`,
      near === null ? SYNTHETIC_NAMES.join(", ") : `did you mean '${near}'?`,
    );
  }
  const given = new Map<string, string>();
  for (const part of query === "" ? [] : query.split("&")) {
    const [key = "", value] = part.split("=", 2);
    if (!KEYS.some((one) => one === key)) {
      throw usage(`synthetic trace: there is no '${key}'`, `did you mean '${nearest(key, KEYS) ?? KEYS.join(", ")}'?`);
    }
    if (value === undefined || value === "" || given.has(key)) {
      throw usage(`synthetic trace: '${part}'`, "write key=value once");
    }
    given.set(key, value);
  }
  const number = (key: SyntheticKey, fallback: number, least: number, most: number): number => {
    const value = given.has(key) ? Number(given.get(key)) : fallback;
    if (value >= least && value <= most) return value;
    throw usage(
      `synthetic trace: ${key}=${given.get(key)} is not between ${least} and ${most}`,
      "see cxl_sim run --help",
    );
  };
  const whole = (key: SyntheticKey, fallback: number, least: number, most: number): number => {
    const value = number(key, fallback, least, most);
    if (Number.isInteger(value)) return value;
    throw usage(`synthetic trace: ${key}=${given.get(key)} is no whole number`, "write it without decimals");
  };
  const bytes = (key: SyntheticKey, fallback: number): number => {
    const value = given.has(key) ? Number(parseBytes(given.get(key) ?? "")) : fallback;
    if (value >= 0 && value <= 2 ** 48) return value;
    throw usage(`synthetic trace: ${key} is more than 2^48`, "choose a smaller one");
  };
  const lineBytes = bytes("line", 64);
  const settings = {
    count: whole("count", 1_000_000, 0, 1e12),
    sizeBytes: Math.max(lineBytes, bytes("size", 64 * 2 ** 20)),
    baseAddress: bytes("base", 2 ** 32),
    gapNs: number("gap", 2, 0, 1e9),
    writes: number("writes", 0.25, 0, 1),
    seed: whole("seed", 1, 0, 2 ** 32 - 1),
    hosts: whole("hosts", name === "producer" ? 2 : 1, 1, HOST_LIMIT),
    threads: whole("threads", 1, 1, 64),
    lineBytes,
    hot: number("hot", 0.1, 0, 1),
    hotShare: number("hotshare", 0.9, 0, 1),
    workload: (given.get("workload") ?? "A").toUpperCase(),
    records: whole("records", 65536, 1, 1e9),
    recordBytes: Math.max(lineBytes, bytes("record", 1024)),
    theta: number("theta", 0.99, 0.01, 0.9999),
    flush: number("flush", 0, 0, 1) === 1,
    warehouses: whole("warehouses", 4, 1, 10000),
    chunkBytes: Math.max(lineBytes, bytes("chunk", 4096)),
  };
  if (!"ABCDEF".includes(settings.workload) || settings.workload.length !== 1) {
    throw usage(`synthetic trace: there is no YCSB workload ${settings.workload}`, "A, B, C, D, E or F");
  }
  return { name, settings };
}

interface Pending {
  readonly times: Float64Array<ArrayBuffer>;
  readonly addresses: Float64Array<ArrayBuffer>;
  readonly ops: Uint8Array<ArrayBuffer>;
  head: number;
  count: number;
  clock: number;
}

/** Most accesses that one call of a generator makes. */
const BURST = 8192;

/** A synthetic trace: streams of all hosts and threads, merged by time. */
export class SyntheticSource implements TraceSource {
  readonly #settings: SyntheticSettings;
  readonly #generators: readonly { readonly host: number; readonly thread: number; readonly make: Generator }[];
  readonly #pending: readonly Pending[];
  #made = 0;

  /**
   * Parses the spelling.
   *
   * @throws {BusbarError} `usage`, see {@linkcode parseSynthetic}
   */
  constructor(text: string) {
    const { name, settings } = parseSynthetic(text);
    this.#settings = settings;
    const streams = Array.from({ length: settings.hosts * settings.threads }, (_, i) => i);
    const factory = GENERATORS[name];
    if (factory === undefined) throw usage(`there is no synthetic trace '${name}'`, SYNTHETIC_NAMES.join(", "));
    this.#generators = streams.map((i) => {
      const host = Math.floor(i / settings.threads);
      const thread = i % settings.threads;
      return { host, thread, make: factory(settings, new RandomStream(settings.seed + 7919 * i), host, thread) };
    });
    this.#pending = streams.map(() => ({
      times: new Float64Array(BURST),
      addresses: new Float64Array(BURST),
      ops: new Uint8Array(BURST),
      head: 0,
      count: 0,
      clock: 0,
    }));
  }

  /** {@inheritDoc TraceSource.read} */
  read(batch: AccessBatch): number {
    batch.count = 0;
    while (!batch.full && this.#made < this.#settings.count) {
      let best = -1;
      let bestTime = Infinity;
      for (const [i, pending] of this.#pending.entries()) {
        if (pending.head === pending.count) this.#refill(i, pending);
        const time = pending.times[pending.head] as number;
        if (time < bestTime) [best, bestTime] = [i, time];
      }
      const pending = this.#pending[best] as Pending;
      const { host, thread } = this.#generators[best] as { host: number; thread: number };
      const at = pending.head++;
      batch.append(
        bestTime,
        host,
        thread,
        pending.ops[at] as number,
        pending.addresses[at] as number,
        this.#settings.lineBytes,
      );
      this.#made++;
    }
    return batch.count;
  }

  #refill(i: number, pending: Pending): void {
    const generator = this.#generators[i];
    if (generator === undefined) return;
    pending.head = 0;
    pending.count = 0;
    while (pending.count === 0) {
      generator.make(
        (_host, _thread, op, address, gapTicks) => {
          const at = pending.count++;
          pending.clock += gapTicks;
          pending.times[at] = pending.clock;
          pending.addresses[at] = address;
          pending.ops[at] = op;
        },
        generator.host,
        generator.thread,
      );
    }
  }
}
