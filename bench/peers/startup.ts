/**
 * A whole `dump_bar0` against the programs that people type today.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { thisMachine } from "../../src/core/host.ts";
import { Guest } from "../../src/lab/guest.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { cannotStart } from "../../src/lab/parts.ts";
import { prepareHost } from "../../tests/lab/prepare.ts";
import { toolArgs } from "../../tests/soft/tool.ts";
import { timeCommands } from "./time_commands.ts";

/** One command's time. */
export interface StartupResult {
  /** Where it ran. */
  readonly where: "host" | "lab";
  /** What was typed. */
  readonly command: string;
  /** Milliseconds of the fastest run; null when it was not run. */
  readonly ms: number | null;
  /** Why not. */
  readonly notRun: string | null;
}

const HOST_ROUNDS = 10;

/** A guest is emulated: everything takes ten times as long. */
const LAB_ROUNDS = 5;

/** Half an hour of patience is for people; this is for a guest that hangs. */
const LAB_LIMIT_MS = 180_000;

const TIMER = new URL("time_commands.ts", import.meta.url).pathname;

/** On this machine: a software controller, and lspci with the first function there is. */
export async function measureHost(onProgress: (line: string) => void): Promise<StartupResult[]> {
  onProgress("start-up: host");
  const soft = "dump_bar0 soft:nvme";
  const [first] = addresses();
  const lspci = `lspci -vv -s ${first ?? "…"}`;
  const commands: Record<string, readonly string[]> = {
    [soft]: [Deno.execPath(), ...toolArgs("dump_bar0", ["soft:nvme"])],
  };
  const missing = first === undefined
    ? "this machine has no PCI function"
    : await isThere("lspci")
    ? null
    : "there is no lspci";
  if (first !== undefined && missing === null) commands[lspci] = ["lspci", "-vv", "-s", first];
  const times = await timeCommands(commands, HOST_ROUNDS);
  return [soft, lspci].map((command) => ({
    where: "host",
    command,
    ms: times[command] ?? null,
    notRun: times[command] === undefined ? missing : null,
  }));
}

function addresses(): string[] {
  try {
    return thisMachine.list("/sys/bus/pci/devices").toSorted();
  } catch {
    return [];
  }
}

async function isThere(program: string): Promise<boolean> {
  try {
    await new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).output();
    return true;
  } catch {
    return false;
  }
}

/** In a lab guest, on one and the same NVMe controller. */
export async function measureLab(onProgress: (line: string) => void, signal: AbortSignal): Promise<StartupResult[]> {
  const commands: Readonly<Record<string, readonly string[]>> = {
    "dump_bar0 01:00.0": [Deno.execPath(), ...toolArgs("dump_bar0", ["0000:01:00.0"])],
    "lspci -vv -s 01:00.0": ["lspci", "-vv", "-s", "01:00.0"],
    "nvme show-regs -H /dev/nvme0": ["nvme", "show-regs", "-H", "/dev/nvme0"],
  };
  const all = (ms: (command: string) => number | null, notRun: string | null): StartupResult[] =>
    Object.keys(commands).map((command) => ({ where: "lab", command, ms: ms(command), notRun }));
  const problem = cannotStart();
  if (problem !== null) return all(() => null, problem.message);
  onProgress("start-up: lab machine nvme");
  const env = await prepareHost();
  await using guest = await Guest.boot(await loadMachine("nvme"), { env, signal, onProgress });
  const timer = ["run", "-A", "--no-check", "--cached-only", TIMER, String(LAB_ROUNDS), JSON.stringify(commands)];
  const { code, stdout, stderr } = await guest.run([Deno.execPath(), ...timer], { timeoutMs: LAB_LIMIT_MS });
  if (code !== 0) {
    throw new BusbarError("io", `the guest could not measure: ${stderr.trim()}`, { operation: "time commands" });
  }
  await guest.powerOff();
  const times: Record<string, number> = JSON.parse(stdout);
  return all((command) => times[command] ?? null, null);
}
