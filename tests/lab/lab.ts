/**
 * Tests that run inside a lab machine.
 *
 * One file of tests for one machine; the same file is imported on both sides. On the host a test asks the guest to run
 * its body, in the guest the body is itself. So a test reads like any other, and fails with its own file and line:
 *
 * ```ts
 * const lab = machine("nvme.yaml", import.meta.url);
 *
 * lab.test("the kernel sees the controller", () => {
 *   assertEquals(Deno.readTextFileSync("/sys/class/nvme/nvme0/serial").trim(), "BUSBAR0001");
 * });
 *
 * lab.hostTest("pulling it out removes it", async (guest, qmp) => {
 *   await qmp.unplug("nvme0");
 *   assertEquals((await guest.run(["ls", "/sys/class/nvme"])).stdout, "");
 * });
 * ```
 *
 * The machine boots when its first test runs. A panic, or a test that takes too long, fails that test with the last
 * lines of the kernel; the next test gets a new boot, at most one. A guest whose emulated timer was lost gets that boot at
 * once, for the same test. `BUSBAR_LAB_KEEP=1` leaves the guest up after a failure. `lab run nvme -- deno test -A FILE` runs
 * the same file wholly inside.
 * @module
 */

import type { Guest } from "../../src/lab/guest.ts";
import { unless } from "../needs.ts";
import { whyNoLab } from "./no_lab.ts";
import type { Qmp } from "../../src/lab/qmp.ts";
import { TEST_RUNNER_VARIABLE, testBodies, type TestBody } from "../../src/lab/test_registry.ts";
import { TestSession } from "../../src/lab/test_session.ts";
import { note } from "../../tools/cli/output.ts";
import { prepareHost } from "./prepare.ts";
import { registerAt } from "./register.ts";

/** A test that hangs is ended after this time. */
const DEFAULT_TIMEOUT_MS = 120_000;

/** How a lab test runs. */
export interface LabTestOptions {
  /** Milliseconds that the test may take; 120,000 by default. Booting does not count. */
  readonly timeoutMs?: number;
  /** True for a test that takes long and rarely fails: the daily run leaves it out, see {@linkcode machine}. */
  readonly isLong?: boolean;
}

/** The tests of one machine. */
export interface Lab {
  /** Registers a test whose body runs in the guest. Its name must be the same on both sides. */
  test(name: string, body: TestBody, options?: LabTestOptions): void;
  /** Registers a test whose body runs on the host and acts on the guest and on its machine. */
  hostTest(name: string, body: (guest: Guest, qmp: Qmp) => Promise<void>, options?: LabTestOptions): void;
}

/**
 * The machine that the tests of a file run in.
 *
 * @param name a machine that comes with busbar (`nvme.yaml`), or a YAML file, relative to the current folder
 * @param testFile `import.meta.url` of the file with the tests. In `*.full.test.ts` all tests run, elsewhere those that are
 * not long
 */
export function machine(name: string, testFile: string): Lab {
  if (Deno.env.has(TEST_RUNNER_VARIABLE)) return inGuest;
  const reason = whyNoLab();
  const lab = Deno.env.has("BUSBAR_LAB_GUEST")
    ? wholeFileInGuest
    : reason !== null
    ? notRun(reason)
    : onHost(name, testFile);
  return testFile.endsWith(".full.test.ts") ? lab : chosen(lab, false);
}

/** The same machine, taking only the long ones of the tests that are registered with it: the daily run has the others. */
export function onlyLong(lab: Lab): Lab {
  return chosen(lab, true);
}

function chosen(lab: Lab, isLong: boolean): Lab {
  const isWanted = (options: LabTestOptions = {}): boolean => (options.isLong === true) === isLong;
  return {
    test: (name, body, options) => isWanted(options) ? lab.test(name, body, options) : undefined,
    hostTest: (name, body, options) => isWanted(options) ? lab.hostTest(name, body, options) : undefined,
  };
}

/** In the guest: bodies wait until the host asks for them. */
const inGuest: Lab = {
  test: (name, body) => testBodies.set(name, body),
  hostTest: () => {},
};

/** `lab run M -- deno test FILE`: bodies are ordinary tests. */
const wholeFileInGuest: Lab = {
  test: (name, body) => Deno.test(name, async () => await body()),
  hostTest: (name) => Deno.test({ ...unless("it acts from the host", name), fn: () => {} }),
};

function notRun(reason: string): Lab {
  const ignored = (name: string): void => registerAt(callSite(), { ...unless(reason, name), fn: () => {} });
  return { test: ignored, hostTest: ignored };
}

function onHost(name: string, testFile: string): Lab {
  const keepAfterFailure = Deno.env.get("BUSBAR_LAB_KEEP") === "1";
  const onNote = (line: string): void => note(line);
  const session = new TestSession({ machine: name, testFile, prepareHost, keepAfterFailure, onNote });
  Deno.test.afterAll(async () => await session.close());
  // The machine outlives each test, so what it holds open on the host is no leak; the guest checks its own side.
  const sanitize = { sanitizeOps: false, sanitizeResources: false };
  return {
    test: (name, _body, { timeoutMs = DEFAULT_TIMEOUT_MS } = {}) => {
      const limits = { timeoutMs, where: callSite() };
      registerAt(limits.where, { name, ...sanitize, fn: async () => await session.runInGuest(name, limits) });
    },
    hostTest: (name, body, { timeoutMs = DEFAULT_TIMEOUT_MS } = {}) => {
      const limits = { timeoutMs, where: callSite() };
      registerAt(limits.where, { name, ...sanitize, fn: async () => await session.runOnHost(body, limits) });
    },
  };
}

/** The line of the test file that registers a test: what a failure of the lab itself points at. */
function callSite(): string {
  const frames = new Error().stack?.split("\n").slice(1) ?? [];
  return frames.find((frame) => !frame.includes("/tests/lab/lab.ts:")) ?? "";
}
