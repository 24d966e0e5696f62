/** How lab tests fail, and that nothing of a lab stays behind. Two boots, and two that are ended at once. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { Deadline, waitFor } from "../../src/core/deadline.ts";
import { processStartTime } from "../../src/core/process.ts";
import { labFolder } from "../../src/lab/cache.ts";
import { unless } from "../needs.ts";
import { whyNoLab } from "./no_lab.ts";
import { type GuestRecord, runningGuests } from "../../src/lab/run_folder.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const SUBJECT = `${ROOT}/tests/lab/mechanism_subject.ts`;

/** A test that starts lab machines itself. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ ...unless(whyNoLab(), name), fn });
}

interface Ended {
  readonly code: number;
  readonly text: string;
  readonly seconds: number;
}

async function denoTest(subject: string, ...args: string[]): Promise<Ended> {
  const started = performance.now();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", ...args, subject],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return { code, text, seconds: (performance.now() - started) / 1000 };
}

/** What is said about a failed test, under its name in the list of errors. */
function reportOf(text: string, name: string): string {
  const errors = text.slice(text.indexOf("\n ERRORS"), text.indexOf("\n FAILURES"));
  const start = errors.indexOf(`\n${name} => `);
  assert(start >= 0, `'${name}' did not fail:\n${text}`);
  const rest = errors.slice(start + 1);
  const end = rest.search(/\n\n(?=.* => )/);
  return end < 0 ? rest : rest.slice(0, end);
}

test("failing tests say where and why; a lost guest fails the test that lost it and no other", async () => {
  const { code, text } = await denoTest(SUBJECT);
  assertEquals(code, 1);
  assertStringIncludes(text, "printed in the guest");
  for (const name of ["passes", "finds no such command", "has a new guest"]) {
    assertMatch(text, new RegExp(`^${name} \\.\\.\\..*ok`, "m"));
  }
  assertStringIncludes(text, "3 passed | 6 failed");

  const lines = (await Deno.readTextFile(SUBJECT)).split("\n");
  const line = lines.findIndex((line) => line.endsWith("// FAILS HERE")) + 1;
  const failed = reportOf(text, "fails");
  assertMatch(failed, new RegExp(`^fails => \\./tests/lab/mechanism_subject\\.ts:${line - 1}:5\n`));
  assertStringIncludes(failed, `tests/lab/mechanism_subject.ts:${line}:3`);
  assertEquals(failed.includes("test_runner.ts"), false, "the stack ends with the test");
  assertEquals(failed.split("[Diff] Actual / Expected").length, 2, "the message appears once");
  assertEquals(failed.includes("kernel"), false, "the kernel's log appears only when the guest was lost");

  assertStringIncludes(reportOf(text, "leaves a file open"), "the test left open: file /dev/zero");
  assertStringIncludes(reportOf(text, "leaves a command running"), "left running in the guest, or unread: sleep 4321");

  const panic = reportOf(text, "panics");
  assertStringIncludes(panic, "the guest's kernel panicked: sysrq triggered crash");
  // Indented by two, and one of the kernel's or the guest's shell may begin with spaces of its own.
  const [, below = ""] = panic.split(/all of them: \S+\):\n/);
  const count = below.split("\n").findIndex((line) => !line.startsWith("  ") || line.startsWith("    at "));
  assertEquals(count, 40, panic);
  assertMatch(panic, /at .*tests\/lab\/mechanism_subject\.ts:\d+:\d+/);
  const log = /all of them: (\S+)\)/.exec(panic)?.[1] ?? "";
  const whole = await Deno.readTextFile(log);
  assertStringIncludes(whole, "sysrq: Trigger a crash");
  assertMatch(whole, /\[ +\d+\.\d+\] .*sysrq_handle_crash/);

  const late = reportOf(text, "takes too long");
  assertStringIncludes(late, "the test did not end within 1 s");
  assertMatch(late, /\[ +\d+\.\d+\] /);
  assertStringIncludes(
    reportOf(text, "is not booted for a third time"),
    "the guest was lost 2 times and is not booted again",
  );
});

test("a test whose guest stalled runs again on a new boot, and says so", async () => {
  const { code, text } = await denoTest(SUBJECT.replace("mechanism_subject", "mechanism_stall_subject"));
  assertEquals(code, 0, text);
  assertStringIncludes(text, "timer of the emulated machine that never came; the test runs again on a new boot");
  assertStringIncludes(text, "2 passed | 0 failed");
});

test("a filter that matches nothing boots nothing", async () => {
  const before = (await runNames()).length;
  const { text, seconds } = await denoTest(SUBJECT, "--filter", "no test is called this");
  assertStringIncludes(text, "0 passed | 0 failed");
  assert(seconds < 5, `${seconds} s`);
  assertEquals((await runNames()).length, before);
});

test("where no machine can be started the tests are left out, and say why", async () => {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", SUBJECT],
    env: { NO_COLOR: "1", BUSBAR_LAB_SKIP: "no mirror answers" },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0);
  assertMatch(text, /^passes \(not run: no mirror answers\) \.\.\. ignored/m);
  assertStringIncludes(text, "0 passed | 0 failed | 9 ignored");
});

async function runNames(): Promise<string[]> {
  try {
    return await Array.fromAsync(Deno.readDir(`${labFolder()}/runs`), (entry) => entry.name);
  } catch {
    return [];
  }
}

for (const [signal, code] of [["SIGINT", 130], ["SIGKILL", 137]] as const) {
  test(`${signal} in the middle of lab run leaves no QEMU and no files behind`, async () => {
    const known = new Set(runningGuests().map(({ id }) => id));
    const tool = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `${ROOT}/tools/lab.ts`, "run", "nvme", "--", "sleep", "1000"],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const deadline = Deadline.after(60_000);
    const started = (): GuestRecord | undefined => runningGuests().find(({ id }) => !known.has(id));
    const guest = await waitFor(started, { deadline, what: "the start of QEMU", intervalMs: 20 });
    tool.kill(signal);
    assertEquals((await tool.status).code, code);
    const gone = (): true | undefined => processStartTime(guest.pid) === null ? true : undefined;
    await waitFor(gone, { deadline: Deadline.after(3_000), what: "the end of QEMU", intervalMs: 20 });
    const removed = async (): Promise<boolean> =>
      (await Promise.all([guest.folder, guest.sockets].map(isGone))).every((one) => one);
    for (let i = 0; i < 100 && !await removed(); i++) await new Promise((resolve) => setTimeout(resolve, 20));
    assert(await removed(), "the run's folders are still there");
  });
}

async function isGone(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return false;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}
