/**
 * `lab run a.yaml + b.yaml -- COMMAND`: the command in two guests at once.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { formatDurationMs } from "../../src/core/units.ts";
import { runsLabGuest } from "../../src/lab/description.ts";
import type { Guest } from "../../src/lab/guest.ts";
import { loadMachine, type NamedMachine } from "../../src/lab/machine_file.ts";
import { GuestPair } from "../../src/lab/together.ts";
import { note } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";
import { reportLabFailure, TIME_LIMIT } from "./failure.ts";
import { copy } from "./streams.ts";

/** A killed command that waits for a device in the kernel does not end; its guest does. */
const KILL_LIMIT_MS = 2_000;

/** The options of `lab run` that two guests can have. */
export interface TogetherOptions {
  readonly timeout?: number | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly share?: string | undefined;
  readonly stdin?: true | undefined;
  readonly keep?: true | undefined;
  readonly attach?: string | true | undefined;
}

/**
 * Boots both machines, runs the command in both, and leaves the higher exit status. Each line of output begins with the
 * machine's name.
 *
 * @param words the second machine, then the command
 * @throws {BusbarError} `usage` for what two machines cannot have
 */
export async function runTogether(first: string, words: readonly string[], options: TogetherOptions): Promise<void> {
  const [second, ...argv] = words;
  if (second === undefined || argv.length === 0) {
    throw new BusbarError("usage", "no command to run", { hint: "lab run a.yaml + b.yaml -- ip addr" });
  }
  if (argv[0] === "+") throw new BusbarError("usage", "lab run boots two machines at once, not more");
  for (const option of ["stdin", "keep", "attach"] as const) {
    if (options[option] !== undefined) throw new BusbarError("usage", `--${option} is for one machine, not for two`);
  }
  const machines: readonly [NamedMachine, NamedMachine] = [await loadMachine(first), await loadMachine(second)];
  for (const { name, machine } of machines) {
    if (!runsLabGuest(machine)) {
      throw new BusbarError("usage", `${name} boots a system of its own, which takes no commands`);
    }
  }
  const share = options.share === undefined ? {} : { share: await Deno.realPath(options.share) };
  try {
    const onProgress = (line: string): void => note(`lab run: ${line}`);
    await using pair = await GuestPair.boot(machines, { ...share, onProgress, signal: interruption });
    const names = labelsOf(machines);
    const statuses = await Promise.all(pair.guests.map(async (guest, i) => {
      try {
        return await follow(guest, argv, names[i] ?? "", options);
      } catch (error) {
        interruption.throwIfAborted();
        throw guest.withKernelLog(error);
      }
    }));
    Deno.exitCode = Math.max(...statuses);
    await pair.powerOff();
  } catch (error) {
    reportLabFailure(error, "lab run");
  }
}

/** What the lines of each begin with. */
function labelsOf([first, second]: readonly [NamedMachine, NamedMachine]): readonly [string, string] {
  return first.name === second.name ? [`${first.name}.0`, `${second.name}.1`] : [first.name, second.name];
}

/** Passes the command's outputs on, and returns its status. */
async function follow(guest: Guest, argv: readonly string[], name: string, options: TogetherOptions): Promise<number> {
  const process = await guest.spawn(argv, { env: options.env ?? {} });
  const { promise: givenUp, resolve: giveUp } = Promise.withResolvers<number>();
  let timedOut = false;
  const timer = options.timeout === undefined ? undefined : setTimeout(() => {
    timedOut = true;
    note(`lab run: ${name}: ${argv[0]} did not end within ${formatDurationMs(options.timeout ?? 0)}`);
    process.kill("KILL").catch(() => {});
    setTimeout(giveUp, KILL_LIMIT_MS, TIME_LIMIT);
  }, options.timeout);
  const all = Promise.all([
    process.status,
    copy(process.stdout.pipeThrough(labelled(name)), Deno.stdout),
    copy(process.stderr.pipeThrough(labelled(name)), Deno.stderr),
  ]);
  try {
    return await Promise.race([all.then(([status]) => timedOut ? TIME_LIMIT : status), givenUp]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lines with a name before each; half a line waits for its end, so that lines of two guests do not mix. */
export function labelled(name: string): TransformStream<Uint8Array, Uint8Array> {
  const label = new TextEncoder().encode(`${name}: `);
  let rest: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  return new TransformStream({
    transform(bytes, controller): void {
      const whole = concatenated(rest, bytes);
      let start = 0;
      for (let end = whole.indexOf(10); end >= 0; end = whole.indexOf(10, start)) {
        controller.enqueue(concatenated(label, whole.subarray(start, end + 1)));
        start = end + 1;
      }
      rest = whole.slice(start);
    },
    flush(controller): void {
      if (rest.length > 0) controller.enqueue(concatenated(label, concatenated(rest, Uint8Array.of(10))));
    },
  });
}

function concatenated(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}
