import { assert, assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { rowsSchema, rowsToJson } from "../../src/core/layout_json.ts";
import { buildCcb, ccbField, decodeCcb, decodeCompletion } from "../../src/oradax/ccb.ts";
import { CCB_LAYOUTS } from "../../src/oradax/ccb_tables.ts";
import type { Ccb, CcbData } from "../../src/oradax/ccb_command.ts";
import { brokenRules, type RuleName } from "../../src/oradax/rules.ts";
import { Random } from "./random.ts";
import { schemaErrors } from "./schema.ts";

const IN = 0x10000n;
const SEC = 0x20000n;
const OUT = 0x30000n;
const TBL = 0x40000n;
const bytes = (size: number, length: number): CcbData["primary"] => ({
  address: IN,
  format: "bytes",
  elementSize: size,
  length,
});

/** The worked examples of the digest, section 4, as commands, and their words 0, 3, 5 and 8. */
// deno-fmt-ignore: one line each
const EXAMPLES: readonly (readonly [name: string, ccb: Ccb, word0: string, word3: string, word5?: string, word8?: string])[] = [
  ["E1", { command: "extract", primary: bytes(3, 2), output: { address: OUT, format: "bytes4", padLeft: true } }, "0001030c01000a00", "0000000000000001"],
  ["E3", { command: "extract", primary: bytes(3, 2), output: { address: OUT, format: "bytes2" } }, "0001030c01000400", "0000000000000001"],
  ["E4", { command: "extract", primary: { address: IN, format: "bits", elementSize: 5, startBit: 3, length: 15, unit: "bits" }, output: { address: OUT, format: "bytes1" } }, "0001030c12300000", "000000000200000e"],
  ["E6", { command: "extract", primary: { address: IN, format: "bytesRuns", elementSize: 1, length: 3 }, secondary: { address: SEC, elementBits: 4 }, output: { address: OUT, format: "bytes1" } }, "0001036c40008000", "0000000000000002"],
  ["E7", { command: "extract", primary: { address: IN, format: "variable", elementSize: 1, length: 3 }, secondary: { address: SEC, elementBits: 2 }, output: { address: OUT, format: "bytes4", padLeft: true } }, "0001036c20004a00", "0000000000000002"],
  ["S1", { command: "scanValue", primary: { address: IN, format: "bits", elementSize: 1, length: 12, unit: "bits" }, first: { value: 0n }, output: { address: OUT, format: "bits" } }, "0002030c1000201f", "000000000200000b", "0000000000000000"],
  ["S2", { command: "scanValue", primary: bytes(2, 5), first: { value: 7n, sizeBytes: 2 }, second: { value: 0xffffn }, output: { address: OUT, format: "index2" } }, "0002030c00803421", "0000000000000004", "00070000ffff0000"],
  ["S4", { command: "scanRange", invert: true, primary: { ...bytes(1, 5), unit: "bytes" }, first: { value: 0x40n }, second: { value: 0x20n }, output: { address: OUT, format: "bits" } }, "0013030c00002000", "0000000001000004", "4000000020000000"],
  ["S5", { command: "scanRange", primary: { ...bytes(1, 5), unit: "bytes" }, second: { value: 0x30n }, output: { address: OUT, format: "index4" } }, "0003030c00003be0", "0000000001000004", "0000000030000000"],
  ["S6", { command: "scanValue", primary: bytes(8, 2), first: { value: 0x1122334455667789n }, output: { address: OUT, format: "bits" } }, "0402030c038020ff", "0000000000000001", "1122334400000000", "5566778900000000"],
  ["T3", { command: "translate", test: 0x101, primary: { ...bytes(3, 9), unit: "bytes" }, table: { address: TBL, version: 0 }, output: { address: OUT, format: "bits" } }, "00041b0c01002101", "0000000001000008"],
  ["L1", { command: "select", primary: { address: IN, format: "bits", elementSize: 4, length: 6 }, secondary: { address: SEC, startBit: 1 }, output: { address: OUT, format: "bytes2", padLeft: true } }, "0005036c11810600", "0000000000000005"],
  ["Z1", { command: "extract", primary: { address: IN, format: "bytesCompressed", elementSize: 1, length: 10, unit: "bits" }, table: { address: TBL, version: 1 }, output: { address: OUT, format: "bytes1" } }, "10011b0c80000000", "0000000002000009"],
  ["no-op", { command: "noop" }, "0000000000000000", "0000000000000000"],
  ["sync", { command: "sync" }, "0000000080000000", "0000000000000000"],
];

Deno.test("built CCBs have the words of the digest's worked examples", () => {
  for (const [name, ccb, word0, word3, word5, word8] of EXAMPLES) {
    const built = buildCcb(ccb);
    const word = (index: number): string => built.subarray(8 * index, 8 * index + 8).toHex();
    assertEquals([word(0), word(3)], [word0, word3], name);
    if (word5 !== undefined) assertEquals(word(5), word5, name);
    if (word8 !== undefined) assertEquals(word(8), word8, name);
    assertEquals(built.length, word8 === undefined ? 64 : 128, name);
    if (!("primary" in ccb)) continue;
    assertEquals(word(2), "0000000000010000", name);
    assertEquals(word(6), "0000000000030000", name);
    assertEquals(word(4), ccb.secondary === undefined ? "0000000000000000" : "0000000000020000", name);
    assertEquals(word(7), ccb.table === undefined ? "0000000000000000" : `000000000004000${ccb.table.version}`, name);
  }
});

Deno.test("flow control, order flags and the pipeline target land in their bits", () => {
  const ccb = buildCcb({
    command: "extract",
    serial: true,
    conditional: true,
    pipeline: true,
    pipelineTarget: "secondary",
    version: 1,
    primary: bytes(1, 1),
    output: { address: OUT, format: "bytes1", limitBytes: 128 },
  });
  assertEquals(ccb.subarray(0, 2).toHex(), "1b01");
  assertEquals(ccb.subarray(24, 32).toHex(), "5000010000000000");
  assertEquals(ccbField(ccb, "access", "output_size"), 1n);
});

const GOOD: Ccb = { command: "extract", primary: bytes(1, 8), output: { address: OUT, format: "bytes1" } };
const SCAN: Ccb = { ...GOOD, command: "scanValue", first: { value: 1n }, output: { address: OUT, format: "bits" } };
const RUNS: Ccb = { ...GOOD, primary: { ...bytes(1, 8), format: "bytesRuns" } };
const LOOK: Ccb = {
  command: "translate",
  primary: { ...bytes(1, 8), unit: "bytes" },
  table: { address: TBL, version: 0 },
  output: { address: OUT, format: "bits" },
};

Deno.test("each rule is broken by a command that breaks nothing else, and named by the builder", () => {
  const pages = { dax: 2, pageBytesAt: (address: bigint) => address === 0x9000n ? null : 8192 } as const;
  const broken: readonly (readonly [RuleName, Ccb, { dax?: 1 | 2 } | null])[] = [
    ["version", { ...GOOD, version: 1 }, { dax: 1 }],
    ["pipeline", { ...GOOD, pipeline: true }, { dax: 1 }],
    ["element-size", { ...GOOD, primary: bytes(17, 8) }, null],
    ["element-size", { ...GOOD, version: 0, primary: { ...bytes(1, 8), format: "bits", elementSize: 16 } }, null],
    ["element-size", { ...LOOK, primary: { ...bytes(4, 8), unit: "bytes" } }, null],
    ["start-bit", { ...GOOD, primary: { ...bytes(1, 8), startBit: 1 } }, null],
    ["length", { ...GOOD, primary: bytes(1, 0) }, null],
    ["length", { ...LOOK, primary: bytes(1, 8) }, null],
    ["secondary", RUNS, null],
    ["secondary", { ...GOOD, secondary: { address: SEC } }, null],
    ["format", { ...RUNS, command: "select", secondary: { address: SEC } }, null],
    ["selection-vector", { ...GOOD, command: "select", secondary: { address: SEC, elementBits: 2 } }, null],
    ["output-format", { ...GOOD, output: { address: OUT, format: "bits" } }, null],
    ["output-alignment", { ...GOOD, output: { address: OUT + 32n, format: "bytes1" } }, null],
    ["output-limit", { ...GOOD, output: { address: OUT, format: "bytes1", limitBytes: 65 } }, null],
    ["table", { ...GOOD, table: { address: TBL, version: 0 } }, null],
    ["table-alignment", { ...LOOK, table: { address: TBL + 16n, version: 0 } }, null],
    ["operands", { ...SCAN, first: { value: 256n, sizeBytes: 1 } }, null],
    ["operands", { ...SCAN, first: { value: 1n, sizeBytes: 16 } }, null],
    ["test-value", { ...LOOK, test: 512 }, null],
    ["memory", { ...GOOD, primary: { ...bytes(1, 8), address: 0x9000n } }, pages],
    ["one-page", { ...GOOD, primary: { ...bytes(1, 8), address: IN + 8185n } }, pages],
    ["one-page", { ...GOOD, primary: bytes(1, 100), output: { address: OUT + 8128n, format: "bytes1" } }, pages],
  ];
  for (const [rule, ccb, where] of broken) {
    assertEquals(brokenRules(ccb, where ?? {}).map((one) => one.rule), [rule], JSON.stringify(rule));
    assertThrows(() => buildCcb(ccb, where ?? {}), BusbarError, `(rule ${rule})`);
  }
  for (const ccb of [GOOD, SCAN, LOOK]) assertEquals(brokenRules(ccb, pages), []);
});

Deno.test("a stream that ends with its page keeps the rules", () => {
  const pages = { pageBytesAt: (): number => 8192 };
  const primary = { ...bytes(1, 8), address: IN + 8184n };
  assertEquals(brokenRules({ ...GOOD, primary }, pages), []);
  assertEquals(brokenRules({ ...GOOD, primary: { ...primary, length: 9 } }, pages).map((one) => one.rule), [
    "one-page",
  ]);
});

Deno.test("any bytes decode to words and to JSON that the schema takes", () => {
  const random = new Random("decode CCB");
  const schemas = new Map(
    Object.values(CCB_LAYOUTS).flatMap(({ short, long }) => [short, long]).map((one) => [one, rowsSchema(one.rows)]),
  );
  for (let i = 0; i < 500; i++) {
    const ccb = random.bytes(random.pick([0, 1, 63, 64, 100, 128]));
    const decoded = decodeCcb(ccb);
    assert(decoded.command.length > 0);
    assertEquals(schemaErrors(schemas.get(decoded.layout), rowsToJson(decoded.rows)), "");
    decodeCompletion(random.bytes(random.pick([0, 32, 128])));
  }
});

Deno.test("a CCB is explained in words", () => {
  const decoded = decodeCcb(buildCcb(LOOK));
  assertEquals(decoded.command, "translate");
  assertEquals(decodeCcb(Uint8Array.of(0, 0x99)).command, "opcode 99, which is not defined");
  assertEquals(decodeCcb(buildCcb({ command: "sync" })).command, "sync");
});
