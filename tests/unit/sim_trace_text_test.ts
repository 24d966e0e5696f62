import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";

import { BusbarError } from "../../src/core/error.ts";
import { AccessBatch, DEPENDENT, Op } from "../../src/sim/trace/batch.ts";
import type { TraceOptions } from "../../src/sim/trace/format.ts";
import { formatByName, recogniseFormat, TEXT_FORMATS } from "../../src/sim/trace/formats.ts";
import { LINE_LIMIT, TextReader } from "../../src/sim/trace/text_reader.ts";
import { readCounters } from "../../src/sim/trace/counters.ts";
import { Random } from "./random.ts";

/** An entry as people write it: time in ns, host, thread, op, address, bytes. */
type Entry = readonly [timeNs: number, host: number, thread: number, op: number, address: number, bytes: number];

function entriesOf(batches: readonly AccessBatch[]): Entry[] {
  return batches.flatMap((batch) =>
    Array.from({ length: batch.count }, (_, i): Entry => [
      (batch.time[i] ?? 0) / 1024,
      batch.host[i] ?? 0,
      batch.thread[i] ?? 0,
      batch.op[i] ?? 0,
      batch.address[i] ?? 0,
      batch.bytes[i] ?? 0,
    ])
  );
}

function batchOf(entries: readonly Entry[]): AccessBatch {
  const batch = new AccessBatch(Math.max(1, entries.length));
  for (const [timeNs, host, thread, op, address, bytes] of entries) {
    batch.append(timeNs * 1024, host, thread, op, address, bytes);
  }
  return batch;
}

/** Reads a text as a file of a form, or of the form that it shows. */
function read(text: string, format: string | null = null, options: TraceOptions = {}): Entry[] {
  const reader = new TextReader("x.trace", format === null ? null : formatByName(format), options);
  return entriesOf([...reader.feed(new TextEncoder().encode(text)), ...reader.end()]);
}

function problemOf(text: string, format: string | null = null, options: TraceOptions = {}): BusbarError {
  return assertThrows(() => read(text, format, options), BusbarError);
}

Deno.test("CSV: every op, the sizes and flags that may be left out, decimal and hexadecimal, comments and blank lines", () => {
  const text = "# a comment\n\ntimeNs,host,op,address,bytes\n0,0,R,0x100000000,64\n" +
    "10.5,1,w,256\n11,0,A,0x40,8,3\n12,0,R,0x80,8,3,d\n13,0,P,0xc0,64,d\n14,2,F,0\n15,2,I,0,64\n16,0,B,0,0\n" +
    "17,0,M,0x7000,1048576\n18,0,U,0x7000\n";
  assertEquals(read(text), [
    [0, 0, 0, Op.Read, 0x1_0000_0000, 64],
    [10.5, 1, 0, Op.Write, 256, 64],
    [11, 0, 3, Op.Atomic, 0x40, 8],
    [12, 0, 3, Op.Read | DEPENDENT, 0x80, 8],
    [13, 0, 0, Op.Prefetch | DEPENDENT, 0xc0, 64],
    [14, 2, 0, Op.Flush, 0, 64],
    [15, 2, 0, Op.Invalidate, 0, 64],
    [16, 0, 0, Op.Barrier, 0, 0],
    [17, 0, 0, Op.Allocate, 0x7000, 0],
    [17, 0, 0, Op.Size, 1048576, 0],
    [18, 0, 0, Op.Free, 0x7000, 0],
  ]);
});

Deno.test("JSON lines say the same with names", () => {
  assertEquals(
    read(
      '{"timeNs":1,"host":2,"op":"R","address":"0x40","bytes":8,"thread":5,"flags":"d"}\n{"timeNs":2.5,"op":"W","address":128}\n',
    ),
    [[1, 2, 5, Op.Read | DEPENDENT, 0x40, 8], [2.5, 0, 0, Op.Write, 128, 64]],
  );
});

Deno.test("lackey: hexadecimal addresses, M is a read and a write, an instruction is 0.25 ns", () => {
  const text =
    "==12== Lackey\nI  04001090,3\n L 1ffe,8\nI  04001093,1\nI  04001094,2\n S 1fff000508,16\n M 20,4\n==12== end\n";
  assertEquals(read(text), [
    [0.25, 0, 0, Op.Read, 0x1ffe, 8],
    [0.75, 0, 0, Op.Write, 0x1f_ff00_0508, 16],
    [0.75, 0, 0, Op.Read, 0x20, 4],
    [0.75, 0, 0, Op.Write, 0x20, 4],
  ]);
  assertEquals(read(text, "lackey", { nsPerInstruction: 1, host: 3 })[1], [3, 3, 0, Op.Write, 0x1f_ff00_0508, 16]);
});

// Lines as perf 6.1 prints them: -F tid,time,event,addr,phys_addr,weight,data_src.
const PERF_LINES =
  "   1234  5000.100000001: cpu/mem-loads,ldlat=30/P:     7f0e8ea7c4b8         68100142 |OP LOAD|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No|BLK  N/A    7         1a2b3c4b8\n" +
  "   1235  5000.100000501:        cpu/mem-stores/P:     7f0e8ea7c500          5080022 |OP STORE|LVL L1 hit|SNP N/A|TLB N/A|LCK N/A|BLK  N/A    0         1a2b3c500\n";

Deno.test("perf script: threads, seconds since boot, loads and stores, physical addresses, the period", () => {
  assertEquals(read(PERF_LINES), [
    [0, 0, 0, Op.Read, 0x7f0e8ea7c4b8, 64],
    [500, 0, 1, Op.Write, 0x7f0e8ea7c500, 64],
  ]);
  assertEquals(read(PERF_LINES, "perf", { physical: true, period: 2 }).map((entry) => entry[4]), [
    0x1a2b3c4b8,
    0x1a2b3c4b8,
    0x1a2b3c500,
    0x1a2b3c500,
  ]);
  const fewer = "  77 12.000001: cpu/mem-loads/P: 1000\n";
  assertEquals(read(fewer, "perf", { fields: "tid,time,event,addr" }), [[0, 0, 0, Op.Read, 0x1000, 64]]);
  assertStringIncludes(
    problemOf(fewer, "perf").message,
    "x.trace:1: '77 12.000001: cpu/mem-loads/P: 1000' has not the columns",
  );
  assertStringIncludes(problemOf(fewer, "perf", { fields: "tid,nonsense" }).message, "'nonsense'");
});

Deno.test("gem5: with and without id, flags and program counter; a tick is 1 ps", () => {
  assertEquals(read("r,4096,64,1000\nw,4160,64,3000\nu,0,0,4000\n"), [
    [0, 0, 0, Op.Read, 4096, 64],
    [2, 0, 0, Op.Write, 4160, 64],
  ]);
  assertEquals(read("7,r,4096,8,256,1000,77\n7,w,4096,8,256,2000,77\n").map((entry) => entry[0]), [0, 1]);
  assertEquals(
    read("r,64,8,5,900\nr,64,8,6,901\n", "gem5", { fields: "cmd,addr,size,tick,pc", nsPerTick: 1 }).map((e) => e[0]),
    [0, 1],
  );
});

Deno.test("drmemtrace: each thread by itself, instructions are time, markers and disassembly are passed over", () => {
  const text = "Output format:\n<--record#-> <--instr#->: <---tid---> <record details>\n" + "-".repeat(60) + "\n" +
    "           1           0:       88888 <marker: version 6>\n" +
    "           2           1:       88888 ifetch       3 byte(s) @ 0x00007fc205a4d8c0 48 89 e7             mov    %rsp, %rdi\n" +
    "           3           2:       88888 ifetch       5 byte(s) @ 0x00007fc205a4d8c3 e8 f8 0c 00 00       call   $0x00007fc205a4e5c0\n" +
    "           4           2:       88888 write        8 byte(s) @ 0x00007ffd2a5e5c38 by PC 0x00007fc205a4d8c3\n" +
    "           5           3:       99999 ifetch       1 byte(s) @ 0x00007fc205a4e5c0 55                   push   %rbp\n" +
    "           6           3:       99999 read         4 byte(s) @ 0x0000000000001000 by PC 0x00007fc205a4e5c0\n" +
    "View tool results:\n";
  assertEquals(read(text), [
    [0.5, 0, 0, Op.Write, 0x7ffd2a5e5c38, 8],
    [0.75, 0, 1, Op.Read, 0x1000, 4],
  ]);
});

Deno.test("Ramulator 2, DRAMsim3 and allocation logs", () => {
  assertEquals(read("LD 0x40\nST 128\n", null, { gapNs: 5 }), [[0, 0, 0, Op.Read, 64, 64], [
    5,
    0,
    0,
    Op.Write,
    128,
    64,
  ]]);
  assertEquals(read("0x40 READ 3\n0x80 WRITE 10\n", null, { nsPerTick: 0.5 }), [
    [1.5, 0, 0, Op.Read, 64, 64],
    [5, 0, 0, Op.Write, 128, 64],
  ]);
  assertEquals(read("M 0x1000 4096\nU 0x1000 7.5 2\n"), [
    [0, 0, 0, Op.Allocate, 0x1000, 0],
    [0, 0, 0, Op.Size, 4096, 0],
    [7.5, 0, 2, Op.Free, 0x1000, 0],
  ]);
});

Deno.test("bad lines: the number of the line, what was found, and a hint", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["0,0,R,0,64\n1,0,X,0,64\n", "x.trace:2: op 'X' is unknown"],
    ["5,0,R,0,64\n4,0,R,0,64\n", "x.trace:2: time goes back for host 0: 4 ns after 5 ns"],
    ["5,0,R,0,64\n4,1,R,0,64\n3,1,R,0,64\n", "x.trace:3: time goes back for host 1"],
    ["0,0,R,0,64\n\n# c\n1,0,R\n", "x.trace:4: 3 fields"],
    ["0,0,R,0x10000000000000,64\n", "is not below 2^52"],
    ["0,0,R,0x20000000000000,64\n", "is no whole number below 2^53"],
    ["0,0,R,0,65536\n", "an access of 65536 bytes"],
    ["0,0,R,0,0\n", "an access of 0 bytes"],
    ["0,32,R,0,64\n", "host 32"],
    ["0,0,R,0,64,4096\n", "thread 4096"],
    ["0,0,R,0,64\nNaN,0,R,0,64\n", "time 'NaN' is no number"],
    ["0,0,R,0,64\n-1,0,R,0,64\n", "time '-1' is no number"],
    ["0,0,R,0,64\n1e300,0,R,0,64\n", "beyond 2.4 hours"],
    ["0,0,R,0,64\n1,0,M,0\n", "an allocation without its size"],
    ["0,0,R,0,64,0,q\n", "flags 'q' are unknown"],
    ['{"timeNs":0,"op":"R","address":0}\n{"timeNs":1,"op":"R"}\n', "x.trace:2: address is missing"],
    ['{"timeNs":0,"op":"R","address":0}\n{"timeNs":1,"op":"R","adress":1}\n', "field 'adress' is unknown"],
    ['{"timeNs":0,"op":"R","address":0}\n[1]\n', "is no JSON object"],
    [" L 1ffe,8\nHello from the program\n", "x.trace:2: 'Hello from the program' is no line of lackey"],
    ["r,1,8,5\nx,1,8,6\n", "x.trace:2"],
    ["LD 0x40\nXX 0x40\n", "x.trace:2"],
    ["0x40 READ 3\n0x40 READ\n", "x.trace:2"],
    ["M 0x1000 4096\nM 0x1000\n", "x.trace:2"],
    ["hello world\n", "x.trace:1: 'hello world' is of no form that is known"],
    ["\u0000\u0001\u001b[31m\n", "'???[31m' is of no form"],
    [`0,0,R,0,64\n${"1".repeat(LINE_LIMIT + 1)}\n`, `x.trace:2: more than ${LINE_LIMIT} characters`],
  ];
  for (const [text, part] of cases) {
    const { message, code } = problemOf(text);
    assertEquals(code, "malformed", message);
    assertStringIncludes(message, part);
  }
});

Deno.test("a line without end is refused before it fills the memory", () => {
  const reader = new TextReader("x", null, {});
  const chunk = new Uint8Array(4000).fill(0x31);
  reader.feed(chunk);
  const error = assertThrows(() => reader.feed(chunk), BusbarError);
  assertStringIncludes(error.message, "x:1: more than");
});

Deno.test("with a taker of problems, every wrong line is told and the rest is read", () => {
  const problems: string[] = [];
  const reader = new TextReader("x", null, {}, (problem) => problems.push(problem.message));
  const text = "0,0,R,0\nbad\n1,0,W,64\n2,0,Q,0\n0,0,R,0\n";
  const entries = entriesOf([...reader.feed(new TextEncoder().encode(text)), ...reader.end()]);
  assertEquals(entries.length, 2);
  assertEquals(problems.map((problem) => problem.slice(0, 3)), ["x:2", "x:4", "x:5"]);
});

/** Entries of one host and thread whose times are whole ns that go up, all reads and writes of a line. */
const plain = fc.array(
  fc.record({
    gap: fc.integer({ min: 0, max: 1000 }),
    write: fc.boolean(),
    address: fc.integer({ min: 1, max: 2 ** 52 / 64 - 1 }),
  }),
  { minLength: 1, maxLength: 50 },
).map((steps) => {
  let time = -(steps[0]?.gap ?? 0);
  return steps.map(({ gap, write, address }): Entry => {
    time += gap;
    return [time, 0, 0, write ? Op.Write : Op.Read, address * 64, 64];
  });
});

/** Whatever an entry may be, in several streams. */
const anything = fc.array(
  fc.record({
    gap: fc.integer({ min: 0, max: 1e9 }),
    host: fc.integer({ min: 0, max: 31 }),
    thread: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 4095 })),
    op: fc.integer({ min: 0, max: Op.Free }),
    dependent: fc.boolean(),
    address: fc.integer({ min: 0, max: 2 ** 52 - 1 }),
    bytes: fc.integer({ min: 1, max: 65535 }),
  }),
  { minLength: 1, maxLength: 50 },
).map((steps) => {
  let ticks = 0;
  return steps.flatMap(({ gap, host, thread, op, dependent, address, bytes }): Entry[] => {
    ticks += gap;
    const timeNs = ticks / 1024;
    if (op === Op.Allocate) {
      return [[timeNs, host, thread, op, address, 0], [timeNs, host, thread, Op.Size, bytes * 4096, 0]];
    }
    const event = op === Op.Free || op === Op.Barrier;
    return [[timeNs, host, thread, !event && dependent ? op | DEPENDENT : op, address, event ? 0 : bytes]];
  });
});

Deno.test("what CSV and JSON lines print, they read: every entry, exactly", () => {
  for (const name of ["csv", "jsonl"]) {
    const format = formatByName(name);
    assert(format !== null);
    fc.assert(
      fc.property(anything, (entries) => {
        const printer = format.printer({});
        assertEquals(read(printer.head + printer.print(batchOf(entries)), name), entries);
      }),
      { numRuns: 100, seed: 14 },
    );
  }
});

Deno.test("what every other form prints, it reads and recognises: reads and writes with their times where it has any", () => {
  const timeless = ["ramulator2"];
  for (const format of TEXT_FORMATS.filter((one) => one.name !== "alloc")) {
    fc.assert(
      fc.property(plain, (entries) => {
        const options = { nsPerInstruction: 1, nsPerTick: 1 };
        const printer = format.printer(options);
        const text = printer.head + printer.print(batchOf(entries));
        assertEquals(recogniseFormat(text.split("\n"))?.name, format.name);
        const expected = entries.map((entry) => timeless.includes(format.name) ? [0, ...entry.slice(1)] : entry);
        assertEquals<unknown>(read(text, format.name, options), expected);
      }),
      { numRuns: 50, seed: 14 },
    );
  }
});

Deno.test("random bytes and damaged lines end in an error or in entries, never in another exception", () => {
  const lines = [
    "0,0,R,0,64",
    '{"timeNs":0,"op":"R","address":0}',
    " L 1ffe,8",
    "r,1,8,5",
    "LD 0x40",
    "0x40 READ 3",
    "M 0x1000 4096",
    PERF_LINES.split("\n")[0] ?? "",
    "           2           1:       88888 ifetch       3 byte(s) @ 0x00007fc205a4d8c0 48",
  ];
  const random = new Random("sim_trace_text", 14);
  for (let run = 0; run < 3000; run++) {
    const text = Array.from({ length: random.below(6) }, () => {
      const line = random.pick(lines);
      const at = random.below(line.length);
      const insert = String.fromCharCode(...random.bytes(random.below(6)));
      return line.slice(0, at) + insert + line.slice(at + random.below(4));
    });
    const format = random.pick([null, ...TEXT_FORMATS.map((one) => one.name)]);
    try {
      read(text.join("\n"), format);
    } catch (error) {
      assert(error instanceof BusbarError && error.code === "malformed", `${text.join("\n")}: ${error}`);
    }
  }
});

Deno.test("however the bytes of a file are cut into pieces, it reads the same", () => {
  const text = new TextEncoder().encode("# \u00e4\u20ac\r\n0,0,R,0x40,8\r\n1,0,W,0x80,8\n2,0,R,0xc0");
  for (let piece = 1; piece < 20; piece++) {
    const reader = new TextReader("x", null, {});
    const batches: AccessBatch[] = [];
    for (let at = 0; at < text.length; at += piece) batches.push(...reader.feed(text.subarray(at, at + piece)));
    batches.push(...reader.end());
    assertEquals(entriesOf(batches).map((entry) => entry[4]), [0x40, 0x80, 0xc0]);
  }
});

Deno.test("counters: named columns in any order, shares of endpoints, errors by line", () => {
  const head = "stallCycles,llcHits,llcMisses,socketReads,socketWritebacks,r1,w1,r2";
  assertEquals(readCounters(`${head}\n# epoch 0\n40000000,60000,10000,20000,0,0.25,1,0.75\n`, "c.csv"), [{
    stallCycles: 4e7,
    llcHits: 60000,
    llcMisses: 10000,
    socketReads: 20000,
    socketWritebacks: 0,
    readShare: [0.25, 0.75],
    writeShare: [1],
  }]);
  const cases: readonly (readonly [string, string])[] = [
    ["", "holds no counters"],
    ["stallCycles,llcHits\n", "c.csv:1: column llcMisses is missing"],
    [`${head},r1\n`, "c.csv:1: column 'r1' stands there twice"],
    [`${head},x\n`, "column 'x' is unknown"],
    [`${head}\n1,2,3\n`, "c.csv:2: 3 fields"],
    [`${head}\n1,2,3,4,5,0.5,1,0.6\n`, "c.csv:2: the shares r1, … add up to 1.1"],
    [`${head}\n1,2,-3,4,5,0.5,1,0.5\n`, "c.csv:2: llcMisses '-3'"],
  ];
  for (const [text, part] of cases) {
    assertStringIncludes(assertThrows(() => readCounters(text, "c.csv"), BusbarError).message, part);
  }
});
