import { assert, assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { fieldOf, fieldPlace } from "../../src/core/layout.ts";
import { rowsToJson } from "../../src/core/layout_json.ts";
import { textLines } from "../../src/core/layout_text.ts";
import { RecordedMmio, type RecordedPiece } from "../../src/core/mmio.ts";
import { hex } from "../../src/core/units.ts";
import {
  compareDumps,
  decodeRegisters,
  missingController,
  readRegisters,
  REGISTER_RUNS,
} from "../../src/nvme/tables/register_dump.ts";
import { NVME_REGISTERS } from "../../src/nvme/tables/registers.ts";
import type { PciFunction } from "../../src/pci/function.ts";
import { dumpBar0Schema, registersJson } from "../../tools/render/pci/dump_bar0.ts";
import { Random } from "./random.ts";
import { schemaErrors } from "./schema.ts";

function piecesFrom(random: Random): RecordedPiece[] {
  return REGISTER_RUNS.map((run) => ({ offset: run.offset, bytes: random.bytes(run.sizeBytes) }));
}

function withRegister(offset: number, value: bigint, sizeBytes: number): RecordedPiece[] {
  const pieces = REGISTER_RUNS.map((run) => ({ offset: run.offset, bytes: new Uint8Array(run.sizeBytes) }));
  for (let i = 0; i < sizeBytes; i++) {
    const piece = pieces.find((one) => offset >= one.offset && offset < one.offset + one.bytes.length);
    piece?.bytes.set([Number(value >> BigInt(8 * i) & 0xffn)], offset - piece.offset + i);
  }
  return pieces;
}

const FUNCTION: PciFunction = {
  name: "soft:nvme",
  address: null,
  folder: null,
  configEnds: null,
  config: new Uint8Array(64),
  vendorId: 0x1234,
  deviceId: 1,
  classCode: 0x010802,
  resources: [],
  driver: null,
  iommuGroup: null,
  numaNode: null,
  powerState: null,
  enableCount: null,
  ancestors: [],
  hostBridge: null,
  physicalFunction: null,
};

Deno.test("text and JSON of random registers say the same, field by field, and both say what the bytes say", () => {
  const random = new Random("random registers");
  for (let round = 0; round < 500; round++) {
    const pieces = piecesFrom(random);
    const dump = decodeRegisters(pieces);
    const lines = textLines(dump.registers);
    const json = rowsToJson(dump.registers);
    let at = 0;
    for (const row of NVME_REGISTERS.rows) {
      assert(row.type === "uint");
      // The value once more, straight from the bytes.
      const piece = pieces.find((one) => row.offset >= one.offset && row.offset < one.offset + one.bytes.length);
      assert(piece !== undefined);
      const view = new DataView(piece.bytes.buffer, piece.bytes.byteOffset + row.offset - piece.offset, row.sizeBytes);
      const value = row.sizeBytes === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
      const rowJson = json[row.name];
      assert(typeof rowJson === "object" && rowJson !== null && "value" in rowJson);
      const line = lines[at++];
      assertEquals([line?.kind, line?.name, line?.place], ["row", row.name, hex(row.offset, 4)]);
      assertEquals(line?.value, hex(value, 2 * row.sizeBytes));
      assertEquals(rowJson.value, row.sizeBytes === 8 ? hex(value, 16) : Number(value));
      if (row.fields === undefined) continue;
      const fields = rowJson.fields as Record<string, { value: number | string; meaning?: string }>;
      let covered = 0n;
      for (const field of row.fields) {
        const { low, width } = fieldPlace(field);
        const mask = (1n << BigInt(width)) - 1n;
        covered |= mask << BigInt(low);
        const expected = value >> BigInt(low) & mask;
        assertEquals(fieldOf(value, field), expected);
        const fieldLine = lines[at++];
        assertEquals([fieldLine?.kind, fieldLine?.name], ["field", field.name]);
        const fromText = BigInt(fieldLine?.value ?? "-1");
        const fromJson = BigInt(fields[field.name]?.value ?? -1);
        assertEquals([fromText, fromJson], [expected, expected], `${row.name}.${field.name}`);
        const meaning = fields[field.name]?.meaning;
        assertEquals(fieldLine?.text, meaning === undefined ? field.title : `${field.title}: ${meaning}`);
      }
      const reserved = value & ~covered;
      assertEquals(rowJson.reservedBits, hex(reserved, 2 * row.sizeBytes));
      assertEquals(line?.remark, reserved === 0n ? null : `reserved bits set: ${hex(reserved)}`);
    }
    assertEquals(at, lines.length);
  }
});

Deno.test("the document of random registers fits the published schema", () => {
  const random = new Random("schema");
  const schema = dumpBar0Schema();
  for (let round = 0; round < 20; round++) {
    assertEquals(schemaErrors(schema, registersJson(FUNCTION, null, decodeRegisters(piecesFrom(random)))), "");
  }
  const short = decodeRegisters([{ offset: 0, bytes: new Uint8Array(0x6c) }]);
  assertEquals(schemaErrors(schema, registersJson(FUNCTION, null, short)), "");
});

/** Values that public documents give for controllers: QEMU 7.2 and 10.0, and a Samsung drive bound to Linux. */
Deno.test("known register values decode to their known meaning", () => {
  const meaning = (
    offset: number,
    value: bigint,
    sizeBytes: number,
    register: string,
    field: string,
  ): string | null | undefined =>
    decodeRegisters(withRegister(offset, value, sizeBytes)).registers.find((one) => one.row.name === register)
      ?.fields.find((one) => one.field.name === field)?.meaning;
  const cap = 0x0040_1820_0f01_07ffn;
  assertEquals(
    ["MQES", "CQR", "TO", "DSTRD", "NSSRS", "CSS", "MPSMIN", "MPSMAX", "CMBS"].map((field) =>
      meaning(0, cap, 8, "CAP", field)
    ),
    [
      "2048 entries",
      "yes",
      "7.5 s",
      "4 B",
      "no",
      "NVM, I/O command sets (CC.CSS 110b), admin only",
      "4 KiB",
      "64 KiB",
      "no",
    ],
  );
  const cc = 0x0046_0061n;
  assertEquals(
    ["EN", "CSS", "MPS", "AMS", "SHN", "IOSQES", "IOCQES"].map((field) => meaning(0x14, cc, 4, "CC", field)),
    ["yes", "all supported", "4 KiB", "round robin", "none", "64 B", "16 B"],
  );
  assertEquals(meaning(0x1c, 0x9n, 4, "CSTS", "SHST"), "shutdown complete");
  assertEquals(meaning(0x24, 0x001f_001fn, 4, "AQA", "ASQS"), "32 entries");
  assertEquals(meaning(0x28, 0x1234_5678_9000n, 8, "ASQ", "ASQB"), "0x123456789000");
  const vs = decodeRegisters(withRegister(8, 0x0001_0301n, 4)).registers.find((one) => one.row.name === "VS");
  assertEquals(vs?.meaning, "1.3.1");
  const cmbsz = decodeRegisters(withRegister(0x3c, 0x0001_021fn, 4)).registers.find((one) => one.row.name === "CMBSZ");
  assertEquals(cmbsz?.meaning, "16 MiB");
});

Deno.test("CMB registers are shown as hidden only when the controller says that there is a buffer", () => {
  const notes = (cap: bigint, vs: bigint, cmbmsc: bigint): string[] => {
    const pieces = withRegister(0, cap, 8);
    pieces[0]?.bytes.set([Number(vs & 0xffn), Number(vs >> 8n & 0xffn), Number(vs >> 16n & 0xffn), 0], 8);
    pieces[0]?.bytes.set([Number(cmbmsc)], 0x50);
    return decodeRegisters(pieces).notes.filter((note) => note.text.startsWith("hidden")).map((note) => note.register);
  };
  const CMBS = 1n << 57n;
  assertEquals(notes(CMBS | 1n, 0x0001_0400n, 0n), ["CMBLOC", "CMBSZ"]);
  assertEquals(notes(CMBS | 1n, 0x0001_0400n, 1n), []);
  assertEquals(notes(CMBS | 1n, 0x0001_0300n, 0n), []);
  assertEquals(notes(1n, 0x0001_0400n, 0n), []);
});

Deno.test("what cannot be a controller is refused: all ones, zeros, version 0", () => {
  const cases: readonly [RecordedPiece[], string | null][] = [
    [
      REGISTER_RUNS.map((run) => ({ offset: run.offset, bytes: new Uint8Array(run.sizeBytes).fill(0xff) })),
      "CAP and VS read all ones",
    ],
    [withRegister(0, 0n, 8), "CAP reads 0"],
    [withRegister(0, 5n, 8), "VS reads 0"],
  ];
  for (const [pieces, problem] of cases) {
    assertEquals(missingController(decodeRegisters(pieces)), problem);
    const mmio = new RecordedMmio("BAR0 of test", 16384, pieces);
    const error = assertThrows(
      () => readRegisters(mmio),
      BusbarError,
      `BAR0 of test: no controller answers: ${problem}`,
    );
    assertEquals(error.code, "unreachable");
  }
});

Deno.test("two dumps are compared by register and field", () => {
  const before = decodeRegisters(withRegister(0x1c, 0x1n, 4));
  const after = decodeRegisters(withRegister(0x1c, 0x9n, 4));
  assertEquals(compareDumps(before, before), []);
  assertEquals(compareDumps(before, after), [{
    register: "CSTS",
    before: 1n,
    after: 9n,
    fields: [{ field: "SHST", before: 0n, after: 2n }],
  }]);
});
