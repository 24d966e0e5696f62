/**
 * The host part of a locator: which machine, and how it is reached. Every part is checked here, because it becomes an
 * argument of a program and part of a file name.
 * @module
 */

import { BusbarError } from "./error.ts";

/** A machine that is not this one. */
export interface HostPart {
  /** How it is reached. */
  readonly scheme: "ssh";
  /** As written, without what follows: `ssh:me@lab7:2222`. */
  readonly text: string;
  /** The user there; null where none is given. Letters, digits, `_`, `.`, `-`, `+`; begins with a letter, digit or `_`. */
  readonly user: string | null;
  /** Its name, or its address (IPv6 without the brackets). Begins with a letter, a digit, `_` or `:`. */
  readonly name: string;
  /** The port, 1 to 65535; null where none is given. */
  readonly port: number | null;
}

/** A file name is at most 255 bytes, and this is only a part of one. */
const MAX_NAME = 200;

/**
 * Parses `ssh:[user@]host[:port]`.
 *
 * @throws {BusbarError} `usage` for a name that a program might take for an option, that holds control characters, or
 * that could not be part of a file name
 *
 * @example
 * ```ts
 * import { parseHostPart } from "./host_part.ts";
 * const host = parseHostPart("ssh:me@lab7:2222");
 * console.assert(host.user === "me" && host.name === "lab7" && host.port === 2222);
 * ```
 */
export function parseHostPart(text: string): HostPart {
  const rest = text.startsWith("ssh:") ? text.slice("ssh:".length) : "";
  const at = rest.lastIndexOf("@");
  const user = at < 0 ? null : rest.slice(0, at);
  if (user !== null && (user.length > MAX_NAME || !/^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/.test(user))) {
    throw malformed(text, "a user name has letters, digits and _ . + -, and begins with a letter, a digit or _");
  }
  const place = rest.slice(at + 1);
  const match = /^(?:\[([0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)\]|([A-Za-z0-9_][A-Za-z0-9_.-]*))(?::(\d{1,5}))?$/.exec(place);
  const [, address, word, digits] = match ?? [];
  const name = address ?? word ?? "";
  if (name === "" || name.length > MAX_NAME) {
    throw malformed(text, "a host name has letters, digits and _ . -, and begins with a letter, a digit or _");
  }
  const port = digits === undefined ? null : Number(digits);
  if (port !== null && (port < 1 || port > 65_535)) throw malformed(text, "a port is 1 to 65535");
  return { scheme: "ssh", text, user, name, port };
}

function malformed(text: string, rule: string): BusbarError {
  return new BusbarError("usage", `'${text}' names no machine: ${rule}`, {
    operation: "parse locator",
    path: text,
    hint: "write ssh:HOST, ssh:USER@HOST or ssh:USER@HOST:PORT; an IPv6 address stands in brackets",
  });
}
