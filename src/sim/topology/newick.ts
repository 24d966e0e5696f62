/**
 * The topology as Newick text: `(1,(2,3))`, with labels and lengths. Every error names its character.
 * @module
 */

import { BusbarError } from "../../core/error.ts";

/** Groups inside groups that are accepted. */
const DEPTH_LIMIT = 64;

/** The longest text that is read. */
const TEXT_LIMIT = 65536;

/** Endpoint numbers end here. */
export const ENDPOINT_LIMIT = 1024;

/** An endpoint, the host itself, or an expander of another host. */
export interface NewickLeaf {
  /** What it is: an endpoint (an integer or `CXL`), `CPU`, or `R:host:number`. */
  readonly kind: "endpoint" | "cpu" | "remote";
  /** The endpoint's number, from 1; of a remote one its number at that host; 0 for `CPU`. */
  readonly number: number;
  /** The other host of a remote endpoint; 0 otherwise. */
  readonly remoteHost: number;
  /** Extra one-path latency of the link above it, in ns. */
  readonly lengthNs: number;
  /** Where it stands in the text, from 1. */
  readonly position: number;
}

/** The host (the outermost one) or a switch. */
export interface NewickGroup {
  /** Always `group`. */
  readonly kind: "group";
  /** What is below it, in order. */
  readonly children: readonly NewickChild[];
  /** The name after `)`, or null. */
  readonly label: string | null;
  /** Extra one-path latency of the link above it, in ns. */
  readonly lengthNs: number;
  /** Where its `(` stands in the text, from 1. */
  readonly position: number;
}

/** What stands in a group. */
export type NewickChild = NewickLeaf | NewickGroup;

function wrong(position: number, what: string, hint = "write it as in (1,(2,3))"): BusbarError {
  return new BusbarError("usage", `topology: character ${position}: ${what}`, { operation: "read the topology", hint });
}

interface Token {
  readonly kind: "(" | ")" | "," | ":" | ";" | "word" | "end";
  readonly text: string;
  readonly position: number;
}

function tokens(text: string): Token[] {
  const found: Token[] = [];
  const pattern = /\s*(?:([(),:;])|([^\s(),:;]+))/y;
  let at = 0;
  while (at < text.length) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) break; // only white space is left
    const word = match[1] ?? match[2] ?? "";
    found.push({
      kind: match[1] === undefined ? "word" : word as Token["kind"],
      text: word,
      position: pattern.lastIndex - word.length + 1,
    });
    at = pattern.lastIndex;
  }
  found.push({ kind: "end", text: "", position: text.length + 1 });
  return found;
}

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;
  readonly #used = new Set<number>();
  readonly #configured: number | null;

  constructor(text: string, configured: number | null) {
    this.#tokens = tokens(text);
    this.#configured = configured;
  }

  #peek(): Token {
    return this.#tokens[Math.min(this.#next, this.#tokens.length - 1)] as Token;
  }

  #take(): Token {
    const token = this.#peek();
    this.#next++;
    return token;
  }

  tree(): NewickGroup {
    const first = this.#peek();
    if (first.kind === "end") throw wrong(first.position, "there is nothing");
    if (first.kind !== "(") throw wrong(first.position, `'${first.text}' where ( begins the tree`);
    const root = this.#group(1);
    if (root.lengthNs !== 0) throw wrong(root.position, "the outermost group is the host: its length must be 0");
    if (this.#peek().kind === ";") this.#take();
    const rest = this.#peek();
    if (rest.kind === ")") throw wrong(rest.position, "a ) too many");
    if (rest.kind !== "end") throw wrong(rest.position, `'${rest.text}' after the end of the tree`);
    return root;
  }

  #group(depth: number): NewickGroup {
    const open = this.#take();
    if (depth > DEPTH_LIMIT) throw wrong(open.position, `more than ${DEPTH_LIMIT} groups inside each other`);
    if (this.#peek().kind === ")") throw wrong(open.position, "an empty group");
    const children: NewickChild[] = [];
    for (;;) {
      children.push(this.#child(depth));
      const after = this.#take();
      if (after.kind === ")") break;
      if (after.kind === "end") {
        throw wrong(after.position, `the ) is missing that ends the group of character ${open.position}`);
      }
      if (after.kind !== ",") throw wrong(after.position, `'${after.text}' where , or ) was expected`);
    }
    const label = this.#peek().kind === "word" ? this.#take().text : null;
    return { kind: "group", children, label, lengthNs: this.#length(), position: open.position };
  }

  #child(depth: number): NewickChild {
    const token = this.#peek();
    if (token.kind === "(") return this.#group(depth + 1);
    this.#take();
    if (token.kind === "end") throw wrong(token.position, "the ) is missing that ends the group");
    if (token.kind !== "word") throw wrong(token.position, `'${token.text}' where an endpoint or ( was expected`);
    const { position } = token;
    if (token.text === "CPU") return { kind: "cpu", number: 0, remoteHost: 0, lengthNs: this.#length(), position };
    if (token.text === "R") {
      const remoteHost = this.#part(position, "host");
      const number = this.#part(position, "number");
      return { kind: "remote", number, remoteHost, lengthNs: this.#length(), position };
    }
    const number = this.#endpoint(token);
    this.#used.add(number);
    return { kind: "endpoint", number, remoteHost: 0, lengthNs: this.#length(), position };
  }

  #part(position: number, what: string): number {
    const colon = this.#take();
    const part = this.#take();
    if (colon.kind !== ":" || !/^\d{1,4}$/.test(part.text)) {
      throw wrong(position, `an expander of another host has a ${what}`, "write it as R:1:2, host 1, number 2");
    }
    return Number(part.text);
  }

  #endpoint({ text, position }: Token): number {
    if (text === "CXL") {
      let lowest = 1;
      while (this.#used.has(lowest)) lowest++;
      return this.#inside(lowest, position);
    }
    if (/^[-+]\d/.test(text)) throw wrong(position, `endpoint ${text}: numbers begin at 1 and have no sign`);
    if (!/^\d+$/.test(text)) {
      throw wrong(position, `'${text}' is no endpoint`, "a child is a number, CXL, CPU, R:host:number or a group");
    }
    const number = Number(text);
    if (number === 0) throw wrong(position, "endpoint 0: node 0 is the host's own memory, endpoints begin at 1");
    if (this.#used.has(number)) throw wrong(position, `endpoint ${number} stands there twice`);
    return this.#inside(number, position);
  }

  #inside(number: number, position: number): number {
    const limit = this.#configured ?? ENDPOINT_LIMIT;
    if (number > limit) throw wrong(position, `endpoint ${number}, but there are ${limit}`, "lower the number");
    return number;
  }

  #length(): number {
    if (this.#peek().kind !== ":") return 0;
    const colon = this.#take();
    const token = this.#take();
    if (token.kind !== "word" || !/^(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(token.text)) {
      const found = token.kind === "end" ? "nothing" : `'${token.text}'`;
      throw wrong(
        token.kind === "end" ? colon.position : token.position,
        `${found} is no length`,
        "a length is nanoseconds, 0 or more, as in (1:20,2)",
      );
    }
    const value = Number(token.text);
    if (!(value <= 1e9)) throw wrong(token.position, `a length of ${token.text} ns`, "at most 1e9 ns");
    return value;
  }
}

/**
 * Reads a topology.
 *
 * @param configured how many endpoints there are, or null to take what the text names
 * @throws {BusbarError} `usage`, with the character (from 1) where it is wrong
 */
export function parseNewick(text: string, configured: number | null = null): NewickGroup {
  if (text.length > TEXT_LIMIT) throw wrong(TEXT_LIMIT + 1, `more than ${TEXT_LIMIT} characters`);
  return new Parser(text, configured).tree();
}

/** The text of a tree; reading it gives the same tree, but for positions. */
export function printNewick(node: NewickChild): string {
  const length = node.lengthNs === 0 ? "" : `:${node.lengthNs}`;
  if (node.kind === "group") return `(${node.children.map(printNewick).join(",")})${node.label ?? ""}${length}`;
  if (node.kind === "cpu") return `CPU${length}`;
  if (node.kind === "remote") return `R:${node.remoteHost}:${node.number}${length}`;
  return `${node.number}${length}`;
}
