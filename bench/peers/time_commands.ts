/**
 * Wall time of whole processes, from start to end. Runs on the host and in a lab guest.
 * usage: time_commands.ts ROUNDS JSON, the JSON an object of command lines by name; prints one of milliseconds.
 * @module
 */

import { print } from "../../tools/cli/output.ts";

/** Milliseconds of the fastest of some runs of each command; all in turn, so that a disturbance hits all. */
export async function timeCommands(
  commands: Readonly<Record<string, readonly string[]>>,
  rounds: number,
): Promise<Record<string, number>> {
  const best: Record<string, number> = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, [program = "", ...args]] of Object.entries(commands)) {
      const started = performance.now();
      await new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "null" }).output();
      best[name] = Math.min(best[name] ?? Infinity, performance.now() - started);
    }
  }
  return best;
}

if (import.meta.main) {
  const [rounds = "5", commands = "{}"] = Deno.args;
  print(JSON.stringify(await timeCommands(JSON.parse(commands), Number(rounds))));
}
