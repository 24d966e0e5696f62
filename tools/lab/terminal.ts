/**
 * This process's terminal, joined to a guest's.
 * @module
 */

import { pause } from "../../src/core/deadline.ts";
import { BusbarError, isBusbarError } from "../../src/core/error.ts";
import type { Guest } from "../../src/lab/guest.ts";
import { note } from "../cli/output.ts";

/** Ctrl-], as in telnet: leaves a console that no shell ends. */
const LEAVE = 0x1d;

/** The last bytes of a shell may come after the news of its end. */
const DRAIN_MS = 100;

/** Bash where the guest has it. Interactive, not a login: a login would set another PATH. */
const SHELL = ["/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash -i; else exec sh -i; fi"];

/**
 * Runs a shell on the guest's terminal until it ends.
 *
 * @returns the shell's exit status
 */
export async function useTerminal(guest: Guest, signal: AbortSignal): Promise<number> {
  const env: Record<string, string> = {};
  for (const name of ["TERM", "COLORTERM"]) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  const terminal = await guest.openTerminal(SHELL, windowSize(), { env });
  const resize = (): void => {
    const { rows, columns } = windowSize();
    terminal.resize(rows, columns).catch(() => {});
  };
  Deno.addSignalListener("SIGWINCH", resize);
  try {
    return await joined(terminal.port, false, signal, terminal.status);
  } finally {
    Deno.removeSignalListener("SIGWINCH", resize);
  }
}

/** Shows the console of a guest that runs a system of its own, until that system ends or Ctrl-] is typed. */
export async function useConsole(guest: Guest, signal: AbortSignal): Promise<void> {
  note("lab shell: this is the machine's serial console; Ctrl-] leaves it");
  // What it said before somebody looked is in the log.
  await Deno.stdout.write(await Deno.readFile(`${guest.record.folder}/console.log`));
  const port = await Deno.connect({ transport: "unix", path: `${guest.record.sockets}/console` });
  try {
    await joined(port, true, signal, guest.ended);
  } catch (error) {
    // Powering off from inside is how one leaves a system.
    if (!isBusbarError(error, "unreachable")) throw error;
    note(`lab shell: ${error.message}`);
  }
}

/** Copies both ways until `done` settles, or Ctrl-] is typed where that is asked for; then -1 is returned. */
async function joined(
  port: Deno.UnixConn,
  canLeave: boolean,
  signal: AbortSignal,
  done: Promise<number>,
): Promise<number> {
  const left = Promise.withResolvers<number>();
  const onAbort = (): void => left.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  Deno.stdin.setRaw(true);
  const shown = show(port);
  type(port, canLeave, () => left.resolve(0)).catch(left.reject);
  try {
    const status = await Promise.race([done, left.promise]);
    await pause(DRAIN_MS);
    return status;
  } finally {
    signal.removeEventListener("abort", onAbort);
    Deno.stdin.setRaw(false);
    port.close();
    await shown;
  }
}

async function show(port: Deno.UnixConn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (let count = await port.read(buffer); count !== null; count = await port.read(buffer)) {
      for (let at = 0; at < count;) at += await Deno.stdout.write(buffer.subarray(at, count));
    }
  } catch (error) {
    if (error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.BadResource) return;
    throw new BusbarError("io", `cannot show the guest's terminal: ${error}`, { cause: error });
  }
}

async function type(port: Deno.UnixConn, canLeave: boolean, leave: () => void): Promise<void> {
  const buffer = new Uint8Array(4096);
  for (let count = await Deno.stdin.read(buffer); count !== null; count = await Deno.stdin.read(buffer)) {
    const typed = buffer.subarray(0, count);
    if (canLeave && typed.includes(LEAVE)) return leave();
    try {
      for (let at = 0; at < typed.length;) at += await port.write(typed.subarray(at));
    } catch {
      return; // The guest's end is closed: the shell is over.
    }
  }
  leave();
}

function windowSize(): { rows: number; columns: number } {
  try {
    return Deno.consoleSize();
  } catch {
    return { rows: 24, columns: 80 };
  }
}
