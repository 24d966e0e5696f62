/**
 * `lab run`: run a command in a lab machine as if it were here.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import { BusbarError } from "../../src/core/error.ts";
import { formatDurationMs } from "../../src/core/units.ts";
import type { GuestProcess } from "../../src/lab/control.ts";
import { runsLabGuest } from "../../src/lab/description.ts";
import { Guest } from "../../src/lab/guest.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { findGuest } from "../../src/lab/run_folder.ts";
import { timeOption } from "../cli/arguments.ts";
import { note } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { reportLabFailure, TIME_LIMIT } from "./failure.ts";
import { runTogether } from "./run_together.ts";
import { copy, feedFrom } from "./streams.ts";

/** A killed command that waits for a device in the kernel does not end; the guest does. */
const KILL_LIMIT_MS = 2_000;

/** The command line of `lab run`. */
export const run: CommandUnknownOpts = new Command("run")
  .description("Boot a machine, run a command in it and return the command's exit status.")
  .argument("[machine]", "a machine of lab list, or a YAML file; two as in a.yaml + b.yaml; left out with --attach")
  .argument("[command...]", "the command and its arguments, after --")
  .addOption(timeOption("--timeout <time>", "end the command after this time with status 124"))
  .option("--stdin", "pass standard input on to the command")
  .option("--env <NAME=VALUE>", "set a variable for the command; may be repeated", addSetting)
  .option("--share <folder>", "a folder that the guest may write to, at the same path there")
  .option("--keep", "leave the guest running")
  .option("--attach [guest]", "use a guest that was left running, instead of booting one")
  .addHelpText("after", "\nStatus 124: the time limit. 125: the lab failed, not the command.")
  .action(async (machine, words, options) => {
    if (machine !== undefined && words[0] === "+") return await runTogether(machine, words.slice(1), options);
    const attach = options.attach !== undefined;
    const argv = attach && machine !== undefined ? [machine, ...words] : words;
    if (argv.length === 0 || machine === undefined) {
      throw new BusbarError("usage", "no command to run", { hint: "lab run nvme -- lspci -vv" });
    }
    const share = options.share === undefined ? {} : { share: await Deno.realPath(options.share) };
    const named = attach ? null : await loadMachine(machine);
    if (named !== null && !runsLabGuest(named.machine)) {
      throw new BusbarError("usage", `${named.name} boots a system of its own, which takes no commands`, {
        hint: `lab shell ${machine} shows its console`,
      });
    }
    try {
      await using guest = named === null
        ? await Guest.attach(findGuest(typeof options.attach === "string" ? options.attach : null))
        : await Guest.boot(named, { ...share, onProgress: (line) => note(`lab run: ${line}`), signal: interruption });
      try {
        const process = await guest.spawn(argv, { env: options.env ?? {}, stdin: options.stdin === true });
        Deno.exitCode = await follow(process, argv, options.timeout, options.stdin === true);
      } catch (error) {
        interruption.throwIfAborted();
        throw guest.withKernelLog(error);
      }
      if (attach) return;
      if (options.keep) await keep(guest);
      else await guest.powerOff();
    } catch (error) {
      reportLabFailure(error, "lab run");
    }
  });

/** Passes the command's streams on and returns its status. */
async function follow(
  process: GuestProcess,
  argv: readonly string[],
  timeoutMs: number | undefined,
  stdin: boolean,
): Promise<number> {
  let timedOut = false;
  const { promise: givenUp, resolve: giveUp } = Promise.withResolvers<number>();
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => {
    timedOut = true;
    note(`lab run: ${argv[0]} did not end within ${formatDurationMs(timeoutMs)}`);
    process.kill("KILL").catch(() => {});
    setTimeout(giveUp, KILL_LIMIT_MS, TIME_LIMIT);
  }, timeoutMs);
  if (stdin && process.stdin !== null) feedFrom(Deno.stdin.readable, process.stdin);
  const all = Promise.all([process.status, copy(process.stdout, Deno.stdout), copy(process.stderr, Deno.stderr)]);
  try {
    return await Promise.race([all.then(([status]) => timedOut ? TIME_LIMIT : status), givenUp]);
  } finally {
    clearTimeout(timer);
  }
}

async function keep(guest: Guest): Promise<void> {
  await guest.keep();
  const { id } = guest.record;
  note(`lab run: ${id} goes on`);
  note(`  lab shell --attach ${id}         opens a shell in it`);
  note(`  lab run --attach ${id} -- …      runs a command in it`);
  note(`  lab clean ${id}                  ends it`);
}

function addSetting(text: string, earlier: Readonly<Record<string, string>> = {}): Record<string, string> {
  const equals = text.indexOf("=");
  if (equals > 0) return { ...earlier, [text.slice(0, equals)]: text.slice(equals + 1) };
  throw new BusbarError("usage", `'${text}' sets no variable`, { hint: "write --env NAME=VALUE" });
}
