/**
 * The agents that this busbar has, one for each kind of processor, with their hashes.
 * @module
 */

import { createHash } from "node:crypto";

import { AGENT, findProgram } from "../../ffi/build.ts";
import { systemError } from "../core/error.ts";

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
 * The agents there are: that of this machine's processor, and those of others that were built.
 *
 * @throws {BusbarError} `library` where the one of this processor is not there and cannot be built
 */
export function agentFiles(): AgentFile[] {
  return [readAgent(Deno.build.arch, findProgram(AGENT))];
}
