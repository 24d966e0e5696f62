/**
 * The agents that this busbar has, one for each kind of processor, with their hashes.
 * @module
 */

import { createHash } from "node:crypto";

import { AGENT_PROCESSORS, findAgent } from "../../ffi/agents.ts";
import { isBusbarError, systemError } from "../core/error.ts";

/** An agent that can be sent. */
export interface AgentFile {
  /** As `uname -m` says it: `x86_64`, `aarch64`. */
  readonly arch: string;
  /** Its SHA-256, 64 hexadecimal digits. */
  readonly hash: string;
  /** Its contents. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const known = new Map<string, AgentFile>();

/** Reads an agent. @throws {BusbarError} as reading the file fails */
export function readAgent(arch: string, path: string): AgentFile {
  const key = `${arch} ${path}`;
  let file = known.get(key);
  if (file === undefined) {
    try {
      const bytes = Deno.readFileSync(path);
      file = { arch, hash: createHash("sha256").update(bytes).digest("hex"), bytes };
    } catch (cause) {
      throw systemError(cause, "read the agent", path);
    }
    known.set(key, file);
  }
  return file;
}

/**
 * The agent of this machine's own processor.
 *
 * @throws {BusbarError} `library` where it is not there and cannot be built
 */
export function ownAgent(): AgentFile {
  return readAgent(Deno.build.arch, findAgent(Deno.build.arch));
}

/**
 * The agent of another processor, from the package or built by its cross compiler; null where there is neither.
 *
 * @param arch as `uname -m` says it
 */
export function agentFor(arch: string): AgentFile | null {
  if (!AGENT_PROCESSORS.includes(arch)) return null;
  try {
    return readAgent(arch, findAgent(arch));
  } catch (error) {
    if (isBusbarError(error, "library")) return null;
    throw error;
  }
}
