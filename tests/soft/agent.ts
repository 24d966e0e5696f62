/** Agents of this machine for tests: child processes that see a folder as their machine. */

import { AGENT, findProgram } from "../../ffi/build.ts";
import { BusbarError } from "../../src/core/error.ts";
import { AgentConnection, AgentMachine, type ConnectionLimits, type Launch } from "../../src/remote/mod.ts";
import type { Right } from "../../src/remote/operations.ts";

/** A launch of a program in this machine, as if it were another one. */
export function localLaunch(command: readonly [string, ...string[]], name: string = "ssh:test"): Launch {
  return {
    name,
    command,
    onLine: () => null,
    onEnd: (status, errors) =>
      new BusbarError("unreachable", `${name}: the program ended with status ${status}: ${errors.trim()}`),
  };
}

/** The command of an agent that sees `root` as its machine. */
export function agentCommand(root: string, right: Right, ...more: readonly string[]): [string, ...string[]] {
  const rights = right === "read" ? [] : [`--${right}`];
  return [findProgram(AGENT), "--root", root, ...rights, ...more];
}

/** A machine whose files lie in a folder. */
export function agentMachine(root: string, limits?: ConnectionLimits, ...more: readonly string[]): AgentMachine {
  return new AgentMachine(
    "ssh:test",
    (right) => AgentConnection.open(localLaunch(agentCommand(root, right, ...more)), limits),
  );
}
