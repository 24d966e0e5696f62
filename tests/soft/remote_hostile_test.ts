/** What a client does with an agent that is none, ends, or says nothing. */

import { assert, assertEquals, assertThrows } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { BusbarError } from "../../src/core/error.ts";
import { AgentConnection, type ConnectionLimits, type Launch } from "../../src/remote/mod.ts";
import { ask } from "../../src/remote/wire.ts";
import { agentCommand, agentMachine, localLaunch } from "./agent.ts";

const LIMITS: ConnectionLimits = { connectMs: 1500, silenceMs: 300, answerMs: 1500 };

// Libraries are opened before the first test, so that no test seems to leak one.
Deno.test.beforeAll(() => {
  using machine = agentMachine("/");
  machine.host.list("/proc");
});
Deno.test.afterAll(closeAll);

/** A shell instead of an agent. */
function shell(script: string): Launch {
  return localLaunch(["sh", "-c", script], "ssh:bad");
}

/** Says that it is there, and takes the 14 bytes of the first question, so that what follows is an answer. */
const READY = "printf '\\nbusbar-agent ready 2\\n'; head -c 14 >/dev/null";
function fails(script: string, codes: readonly string[]): void {
  const began = performance.now();
  const error = assertThrows(() => {
    using connection = AgentConnection.open(shell(script), LIMITS);
    connection.ask([ask("list", "/sys")]);
  }, BusbarError);
  assert(codes.includes(error.code), `${script}: ${error.code}: ${error.message}`);
  // deno-lint-ignore no-control-regex
  assert(!/[\x00-\x1f\x7f]/.test(error.message), JSON.stringify(error.message));
  assert(performance.now() - began < 6000, `${script}: ${performance.now() - began} ms`);
}

Deno.test("an agent that sends garbage, half a frame, endless or huge answers, terminal escapes or nothing is an error in time", () => {
  const ended = ["unreachable"];
  const garbage = ["io", "unreachable"];
  fails("exit 0", ended);
  fails("sleep 100", ["timeout"]);
  fails("exec cat /dev/zero", garbage);
  fails("yes", garbage);
  fails("printf '\\033[2J\\033]0;owned\\007' >&2; exit 9", ended);
  fails(`${READY}; sleep 100`, ["timeout"]);
  fails(`${READY}; exit 0`, ended);
  fails(`${READY}; printf 'abc'; sleep 100`, ["timeout"]);
  fails(`${READY}; exec cat /dev/zero`, garbage);
  fails(`${READY}; exec yes`, garbage);
  // 2 GiB, an answer to what was not asked, half a frame, one that holds less than it says, answers without an end.
  fails(`${READY}; printf '\\377\\377\\377\\177\\001\\000\\000\\000'; exec cat /dev/zero`, garbage);
  fails(`${READY}; printf '\\014\\000\\000\\000\\007\\000\\000\\000'; sleep 100`, garbage);
  fails(`${READY}; printf '\\014\\000\\000\\000\\001\\000\\000\\000\\000'; sleep 100`, ["timeout"]);
  fails(
    `${READY}; printf '\\014\\000\\000\\000\\001\\000\\000\\000\\000\\000\\000\\000\\377\\000\\000\\000'; sleep 100`,
    garbage,
  );
  fails(
    `${READY}; printf '\\014\\000\\000\\000\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000'; sleep 100`,
    garbage,
  );
  fails(`${READY}; printf '\\000\\000\\000\\006\\001\\000\\000\\000'; while :; do printf x; sleep 0.1; done`, [
    "timeout",
  ]);
});

Deno.test("an agent that is killed, or stopped, is an error in time, and every later call says the same", () => {
  for (const [signal, code] of [["SIGKILL", "unreachable"], ["SIGSTOP", "timeout"]] as const) {
    using connection = AgentConnection.open(localLaunch(agentCommand("/", "read")), LIMITS);
    Deno.kill(connection.hello.pid, signal);
    const first = assertThrows(() => connection.ask([ask("list", "/sys")]), BusbarError);
    assertEquals(first.code, code, first.message);
    assertEquals(assertThrows(() => connection.ask([ask("list", "/sys")]), BusbarError), first);
  }
});

Deno.test("nothing is left running after a connection was closed or broke", () => {
  const isAlive = (pid: number): boolean => {
    try {
      return !Deno.readTextFileSync(`/proc/${pid}/stat`).includes(") Z ");
    } catch {
      return false;
    }
  };
  const closed = AgentConnection.open(localLaunch(agentCommand("/", "read")), LIMITS);
  const { pid } = closed.hello;
  assert(isAlive(pid));
  closed[Symbol.dispose]();
  assert(!isAlive(pid));
  const broken = AgentConnection.open(localLaunch(agentCommand("/", "read")), LIMITS);
  Deno.kill(broken.hello.pid, "SIGSTOP");
  assertThrows(() => broken.ask([ask("list", "/sys")]), BusbarError);
  broken[Symbol.dispose]();
  assert(!isAlive(broken.hello.pid));
});
