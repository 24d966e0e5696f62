/**
 * The worked examples of the accelerator's digest, section 4, as data: words of the CCB, bytes in, bytes out.
 * @module
 */

/** One example. */
export interface WorkedExample {
  readonly name: string;
  readonly word0: string;
  readonly word3: string;
  readonly word5?: string;
  readonly word8?: string;
  readonly input: string;
  readonly secondary?: string;
  readonly table?: Uint8Array<ArrayBuffer>;
  /** Added to the table's address: its version. */
  readonly tableVersion?: bigint;
  readonly output: string;
  readonly elements: number;
  readonly returnValue?: bigint;
  readonly error?: readonly [error: number, value: number];
}

/** A 4 KiB bit table with bits 3, 10 and 200 set. */
function bitTable(): Uint8Array<ArrayBuffer> {
  const table = new Uint8Array(4096);
  table[0] = 0x10;
  table[1] = 0x20;
  table[25] = 0x80;
  return table;
}

/** "A", "BC", "DEF", "G": 2-bit code words. */
const OZIP = Uint8Array.fromHex("0004123141424344454647");

// deno-fmt-ignore: one line each, as in the digest
export const WORKED_EXAMPLES: readonly WorkedExample[] = [
  { name: "E1", word0: "0001030C_01000A00", word3: "0000000000000001", input: "010203 AABBCC", output: "00010203 00AABBCC", elements: 2 },
  { name: "E2", word0: "0001030C_01000800", word3: "0000000000000001", input: "010203 AABBCC", output: "01020300 AABBCC00", elements: 2 },
  { name: "E3", word0: "0001030C_01000400", word3: "0000000000000001", input: "010203 AABBCC", output: "0102 AABB", elements: 2 },
  { name: "E4", word0: "0001030C_12300000", word3: "000000000200000E", input: "15 1F C0", output: "15 03 1F", elements: 3 },
  { name: "E5", word0: "0001030C_15800800", word3: "0000000000000001", input: "ABC123", output: "0ABC0000 01230000", elements: 2 },
  { name: "E6", word0: "0001036C_40008000", word3: "0000000000000002", input: "414243", secondary: "1020", output: "414142434343", elements: 3 },
  { name: "E7", word0: "0001036C_20004A00", word3: "0000000000000002", input: "112233445566", secondary: "24", output: "00000011 00223344 00005566", elements: 3 },
  { name: "E8", word0: "0001030C_12800000", word3: "0000000002000013", input: "FC0820", output: "3F 00 20", elements: 3, error: [0x80, 2] },
  { name: "S1", word0: "0002030C_1000201F", word3: "000000000200000B", word5: "0000000000000000", input: "A5 C0", output: "5A 30", elements: 12, returnValue: 6n },
  { name: "S2", word0: "0002030C_00803421", word3: "0000000000000004", word5: "00070000_FFFF0000", input: "0007 0008 0007 FFFF 0009", output: "0000 0002 0003", elements: 5, returnValue: 3n },
  { name: "S3", word0: "0003030C_00002000", word3: "0000000001000004", word5: "40000000_20000000", input: "10 20 30 40 50", output: "70", elements: 5, returnValue: 3n },
  { name: "S4", word0: "0013030C_00002000", word3: "0000000001000004", word5: "40000000_20000000", input: "10 20 30 40 50", output: "88", elements: 5, returnValue: 2n },
  { name: "S5", word0: "0003030C_00003BE0", word3: "0000000001000004", word5: "00000000_30000000", input: "10 20 30 40 50", output: "00000002 00000003 00000004", elements: 5, returnValue: 3n },
  { name: "S6", word0: "0402030C_038020FF", word3: "0000000000000001", word5: "11223344_00000000", word8: "55667789_00000000", input: "1122334455667788 1122334455667789", output: "40", elements: 2, returnValue: 1n },
  { name: "S7", word0: "0012036C_5100601F", word3: "0000000000000001", word5: "05000000_00000000", input: "A8", secondary: "90", output: "18", elements: 2, returnValue: 2n },
  { name: "T1", word0: "00041B0C_00002000", word3: "0000000001000004", input: "03 04 0A C8 FF", table: bitTable(), output: "B0", elements: 5, returnValue: 3n },
  { name: "T2", word0: "00141B0C_00002000", word3: "0000000001000004", input: "03 04 0A C8 FF", table: bitTable(), output: "48", elements: 5, returnValue: 2n },
  { name: "T3", word0: "00041B0C_01002101", word3: "0000000001000008", input: "808003 800003 808004", table: bitTable(), output: "80", elements: 3, returnValue: 1n },
  { name: "T4", word0: "00141B0C_01002101", word3: "0000000001000008", input: "808003 800003 808004", table: bitTable(), output: "20", elements: 3, returnValue: 1n },
  { name: "L1", word0: "0005036C_11810600", word3: "0000000000000005", input: "123456", secondary: "5A", output: "0001 0003 0004 0006", elements: 6, returnValue: 4n },
  { name: "Z1", word0: "10011B0C_80000000", word3: "0000000002000009", input: "27 40", table: OZIP, tableVersion: 1n, output: "41 444546 4243 47 4243", elements: 9 },
];

/** Bytes of a text of hexadecimal digits, with blanks and underscores between them. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(text.replace(/[\s_]/g, ""));
}
