/**
 * Bytes that were printed as text: as `nvme get-log`, `xxd`, `hexdump -C` and `od -t x1` do, also quoted or indented by a
 * mail program, and in part.
 *
 * Sources: nvme-cli util (d()), xxd(1), hexdump(1), od(1).
 * @module
 */

import { hex } from "./units.ts";

/** Bytes that stand one after the other. */
export interface HexPiece {
  /** Where the first one stands. */
  readonly offset: number;
  /** The bytes. */
  readonly bytes: Uint8Array;
}

/** One dump: from the line that begins at offset 0, or from the first line, to the next such line. */
export interface HexDump {
  /** The text above it, which may say what it is. */
  readonly heading: string;
  /** What was printed, by offset; pieces do not touch. */
  readonly pieces: readonly HexPiece[];
}

/** What was read of a text. */
export interface HexText {
  /** The dumps in it, in order. */
  readonly dumps: readonly HexDump[];
  /** What could not be used, each in one sentence with its line. */
  readonly problems: readonly string[];
}

/** No page is longer; an offset beyond it is damage. */
const MAX_BYTES = 16 << 20;
const MAX_PROBLEMS = 20;

/** True when bytes are text: nothing but what is printed, and white space. Pages of a device have zeros in them. */
export function isText(bytes: Uint8Array): boolean {
  return bytes.length > 0 && bytes.every((byte) => byte >= 0x20 && byte !== 0x7f || byte >= 0x09 && byte <= 0x0d);
}

/** Reads the dumps in a text; none where it has no bytes. Never throws. */
export function readHexText(text: string): HexText {
  const reader = new Reader();
  const lines = text.split("\n").map((line) => line.replace(/\r$/, "").replace(/^(?:[ \t]?>)+ ?/, ""));
  for (const [index, line] of lines.entries()) reader.line(index + 1, line);
  const found = reader.end();
  if (found.dumps.length > 0 || found.problems.length > 0) return found;
  return plainBytes(lines);
}

interface PendingDump {
  readonly heading: string;
  readonly pieces: { offset: number; bytes: number[] }[];
}

class Reader {
  readonly #dumps: PendingDump[] = [];
  readonly #problems: string[] = [];
  #heading: string[] = [];
  #repeats: { line: number; bytes: readonly number[] } | null = null;
  #last: readonly number[] = [];

  line(number: number, line: string): void {
    if (/^\s*\*\s*$/.test(line) && this.#last.length > 0) {
      this.#repeats = { line: number, bytes: this.#last };
      return;
    }
    const match = /^\s*([0-9a-f]{4,16})(?::\s*|\s+|$)(.*)$/i.exec(line);
    if (match === null) return this.#other(line);
    const [, digits = "", rest = ""] = match;
    const groups = groupsOf(rest);
    // `hexdump` without -C and `od -x`: numbers of two bytes, in the order of the machine that printed them.
    if (!/^\s*[0-9a-f]+:/i.test(line) && groups.length > 0 && groups.every((group) => group.length === 4)) {
      return this.#problem(number, "words of two bytes, whose order the text does not tell: hexdump -C prints bytes");
    }
    const isEnd = rest.trim() === "";
    const bytes = groups.flatMap((group) => group.match(/../g)?.map((pair) => parseInt(pair, 16)) ?? []);
    if (bytes.length === 0 && !isEnd) return this.#other(line);
    this.#bytes(number, digits, bytes);
  }

  end(): HexText {
    if (this.#repeats !== null) this.#problem(this.#repeats.line, "a line of '*' with no offset behind it is left out");
    const dumps = this.#dumps.map(({ heading, pieces }) => ({
      heading,
      pieces: pieces.map(({ offset, bytes }) => ({ offset, bytes: Uint8Array.from(bytes) })),
    }));
    return { dumps, problems: this.#problems };
  }

  #other(line: string): void {
    if (line.trim() !== "" && this.#heading.length < 10) this.#heading.push(line.trim().slice(0, 200));
  }

  #bytes(number: number, digits: string, bytes: readonly number[]): void {
    const last = this.#dumps.at(-1)?.pieces.at(-1);
    const end = last === undefined ? 0 : last.offset + last.bytes.length;
    let offset = parseInt(digits, 16);
    // od counts in octal where nothing else was asked for.
    const octal = /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : NaN;
    if (offset !== end && octal === end) offset = octal;
    const repeats = this.#repeats;
    this.#repeats = null;
    if (repeats !== null && last !== undefined && offset > end && offset <= MAX_BYTES) {
      if ((offset - end) % repeats.bytes.length === 0) {
        while (last.offset + last.bytes.length < offset) last.bytes.push(...repeats.bytes);
        return this.#bytes(number, digits, bytes);
      }
      this.#problem(repeats.line, `'*' up to ${hex(offset)} is no whole number of lines, and is left out`);
    }
    if (bytes.length === 0) return;
    if (offset + bytes.length > MAX_BYTES) return this.#problem(number, `offset ${hex(offset)} is beyond any page`);
    this.#last = bytes;
    if (last === undefined || (offset === 0 && end > 0)) {
      this.#dumps.push({ heading: this.#heading.join("\n"), pieces: [{ offset, bytes: [...bytes] }] });
      this.#heading = [];
    } else if (offset === end) last.bytes.push(...bytes);
    else if (offset > end) this.#dumps.at(-1)?.pieces.push({ offset, bytes: [...bytes] });
    else this.#problem(number, `offset ${hex(offset)} where ${hex(end)} or more belongs; the line is left out`);
  }

  #problem(line: number, what: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(`line ${line}: ${what}`);
  }
}

/** The most bytes in a line where nothing shows where the column of characters begins. */
const LINE_BYTES = 16;

/** The groups of hexadecimal digits in a line behind its offset, without the characters at its end. */
function groupsOf(rest: string): string[] {
  // hexdump -C has a wider gap in the middle of its bytes, xxd one before its characters.
  const quoted = /\s["|>]/.exec(rest);
  const half = quoted === null ? rest.split(/\s{2,}/)[0] ?? "" : rest.slice(0, quoted.index);
  const isCertain = quoted !== null || half.length < rest.trimEnd().length;
  const groups: string[] = [];
  let count = 0;
  for (const group of half.trim().split(/\s+/)) {
    if (!/^(?:[0-9a-f]{2}){1,8}$/i.test(group)) break;
    count += group.length / 2;
    if (!isCertain && count > LINE_BYTES) break;
    groups.push(group);
  }
  // od -t x1 prints bytes only, in pairs, with a gap nowhere: what follows a wide gap of pairs is bytes too.
  if (quoted === null && isCertain && groups.every((group) => group.length === 2)) {
    const more = rest.trim().split(/\s+/);
    if (more.every((group) => /^[0-9a-f]{2}$/i.test(group)) && more.length <= LINE_BYTES) return more;
  }
  return groups;
}

/** Digits without offsets, as `xxd -p` and `od -An -t x1` print them: every line has nothing else. */
function plainBytes(lines: readonly string[]): HexText {
  const filled = lines.filter((line) => line.trim() !== "");
  const isPlain = filled.length > 0 && filled.every((line) => /^\s*(?:[0-9a-f]{2}\s*)+$/i.test(line));
  if (!isPlain) return { dumps: [], problems: [] };
  const digits = filled.join("").replace(/\s/g, "");
  const bytes = Uint8Array.fromHex(digits.slice(0, 2 * MAX_BYTES));
  return { dumps: [{ heading: "", pieces: [{ offset: 0, bytes }] }], problems: [] };
}
