/**
 * A process for undo_two_restores_test.ts: says that it is ready, waits for a line, and restores slowly what it finds.
 * Every write is noted in a file, with this process's number.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { FaultyHost } from "../../src/core/faulty_host.ts";
import { thisMachine } from "../../src/core/host.ts";
import { UndoJournal } from "../../src/core/undo/journal.ts";

const [path = "", log = ""] = Deno.args;

const host = new FaultyHost(thisMachine, [{
  call: "writeText",
  path: /./,
  action: () => {
    Deno.writeTextFileSync(log, `${Deno.pid}\n`, { append: true });
    // The other process gets its chance between any two writes.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  },
}]);

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

say("ready");
await Deno.stdin.read(new Uint8Array(1));
try {
  const outcomes = UndoJournal.restore(path, host).map(({ outcome }) => outcome);
  say(JSON.stringify(outcomes));
} catch (error) {
  if (!(error instanceof BusbarError)) throw error;
  say(error.code);
}
