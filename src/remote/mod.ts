/**
 * Machines that are not this one, reached by agents: `ssh:HOST/…`. Registers itself where it is asked to.
 * @module
 */

import { systemError } from "../core/error.ts";
import type { HostPart } from "../core/host_part.ts";
import { registerMachines } from "../core/machine.ts";
import { type AgentFile, agentFor, ownAgent } from "./agent_files.ts";
import { AgentMachine } from "./agent_machine.ts";
import { AgentConnection } from "./connection.ts";
import type { Right } from "./operations.ts";
import { sshLaunch } from "./ssh.ts";

export { AgentMachine } from "./agent_machine.ts";
export { AgentConnection, type ConnectionLimits, type Hello, type Launch, LIMITS } from "./connection.ts";

const machines = new Map<string, AgentMachine>();

/** How machines are reached by this process. */
export interface RemoteOptions {
  /** Start agents as root, by `sudo -n`. */
  readonly sudo?: boolean;
}

let settings: RemoteOptions = {};

/** Lets locators name other machines. Connections are made when they are first used, and kept until {@linkcode closeAgents}. */
export function registerAgents(options: RemoteOptions = {}): void {
  settings = options;
  registerMachines("ssh", machineBySsh);
}

/** Ends all connections, waits a second for each agent to end, and lets locators name no other machines. */
export function closeAgents(): void {
  registerMachines("ssh", null);
  for (const machine of machines.values()) machine[Symbol.dispose]();
  machines.clear();
}

function machineBySsh(host: HostPart): AgentMachine {
  const known = machines.get(host.text);
  if (known !== undefined) return known;
  const agents = [ownAgent()];
  const machine = new AgentMachine(host.text, (right) => openBySsh(host, right, agents));
  machines.set(host.text, machine);
  return machine;
}

/** Connects; a machine with another processor says so, and is connected to again with the agent for it. */
function openBySsh(host: HostPart, right: Right, agents: AgentFile[]): AgentConnection {
  const program = Deno.env.get("BUSBAR_SSH")?.split(/\s+/).filter((word) => word !== "");
  const replaced = program !== undefined && program.length > 0;
  const options = {
    sudo: settings.sudo === true,
    program: replaced ? program : undefined,
    controlFolder: replaced ? null : controlFolder(),
  };
  let processor: string | null = null;
  try {
    const onProcessor = (name: string): void => void (processor = name);
    return AgentConnection.open(sshLaunch(host, right, agents, { ...options, onProcessor }));
  } catch (error) {
    const agent = processor === null ? null : agentFor(processor);
    if (agent === null) throw error;
    agents.push(agent);
    return AgentConnection.open(sshLaunch(host, right, agents, options));
  }
}

/** Sockets of connections that others may use again: a folder that only this user can look into. */
function controlFolder(): string | null {
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  const home = Deno.env.get("HOME");
  const base = runtime || (home ? `${home}/.cache` : "");
  if (base === "") return null;
  const folder = `${base}/busbar/ssh`;
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    Deno.chmodSync(folder, 0o700);
  } catch (cause) {
    throw systemError(cause, "make the folder of ssh's sockets", folder);
  }
  // A socket's path has 108 bytes; %C is 40 digits, and ssh adds 17 of its own for a moment.
  return folder.length > 45 ? null : folder;
}
