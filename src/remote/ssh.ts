/**
 * How an agent is started on another machine: the ssh program, and what the shell there is told to do.
 *
 * The first words there look for the agent with the right hash in the user's cache; where it is not, they ask for it, take
 * it from standard input, check it and start it. So one connection is enough, and nothing else has to be there but a shell,
 * `uname`, `id`, `head`, `mkdir`, `mv` and `sha256sum`.
 * @module
 */

import { BusbarError, type ErrorCode } from "../core/error.ts";
import type { HostPart } from "../core/host_part.ts";
import type { AgentFile } from "./agent_files.ts";
import type { Launch } from "./connection.ts";
import type { Right } from "./operations.ts";
import { shownText } from "./shown_text.ts";

/** How a machine is reached. */
export interface SshOptions {
  /** Start the agent as root there, by `sudo -n`. */
  readonly sudo?: boolean;
  /** The program and its options in place of `ssh` and ours: `BUSBAR_SSH`. */
  readonly program?: readonly string[] | undefined;
  /** The folder of control sockets, of this user alone; null without any. */
  readonly controlFolder: string | null;
  /** Told of a processor that none of the agents is for, before the connection fails for it. */
  readonly onProcessor?: (name: string) => void;
}

const SSH_OPTIONS: readonly string[] = [
  "-T",
  "-o",
  "BatchMode=yes",
  "-o",
  "ConnectTimeout=10",
  "-o",
  "ServerAliveInterval=5",
];

/** Where the agent of a machine's administrator lies; it is used with `--sudo` when it is the same. */
export const SYSTEM_AGENT = "/usr/libexec/busbar-agent";

/**
 * The launch of an agent.
 *
 * @param agents those that can be sent
 * @param right what the agent may do
 */
export function sshLaunch(host: HostPart, right: Right, agents: readonly AgentFile[], options: SshOptions): Launch {
  const { program = null } = options;
  const [ssh = "ssh", ...own] = program ?? ["ssh", ...SSH_OPTIONS, ...controlOptions(options.controlFolder)];
  const port = host.port === null ? [] : ["-p", String(host.port)];
  const user = host.user === null ? [] : ["-l", host.user];
  const words = shellWords(right, agents, options.sudo === true);
  return {
    name: host.text,
    command: [ssh, ...own, ...port, ...user, "--", host.name, words],
    onLine: (line) => answerTo(host, agents, line, options.onProcessor),
    onEnd: (status, errors) => whyNoAgent(host, ssh, status, errors),
  };
}

function controlOptions(folder: string | null): string[] {
  return folder === null
    ? []
    : ["-o", "ControlMaster=auto", "-o", `ControlPath=${folder}/%C`, "-o", "ControlPersist=60"];
}

/** What the login shell there is given: one line, in single quotes, that means the same to every shell. */
export function shellWords(right: Right, agents: readonly AgentFile[], sudo: boolean): string {
  const args = right === "read" ? "" : ` --${right}`;
  const cases = agents.map(({ arch, hash, bytes }) => `${arch}) h=${hash} s=${bytes.length};;`).join(" ");
  const start = sudo ? `exec sudo -n -- "$f"${args}` : `exec "$f"${args}`;
  const parts = [
    // Names of the same processor.
    `m=$(uname -m)`,
    `case "$m" in ${cases} *) echo "busbar-agent none $m"; exit 3;; esac`,
    `umask 077`,
    `sum() { sha256sum <"$1" 2>/dev/null; }`,
    // The administrator's copy: of root, writable by nobody else, and the same file.
    ...(sudo
      ? [
        `f=${SYSTEM_AGENT}`,
        `if [ -f "$f" ] && [ -n "$(find "$f" -user 0 -perm -0100 -prune ! -perm /022 2>/dev/null)" ] && [ "$(sum "$f")" = "$h  -" ]; then ${start}; fi`,
      ]
      : []),
    `command -v sha256sum >/dev/null 2>&1 || { echo "busbar-agent failed there is no sha256sum"; exit 3; }`,
    `c="\${XDG_CACHE_HOME:-\${HOME:-/nonexistent}/.cache}/busbar"`,
    `t="\${TMPDIR:-/tmp}/busbar-agent-$(id -u)"`,
    // Of this user, no link, and writable by nobody else.
    `mine() { [ -O "$1" ] && [ -z "$(find "$1" -prune \\( -type l -o -perm /022 \\) 2>/dev/null)" ]; }`,
    `for d in "$c" "$t"; do f="$d/agent-$h"; if mine "$d" && [ -f "$f" ] && mine "$f" && [ "$(sum "$f")" = "$h  -" ] && "$f" --version >/dev/null 2>&1; then ${start}; fi; done`,
    `g=`,
    `for d in "$c" "$t"; do mkdir -p "$d" 2>/dev/null; mine "$d" || continue; x="$d/try.$$"; printf "#\\041/bin/sh\\nexit 0\\n" >"$x" 2>/dev/null && chmod 700 "$x" && "$x" 2>/dev/null && g="$d"; rm -f "$x"; [ -n "$g" ] && break; done`,
    `[ -n "$g" ] || { echo "busbar-agent failed neither $c nor $t takes a program: read-only, full, not yours, or mounted noexec"; exit 3; }`,
    `f="$g/agent-$h"`,
    `echo "busbar-agent need $m"`,
    `head -c $s >"$f.$$" 2>/dev/null`,
    `if [ "$(sum "$f.$$")" = "$h  -" ]; then chmod 700 "$f.$$" && mv -f "$f.$$" "$f"; else rm -f "$f.$$"; echo "busbar-agent failed the agent did not arrive whole in $g: is there room?"; exit 3; fi`,
    `for o in "$g"/agent-*; do [ "$o" = "$f" ] || rm -f "$o"; done`,
    start,
  ];
  return `exec sh -c '${parts.join("; ")}'`;
}

function answerTo(
  host: HostPart,
  agents: readonly AgentFile[],
  line: string,
  onProcessor: (name: string) => void = () => {},
): Uint8Array<ArrayBuffer> | null {
  const [, word, rest = ""] = /^busbar-agent (need|none|failed) (.*)$/.exec(line) ?? [];
  switch (word) {
    case "need": {
      const agent = agents.find(({ arch }) => arch === rest);
      if (agent === undefined) throw noAgentFor(host, rest, agents);
      return agent.bytes;
    }
    case "none":
      onProcessor(rest);
      throw noAgentFor(host, rest, agents);
    case "failed":
      throw new BusbarError("unreachable", `${host.text}: the agent cannot be started: ${shownText(rest)}`, {
        operation: "start the agent",
        path: host.text,
        hint: "set XDG_CACHE_HOME there to a folder that takes programs, or make room",
      });
    default:
      return null;
  }
}

function noAgentFor(host: HostPart, arch: string, agents: readonly AgentFile[]): BusbarError {
  const names = agents.map((agent) => agent.arch).join(", ");
  return new BusbarError("unsupported", `${host.text}: there is no agent for ${shownText(arch)}, only for ${names}`, {
    operation: "start the agent",
    path: host.text,
    hint: "install its cross compiler here, or use a package that has that agent",
  });
}

/** Text of ssh, and what it means. */
const REASONS: readonly (readonly [RegExp, ErrorCode, string])[] = [
  [
    /Could not resolve hostname|Name or service not known/i,
    "absent",
    "the name is in no DNS and in no ssh configuration",
  ],
  [
    /Host key verification failed|REMOTE HOST IDENTIFICATION/i,
    "permission",
    "connect once by hand and look at the host key",
  ],
  [/Permission denied/i, "permission", "give ssh a key that the machine accepts: ssh-add, ssh-copy-id"],
  [/a password is required|sudo:/i, "permission", "allow it in sudoers, or connect as root"],
  [
    /Connection refused|No route to host|timed out|Network is unreachable|Connection (closed|reset)/i,
    "unreachable",
    "look whether the machine is up and runs sshd",
  ],
  [/Exec format error/i, "unsupported", "the program there is for another processor"],
];

function whyNoAgent(host: HostPart, ssh: string, status: number, errors: string): BusbarError {
  const line = errors.split("\n").findLast((one) => one.trim() !== "")?.trim();
  const found = REASONS.find(([pattern]) => pattern.test(errors));
  const code = found?.[1] ?? "unreachable";
  const hint = found?.[2] ?? `try ${ssh} ${host.name} by hand`;
  const why = line ?? `${ssh} ended with status ${status}`;
  return new BusbarError(code, `${host.text}: no agent could be started: ${why}`, {
    operation: "connect",
    path: host.text,
    hint,
  });
}
