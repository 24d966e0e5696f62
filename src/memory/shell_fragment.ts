/**
 * Shell fragments that only assign: read as text, never executed. What a shell would have to run, or what depends on more
 * than the fragment, is refused with its line, so that a value that comes out is the one bash has after sourcing the file.
 *
 * Taken: `NAME=value`, `export NAME=value …`, `export NAME`, quotes, comments, `;`, `$NAME` and `${NAME:-default}` of names
 * assigned before, and `: ${NAME:=default}`.
 *
 * Source: POSIX.1-2017, Shell Command Language §2.2 (quoting), §2.6.2 (parameter expansion), §2.9.1 (simple commands); GNU
 * Bash reference manual §3.4, §5 (names with meanings of their own).
 * @module
 */

import { BusbarError } from "../core/error.ts";

/** A value that a fragment assigns. */
export interface ShellAssignment {
  /** What the shell would hold. */
  readonly value: string;
  /** The line that assigned it last, counted from 1. */
  readonly line: number;
}

/** What may not be assigned or used: bash refuses to set these, or they change by themselves. */
const SPECIAL_NAMES: ReadonlySet<string> = new Set(
  ("BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_CMDS BASH_COMMAND BASH_EXECUTION_STRING " +
    "BASH_LINENO BASH_MONOSECONDS BASH_REMATCH BASH_SOURCE BASH_SUBSHELL BASH_VERSINFO BASH_VERSION COMP_WORDBREAKS " +
    "DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID FUNCNAME GROUPS HISTCMD IFS LINENO OLDPWD OPTIND PIPESTATUS POSIXLY_CORRECT " +
    "PPID PWD RANDOM SECONDS SHELLOPTS SHLVL SRANDOM UID _").split(" "),
);

/** Characters that are themselves outside quotes, whatever stands beside them. */
const PLAIN = /[A-Za-z0-9_.\/:,@%+=^-]|[^\0-\x7f]/;

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/;

/**
 * Reads the assignments of a fragment.
 *
 * @param path its name, for messages
 * @param selfDefaults names that `${NAME:-default}` may give a default to without having been assigned: those that the
 * caller looks up in the environment first, so that the default matters only where the environment has none
 * @returns the names that hold a value at the end; an empty value is a value
 * @throws {BusbarError} `malformed`, with the line and what cannot be known without running it
 */
export function readShellFragment(
  text: string,
  path: string,
  selfDefaults: readonly string[],
): ReadonlyMap<string, ShellAssignment> {
  const reader = new FragmentReader(text, path, new Set(selfDefaults));
  return reader.read();
}

class FragmentReader {
  readonly #text: string;
  readonly #path: string;
  readonly #selfDefaults: ReadonlySet<string>;
  readonly #values = new Map<string, ShellAssignment>();
  /** Names whose value would be another one if the environment had them. */
  readonly #fromEnvironment = new Set<string>();
  /** True when the word read last holds what the environment may decide. */
  #isFromEnvironment = false;
  #at = 0;
  #line = 1;

  constructor(text: string, path: string, selfDefaults: ReadonlySet<string>) {
    this.#text = text;
    this.#path = path;
    this.#selfDefaults = selfDefaults;
  }

  read(): ReadonlyMap<string, ShellAssignment> {
    const strange = /[\r\0]/.exec(this.#text);
    if (strange !== null) {
      this.#line = this.#text.slice(0, strange.index).split("\n").length;
      throw strange[0] === "\0"
        ? this.#refuse("a zero byte: this is no text")
        : this.#refuse("a carriage return would become part of a value", "turn the line ends into those of Unix");
    }
    while (this.#at < this.#text.length) this.#statement();
    return this.#values;
  }

  get #char(): string {
    return this.#text[this.#at] ?? "";
  }

  #refuse(why: string, hint = "write NAME='value' lines only, or set the variables in the environment"): BusbarError {
    const shown = (this.#text.split("\n")[this.#line - 1] ?? "").trim();
    return new BusbarError("malformed", `${this.#path}:${this.#line}: '${shown}': ${why}`, {
      operation: "read shell fragment",
      path: this.#path,
      hint,
    });
  }

  #blanks(): void {
    while (this.#char === " " || this.#char === "\t") this.#at++;
  }

  /** One command up to its line break or `;`, comment included. */
  #statement(): void {
    this.#blanks();
    if (!this.#isEnd()) {
      const first = /^[^\s;&|<>()#'"`$\\=+[]*/.exec(this.#text.slice(this.#at))?.[0] ?? "";
      const next = this.#text[this.#at + first.length] ?? "\n";
      const isWord = next === "" || /[\s;]/.test(next);
      if (first === "export" && isWord) this.#export(first.length);
      else if (first === ":" && isWord) this.#defaults();
      else this.#assignments();
      this.#blanks();
    }
    this.#end();
  }

  #lineEnd(): number {
    const end = this.#text.indexOf("\n", this.#at);
    return end < 0 ? this.#text.length : end;
  }

  #isEnd(): boolean {
    return this.#char === "" || this.#char === "\n" || this.#char === ";" || this.#char === "#";
  }

  /** The end of a command. A `;` needs a command before it. */
  #end(): void {
    if (this.#char === "#") this.#at = this.#lineEnd();
    if (this.#char === ";") {
      const before = this.#text.slice(this.#text.lastIndexOf("\n", this.#at - 1) + 1, this.#at).trim();
      if (before === "" || before.endsWith(";")) throw this.#refuse("nothing stands before the ';'");
      this.#at++;
      return;
    }
    if (this.#char === "\n") {
      this.#at++;
      this.#line++;
    } else if (this.#char !== "") {
      throw this.#refuse(`'${this.#char}' would have to be executed`);
    }
  }

  /** `NAME=value …` to the end of the command: a word behind them would be a program, and the values its own. */
  #assignments(): void {
    while (!this.#isEnd()) {
      const name = this.#name();
      if (name === "" || this.#char !== "=") {
        throw this.#refuse(name === "" ? "it is no assignment" : `'${name}' would have to be executed`);
      }
      this.#at++;
      // From left to right: B=$A sees what A=… just before it assigned.
      const value = this.#word(name);
      this.#assign(name, value, this.#isFromEnvironment);
      this.#blanks();
    }
  }

  #export(length: number): void {
    this.#at += length;
    this.#blanks();
    if (this.#isEnd()) throw this.#refuse("export without a name prints");
    // All words are expanded before the first is assigned.
    const made: (() => void)[] = [];
    while (!this.#isEnd()) {
      const name = this.#name();
      if (name === "") throw this.#refuse("export takes names only");
      if (this.#char === "=") {
        this.#at++;
        const value = this.#word(name);
        const isFromEnvironment = this.#isFromEnvironment;
        made.push(() => this.#assign(name, value, isFromEnvironment));
      } else if (!/^[ \t\n;]?$/.test(this.#char)) {
        throw this.#refuse("export takes NAME or NAME=value");
      }
      this.#blanks();
    }
    for (const assign of made) assign();
  }

  /** `: WORD …`: expanded and thrown away, but `:=` assigns. */
  #defaults(): void {
    this.#at++;
    this.#blanks();
    while (!this.#isEnd()) {
      this.#word(null);
      this.#blanks();
    }
  }

  #name(): string {
    const name = NAME.exec(this.#text.slice(this.#at))?.[0] ?? "";
    if (SPECIAL_NAMES.has(name)) throw this.#refuse(`${name} has a meaning of its own in a shell`);
    this.#at += name.length;
    return name;
  }

  #assign(name: string, value: string, isFromEnvironment: boolean): void {
    this.#values.set(name, { value, line: this.#line });
    if (isFromEnvironment) this.#fromEnvironment.add(name);
    else this.#fromEnvironment.delete(name);
  }

  /** @param target the name that the word is assigned to; null where it is only expanded */
  #word(target: string | null): string {
    this.#isFromEnvironment = false;
    let value = "";
    for (;;) {
      const char = this.#char;
      if (char === "" || char === " " || char === "\t" || char === "\n" || char === ";") return value;
      if (char === "'") value += this.#singleQuoted();
      else if (char === '"') value += this.#doubleQuoted(target);
      else if (char === "$") value += this.#expansion(target, false);
      else if (char === "\\") value += this.#escaped();
      else if (char === "#") value += this.#take(); // A comment only begins where a word does.
      else if (PLAIN.test(char)) value += this.#take();
      else throw this.#refuse(`'${char}' outside quotes would have to be executed or expanded`);
    }
  }

  #take(): string {
    const char = this.#char;
    this.#at++;
    return char;
  }

  #escaped(): string {
    this.#at++;
    if (this.#char === "\n" || this.#char === "") throw this.#refuse("it goes on in the next line");
    return this.#take();
  }

  #singleQuoted(): string {
    const end = this.#text.indexOf("'", this.#at + 1);
    const value = this.#text.slice(this.#at + 1, end < 0 ? undefined : end);
    if (end < 0 || value.includes("\n")) throw this.#refuse("the quotes do not end in this line");
    this.#at = end + 1;
    return value;
  }

  #doubleQuoted(target: string | null): string {
    this.#at++;
    let value = "";
    while (this.#char !== '"') {
      const char = this.#char;
      if (char === "" || char === "\n") throw this.#refuse("the quotes do not end in this line");
      if (char === "`") throw this.#refuse("a command would have to be executed");
      if (char === "$") value += this.#expansion(target, true);
      else if (char === "\\" && this.#text[this.#at + 1] === "\n") throw this.#refuse("it goes on in the next line");
      else if (char === "\\" && /["\\$`]/.test(this.#text[this.#at + 1] ?? "")) {
        this.#at++;
        value += this.#take();
      } else value += this.#take();
    }
    this.#at++;
    return value;
  }

  /** `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:=default}`; nothing else that a dollar sign begins. */
  #expansion(target: string | null, isQuoted: boolean): string {
    const rest = this.#text.slice(this.#at);
    const plain = /^\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})/.exec(rest);
    const name = plain?.[1] ?? plain?.[2];
    if (plain !== null && name !== undefined) {
      this.#checkName(name);
      const known = this.#values.get(name);
      if (known === undefined) throw this.#refuse(`${name} is not assigned before`);
      this.#checkIsKnown(name, target);
      this.#isFromEnvironment ||= this.#fromEnvironment.has(name);
      this.#at += plain[0].length;
      return known.value;
    }
    const withDefault = /^\$\{([A-Za-z_][A-Za-z0-9_]*):([-=])([A-Za-z0-9_.\/:,@%+= -]*)\}/.exec(rest);
    const [whole = "", variable = "", operator = "", fallback = ""] = withDefault ?? [];
    if (withDefault === null) throw this.#refuse("an expansion would have to be executed");
    this.#checkName(variable);
    const known = this.#values.get(variable);
    const isOwn = this.#selfDefaults.has(variable) && (target === variable || target === null);
    if (known === undefined && !isOwn) {
      throw this.#refuse(`${variable} is not assigned before, so the environment decides`);
    }
    if (!isQuoted && target === null && fallback.includes(" ") && operator === "-") {
      throw this.#refuse("its default would be split into words");
    }
    if (known !== undefined) this.#checkIsKnown(variable, target);
    this.#at += whole.length;
    const value = known === undefined || known.value === "" ? fallback : known.value;
    const isUnknown = known === undefined || this.#fromEnvironment.has(variable);
    this.#isFromEnvironment ||= isUnknown;
    if (operator === "=") this.#assign(variable, value, isUnknown);
    return value;
  }

  /** What the environment may have decided is passed on to no other name. */
  #checkIsKnown(name: string, target: string | null): void {
    if (this.#fromEnvironment.has(name) && target !== null && target !== name) {
      throw this.#refuse(`the environment may decide what ${name} is`);
    }
  }

  #checkName(name: string): void {
    if (SPECIAL_NAMES.has(name)) throw this.#refuse(`${name} has a meaning of its own in a shell`);
  }
}
