/**
 * Runs test bodies in a guest when the host asks. Started there by the host with the test file's URL as argument.
 * @module
 */

import { pause } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import { LineReader } from "./line_reader.ts";
import { leftOpen, openResources } from "./open_resources.ts";
import { packError, TEST_RUNNER_VARIABLE, type TestAnswer, testBodies, type TestRequest } from "./test_registry.ts";

/** Where `agent.sh` puts the port for tests. */
const PORT = "/run/busbar/ports/tests";

/** What a test has closed may take the runtime a moment to let go of. */
const SETTLE_MS = 20;
const SETTLE_TRIES = 25;

/** Answers requests until the host closes the port. */
export async function runTests(testFile: string): Promise<void> {
  const mark = new TextEncoder().encode(`${Deno.env.get(TEST_RUNNER_VARIABLE)}\n`);
  using port = await Deno.open(PORT, { read: true, write: true });
  const answer = async (line: TestAnswer): Promise<void> => {
    const bytes = new TextEncoder().encode(JSON.stringify(line) + "\n");
    for (let at = 0; at < bytes.length;) at += await port.write(bytes.subarray(at));
  };
  try {
    await import(testFile);
    await warmUp();
  } catch (error) {
    await answer({ id: 0, error: packError(error) });
    return;
  }
  await answer({ id: 0 });
  const requests = new LineReader(port.readable);
  for (let line = await requests.next(); line !== null; line = await requests.next()) {
    const request: TestRequest = JSON.parse(line);
    let outcome: TestAnswer = { id: request.id };
    try {
      await runOne(request.run);
    } catch (error) {
      outcome = { id: request.id, error: packError(error) };
    }
    for (const output of [Deno.stdout, Deno.stderr]) await output.write(mark);
    await answer(outcome);
  }
}

async function runOne(name: string): Promise<void> {
  const body = testBodies.get(name);
  if (body === undefined) {
    throw new BusbarError("bug", `the guest's test file has no test '${name}': names must not depend on where it runs`);
  }
  const before = openResources();
  await body();
  let left = leftOpen(before, openResources());
  for (let i = 0; left.length > 0 && i < SETTLE_TRIES; i++) {
    await pause(SETTLE_MS);
    left = leftOpen(before, openResources());
  }
  if (left.length > 0) throw new BusbarError("bug", `the test left open: ${left.join(", ")}`);
}

/** Makes the runtime open what it opens once for the first signal and the first child process. */
async function warmUp(): Promise<void> {
  const nothing = (): void => {};
  Deno.addSignalListener("SIGUSR2", nothing);
  await new Deno.Command("true").output();
  Deno.removeSignalListener("SIGUSR2", nothing);
}

if (import.meta.main) await runTests(Deno.args[0] ?? "");
