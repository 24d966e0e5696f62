/**
 * Bytes that were printed as text: as `nvme get-log`, `xxd`, `hexdump -C` and `od -t x1` do, also quoted or indented by a
 * mail program, and in part.
 *
 * Sources: nvme-cli util (d()), xxd(1), hexdump(1), od(1).
 * @module
 */

import { decodeText } from "./input.ts";
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
/** As many digits as od prints of an offset, unless it was told to count in base 16: then there are six. */
const OD_DIGITS = 7;

/** What colours and marks a line in a terminal, and is no part of its text. */
// deno-lint-ignore no-control-regex
const TERMINAL_SEQUENCES = /\x1b\[[0-9;?]*[A-Za-z]/g;

/** A line without its break, without what a terminal coloured and without the marks that mail programs put before it. */
export function plainLine(line: string): string {
  return line.replace(/\r$/, "").replace(TERMINAL_SEQUENCES, "").replace(/^(?:[ \t]?>)+ ?/, "");
}

/**
 * The text in bytes that are text: nothing but what is printed, white space and colours of a terminal. Null for others:
 * pages of a device have zeros in them.
 */
export function textOf(bytes: Uint8Array): string | null {
  if (bytes.length === 0) return null;
  const text = decodeText(bytes);
  // deno-lint-ignore no-control-regex
  return /^[\t-\r\x1b\x20-\x7e\x80-\uffff]+$/.test(text) ? text : null;
}

/** Reads the dumps in a text; none where it has no bytes. Never throws. */
export function readHexText(text: string): HexText {
  const reader = new Reader();
  const lines = text.split("\n").map(plainLine);
  for (const [index, line] of lines.entries()) reader.line(index + 1, line);
  const found = reader.end();
  if (found.dumps.length > 0 || found.problems.length > 0) return found;
  return plainBytes(lines);
}

interface PendingDump {
  readonly heading: string;
  readonly pieces: { offset: number; bytes: number[] }[];
  /** It shows numbers that are no bytes in their order: nothing of it can be used. */
  isNumbers: boolean;
}

class Reader {
  readonly #dumps: PendingDump[] = [];
  readonly #problems: string[] = [];
  #heading: string[] = [];
  #repeats: { line: number; bytes: readonly number[] } | null = null;
  #last: readonly number[] = [];
  /** The base of offsets that od prints, once a line has told it. */
  #base: number | null = null;

  line(number: number, line: string): void {
    if (/^\s*\*\s*$/.test(line) && this.#last.length > 0) {
      this.#repeats = { line: number, bytes: this.#last };
      return;
    }
    const match = /^\s*([0-9a-f]{4,16})(?::\s*|\s+|$)(.*)$/i.exec(line);
    if (match === null) return this.#other(line);
    const [, digits = "", rest = ""] = match;
    const groups = groupsOf(rest);
    const hasColon = /^\s*[0-9a-f]+:/i.test(line);
    const reason = whyNumbers(groups, rest, hasColon);
    if (reason !== null) return this.#numbers(number, parseInt(digits, 16), reason);
    const isEnd = rest.trim() === "";
    const bytes = groups.flatMap((group) => group.match(/../g)?.map((pair) => parseInt(pair, 16)) ?? []);
    if (bytes.length === 0 && !isEnd) return this.#other(line);
    this.#bytes(number, this.#offset(digits, hasColon), bytes);
  }

  end(): HexText {
    if (this.#repeats !== null) this.#problem(this.#repeats.line, "a line of '*' with no offset behind it is left out");
    const dumps = this.#dumps.filter(({ isNumbers }) => !isNumbers).map(({ heading, pieces }) => ({
      heading,
      pieces: pieces.map(({ offset, bytes }) => ({ offset, bytes: Uint8Array.from(bytes) })),
    }));
    return { dumps, problems: this.#problems };
  }

  #other(line: string): void {
    if (line.trim() !== "" && this.#heading.length < 10) this.#heading.push(line.trim().slice(0, 200));
  }

  /** A line of numbers: the dump that it is in cannot be used, also where other lines of it look like bytes. */
  #numbers(number: number, offset: number, reason: string): void {
    const dump = this.#dumps.at(-1);
    if (dump?.isNumbers === true && offset !== 0) return;
    this.#problem(number, reason);
    this.#repeats = null;
    if (dump !== undefined && offset !== 0) dump.isNumbers = true;
    else {
      this.#dumps.push({ heading: this.#heading.join("\n"), pieces: [], isNumbers: true });
      this.#heading = [];
    }
  }

  /** Where the last piece ends; 0 before the first. */
  #end(): number {
    const last = this.#dumps.at(-1)?.pieces.at(-1);
    return last === undefined ? 0 : last.offset + last.bytes.length;
  }

  /** An offset. Only od prints seven digits and no colon: in octal, or with -A d or -A x in another base. */
  #offset(digits: string, hasColon: boolean): number {
    if (hasColon || digits.length !== OD_DIGITS) return parseInt(digits, 16);
    if (/^0+$/.test(digits)) {
      this.#base = null;
      return 0;
    }
    const end = this.#end();
    const step = this.#repeats?.bytes.length ?? 0;
    const isNext = (base: number): boolean => parseInt(digits, base) === end;
    const isAfterRepeats = (base: number): boolean => step > 0 && (parseInt(digits, base) - end) % step === 0;
    const bases = [8, 10, 16].filter((base) =>
      parseInt(digits, base).toString(base).padStart(OD_DIGITS, "0") === digits
    );
    this.#base ??= bases.find(isNext) ?? bases.find(isAfterRepeats) ?? bases[0] ?? 16;
    return parseInt(digits, this.#base);
  }

  #bytes(number: number, offset: number, bytes: readonly number[]): void {
    if (this.#dumps.at(-1)?.isNumbers === true && offset !== 0) return;
    const last = this.#dumps.at(-1)?.pieces.at(-1);
    const end = this.#end();
    const repeats = this.#repeats;
    this.#repeats = null;
    if (repeats !== null && last !== undefined && offset > end && offset <= MAX_BYTES) {
      if ((offset - end) % repeats.bytes.length === 0) {
        while (last.offset + last.bytes.length < offset) last.bytes.push(...repeats.bytes);
        return this.#bytes(number, offset, bytes);
      }
      this.#problem(repeats.line, `'*' up to ${hex(offset)} is no whole number of lines, and is left out`);
    }
    if (bytes.length === 0) return;
    if (offset + bytes.length > MAX_BYTES) return this.#problem(number, `offset ${hex(offset)} is beyond any page`);
    this.#last = bytes;
    if (last === undefined || (offset === 0 && end > 0)) {
      this.#dumps.push({
        heading: this.#heading.join("\n"),
        pieces: [{ offset, bytes: [...bytes] }],
        isNumbers: false,
      });
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

/**
 * Why the numbers of a line are no bytes in their order; null where they are, or where nothing tells.
 *
 * @param rest what stands behind the offset
 * @param hasColon xxd and nvme-cli put one behind the offset; od and hexdump do not
 */
function whyNumbers(groups: readonly string[], rest: string, hasColon: boolean): string | null {
  const order = "whose order the text does not tell: hexdump -C prints bytes";
  const words = rest.trim().split(/\s+/);
  if (!hasColon) {
    const isWords = (length: number): boolean => groups.length > 0 && groups.every((group) => group.length === length);
    // `hexdump` and `od -x`, `od -t x4` and `od -t x8`: in the order of the machine that printed them.
    if (isWords(4)) return `words of two bytes, ${order}`;
    if (isWords(8) || isWords(16)) return `words of several bytes, ${order}`;
    // `od` prints words in octal, `od -b` and `od -t u1` numbers of three digits or fewer.
    if (
      !/["|>]/.test(rest) && words.length > 1 && words.every((word) => /^-?\d+$/.test(word)) && !words.every(isPair)
    ) {
      return "numbers that are no hexadecimal bytes: hexdump -C prints bytes";
    }
    return null;
  }
  // `xxd -e` prints words the other way round; its column of characters has them in order.
  const [first = ""] = groups;
  const shown = /\s{2,}(\S.*)$/.exec(rest)?.[1];
  if (first.length < 4 || shown === undefined || groups.some((group) => group.length !== first.length)) return null;
  // `xxd -b`: each group is one byte.
  if (groups.every((group) => /^[01]{8}$/.test(group)) && shown.length === groups.length) {
    return "bits: xxd without -b prints bytes";
  }
  const characters = (bytes: readonly string[]): string =>
    bytes.map((pair) => parseInt(pair, 16)).map((byte) => byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")
      .join("");
  const pairs = groups.map((group) => group.match(/../g) ?? []);
  const isTurned = characters(pairs.flatMap((word) => word.toReversed())) === shown;
  return isTurned && characters(pairs.flat()) !== shown
    ? `words of ${first.length / 2} bytes, turned round: xxd prints bytes`
    : null;
}

function isPair(word: string): boolean {
  return /^[0-9a-f]{2}$/i.test(word);
}

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
    if (more.every(isPair) && more.length <= LINE_BYTES) return more;
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
