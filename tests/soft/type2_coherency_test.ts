/** The coherency engine: against a plain oracle, and the one in C against the one in TypeScript. */

import { assert, assertEquals, assertThrows } from "@std/assert";

import { SoftCoherency } from "../../ffi/soft_type2.ts";
import { BusbarError } from "../../src/core/error.ts";
import {
  CoherencyEngine,
  type Domain,
  DOMAINS,
  parseTrace,
  type Request,
  REQUESTS,
  RESPONSES,
} from "../../src/type2/coherency.ts";
import { withType2Libraries } from "./type2_device.ts";

withType2Libraries();

const STATES = ["I", "S", "E", "M"] as const;

/**
 * A plain oracle: each domain has a copy of its own with a state, and a version of the data. It knows no entries and no
 * owner: what a line is follows from the copies.
 */
class Oracle {
  readonly copies = new Map<Domain, { state: "S" | "E" | "M"; version: number }>();
  memory = 0;
  newest = 0;

  #invalidate(others: (domain: Domain) => boolean, write: boolean): void {
    for (const [domain, copy] of [...this.copies]) {
      if (!others(domain)) continue;
      if (copy.state === "M" && write) this.memory = copy.version;
      this.copies.delete(domain);
    }
  }

  request(d: Domain, request: Request): void {
    const own = this.copies.get(d);
    const read = (state: "S" | "E"): void => {
      this.copies.set(d, { state, version: this.memory });
    };
    switch (request) {
      case "RD_ANY":
        return this.request(d, this.copies.size === 0 ? "RD_OWN" : "RD_SHARED");
      case "RD_SHARED":
        if (own !== undefined) return;
        for (const copy of this.copies.values()) {
          if (copy.state === "M") this.memory = copy.version;
          copy.state = "S";
        }
        return read("S");
      case "RD_OWN":
        if (own?.state === "M") return;
        this.#invalidate((one) => one !== d, true);
        return read("E");
      case "WR_INV":
        this.#invalidate((one) => one !== d, true);
        this.copies.set(d, { state: "M", version: ++this.newest });
        return;
      case "WR_CUR":
        this.#invalidate(() => true, false);
        this.memory = ++this.newest;
        return;
      case "CLR_DEV_CACHE":
        return this.#invalidate((one) => one === "GPU", true);
      case "CLEAN_EVICT":
      case "DIRTY_EVICT":
        return this.#invalidate((one) => one === d, true);
    }
  }

  /** Every copy is the last value written, and so is memory where nobody has a modified one. */
  check(): void {
    const modified = [...this.copies.values()].filter((copy) => copy.state === "M");
    for (const copy of this.copies.values()) assertEquals(copy.version, this.newest);
    if (modified.length === 0) assertEquals(this.memory, this.newest);
    if ([...this.copies.values()].some((copy) => copy.state !== "S")) assertEquals(this.copies.size, 1);
  }

  /** As the engine has it: after CLR_DEV_CACHE and evictions what is left is S. */
  get state(): string {
    return [...this.copies.keys()].toSorted().join(",");
  }
}

Deno.test("every sequence of length 4 over 2 lines, 2 domains and all requests: an oracle of copies agrees, invariants hold", () => {
  const steps: { domain: Domain; request: Request; line: bigint }[] = [];
  for (const domain of ["CPU", "GPU"] as const) {
    for (const request of REQUESTS) for (const line of [0n, 1n]) steps.push({ domain, request, line });
  }
  let sequences = 0;
  for (const a of steps) {
    for (const b of steps) {
      for (const c of steps) {
        for (const d of steps) {
          // Sequences that only exchange the two lines are the same.
          if (a.line === 1n) continue;
          sequences++;
          const engine = new CoherencyEngine(2);
          const oracles = [new Oracle(), new Oracle()] as const;
          for (const { domain, request, line } of [a, b, c, d]) {
            engine.request(domain, request, line);
            oracles[line === 0n ? 0 : 1].request(domain, request);
          }
          for (const [line, oracle] of oracles.entries()) {
            const holders = engine.lines.get(BigInt(line))?.holders ?? new Set();
            if ([...holders].toSorted().join(",") !== oracle.state) {
              throw new Error(`${JSON.stringify([a, b, c, d], (_, v) => typeof v === "bigint" ? Number(v) : v)}`);
            }
            const copy = [...oracle.copies.values()][0];
            const state = engine.lines.get(BigInt(line))?.state;
            assertEquals(state === "M", copy?.state === "M");
            oracle.check();
          }
          if (engine.broken() !== null) throw new Error(engine.broken() ?? "");
        }
      }
    }
  }
  assertEquals(sequences, 16 * 32 ** 3);
});

Deno.test("the worked example: counters of four requests to a line", () => {
  const engine = new CoherencyEngine();
  assertEquals(engine.request("GPU", "WR_INV", 0n), "M");
  assertEquals(engine.request("CPU", "RD_SHARED", 0n), "S");
  assertEquals(engine.request("CPU", "WR_INV", 0n), "M");
  assertEquals(engine.request("GPU", "CLEAN_EVICT", 0n), "I");
  assertEquals(engine.counters, {
    requests: 4,
    misses: 1,
    hits: 3,
    backInvalidations: 1,
    writebacks: 1,
    upgrades: 1,
    downgrades: 1,
    evictions: 0,
  });
  assertEquals(engine.lines.size, 1);
});

Deno.test("10^6 random requests: C gives the same responses, states and counters; the filter's limit holds", () => {
  const count = 1_000_000, filter = 64;
  using fast = new SoftCoherency(filter);
  const clear = new CoherencyEngine(filter);
  const requests = new Uint16Array(count);
  const lines = new BigUint64Array(count);
  let state = 1;
  const random = (): number => (state = Math.imul(state, 1664525) + 1013904223 >>> 0) >>> 8;
  for (let i = 0; i < count; i++) {
    requests[i] = (random() & 3) << 8 | random() & 7;
    lines[i] = BigInt(random() % 100) * ((random() & 1) === 0 ? 1n : 0x1_0000_0001n);
  }
  const responses = fast.run(requests, lines);
  let most = 0;
  for (let i = 0; i < count; i++) {
    const request = requests[i] ?? 0;
    const response = clear.request(DOMAINS[request >> 8] ?? "CPU", REQUESTS[request & 255] ?? "RD_ANY", lines[i] ?? 0n);
    if (RESPONSES[responses[i] ?? 0] !== response) throw new Error(`request ${i}`);
    most = Math.max(most, clear.lines.size);
  }
  assertEquals(most, filter);
  const c = clear.counters;
  const wanted = [
    c.requests,
    c.hits,
    c.misses,
    c.backInvalidations,
    c.writebacks,
    c.evictions,
    c.upgrades,
    c.downgrades,
    clear.lines.size,
    filter,
  ];
  assertEquals([...fast.counters().slice(0, 10)].map(Number), wanted);
  for (const [line, entry] of clear.lines) {
    const packed = fast.line(line);
    assertEquals(STATES[packed >> 16], entry.state);
    assertEquals(DOMAINS.filter((_, i) => (packed >> i & 1) !== 0), DOMAINS.filter((one) => entry.holders.has(one)));
  }
  assertEquals(clear.broken(), null);
});

Deno.test("a range is one request for each line that it touches", () => {
  const engine = new CoherencyEngine();
  assertEquals(engine.range("GPU", "RD_SHARED", 60n, 8n), ["S", "S"]);
  assertEquals(engine.range("GPU", "RD_SHARED", 0n, 0n), []);
  assertEquals(engine.counters.requests, 2);
});

Deno.test("a trace is read whole, or refused with its line", () => {
  assertEquals(parseTrace("gpu wr_inv 0x40 64 # remark\n\nCPU RD_ANY 0 1\n").length, 2);
  for (const bad of ["GPU", "GPU WR_INV x 64", "NPU WR_INV 0 64", "GPU WR_INV 0 64 9", "GPU WR_INV 0 99999999999"]) {
    assert(assertThrows(() => parseTrace(`CPU RD_ANY 0 1\n${bad}`), BusbarError, "line 2").hint !== null);
  }
});
