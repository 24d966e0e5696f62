/**
 * Lists of hosts as people write them: `lab[01-40],m7`, and back.
 * @module
 */

import { BusbarError } from "../../core/error.ts";
import { parseHostPart } from "../../core/host_part.ts";

/** Hosts of one list. */
export const MAX_HOSTS = 10_000;

/**
 * The hosts of a list: names separated by commas or white space, each with any number of `[01-40]` or `[1,3-5]`. Numbers
 * keep their leading zeros. A name twice counts once.
 *
 * @throws {BusbarError} `usage` for what is no such list, and for more than 10,000 hosts
 *
 * @example
 * ```ts
 * import { expandHosts } from "./host_names.ts";
 * console.assert(expandHosts("lab[08-10],m7").join() === "lab08,lab09,lab10,m7");
 * ```
 */
export function expandHosts(text: string): string[] {
  const hosts = new Set<string>();
  for (const word of text.match(/(?:\[[^\]]*\]|[^,\s[\]]|[[\]])+/g) ?? []) {
    for (const host of expandWord(word)) {
      hosts.add(host);
      if (hosts.size > MAX_HOSTS) throw wrong(text, `more than ${MAX_HOSTS} hosts`);
    }
  }
  if (hosts.size === 0) throw wrong(text, "there is no host in it");
  return [...hosts];
}

function* expandWord(word: string): Generator<string> {
  const open = word.indexOf("[");
  // An IPv6 address stands in brackets too.
  if (open < 0 || /^(?:[^@]*@)?\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\](?::\d+)?$/.test(word)) {
    parseHostPart(`ssh:${word}`);
    yield word;
    return;
  }
  const close = word.indexOf("]", open);
  if (close < 0) throw wrong(word, "a bracket is not closed");
  for (const number of numbersOf(word.slice(open + 1, close), word)) {
    yield* expandWord(word.slice(0, open) + number + word.slice(close + 1));
  }
}

function* numbersOf(ranges: string, word: string): Generator<string> {
  for (const range of ranges.split(",")) {
    const [, first = "", last = first] = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range) ?? [];
    if (first === "") throw wrong(word, `'${range}' is neither a number nor a range of numbers`);
    if (Number(last) < Number(first)) throw wrong(word, `${range} goes down`);
    if (Number(last) - Number(first) >= MAX_HOSTS) throw wrong(word, `${range} is more than ${MAX_HOSTS} hosts`);
    for (let i = Number(first); i <= Number(last); i++) yield String(i).padStart(first.length, "0");
  }
}

function wrong(text: string, why: string): BusbarError {
  return new BusbarError("usage", `'${text}' is no list of hosts: ${why}`, {
    operation: "read the hosts",
    hint: "as in --hosts 'lab[01-40],m7'",
  });
}

/** The names of a file: separated by white space or commas; `#` begins a comment. */
export function hostsOfFile(text: string): string[] {
  return expandHosts(text.split("\n").map((line) => line.replace(/#.*/, "")).join("\n"));
}

/** Names in short: `lab[01-03,07],m7`. {@linkcode expandHosts} gives the names back, in this order. */
export function shortHosts(hosts: readonly string[]): string {
  const families = new Map<string, { head: string; tail: string; numbers: string[] }>();
  const words: string[] = [];
  for (const host of hosts) {
    const [, head = "", digits = "", tail = ""] = /^([^[]*?)(\d{1,9})([^\d[]*)$/.exec(host) ?? [];
    if (digits === "") words.push(host);
    else {
      const family = families.get(`${head}\0${tail}`) ?? { head, tail, numbers: [] };
      family.numbers.push(digits);
      families.set(`${head}\0${tail}`, family);
    }
  }
  const short = [...families.values()].flatMap(({ head, tail, numbers }) => {
    // 09 and 9 are two hosts: with leading zeros, those of one width belong together.
    const padded = numbers.some((number) => number.length > 1 && number.startsWith("0"));
    const widths = Map.groupBy(numbers, (number) => padded ? number.length : 0);
    return [...widths.values()].map((some) => {
      const ranges = rangesOf(some.toSorted((a, b) => Number(a) - Number(b)));
      return some.length === 1 ? `${head}${ranges}${tail}` : `${head}[${ranges}]${tail}`;
    });
  });
  return [...short, ...words].join(",");
}

function rangesOf(numbers: readonly string[]): string {
  const ranges: [string, string][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && Number(number) === Number(last[1]) + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => first === last ? first : `${first}-${last}`).join(",");
}
