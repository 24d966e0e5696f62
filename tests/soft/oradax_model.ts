/**
 * The coprocessor once more, as slowly and plainly as it can be written: from the words of the digest (sections 2 to 5), one
 * bit after the other, with big numbers. It shares nothing with the software coprocessor or the tables of src/oradax.
 * @module
 */

/** Memory of one page, of which a stream begins at an address. */
export interface ModelMemory {
  /** Address of the first byte. */
  readonly base: bigint;
  readonly bytes: Uint8Array;
  readonly pageBytes: number;
}

/** What the completion area must say, and the output. */
export interface ModelResult {
  readonly status: number;
  readonly error: number;
  readonly errorValue: number;
  readonly elements: number;
  readonly returnValue: bigint;
  readonly output: Uint8Array;
}

/** The submission itself is refused with this status. */
export interface ModelRefusal {
  readonly submitStatus: number;
  readonly statusData: bigint;
}

class Stop {
  readonly error: number;
  readonly value: number;

  constructor(error: number, value: number = 0) {
    this.error = error;
    this.value = value;
  }
}

const END = new Stop(0);
const PAGE = new Stop(3);
const FORMAT = new Stop(0x0a);
const DECODE: ModelResult = {
  status: 2,
  error: 2,
  errorValue: 0,
  elements: 0,
  returnValue: 0n,
  output: new Uint8Array(),
};

/** Bits of memory from an address on, up to the end of the page. */
class BitStream {
  at: number;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array, startBit: number) {
    this.bytes = bytes;
    this.at = startBit;
  }

  has(count: number): boolean {
    return this.at + count <= 8 * this.bytes.length;
  }
  take(count: number): string {
    if (!this.has(count)) throw PAGE;
    let text = "";
    for (let i = 0; i < count; i++, this.at++) text += (this.bytes[this.at >> 3] ?? 0) >> (7 - this.at % 8) & 1;
    return text;
  }
}

function toNumber(bits: string): bigint {
  return bits === "" ? 0n : BigInt("0b" + bits);
}

/** Runs one CCB of 64 or 128 bytes by the book. */
export function runModel(ccb: Uint8Array, memory: ModelMemory, dax: 1 | 2): ModelResult | ModelRefusal {
  const wordText = (index: number): string => {
    let text = "";
    for (let i = 0; i < 64; i++) text += (ccb[8 * index + (i >> 3)] ?? 0) >> (7 - i % 8) & 1;
    return text;
  };
  const field = (index: number, high: number, low: number): number =>
    Number(toNumber(wordText(index).slice(63 - high, 64 - low)));
  const version = field(0, 63, 60);
  const opcode = field(0, 55, 48);
  const types = {
    output: field(0, 42, 40),
    primary: field(0, 36, 34),
    secondary: field(0, 39, 37),
    table: field(0, 44, 43),
  };
  const addresses = {
    output: toNumber(wordText(6)) & 0x0fff_ffff_ffff_ffffn,
    primary: toNumber(wordText(2)) & 0x0fff_ffff_ffff_ffffn,
    secondary: toNumber(wordText(4)) & 0x0fff_ffff_ffff_ffffn,
    table: toNumber(wordText(7)) & 0x0fff_ffff_ffff_fff0n,
  };
  // Section 1.7, steps 5 and 6.
  const known = [0, 1, 2, 3, 4, 5, 0x12, 0x13, 0x14].includes(opcode);
  if (version > dax - 1 || !known || Object.values(types).some((type) => type !== 0 && type !== 3)) {
    return { submitStatus: 6, statusData: 0n };
  }
  for (const name of ["output", "primary", "secondary", "table"] as const) {
    if (types[name] === 3 && streamAt(memory, addresses[name]) === null) {
      return { submitStatus: 10, statusData: addresses[name] };
    }
  }
  // The hypervisor: a long CCB alone in 64 bytes; Huffman.
  if (field(0, 58, 58) === 1 && ccb.length === 64) return { submitStatus: 6, statusData: 0n };
  const format = field(0, 31, 28);
  const command = opcode & 0x0f;
  const compressed = format >= 8;
  if (command === 0) return { ...DECODE, status: 1, error: 0 };
  if (compressed && version === 0 && command !== 4) return { submitStatus: 12, statusData: 0n };

  // Section 5, what is invalid.
  const formats = command === 4 ? [0, 1, 4, 5] : command === 5 ? [0, 1, 8, 9] : [0, 1, 2, 4, 5, 8, 9, 10, 12, 13];
  if (!formats.includes(format)) return DECODE;
  const variable = format === 2 || format === 10;
  const runs = format === 4 || format === 5 || format === 12 || format === 13;
  const packed = !variable && format % 2 === 1;
  const size = field(0, 27, 23) + 1;
  const elementBits = packed ? size : 8 * size;
  if (!variable && size > (packed ? (version === 1 ? 23 : 15) : 16)) return DECODE;
  if (command === 4 && elementBits > 24) return DECODE;
  const start = field(0, 22, 20);
  if (!packed && start !== 0) return DECODE;
  if (types.primary === 0 || types.output === 0) return DECODE;
  if ((variable || runs || command === 5) && types.secondary === 0) return DECODE;
  const exact = field(0, 19, 19) === 1;
  const secondaryBits = [1, 2, 4, 8][field(0, 15, 14)] ?? 0;
  if (command === 5 && (exact || secondaryBits !== 1)) return DECODE;
  const lengthFormat = field(3, 25, 24);
  if (lengthFormat === 3 || (command === 4 && lengthFormat === 0)) return DECODE;
  const flow = field(3, 63, 62);
  if (flow === 3 || addresses.output % 64n !== 0n) return DECODE;
  const outputFormat = field(0, 13, 10);
  const makesBits = command >= 2 && command <= 4;
  if (!(makesBits ? [8, 13, 14] : [0, 1, 2, 3, 4]).includes(outputFormat)) return DECODE;
  const tableVersion = field(7, 3, 0);
  if (compressed || command === 4) {
    if (types.table === 0 || addresses.table % (version === 0 ? 64n : 16n) !== 0n) return DECODE;
    if (compressed ? tableVersion !== 1 : tableVersion > 1) return DECODE;
  }
  const operands = [readOperand(ccb, field(0, 9, 5), 0), readOperand(ccb, field(0, 4, 0), 1)];
  const isScan = command === 2 || command === 3;
  if (isScan && (operands.includes("bad") || operands.every((one) => one === "unused"))) return DECODE;

  // Running it.
  const length = field(3, 23, 0) + 1;
  const primary = new BitStream(streamAt(memory, addresses.primary) ?? new Uint8Array(), start);
  const secondary = new BitStream(
    streamAt(memory, types.secondary === 3 ? addresses.secondary : -1n) ?? new Uint8Array(),
    field(0, 18, 16),
  );
  let bitsLeft = lengthFormat === 0 ? Infinity : lengthFormat === 1 ? 8 * length - start : length;
  let elementsLeft = lengthFormat === 0 ? length : Infinity;
  const page = streamAt(memory, addresses.output) ?? new Uint8Array();
  const limit = flow === 0 ? Infinity : (field(3, 59, 40) + 1) * 64;
  const room = Math.min(limit, page.length);
  const roomError = limit <= page.length ? new Stop(1) : PAGE;
  let bits = "";
  const out: number[] = [];
  let ones = 0;
  let results = 0;
  let processed = 0;

  let symbols: string[] = [];
  let codeBits = 0;
  let decoded = "";
  const pull = (count: number): string => {
    if (!compressed) {
      if (bitsLeft < count) throw new Stop(0x80, bitsLeft);
      const text = primary.take(count);
      bitsLeft -= count;
      return text;
    }
    while (decoded.length < count) {
      if (bitsLeft < codeBits) throw decoded.length + bitsLeft === 0 ? END : new Stop(0x80, decoded.length + bitsLeft);
      const code = Number(toNumber(primary.take(codeBits)));
      bitsLeft -= codeBits;
      const symbol = symbols[code];
      if (symbol === undefined) throw FORMAT;
      decoded += symbol;
    }
    const text = decoded.slice(0, count);
    decoded = decoded.slice(count);
    return text;
  };
  const putBytes = (bytes: readonly number[]): void => {
    if (out.length + bytes.length > room) throw roomError;
    out.push(...bytes);
  };
  const putResult = (bit: boolean): void => {
    if (outputFormat === 8) {
      if (bits.length === 8 * room) throw roomError;
      bits += bit ? "1" : "0";
    } else if (bit) {
      const index = outputFormat === 13 ? Math.min(results, 0xffff) : results;
      putBytes(
        outputFormat === 13
          ? [index >> 8, index & 255]
          : [index >>> 24, index >> 16 & 255, index >> 8 & 255, index & 255],
      );
    }
    results++;
    if (bit) ones++;
  };
  const outputBytes = [1, 2, 4, 8, 16][outputFormat] ?? 0;
  const padLeft = field(0, 9, 9) === 1;
  const elementOut = (text: string): number[] => {
    const whole = text.padStart(Math.ceil(text.length / 8) * 8, "0");
    const bytes = Array.from({ length: whole.length / 8 }, (_, i) => Number(toNumber(whole.slice(8 * i, 8 * i + 8))));
    if (bytes.length >= outputBytes) return bytes.slice(0, outputBytes);
    const zeros = new Array<number>(outputBytes - bytes.length).fill(0);
    return padLeft ? [...zeros, ...bytes] : [...bytes, ...zeros];
  };

  let stop: Stop;
  try {
    if (compressed) [symbols, codeBits] = readOzip(streamAt(memory, addresses.table) ?? new Uint8Array());
    const table = streamAt(memory, addresses.table) ?? new Uint8Array();
    if (command === 4 && table.length < (tableVersion === 0 ? 4096 : 8192)) throw PAGE;
    for (;;) {
      if (elementsLeft === 0) throw END;
      const enough = compressed ? decoded.length > 0 || bitsLeft >= codeBits : bitsLeft > 0;
      if (!enough) throw bitsLeft === 0 ? END : new Stop(0x80, bitsLeft);
      let width = elementBits;
      if (variable) {
        const bytes = Number(toNumber(secondary.take(secondaryBits))) + (exact ? 0 : 1);
        if (bytes === 0 || bytes > 16) throw FORMAT;
        width = 8 * bytes;
      }
      const text = pull(width);
      let repeat = 1;
      if (runs) repeat = Number(toNumber(secondary.take(secondaryBits))) + (exact ? 0 : 1);
      elementsLeft--;
      const value = toNumber(text);
      if (command === 5) {
        if (secondary.take(1) === "1") {
          putBytes(elementOut(text));
          ones++;
        }
      } else {
        const bit = command === 4
          ? translate(text, packed, table, tableVersion, field(0, 8, 0), opcode === 0x14)
          : command !== 1 && matches(value, command, operands) !== (opcode >= 0x10);
        for (let i = 0; i < repeat; i++) {
          if (command === 1) putBytes(elementOut(text));
          else putResult(bit);
        }
      }
      processed++;
    }
  } catch (thrown) {
    if (!(thrown instanceof Stop)) throw thrown;
    stop = thrown;
  }
  const output = outputFormat === 8 && makesBits
    ? Array.from(
      { length: Math.ceil(bits.length / 8) },
      (_, i) => Number(toNumber(bits.slice(8 * i, 8 * i + 8).padEnd(8, "0"))),
    )
    : out;
  const fine = stop.error === 0 || stop.error === 0x80;
  return {
    status: fine ? 1 : 2,
    error: stop.error,
    errorValue: stop.error === 0x80 ? stop.value : 0,
    elements: processed,
    returnValue: BigInt(ones),
    output: Uint8Array.from(output),
  };
}

/** From an address to the end of its page; null where there is no memory. */
function streamAt(memory: ModelMemory, address: bigint): Uint8Array | null {
  const offset = address - memory.base;
  if (offset < 0n || offset >= BigInt(memory.bytes.length)) return null;
  const at = Number(offset);
  return memory.bytes.subarray(at, (Math.floor(at / memory.pageBytes) + 1) * memory.pageBytes);
}

/** Section 2.9. */
function readOperand(ccb: Uint8Array, sizeField: number, which: 0 | 1): bigint | "unused" | "bad" {
  if (sizeField === 0x1f) return "unused";
  if (sizeField > 0x0e || (sizeField >= 4 && ((ccb[0] ?? 0) & 4) === 0)) return "bad";
  let value = 0n;
  for (let i = 0; i <= sizeField; i++) {
    const at = (i < 4 ? 40 : i < 8 ? 64 : i < 12 ? 72 : 80) + 4 * which + i % 4;
    value = value * 256n + BigInt(ccb[at] ?? 0);
  }
  return value;
}

/** Section 4.2. */
function matches(value: bigint, command: number, [first, second]: (bigint | "unused" | "bad")[]): boolean {
  if (command === 2) return value === first || value === second;
  return (typeof first !== "bigint" || value <= first) && (typeof second !== "bigint" || value >= second);
}

/** Section 4.3, with P14, P15 and P21. */
function translate(
  text: string,
  packed: boolean,
  table: Uint8Array,
  tableVersion: number,
  test: number,
  invert: boolean,
): boolean {
  const indexBits = tableVersion === 0 ? 15 : 16;
  const width = packed ? (text.length >= 16 ? 24 : text.length) : text.length;
  const whole = text.padStart(Math.max(width, indexBits), "0");
  const above = whole.slice(0, -indexBits);
  if (width >= 16 && above !== "" && Number(toNumber(above)) !== test) return false;
  const index = Number(toNumber(whole.slice(-indexBits)));
  return ((table[index >> 3] ?? 0) >> (7 - index % 8) & 1) === (invert ? 0 : 1);
}

/** Section 2.10: symbols as bits, and the width of a code word. */
function readOzip(table: Uint8Array): [string[], number] {
  if (table.length < 2) throw PAGE;
  const count = (table[0] ?? 0) * 256 + (table[1] ?? 0);
  if (count === 0 || count > 1024) throw FORMAT;
  let at = 2 + Math.ceil(count / 2);
  if (at > table.length) throw PAGE;
  const widths = Array.from({ length: count }, (_, i) => {
    const pair = table[2 + (i >> 1)] ?? 0;
    return i % 2 === 0 ? pair >> 4 : pair & 15;
  });
  if (widths.some((width) => width === 0 || width > 8)) throw FORMAT;
  const total = at + widths.reduce((sum, width) => sum + width, 0);
  if (total > 8192) throw FORMAT;
  if (total > table.length) throw PAGE;
  const symbols = widths.map((width) => {
    const bytes = table.subarray(at, at += width);
    return Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("");
  });
  return [symbols, Math.max(1, Math.ceil(Math.log2(count)))];
}
