import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";

import { waitFor } from "../../src/core/deadline.ts";
import { Deadline } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { processStartTime } from "../../src/core/process.ts";
import { labSubfolder, writeWhole } from "../../src/lab/cache.ts";
import { GuestControl, type GuestProcess } from "../../src/lab/control.ts";
import { EmulatorFault, hasStalled, whyEnded } from "../../src/lab/guest_log.ts";
import { LineReader } from "../../src/lab/line_reader.ts";
import { Qmp } from "../../src/lab/qmp.ts";
import { CHANNELS } from "../../src/lab/qemu.ts";
import { QemuProcess } from "../../src/lab/qemu_process.ts";
import { makeBackingFiles, makeRunFolder, runningGuests, writeGuestRecord } from "../../src/lab/run_folder.ts";

/** Runs a body with a cache folder of its own, which is removed afterwards. */
async function withCache(body: (folder: string) => Promise<void>): Promise<void> {
  const former = Deno.env.get("XDG_CACHE_HOME");
  const folder = await Deno.makeTempDir();
  Deno.env.set("XDG_CACHE_HOME", folder);
  try {
    await body(folder);
  } finally {
    if (former === undefined) Deno.env.delete("XDG_CACHE_HOME");
    else Deno.env.set("XDG_CACHE_HOME", former);
    await Deno.remove(folder, { recursive: true });
  }
}

async function isGone(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return false;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

/** Waits until a process has ended. */
async function ended(pid: number): Promise<void> {
  const gone = (): true | undefined => processStartTime(pid) === null ? true : undefined;
  await waitFor(gone, { deadline: Deadline.after(5_000), what: `the end of process ${pid}` });
}

/** Waits until a child of this process is gone, which it is once its end was noticed. */
async function noticed(pid: number): Promise<void> {
  const gone = (): true | undefined => {
    try {
      Deno.statSync(`/proc/${pid}`);
      return undefined;
    } catch {
      return true;
    }
  };
  await waitFor(gone, { deadline: Deadline.after(5_000), what: `the end of process ${pid} to be noticed` });
}

/** The process that started another one. */
async function parentOf(pid: number): Promise<number> {
  return Number((await Deno.readTextFile(`/proc/${pid}/stat`)).split(") ")[1]?.split(" ")[1]);
}

const NEVER: Promise<never> = new Promise(() => {});

Deno.test("what stands for QEMU ends with its owner's stop, and its folders go", async () => {
  await withCache(async () => {
    const { folder, sockets } = makeRunFolder("test");
    const qemu = await QemuProcess.start(["sleep", "1000"], folder, sockets);
    assert(processStartTime(qemu.pid) !== null);
    await qemu.stop();
    assertEquals(processStartTime(qemu.pid), null);
    assertEquals(await qemu.exited, 137);
    assertEquals([await isGone(folder), await isGone(sockets)], [true, true]);
  });
});

Deno.test("when QEMU ends by itself its logs stay until they have been read", async () => {
  await withCache(async () => {
    const { folder, sockets } = makeRunFolder("test");
    const script =
      `echo "qemu-system-x86_64: -device x: no such device" >&2; printf 'Kernel panic - not syncing: %s\\r\\n' why >${folder}/console.log; exit 3`;
    await using qemu = await QemuProcess.start(["sh", "-c", script], folder, sockets);
    assertEquals(await qemu.exited, 3);
    assertEquals(whyEnded(folder, 3).message, "the guest's kernel panicked: why");
    await Deno.writeTextFile(`${folder}/console.log`, "Kernel panic - not syncing: RCU Stall\r\n");
    assert(whyEnded(folder, 3) instanceof EmulatorFault);
    assertEquals(hasStalled(folder), false);
    await Deno.writeTextFile(`${folder}/console.log`, "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\r\n");
    assertEquals(hasStalled(folder), true);
    await Deno.remove(`${folder}/console.log`);
    assertEquals(whyEnded(folder, 3).message, "QEMU ended with 3: -device x: no such device");
    assert(!(whyEnded(folder, 3) instanceof EmulatorFault));
    const assertion = (of: string): string =>
      `qemu-system-x86_64: system/physmem.c:2678: ${of}: Assertion \`a < b' failed.\n`;
    await Deno.writeTextFile(`${folder}/qemu.log`, assertion("iotlb_to_section"));
    assert(whyEnded(folder, 134) instanceof EmulatorFault);
    // Any other assertion may be the work of a device of ours.
    await Deno.writeTextFile(`${folder}/qemu.log`, assertion("vfio_user_read"));
    assert(!(whyEnded(folder, 134) instanceof EmulatorFault));
    await qemu.stop();
    assertEquals(await isGone(folder), true);
  });
});

Deno.test("QEMU ends when its owner is killed, and when its supervisor is", async () => {
  await withCache(async (cache) => {
    for (const victim of ["owner", "supervisor"]) {
      const owner = new Deno.Command(Deno.execPath(), {
        args: ["eval", "--no-check", OWNER],
        env: { XDG_CACHE_HOME: cache, DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno` },
        stdout: "piped",
        stdin: "piped",
      }).spawn();
      const said = new LineReader(owner.stdout);
      const { pid, folder, sockets } = JSON.parse(await said.next() ?? "");
      const supervisor = await parentOf(pid);
      Deno.kill(victim === "owner" ? owner.pid : supervisor, "SIGKILL");
      await ended(pid);
      if (victim === "owner") {
        const removed = async (): Promise<boolean> => await isGone(folder) && await isGone(sockets);
        for (let i = 0; i < 500 && !await removed(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
        assertEquals(await removed(), true);
      } else {
        Deno.kill(owner.pid, "SIGKILL");
        await Deno.remove(sockets, { recursive: true });
      }
      await said.cancel();
      await owner.stdin.close();
      await owner.status;
    }
  });
});

/** A program that starts what stands for QEMU, says so and waits. */
const OWNER = `
  import { QemuProcess } from "${new URL("../../src/lab/qemu_process.ts", import.meta.url)}";
  import { makeRunFolder } from "${new URL("../../src/lab/run_folder.ts", import.meta.url)}";
  const { folder, sockets } = makeRunFolder("test");
  const qemu = await QemuProcess.start(["sleep", "1000"], folder, sockets);
  console.log(JSON.stringify({ pid: qemu.pid, folder, sockets }));
  await qemu.exited;
  await new Promise((resolve) => setTimeout(resolve, 100_000));
`;

Deno.test("a kept QEMU goes on, is listed, and ends alone", async () => {
  await withCache(async () => {
    const { id, folder, sockets } = makeRunFolder("test");
    const qemu = await QemuProcess.start(["sleep", "1000"], folder, sockets);
    const share = `${folder}/share`;
    const startedAt = new Date().toISOString();
    writeGuestRecord({
      id,
      machine: "test",
      pid: qemu.pid,
      folder,
      sockets,
      share,
      takesCommands: true,
      kept: true,
      env: {},
      startedAt,
    });
    await qemu.keep();
    await qemu.stop();
    assertEquals(runningGuests().map((guest) => guest.id), [id]);
    const supervisor = await parentOf(qemu.pid);
    Deno.kill(qemu.pid, "SIGKILL");
    // Nothing of a kept QEMU keeps this process waiting, so something else has to.
    await Promise.all([qemu.exited, noticed(supervisor)]);
    assertEquals(runningGuests(), []);
    assertEquals(await isGone(folder), true);
  });
});

Deno.test("files for devices are made sparse, kept when they fit and refused when they do not", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/disk`;
    makeBackingFiles([{ path, sizeBytes: 1n << 30n }]);
    const made = await Deno.stat(path);
    assertEquals([made.size, made.blocks], [1 << 30, 0]);
    await Deno.writeFile(path, new Uint8Array([1, 2, 3]), { append: false });
    const error = assertThrows(() => makeBackingFiles([{ path, sizeBytes: 4n }]), BusbarError);
    assertEquals(error.message, `${path}: holds 3 bytes, and the machine's description says 4`);
    makeBackingFiles([{ path, sizeBytes: 3n }]);
    assertEquals(await Deno.readFile(path), new Uint8Array([1, 2, 3]));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a cache that others may write to is not used", async () => {
  await withCache(async (cache) => {
    const folder = labSubfolder("logs");
    assertEquals(((await Deno.stat(folder)).mode ?? 0) & 0o777, 0o700);
    await Deno.chmod(`${cache}/busbar/lab`, 0o770);
    const error = assertThrows(() => labSubfolder("logs"), BusbarError);
    assertEquals([error.code, error.hint], ["permission", `close it with: chmod go-w ${cache}/busbar/lab`]);
  });
});

Deno.test("a file is written whole or not at all", async () => {
  const folder = await Deno.makeTempDir();
  try {
    writeWhole(`${folder}/a`, "one");
    writeWhole(`${folder}/a`, "two", 0o755);
    assertEquals(await Deno.readTextFile(`${folder}/a`), "two");
    assertEquals(((await Deno.stat(`${folder}/a`)).mode ?? 0) & 0o777, 0o755);
    assertEquals(await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name), ["a"]);
    assertEquals(assertThrows(() => writeWhole(`${folder}/no/a`, "x"), BusbarError).code, "absent");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** What stands for QEMU's end of its sockets. */
class Sockets implements AsyncDisposable {
  readonly folder: string;
  readonly #listeners: Deno.UnixListener[] = [];
  readonly #connections: Deno.UnixConn[] = [];

  constructor() {
    this.folder = Deno.makeTempDirSync();
  }

  /** Every connection to a socket, one after the other. */
  async serve(name: string, body: (connection: Deno.UnixConn) => Promise<void>): Promise<void> {
    const listener = Deno.listen({ transport: "unix", path: `${this.folder}/${name}` });
    this.#listeners.push(listener);
    for await (const connection of listener) {
      this.#connections.push(connection);
      await body(connection).catch(() => {});
    }
  }

  /** Closes everything; a second time does nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of [...this.#listeners, ...this.#connections]) {
      try {
        one.close();
      } catch {
        // The other end has closed it.
      }
    }
    if (!await isGone(this.folder)) await Deno.remove(this.folder, { recursive: true });
  }
}

async function say(connection: Deno.UnixConn, text: string): Promise<void> {
  await connection.write(new TextEncoder().encode(text));
}

Deno.test("QMP: greeting, answers out of order, errors in QEMU's words, events, and its end", async () => {
  await using sockets = new Sockets();
  const served = sockets.serve("qmp", async (connection) => {
    await say(connection, '{"QMP": {"version": {}, "capabilities": []}}\r\n');
    const lines = new LineReader(connection.readable);
    const waiting: number[] = [];
    for (let line = await lines.next(); line !== null; line = await lines.next()) {
      const { execute, id, arguments: args } = JSON.parse(line);
      if (execute === "slow") waiting.push(id);
      else if (execute === "bad") {
        await say(connection, `{"id": ${id}, "error": {"class": "GenericError", "desc": "no such thing"}}\n`);
      } else if (execute === "device_del") {
        await say(connection, `{"id": ${id}, "return": {}}\n{"event": "DEVICE_DELETED", "data": {"path": "/x"}}\n`);
        await say(connection, `{"event": "DEVICE_DELETED", "data": {"device": "${args.id}"}}\n`);
      } else await say(connection, `{"id": ${id}, "return": {"of": "${execute}"}}\n`);
      if (execute === "release") {
        for (const id of waiting) await say(connection, `{"id": ${id}, "return": "late"}\n`);
      }
    }
  });
  const lost = Promise.withResolvers<never>();
  const removable = new Map([["disk", { driver: "nvme", properties: { id: "disk", size: 1n << 20n, on: true } }]]);
  {
    await using qmp = await Qmp.open(`${sockets.folder}/qmp`, lost.promise, removable);
    const slow = qmp.execute("slow");
    assertEquals(await qmp.execute("release"), { of: "release" });
    assertEquals(await slow, "late");
    const refused = await assertRejects(() => qmp.execute("bad"), BusbarError);
    assertEquals([refused.code, refused.message], ["device-failed", "QEMU refuses bad: no such thing"]);
    await qmp.unplug("disk");
    await qmp.plug("disk");
    assertEquals((await assertRejects(() => qmp.plug("other"), BusbarError)).hint, "removable: disk");
    assertEquals((await assertRejects(() => qmp.waitForEvent("NEVER", 20), BusbarError)).code, "timeout");
    const pending = qmp.execute("slow");
    lost.reject(new BusbarError("unreachable", "the guest's kernel panicked: why"));
    assertEquals((await assertRejects(() => pending, BusbarError)).message, "the guest's kernel panicked: why");
  }
  await sockets[Symbol.asyncDispose]();
  await served;
});

/** An agent that does to each request what `answer` says. */
async function withAgent(
  answer: (
    request: string[],
    channel: { out: Deno.UnixConn; err: Deno.UnixConn },
    control: Deno.UnixConn,
  ) => Promise<void>,
  body: (control: GuestControl) => Promise<void>,
): Promise<void> {
  await using sockets = new Sockets();
  const ports = new Map<string, Deno.UnixConn>();
  const served: Promise<void>[] = [];
  for (const name of Array.from({ length: CHANNELS }, (_, n) => [`out.${n}`, `err.${n}`]).flat()) {
    served.push(sockets.serve(name, (connection) => Promise.resolve(void ports.set(name, connection))));
  }
  served.push(sockets.serve("control", async (connection) => {
    const lines = new LineReader(connection.readable);
    for (let line = await lines.next(); line !== null; line = await lines.next()) {
      const words = line.split(" ");
      if (words[0] === "hello") await say(connection, `stale 1 2\nready ${words[1]}\n`);
      if (words[0] !== "run") continue;
      const [out, err] = [ports.get(`out.${words[1]}`), ports.get(`err.${words[1]}`)];
      if (out !== undefined && err !== undefined) await answer(words, { out, err }, connection);
    }
  }));
  {
    await using control = await GuestControl.open(sockets.folder, NEVER);
    await body(control);
  }
  await sockets[Symbol.asyncDispose]();
  await Promise.all(served);
}

async function allOf({ stdout, stderr, status }: GuestProcess): Promise<[number, string, string]> {
  return await Promise.all([status, new Response(stdout).text(), new Response(stderr).text()]);
}

const COMMAND = { argv: ["x"], cwd: "/", env: { A: "it's" } };

Deno.test("an output is what lies between its marks, also when parts of marks and old output are around", async () => {
  await withAgent(async ([, , id = "", , script = ""], { out, err }, control) => {
    assertEquals(
      atob(script),
      `cd / || exit 125\nexec /usr/bin/env -i 'A=it'\\''s' x\n`.replace("'A=it'\\''s'", `'A=it'\\''s'`),
    );
    await say(control, `pid ${id} 77\n`);
    await say(out, `left over ${id.slice(0, 31)}\n`);
    await say(out, `${id}begin `);
    for (const part of [id.slice(0, 5), id.slice(0, 20), "x", id[0] ?? ""]) await say(out, part);
    await say(err, `${id}oops${id}`);
    await say(control, `exit ${id} 3\n`);
    await say(out, id);
  }, async (control) => {
    const process = await control.spawn(COMMAND);
    const [status, stdout, stderr] = await allOf(process);
    assertEquals([await process.pid, status, stderr], [77, 3, "oops"]);
    assertEquals(stdout.startsWith("begin "), true);
    assertEquals(stdout.length, "begin ".length + 5 + 20 + 1 + 1);
  });
});

Deno.test("output is passed on at once, not when more has come", async () => {
  const { promise: seen, resolve } = Promise.withResolvers<void>();
  await withAgent(async ([, , id = ""], { out, err }, control) => {
    await say(control, `pid ${id} 1\n`);
    await say(out, `${id}Password: `);
    await seen;
    await say(control, `exit ${id} 0\n`);
    await say(out, id);
    await say(err, id + id);
  }, async (control) => {
    const process = await control.spawn(COMMAND);
    const reader = process.stdout.getReader();
    const { value } = await reader.read();
    assertEquals(new TextDecoder().decode(value), "Password: ");
    resolve();
    assertEquals((await reader.read()).done, true);
    reader.releaseLock();
    await allOf(process).catch(() => {});
    assertEquals(await process.status, 0);
  });
});

Deno.test("a channel that is in use is left alone, and when all are the command is refused", async () => {
  const refusing = new Set(["0", "2"]);
  await withAgent(async ([, channel = "", id = ""], { out, err }, control) => {
    if (refusing.has(channel)) return await say(control, `busy ${id}\n`);
    await say(control, `pid ${id} ${channel}\nexit ${id} 0\n`);
    await say(out, id + id);
    await say(err, id + id);
  }, async (control) => {
    const first = await control.spawn(COMMAND);
    assertEquals(await first.pid, 1);
    await allOf(first);
    for (let channel = 0; channel < CHANNELS; channel++) refusing.add(String(channel));
    const error = await assertRejects(() => control.spawn(COMMAND), BusbarError);
    assertEquals([error.code, error.message], ["busy", `${CHANNELS} commands already run in the guest`]);
  });
});

Deno.test("a guest that does not answer is a timeout that says what may be the reason", async () => {
  await using sockets = new Sockets();
  const served = sockets.serve("control", async (connection) => {
    const lines = new LineReader(connection.readable);
    while (await lines.next() !== null);
  });
  const error = await assertRejects(() => GuestControl.open(sockets.folder, NEVER, 50), BusbarError);
  assertEquals([error.code, error.hint], ["timeout", "another lab command may be talking to it"]);
  await sockets[Symbol.asyncDispose]();
  await served;
});
