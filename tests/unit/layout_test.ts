import { assert, assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import {
  type BitField,
  bitField,
  decodeBytes,
  fieldOf,
  fieldPlace,
  type Layout,
  reservedMask,
  type Row,
  rowSizeBytes,
  trimmedText,
  uintRow,
  withField,
} from "../../src/core/layout.ts";
import { rowsSchema, rowsToJson } from "../../src/core/layout_json.ts";
import { textLines } from "../../src/core/layout_text.ts";
import { bytes, flag, listed, number, quantity, register, text } from "../../src/core/rows.ts";
import { decodeTable } from "../../src/core/decoded.ts";
import { FEATURE_CAPABILITIES, FEATURES } from "../../src/nvme/tables/features.ts";
import { NVME_PAGES } from "../../src/nvme/tables/pages.ts";
import { EXTENDED_TABLES, STANDARD_TABLES } from "../../src/pci/capability_tables.ts";
import { TYPE0_HEADER, TYPE1_HEADER } from "../../src/pci/config_space.ts";
import { NVME_REGISTERS } from "../../src/nvme/tables/registers.ts";
import { validator } from "./schema.ts";

const ROWS: readonly Row[] = [
  register("A", 0, 4, "Alpha", [flag("LOW", 0, "lowest"), number("MID", 15, 8, "middle")]),
  register("Q", 4, 8, "Quantity", undefined, { kind: "quantity" }),
  register("R", 12, 8, "Register"),
  register("B", 20, 3, "Big", undefined, { byteOrder: "big" }),
  { type: "text", name: "T", offset: 23, sizeBytes: 5, title: "Text" },
  { type: "bytes", name: "Y", offset: 28, sizeBytes: 4, title: "Bytes" },
  {
    type: "array",
    name: "E",
    offset: 32,
    count: 2,
    strideBytes: 4,
    title: "Elements",
    rows: [register("X", 2, 2, "Ex", undefined, { kind: "quantity" })],
  },
];

const BYTES = Uint8Array.fromHex(
  "01350080" + "ffffffffffffffff" + "0807060504030201" + "010203" + "4162200000" + "deadbeef" + "00000500" + "00000600",
);

Deno.test("rows of every type decode to what the bytes say", () => {
  const decoded = decodeBytes(ROWS, BYTES);
  assertEquals(decoded.slice(0, 4).map((row) => row.value), [
    0x8000_3501n,
    (1n << 64n) - 1n,
    0x0102_0304_0506_0708n,
    0x010203n,
  ]);
  assertEquals(decoded[0]?.fields.map((field) => field.value), [1n, 0x35n]);
  assertEquals(decoded[0]?.reservedBits, 0x8000_0000n);
  assertEquals(decoded[4]?.value, "Ab");
  assertEquals(decoded[5]?.value, Uint8Array.fromHex("deadbeef"));
  const elements = decoded[6]?.value;
  assert(Array.isArray(elements));
  assertEquals(elements.map((element) => element[0].value), [5n, 6n]);
});

Deno.test("JSON: numbers to 32 bits, wide quantities decimal strings, wide registers hexadecimal strings", () => {
  assertEquals(rowsToJson(decodeBytes(ROWS, BYTES)), {
    A: {
      offset: 0,
      sizeBytes: 4,
      value: 0x8000_3501,
      fields: { LOW: { value: 1, meaning: "yes" }, MID: { value: 0x35 } },
      reservedBits: "0x80000000",
    },
    Q: { offset: 4, sizeBytes: 8, value: "18446744073709551615" },
    R: { offset: 12, sizeBytes: 8, value: "0x0102030405060708" },
    B: { offset: 20, sizeBytes: 3, value: 0x010203 },
    T: { offset: 23, sizeBytes: 5, value: "Ab" },
    Y: { offset: 28, sizeBytes: 4, value: "deadbeef" },
    E: {
      offset: 32,
      sizeBytes: 8,
      value: [{ X: { offset: 2, sizeBytes: 2, value: 5 } }, { X: { offset: 2, sizeBytes: 2, value: 6 } }],
    },
  });
});

Deno.test("rows past the end of the data are unknown with a reason, in value, JSON and text", () => {
  const decoded = decodeBytes(ROWS, BYTES.subarray(0, 14));
  assertEquals(decoded.map((row) => row.value === null), [false, false, true, true, true, true, false]);
  const json = rowsToJson(decoded);
  assertEquals(json.R, { offset: 12, sizeBytes: 8, value: null, reason: "the data ends at byte 14" });
  assert(validator(rowsSchema(ROWS))(json));
  const line = textLines(decoded).find((line) => line.name === "R");
  assertEquals([line?.value, line?.remark], ["-", "the data ends at byte 14"]);
});

Deno.test("the schema accepts what the table renders, and nothing with a member more, less or of another type", () => {
  const validate = validator(rowsSchema(ROWS));
  const good = rowsToJson(decodeBytes(ROWS, BYTES));
  assert(validate(good));
  const { A: _dropped, ...less } = good;
  const broken = [less, { ...good, Z: 1 }, { ...good, Q: { offset: 4, sizeBytes: 8, value: 5 } }, {
    ...good,
    R: { offset: 12, sizeBytes: 8, value: "12" },
  }];
  for (const document of broken) assert(!validate(document));
});

/** A count, as many pairs as it says, words by number, and records that say their length. */
const CHANGING: readonly Row[] = [
  number1("N", 0),
  {
    type: "array",
    name: "PAIR",
    offset: 1,
    count: 3,
    countOf: (above) => Number(above("N") ?? 0n),
    strideBytes: 2,
    title: "Pair",
    rows: [number1("LEFT", 0), number1("RIGHT", 1)],
  },
  {
    type: "array",
    name: "WORD",
    offset: 7,
    count: 4,
    sparse: true,
    strideBytes: 2,
    title: "Word",
    elementName: (index) => `word ${index}`,
    rows: [register("W", 0, 2, "Word")],
  },
  {
    type: "list",
    name: "RECORD",
    offset: 15,
    sizeBytes: 32,
    title: "Record",
    kinds: { one: [number1("LENGTH", 0), number1("A", 1)], other: [number1("LENGTH", 0)] },
    next: ([length]) =>
      length === undefined || length === 0 ? null : { kind: length === 2 ? "one" : "other", sizeBytes: length },
  },
];

function number1(name: string, offset: number): Row {
  return quantity(name, offset, 1, name);
}

Deno.test("arrays are as long as another row says, leave out zeros and name their elements; lists follow their lengths", () => {
  const bytes = Uint8Array.fromHex(
    "02" + "0a0b0c0d0000" + "0000" + "3412" + "0000" + "ffff" + "0207" + "03eeee" + "0205" + "00",
  );
  const table = decodeTable({ name: "changing", source: "test", rows: CHANGING }, bytes);
  assertEquals(table.elements("PAIR").map((pair) => [pair.uint("LEFT"), pair.uint("RIGHT")]), [[10n, 11n], [12n, 13n]]);
  assertEquals(table.elements("WORD").map((word) => [word.index, word.kind, word.uint("W")]), [
    [1, "word 1", 0x1234n],
    [3, "word 3", 0xffffn],
  ] as unknown[][]);
  assertEquals(table.elements("RECORD").map((record) => [record.kind, record.rows[0]?.value]), [
    ["one", 2n],
    ["other", 3n],
    ["one", 2n],
  ] as unknown[][]);
  const json = rowsToJson(table.rows);
  assert(validator(rowsSchema(CHANGING))(json));
  assertEquals(json.RECORD, {
    offset: 15,
    sizeBytes: 32,
    value: [
      { kind: "one", at: 0, LENGTH: { offset: 0, sizeBytes: 1, value: 2 }, A: { offset: 1, sizeBytes: 1, value: 7 } },
      { kind: "other", at: 2, LENGTH: { offset: 0, sizeBytes: 1, value: 3 } },
      { kind: "one", at: 5, LENGTH: { offset: 0, sizeBytes: 1, value: 2 }, A: { offset: 1, sizeBytes: 1, value: 5 } },
    ],
    cut: null,
  });
  const lines = textLines(table.rows);
  assertEquals(lines.filter((line) => line.value === "").map(({ place, name, text }) => [place, name, text]), [
    ["0x0001", "PAIR[0]", "Pair"],
    ["0x0003", "PAIR[1]", "Pair"],
    ["0x0009", "WORD[1]", "Word: word 1"],
    ["0x000d", "WORD[3]", "Word: word 3"],
    ["0x000f", "RECORD[0]", "Record: one"],
    ["0x0011", "RECORD[1]", "Record: other"],
    ["0x0014", "RECORD[2]", "Record: one"],
  ]);
});

Deno.test("arrays and lists that the data cuts say how much is missing; an empty one says that there is none", () => {
  const layout = { name: "changing", source: "test", rows: CHANGING };
  const cutArray = decodeTable(layout, Uint8Array.of(3, 1, 2, 3)).row("PAIR");
  assertEquals(cutArray.cut, "the data ends after 1 of 3");
  const cutList = decodeTable(layout, Uint8Array.fromHex("00".repeat(15) + "0209" + "05")).row("RECORD");
  assertEquals(cutList.cut, "record 1 would be 5 bytes long, and there are 1 left");
  const lines = textLines([cutArray, cutList]);
  assertEquals(lines.filter((line) => line.remark !== null).map(({ name, remark }) => [name, remark]), [
    ["PAIR", "the data ends after 1 of 3"],
    ["RECORD", "record 1 would be 5 bytes long, and there are 1 left"],
  ]);
  const stuck = {
    ...{ type: "list", name: "STUCK", title: "Records without length", offset: 0, sizeBytes: 16 } as const,
    ...{ kinds: { any: [] }, countOf: (): number => 3, next: () => ({ kind: "any", sizeBytes: 0 }) },
  };
  const stopped = decodeTable({ ...layout, rows: [stuck] }, new Uint8Array(16)).row("STUCK");
  assertEquals([stopped.value, stopped.cut], [[], "the data ends after 0 of 3"]);
  const empty = decodeTable(layout, new Uint8Array(64)).rows;
  assertEquals(textLines(empty).slice(1).map((line) => line.text), ["Pair: none", "Word: none", "Record: none"]);
  assert(validator(rowsSchema(CHANGING))(rowsToJson(empty)));
  const more = decodeTable(layout, Uint8Array.of(200, ...new Uint8Array(63))).elements("PAIR");
  assertEquals(more.length, 3, "a count beyond the table's room");
  assert(validator(rowsSchema(CHANGING))(rowsToJson(decodeTable(layout, Uint8Array.of(3, 1)).rows)));
});

Deno.test("long runs of bytes are shown by their beginning, text that a NUL ends without what is behind it", () => {
  const rows: readonly Row[] = [
    bytes("SHORT", 0, 4, "Short", (value) => `first ${value[0]}`),
    bytes("LONG", 4, 64, "Long"),
    { ...text("NAME", 68, 6, "Name"), ends: "nul" },
  ];
  const data = Uint8Array.from({ length: 74 }, (_, i) => i);
  data.set([0x41, 0x42, 0, 0x43, 0x44, 0], 68);
  const line = (name: string): string | undefined =>
    textLines(decodeTable({ name: "t", source: "test", rows }, data).rows).find((one) => one.name === name)?.value;
  assertEquals(line("LONG"), "0405060708090a0b0c0d0e0f10111213… (64 bytes)");
  assertEquals(line("NAME"), "AB");
  data.fill(0xee, 4, 68);
  assertEquals(line("LONG"), "64 × ee");
  const json = rowsToJson(decodeTable({ name: "t", source: "test", rows }, data).rows);
  assertEquals(json.SHORT, { offset: 0, sizeBytes: 4, value: "00010203", meaning: "first 0" });
  assert(validator(rowsSchema(rows))(json));
});

Deno.test("a decoded table is asked by name; a name that it does not have is a mistake, a value it lacks is null", () => {
  const table = decodeTable({ name: "T", source: "test", rows: ROWS }, BYTES.subarray(0, 30));
  assertEquals([table.uint("A"), table.field("A", "MID"), table.has("A", "LOW"), table.text("T")], [
    0x8000_3501n,
    0x35n,
    true,
    "Ab",
  ] as unknown[]);
  assertEquals(
    [table.bytes("Y"), table.uint("T"), table.text("A"), table.elements("A")],
    [null, null, null, []] as unknown[],
  );
  assertThrows(() => table.uint("NOPE"), BusbarError, "T has no row 'NOPE'");
  assertThrows(() => table.field("A", "NOPE"), BusbarError, "T: A has no field 'NOPE'");
  assertEquals(table.elements("E").map((element) => element.uint("X")), [null, null]);
});

Deno.test("text from a device is trimmed, and nothing in it reaches the terminal as a control code", () => {
  const raw = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));
  assertEquals(trimmedText(raw("ABC  \0\0")), "ABC");
  assertEquals(trimmedText(raw("  A B")), "  A B");
  assertEquals(trimmedText(raw("\x1b[31mred\x07\\\xff")), "\\x1b[31mred\\x07\\x5c\\xff");
  assertEquals(trimmedText(raw("\0\0\0")), "");
});

Deno.test("fields are read and replaced without touching their neighbours, and refuse what does not fit", () => {
  const field: BitField = number("F", 11, 4, "field");
  assertEquals(fieldOf(0xabcdn, field), 0xbcn);
  assertEquals(withField(0xffffn, field, 0n), 0xf00fn);
  assertEquals(withField(0n, field, 0xffn), 0xff0n);
  for (const value of [0x100n, -1n]) assertThrows(() => withField(0n, field, value), BusbarError, "8 bits");
});

Deno.test("a misspelt row or field is found when the module loads", () => {
  const layout: Layout = { name: "T", source: "test", rows: ROWS };
  assertThrows(() => uintRow(layout, "NOPE"), BusbarError, "no integer row 'NOPE'");
  assertThrows(() => uintRow(layout, "T"), BusbarError, "no integer row 'T'");
  assertThrows(() => bitField(layout, "A", "NOPE"), BusbarError, "no field 'NOPE'");
  assertEquals(bitField(layout, "A", "MID").title, "middle");
});

Deno.test("masks in words: the names of the bits, and the number of one without a name", () => {
  const words = listed({ 0: "one", 2: "four" });
  assertEquals([words(0n), words(5n), words(8n)], ["none", "one, four", "bit 3"]);
});

/** Every table of the project that describes registers or structures. */
function allTables(): { name: string; rows: readonly Row[] }[] {
  const capabilities = [...Object.values(STANDARD_TABLES), ...Object.values(EXTENDED_TABLES)].flatMap((table) =>
    // Tables that depend on the bytes are taken at their smallest and at their largest.
    [0x00, 0xff].map((fill) => ({
      name: table.source,
      rows: typeof table.rows === "function" ? table.rows(new Uint8Array(256).fill(fill), 4) : table.rows,
    }))
  );
  const pages = NVME_PAGES.map((page) => page.layout);
  const features = [FEATURE_CAPABILITIES, ...FEATURES.flatMap(({ result, data }) => data ? [result, data] : [result])];
  const tables = [NVME_REGISTERS, TYPE0_HEADER, TYPE1_HEADER, ...capabilities, ...pages, ...features];
  return tables.flatMap((table) => [table, ...tablesIn(table.name, table.rows)]);
}

/** The tables of the elements of arrays and of the records of lists. */
function tablesIn(name: string, rows: readonly Row[]): { name: string; rows: readonly Row[] }[] {
  return rows.flatMap((row) => {
    const inner = row.type === "array" ? [row.rows] : row.type === "list" ? Object.values(row.kinds) : [];
    return inner.flatMap((rows) => [{ name: `${name} ${row.name}`, rows }, ...tablesIn(`${name} ${row.name}`, rows)]);
  });
}

Deno.test("in every table rows ascend without overlap, fields fit and do not overlap, and names are unique", () => {
  for (const { name, rows } of allTables()) {
    let end = 0;
    assertEquals(new Set(rows.map((row) => row.name)).size, rows.length, name);
    for (const row of rows) {
      assert(row.offset >= end, `${name}: ${row.name} overlaps the row before it`);
      end = row.offset + (row.type === "array" ? row.count * row.strideBytes : row.sizeBytes);
      if (row.type === "array") {
        const last = Math.max(...row.rows.map((one) => one.offset + rowSizeBytes(one)));
        assert(last <= row.strideBytes, `${name}: ${row.name} has rows behind its elements`);
      }
      if (row.type !== "uint") continue;
      for (const code of Object.keys(row.values ?? {})) assert(Number(code) < 2 ** (8 * row.sizeBytes), row.name);
      if (row.fields === undefined) continue;
      let taken = 0n;
      assertEquals(new Set(row.fields.map((field) => field.name)).size, row.fields.length, `${name}: ${row.name}`);
      for (const field of row.fields) {
        const { low, width } = fieldPlace(field);
        const mask = ((1n << BigInt(width)) - 1n) << BigInt(low);
        assert(
          width >= 1 && low >= 0 && low + width <= 8 * row.sizeBytes,
          `${name}: ${row.name}.${field.name} does not fit`,
        );
        assertEquals(taken & mask, 0n, `${name}: ${row.name}.${field.name} overlaps`);
        taken |= mask;
        for (const code of Object.keys(field.values ?? {})) {
          assert(Number(code) < 2 ** width, `${row.name}.${field.name}: ${code}`);
        }
      }
      assertEquals(taken | reservedMask(row), (1n << BigInt(8 * row.sizeBytes)) - 1n);
    }
  }
});
