/**
 * The agents for machines with other processors, built by cross compilers where these are installed.
 * @module
 */

import { BusbarError } from "../src/core/error.ts";
import { AGENT, findProgram, type Surroundings, surroundings } from "./build.ts";

/** How an agent for a processor is built; by `uname -m`. */
interface Target {
  /** The cross compiler. */
  readonly compiler: string;
  /** What it needs besides. */
  readonly linkFlags: readonly string[];
}

const TARGETS: Readonly<Record<string, Target>> = {
  x86_64: { compiler: "x86_64-linux-gnu-gcc", linkFlags: [] },
  aarch64: { compiler: "aarch64-linux-gnu-gcc", linkFlags: [] },
  ppc64le: { compiler: "powerpc64le-linux-gnu-gcc", linkFlags: [] },
  riscv64: { compiler: "riscv64-linux-gnu-gcc", linkFlags: [] },
  // Linux has pages of 8 KiB there. The linker aligns segments to 1 MiB, which would be most of the file.
  sparc64: { compiler: "sparc64-linux-gnu-gcc", linkFlags: ["-Wl,-z,max-page-size=8192"] },
};

/** The processors that there can be agents for, as `uname -m` says them. */
export const AGENT_PROCESSORS: readonly string[] = Object.keys(TARGETS);

/**
 * The path of an agent, built if need be and if there is a compiler for it.
 *
 * @param processor as `uname -m` says it
 * @param compiler a cross compiler in place of the one on the PATH, with words before it
 * @throws {BusbarError} `library` where it is not there and cannot be built; `unsupported` for a processor without agents
 */
export function findAgent(processor: string, where: Surroundings = surroundings(), compiler?: string): string {
  if (processor === where.arch && compiler === undefined) return findProgram(AGENT, where);
  const target = Object.hasOwn(TARGETS, processor) ? TARGETS[processor] : undefined;
  if (target === undefined) {
    throw new BusbarError("unsupported", `there is no agent for ${processor}, only for ${AGENT_PROCESSORS.join(", ")}`);
  }
  // What the environment names is for this machine, not for the other one.
  const env: Surroundings["env"] = (name) =>
    name === "PATH" ? where.env(name) : name === "CC" ? compiler ?? target.compiler : undefined;
  const spec = { ...AGENT, linkFlags: [...AGENT.linkFlags, ...target.linkFlags] };
  return findProgram(spec, { ...where, arch: processor, env });
}
