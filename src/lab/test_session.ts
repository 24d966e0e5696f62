/**
 * The host's side of lab tests: one machine, booted when the first test needs it, for all tests of a file.
 * @module
 */

import { pause } from "../core/deadline.ts";
import { BusbarError } from "../core/error.ts";
import { formatDurationMs } from "../core/units.ts";
import type { GuestProcess } from "./control.ts";
import { Guest, KernelLog } from "./guest.ts";
import { EmulatorFault } from "./guest_log.ts";
import { runTool } from "./host_tool.ts";
import { LineReader } from "./line_reader.ts";
import { MarkedOutput } from "./marked_output.ts";
import { loadMachine } from "./machine_file.ts";
import type { Qmp } from "./qmp.ts";
import { connect } from "./qemu_process.ts";
import { TEST_RUNNER_VARIABLE, type TestAnswer, unpackError } from "./test_registry.ts";

/** A machine that ends twice is not booted a third time. */
const MAX_BOOTS = 2;

/** Importing a test file takes the guest a second or two. */
const IMPORT_LIMIT_MS = 120_000;

/** From the end of QEMU's last connection to the news of its end. */
const ENDED_LIMIT_MS = 2_000;

const CACHE_LIMIT_MS = 60_000;

/** How a session is made. */
export interface SessionOptions {
  /** Machine name or file. */
  readonly machine: string;
  /** URL of the test file, which is imported in the guest. */
  readonly testFile: string;
  /** Called once before the boot: builds what the guest cannot build. Returns environment for the guest. */
  readonly prepareHost: () => Promise<Readonly<Record<string, string>>>;
  /** Leave the guest up after a failure. */
  readonly keepAfterFailure: boolean;
  /** Called with lines for people: how to reach a guest that was left up, that a test or a boot is repeated. */
  readonly onNote: (line: string) => void;
}

/** What a test is given besides its body. */
export interface TestLimits {
  /** Milliseconds that it may take. */
  readonly timeoutMs: number;
  /** Its place in the test file, as a line of a stack. */
  readonly where: string;
}

/** The guest that the tests of one file share. */
export class TestSession {
  readonly #options: SessionOptions;
  #boots = 0;
  #prepared: Promise<Readonly<Record<string, string>>> | null = null;
  #guest: Guest | null = null;
  #runner: Runner | null = null;
  #failed = false;

  /** Nothing happens before the first test. */
  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /**
   * Runs a test body in the guest.
   *
   * @throws the error that the body threw, with the guest's stack; {@linkcode BusbarError} when the guest was lost
   */
  async runInGuest(name: string, limits: TestLimits): Promise<void> {
    await this.#attempt(limits, async (guest) => {
      this.#runner ??= await Runner.start(guest, this.#options.testFile);
      await this.#runner.run(name);
    });
  }

  /** Runs a test body on the host with the guest and its machine at hand. */
  async runOnHost(body: (guest: Guest, qmp: Qmp) => Promise<void>, limits: TestLimits): Promise<void> {
    let leftRunning: string[] = [];
    await this.#attempt(limits, async (guest) => {
      const before = new Set(guest.running);
      try {
        await body(guest, await guest.qmp());
      } finally {
        const left = guest.running.filter((command) => !before.has(command));
        for (const { abandon } of left) abandon();
        leftRunning = left.map(({ argv }) => argv.join(" "));
      }
      if (leftRunning.length > 0) {
        throw new BusbarError("bug", `the test left running in the guest, or unread: ${leftRunning.join(", ")}`);
      }
    });
  }

  /** Runs a body; once more on a new boot when the emulated machine has failed, which is no fault of the test. */
  async #attempt(limits: TestLimits, body: (guest: Guest) => Promise<void>): Promise<void> {
    try {
      await this.#attemptOnce(limits, body);
    } catch (error) {
      if (!(error instanceof EmulatorFault) || this.#boots >= MAX_BOOTS) throw error;
      this.#options.onNote(`${error.message}; the test runs again on a new boot`);
      await this.#attemptOnce(limits, body);
    }
  }

  async #attemptOnce({ timeoutMs, where }: TestLimits, body: (guest: Guest) => Promise<void>): Promise<void> {
    let guest: Guest | null = null;
    try {
      guest = await this.#bootedGuest();
      await withLimit(body(guest), timeoutMs, guest);
    } catch (error) {
      this.#failed = true;
      if (guest === null) throw error instanceof EmulatorFault ? error : explain(error, where);
      const late = error instanceof TimeLimit;
      if (!late && guest.isRunning) throw error;
      if (error instanceof EmulatorFault && this.#boots < MAX_BOOTS) {
        await this.#drop();
        throw error;
      }
      // A guest that hangs or is gone is of no use to the next test.
      const reason = explain(guest.withKernelLog(late ? error.reason : error), where);
      await this.#drop();
      throw reason;
    }
  }

  async #bootedGuest(): Promise<Guest> {
    if (this.#guest?.isRunning) return this.#guest;
    await this.#drop();
    if (this.#boots >= MAX_BOOTS) {
      throw new BusbarError("unreachable", `the guest was lost ${MAX_BOOTS} times and is not booted again`);
    }
    this.#boots++;
    this.#prepared ??= this.#prepare();
    const env = await this.#prepared;
    const machine = await loadMachine(this.#options.machine);
    this.#guest = await Guest.boot(machine, { env, onProgress: this.#options.onNote });
    return this.#guest;
  }

  /** The guest has no network: everything that it imports is in the cache before it boots. */
  async #prepare(): Promise<Readonly<Record<string, string>>> {
    const env = await this.#options.prepareHost();
    const { code, stderr } = await runTool(Deno.execPath(), ["cache", "-q", RUNNER_FILE, this.#options.testFile], {
      limitMs: CACHE_LIMIT_MS,
    });
    if (code !== 0) throw new BusbarError("io", `cannot cache the test file: ${stderr.trim().split("\n")[0]}`);
    return env;
  }

  async #drop(): Promise<void> {
    const guest = this.#guest;
    this.#guest = null;
    await this.#runner?.close();
    this.#runner = null;
    await guest?.[Symbol.asyncDispose]();
  }

  /** Powers the guest off, or leaves it up when a test has failed and that was asked for. */
  async close(): Promise<void> {
    if (this.#guest?.isRunning && this.#failed && this.#options.keepAfterFailure) {
      await this.#guest.keep();
      const { id } = this.#guest.record;
      this.#options.onNote(`the guest goes on; open a shell with: deno task lab shell --attach ${id}`);
    }
    await this.#drop();
  }
}

const RUNNER_FILE = new URL("test_runner.ts", import.meta.url).href;

/** The program in the guest that runs test bodies. */
class Runner {
  readonly #guest: Guest;
  readonly #process: GuestProcess;
  readonly #port: Deno.UnixConn;
  readonly #answers: LineReader;
  readonly #outputs: readonly MarkedOutput[];
  #lastId = 0;

  private constructor(guest: Guest, process: GuestProcess, port: Deno.UnixConn, mark: string) {
    this.#guest = guest;
    this.#process = process;
    this.#port = port;
    this.#answers = new LineReader(port.readable);
    // What tests print appears as if it was printed here.
    this.#outputs = [
      new MarkedOutput(process.stdout, mark, Deno.stdout),
      new MarkedOutput(process.stderr, mark, Deno.stderr),
    ];
  }

  static async start(guest: Guest, testFile: string): Promise<Runner> {
    const port = await connect(`${guest.record.sockets}/tests`, guest.ended);
    const flags = ["-A", "--cached-only", "--no-check", "--frozen"];
    const mark = crypto.randomUUID();
    const process = await guest.spawn([Deno.execPath(), "run", ...flags, RUNNER_FILE, testFile], {
      env: { [TEST_RUNNER_VARIABLE]: mark },
    });
    const runner = new Runner(guest, process, port, mark);
    const timer = setTimeout(() => process.kill("KILL").catch(() => {}), IMPORT_LIMIT_MS);
    try {
      await runner.#answer(0);
      return runner;
    } catch (error) {
      await runner.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async run(name: string): Promise<void> {
    const id = ++this.#lastId;
    const bytes = new TextEncoder().encode(JSON.stringify({ id, run: name }) + "\n");
    for (let at = 0; at < bytes.length;) at += await this.#port.write(bytes.subarray(at));
    try {
      await this.#answer(id);
    } finally {
      // When the program has ended, so have its outputs.
      if (this.#guest.isRunning) await Promise.all(this.#outputs.map((output) => output.mark()));
    }
  }

  async #answer(id: number): Promise<void> {
    const ended = this.#process.status.then((status): never => {
      throw new BusbarError("unreachable", `the program that runs tests in the guest ended with ${status}`);
    });
    const line = await Promise.race([this.#answers.next(), ended]);
    if (line === null) {
      // QEMU closes the port when it ends; why it ended is known a moment later.
      await Promise.race([this.#guest.ended, pause(ENDED_LIMIT_MS)]);
      throw new BusbarError("unreachable", "the guest closed the port for tests");
    }
    const answer: TestAnswer = JSON.parse(line);
    if (answer.id !== id) throw new BusbarError("bug", `the guest answered ${answer.id}, asked was ${id}`);
    if (answer.error !== undefined) throw unpackError(answer.error);
  }

  async close(): Promise<void> {
    await this.#answers.cancel().catch(() => {});
    try {
      this.#port.close();
    } catch {
      // Cancelling the stream has closed it.
    }
    for (const output of this.#outputs) await output.close();
  }
}

/** Thrown inside {@linkcode withLimit} so that a body's own timeout is not taken for the limit. */
class TimeLimit extends Error {
  readonly reason: BusbarError;
  constructor(reason: BusbarError) {
    super(reason.message);
    this.reason = reason;
  }
}

async function withLimit(body: Promise<void>, timeoutMs: number, guest: Guest): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const text = `the test did not end within ${formatDurationMs(timeoutMs)}`;
      reject(new TimeLimit(new BusbarError("timeout", text, { operation: "run a lab test" })));
    }, timeoutMs);
  });
  try {
    await Promise.race([body, late, guest.ended]);
  } finally {
    clearTimeout(timer);
  }
}

/** An error of the lab, as a test's failure shows it: with the hint and the last lines of the kernel. */
function explain(error: unknown, where: string): unknown {
  if (!(error instanceof BusbarError)) return error;
  const lines = [error.message];
  if (error.hint !== null) lines.push(`  hint: ${error.hint}`);
  if (error.cause instanceof KernelLog) {
    lines.push(`the guest's last kernel lines (all of them: ${error.cause.path}):`);
    lines.push(...error.cause.lines.map((line) => `  ${line}`));
  }
  const explained = new BusbarError(error.code, lines.join("\n"), { operation: error.operation ?? undefined });
  // Where in the lab it was thrown says nothing about what happened; where the test is does.
  explained.stack = `BusbarError: ${error.message}\n${where}`;
  return explained;
}
