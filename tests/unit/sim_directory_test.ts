import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";

import {
  barrierTicks,
  broadcastTicks,
  contentionTicks,
  Directory,
  snoopTicks,
  State,
} from "../../src/sim/coherence/directory.ts";
import { IncoherentMemory } from "../../src/sim/coherence/incoherent.ts";

const COST = { L: 150, oS: 20, oR: 20, g: 4 };
const NS = 1024;

Deno.test("point to point is oS + L + oR = 190 ns; a snoop of 4 hosts is 20 + 3·4 + 150 + 20 = 202 ns", () => {
  assertEquals(snoopTicks(COST, 1), 190 * NS);
  assertEquals(snoopTicks(COST, 4), 202 * NS);
  assertEquals(snoopTicks(COST, 0), 0);
});

Deno.test("a broadcast to 5 hosts takes ⌈log2 5⌉ = 3 messages of 190 ns, a barrier twice that", () => {
  assertEquals(broadcastTicks(COST, 5), 3 * 190 * NS);
  assertEquals(broadcastTicks(COST, 1), 0);
  assertEquals(barrierTicks(COST, 5), 6 * 190 * NS);
});

Deno.test("contention of two hosts with half a line each adds base·(1/0.5 − 1)·0.3; capped at five times the base", () => {
  assertEquals(contentionTicks(1000, 0.5), 300);
  assertEquals(contentionTicks(1000, 0.01), 5000);
  assertEquals(contentionTicks(1000, 1), 0);
});

function directory(moesi = false, capacity = Infinity, grantExclusive = true): Directory {
  return new Directory(COST, moesi, grantExclusive, capacity, null);
}

Deno.test("each row of the table of requests: cost beyond the path, next state, counters", () => {
  const d = directory();
  assertEquals([d.read(0, 1), d.look(1)], [0, { state: State.E, owner: 0, sharers: 1 }], "read I");
  assertEquals([d.read(0, 1), d.look(1).state], [0, State.E], "read E by its owner");
  assertEquals([d.read(1, 1), d.look(1)], [190 * NS, { state: State.S, owner: -1, sharers: 3 }], "read E of another");
  assertEquals([d.read(2, 1), d.look(1).sharers], [0, 7], "read S");
  assertEquals(
    [d.write(2, 1), d.look(1)],
    [194 * NS, { state: State.M, owner: 2, sharers: 4 }],
    "write S of 3: 20+4+150+20",
  );
  assertEquals([d.write(2, 1), d.look(1).state], [0, State.M], "write M by its owner");
  assertEquals([d.read(0, 1), d.look(1).sharers], [190 * NS, 5], "read M of another: written back");
  assertEquals([d.write(1, 1), d.look(1).owner], [194 * NS, 1], "write S of two others");
  assertEquals([d.write(0, 1), d.look(1).owner], [190 * NS, 0], "write M of another");
  assertEquals([d.atomic(3, 1), d.look(1).owner], [(190 + 40) * NS, 3], "atomic: as a write, and oS + oR");
  assertEquals([d.evict(3, 1), d.look(1).state], [true, State.I], "evict dirty");
  assertEquals(d.counters, {
    snoops: 2,
    writebacks: 4,
    backInvalidates: 2 + 2 + 1 + 1,
    upgrades: 1,
    atomics: 1,
    evictions: 1,
    filterEvictions: 0,
  });
});

Deno.test("MOESI: the owner of a modified line keeps it and forwards, and writes back when it is evicted", () => {
  const d = directory(true);
  d.write(0, 9);
  assertEquals([d.read(1, 9), d.look(9)], [190 * NS, { state: State.O, owner: 0, sharers: 3 }]);
  assertEquals(d.counters.writebacks, 0);
  assertEquals([d.read(1, 9), d.look(9).state], [0, State.O]);
  assertEquals([d.evict(0, 9), d.look(9)], [true, { state: State.S, owner: -1, sharers: 2 }]);
  assertEquals(d.counters.writebacks, 1);
});

Deno.test("a full snoop filter back-invalidates its least recently used line at all its holders", () => {
  const dropped: [number, number][] = [];
  const d = new Directory(COST, false, true, 2, { drop: (host, line) => void dropped.push([host, line]) });
  d.write(0, 1);
  d.read(0, 2);
  d.read(1, 2);
  d.read(0, 1);
  d.read(3, 3);
  assertEquals(dropped, [[0, 2], [1, 2]]);
  assertEquals([d.counters.filterEvictions, d.counters.backInvalidates, d.counters.writebacks, d.lines], [1, 2, 0, 2]);
  d.read(3, 4);
  assertEquals([d.counters.filterEvictions, d.counters.writebacks], [2, 1], "a dirty one is written back");
});

// The second directory: the table once more, with plain objects.
interface SlowLine {
  state: string;
  owner: number | null;
  holders: Set<number>;
  used: number;
}

class SlowDirectory {
  readonly lines = new Map<number, SlowLine>();
  readonly counters = {
    snoops: 0,
    writebacks: 0,
    backInvalidates: 0,
    upgrades: 0,
    atomics: 0,
    evictions: 0,
    filterEvictions: 0,
  };
  #clock = 0;
  readonly moesi: boolean;
  readonly exclusive: boolean;
  readonly capacity: number;
  constructor(moesi: boolean, exclusive: boolean, capacity: number) {
    this.moesi = moesi;
    this.exclusive = exclusive;
    this.capacity = capacity;
  }

  line(number: number): SlowLine {
    let line = this.lines.get(number);
    if (line === undefined) {
      if (this.lines.size >= this.capacity) {
        const [oldest, old] = [...this.lines].sort(([, a], [, b]) => a.used - b.used)[0] as [number, SlowLine];
        this.counters.filterEvictions++;
        this.counters.backInvalidates += old.holders.size;
        if (old.state === "M" || old.state === "O") this.counters.writebacks++;
        this.lines.delete(oldest);
      }
      line = { state: "I", owner: null, holders: new Set(), used: 0 };
      this.lines.set(number, line);
    }
    line.used = ++this.#clock;
    return line;
  }

  snoop(hosts: number): number {
    return hosts === 0 ? 0 : 20 + 4 * (hosts - 1) + 150 + 20;
  }

  read(host: number, number: number): number {
    const line = this.line(number);
    switch (line.state) {
      case "I":
        [line.state, line.owner] = this.exclusive ? ["E", host] : ["S", null];
        line.holders.add(host);
        return 0;
      case "S":
        line.holders.add(host);
        return 0;
      default:
        if (line.owner === host || line.holders.has(host)) return 0;
        this.counters.snoops++;
        line.holders.add(host);
        if (this.moesi && line.state !== "E") line.state = "O";
        else {
          if (line.state === "M") this.counters.writebacks++;
          [line.state, line.owner] = ["S", null];
        }
        return this.snoop(1);
    }
  }

  write(host: number, number: number): number {
    const line = this.line(number);
    const others = [...line.holders].filter((one) => one !== host);
    if ((line.state === "S" || (line.state === "O" && others.length === 0)) && line.holders.has(host)) {
      this.counters.upgrades++;
    }
    this.counters.backInvalidates += others.length;
    if (others.length > 0 && line.owner !== host && (line.state === "M" || line.state === "O")) {
      this.counters.writebacks++;
    }
    Object.assign(line, { state: "M", owner: host, holders: new Set([host]) });
    return this.snoop(others.length);
  }

  evict(host: number, number: number): void {
    const line = this.lines.get(number);
    if (line === undefined || !line.holders.delete(host)) return;
    this.counters.evictions++;
    if (line.owner === host) {
      if (line.state === "M" || line.state === "O") this.counters.writebacks++;
      [line.state, line.owner] = ["S", null];
    }
    if (line.holders.size === 0) this.lines.delete(number);
  }
}

const requests = fc.record({
  hosts: fc.integer({ min: 2, max: 8 }),
  moesi: fc.boolean(),
  exclusive: fc.boolean(),
  capacity: fc.constantFrom(Infinity, 1, 3),
  list: fc.array(
    fc.record({ host: fc.nat(7), line: fc.nat(5), what: fc.constantFrom("read", "read", "write", "atomic", "evict") }),
    { maxLength: 80 },
  ),
});

Deno.test("a second directory made of plain objects has equal states, costs and counters on 1,000 random streams", () => {
  fc.assert(
    fc.property(requests, ({ hosts, moesi, exclusive, capacity, list }) => {
      const fast = directory(moesi, capacity, exclusive);
      const slow = new SlowDirectory(moesi, exclusive, capacity);
      for (const { host: number, line, what } of list) {
        const host = number % hosts;
        if (what === "evict") {
          fast.evict(host, line);
          slow.evict(host, line);
        } else if (what === "atomic") {
          slow.counters.atomics++;
          assertEquals(fast.atomic(host, line), (slow.write(host, line) + 40) * NS);
        } else {assertEquals(
            fast[what as "read" | "write"](host, line),
            slow[what as "read" | "write"](host, line) * NS,
          );}
        assertEquals(fast.counters, slow.counters);
        for (let one = 0; one <= 5; one++) {
          const seen = fast.look(one);
          const expected = slow.lines.get(one);
          const holders = [...Array(8).keys()].filter((h) => (seen.sharers >>> h & 1) === 1);
          assertEquals("ISEMO"[seen.state], expected?.state ?? "I");
          assertEquals(holders, [...expected?.holders ?? []].sort());
          if (seen.state !== State.S && seen.state !== State.I) assertEquals(seen.owner, expected?.owner);
          // Single writer, multiple readers.
          if (seen.state === State.E || seen.state === State.M) assertEquals(holders, [seen.owner]);
        }
      }
    }),
    { numRuns: 1000, seed: 7 },
  );
});

Deno.test("coherent: every read returns the last write, with hosts that keep copies until they are taken back", () => {
  fc.assert(
    fc.property(requests, ({ hosts, moesi, exclusive, capacity, list }) => {
      const memory = new Map<number, number>();
      const copies = Array.from({ length: hosts }, () => new Map<number, { value: number; dirty: boolean }>());
      const writeBack = (host: number, line: number): void => {
        const copy = copies[host]?.get(line);
        if (copy?.dirty) memory.set(line, copy.value);
      };
      const d = new Directory(COST, moesi, exclusive, capacity, {
        drop: (host, line) => {
          writeBack(host, line);
          copies[host]?.delete(line);
        },
      });
      const last = new Map<number, number>();
      let written = 0;
      for (const { host: number, line, what } of list) {
        const host = number % hosts;
        if (what === "evict") {
          if (d.evict(host, line)) writeBack(host, line);
          copies[host]?.delete(line);
        } else if (what === "read") {
          const before = d.look(line);
          d.read(host, line);
          if (copies[host]?.has(line) !== true) {
            const owned = copies[before.owner]?.get(line);
            if (owned?.dirty && !moesi) {
              memory.set(line, owned.value);
              owned.dirty = false;
            }
            copies[host]?.set(line, { value: owned?.value ?? memory.get(line) ?? 0, dirty: false });
          }
          assertEquals(copies[host]?.get(line)?.value, last.get(line) ?? 0);
        } else {
          d.write(host, line);
          copies[host]?.set(line, { value: ++written, dirty: true });
          last.set(line, written);
        }
      }
    }),
    { numRuns: 300, seed: 8 },
  );
});

Deno.test("without coherence a read is stale until the writer has flushed and the reader has invalidated", () => {
  const m = new IncoherentMemory();
  assertEquals(m.read(1, 5), 0);
  const first = m.write(0, 5);
  assertEquals([m.read(1, 5), m.counters.staleReads], [0, 1]);
  m.flush(0, 5);
  assertEquals([m.read(1, 5), m.counters.staleReads], [0, 2], "flushed, but the reader keeps its old copy");
  m.invalidate(1, 5);
  assertEquals([m.read(1, 5), m.counters.staleReads], [first, 2]);
  m.write(0, 5);
  m.invalidate(0, 5);
  assertEquals(m.counters.lostWrites, 1);
});

Deno.test("software coherence, a flush after every write and an invalidate before every read, never reads stale data", () => {
  const step = fc.record({ host: fc.nat(3), line: fc.nat(3), write: fc.boolean() });
  let unprotected = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const careful = new IncoherentMemory();
      const careless = new IncoherentMemory();
      const last = new Map<number, number>();
      for (const { host, line, write } of steps) {
        if (write) {
          last.set(line, careful.write(host, line));
          careful.flush(host, line);
          careless.write(host, line);
        } else {
          careful.invalidate(host, line);
          assertEquals(careful.read(host, line), last.get(line) ?? 0);
          careless.read(host, line);
        }
      }
      assertEquals(careful.counters.staleReads, 0);
      unprotected += careless.counters.staleReads;
    }),
    { numRuns: 300, seed: 9 },
  );
  assert(unprotected > 100, `${unprotected} stale reads without it`);
});
