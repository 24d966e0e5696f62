/** The command `lab`, as its users type it. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import { writeCpio } from "../../src/lab/cpio.ts";
import { Guest } from "../../src/lab/guest.ts";
import { lastKernelLines } from "../../src/lab/guest_log.ts";
import { findParts } from "../../src/lab/parts.ts";
import { unless } from "../needs.ts";
import { whyNoLab } from "./no_lab.ts";
import { loadMachine } from "../../src/lab/machine_file.ts";
import { runningGuests } from "../../src/lab/run_folder.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ ...unless(whyNoLab(), name), fn });
}

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `lab` with arguments and, perhaps, input. */
async function lab(
  args: readonly string[],
  input?: string | Uint8Array,
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `${ROOT}/tools/lab.ts`, ...args],
    env,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const fed = input === undefined ? null : (async (): Promise<void> => {
    const writer = child.stdin.getWriter();
    await writer.write(typeof input === "string" ? new TextEncoder().encode(input) : input);
    await writer.close();
  })();
  const { code, stdout, stderr } = await child.output();
  await fed;
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** One guest for all tests that do not end it, booted by the first of them and left running. */
let kept: Promise<string> | null = null;

/** What it shares with the host. */
const share = await Deno.makeTempDir();

/** Boots it with a command, or returns the one that runs. */
function keptGuest(): Promise<string> {
  kept ??= lab(["run", "nvme", "--keep", "--share", share, "--", "true"]).then(({ stderr }) => idIn(stderr));
  return kept;
}

function idIn(said: string): string {
  return /lab clean (\S+)/.exec(said)?.[1] ?? "";
}

Deno.test.afterAll(async () => {
  await Deno.remove(share, { recursive: true });
  if (kept === null) return;
  const id = await kept;
  assertStringIncludes((await lab(["clean", id])).stdout, `ended ${id}`);
  assertEquals(runningGuests().some((guest) => guest.id === id), false);
});

test("lab run: streams, status, input, environment, share", async () => {
  const script = 'tr a-z A-Z; echo "$NAME" >&2; echo kept >$BUSBAR_LAB_SHARE/file; exit 7';
  const args = ["run", "nvme", "--keep", "--stdin", "--env", "NAME=it's", "--share", share, "--", "sh", "-c", script];
  const { code, stdout, stderr } = await lab(args, "hello");
  const id = idIn(stderr);
  kept = Promise.resolve(id);
  assertEquals([code, stdout], [7, "HELLO"]);
  assertMatch(stderr, new RegExp(`^it's\nlab run: ${id} goes on\n`));
  assertEquals(await Deno.readTextFile(`${share}/file`), "kept\n");
});

test("lab run: 124 when the command takes too long", async () => {
  const words = ["--timeout", "1s", "--", "sh", "-c", "echo begun; sleep 1000"];
  const late = await lab(["run", "--attach", await keptGuest(), ...words]);
  assertEquals(late, { code: 124, stdout: "begun\n", stderr: "lab run: sh did not end within 1 s\n" });
});

test("lab run: 125 and forty kernel lines when the guest is lost", async () => {
  // How long a panic's trace is depends on what the stack holds; with these lines before it there are always more than forty.
  const script = 'for i in $(seq 40); do echo "<1>line $i" >/dev/kmsg; done; echo c >/proc/sysrq-trigger; sleep 1000';
  const lost = await lab(["run", "nvme", "--", "sh", "-c", script]);
  assertEquals([lost.code, lost.stdout], [125, ""]);
  assertEquals(lost.stderr.match(/^ {2}\[/gm)?.length, 40);
  assertMatch(lost.stderr, /\nlab run: the guest's kernel panicked: sysrq triggered crash\n$/);
});

test("lab run: a machine that QEMU refuses is 125, with QEMU's words", async () => {
  const path = await Deno.makeTempFile({ suffix: ".yaml" });
  try {
    await Deno.writeTextFile(path, "purpose: refused\ndevices: [{type: qemu, id: x, device: no-such-device}]\n");
    const { code, stderr } = await lab(["run", path, "--", "true"]);
    assertEquals(code, 125);
    assertStringIncludes(stderr, "'no-such-device' is not a valid device model name");
  } finally {
    await Deno.remove(path);
  }
});

test("a kept guest is listed, and takes commands also after a client was killed", async () => {
  const id = await keptGuest();
  assertStringIncludes((await lab(["list"])).stdout, `${id}  kept`);
  assertEquals((await lab(["run", "--attach", id, "--", "touch", "/tmp/was-here"])).code, 0);
  assertEquals((await lab(["run", "--attach", id, "--", "ls", "/tmp/was-here"])).stdout, "/tmp/was-here\n");
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      `${ROOT}/tools/lab.ts`,
      "run",
      "--attach",
      id,
      "--",
      "sh",
      "-c",
      "echo up; sleep 2345",
    ],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  const script = "for i in $(seq 50); do pgrep -xf 'sleep 2345' || exit 0; sleep 0.1; done; exit 1";
  assertEquals((await lab(["run", "--attach", id, "--", "sh", "-c", script])).code, 0);
  // What changes on the host is seen by the next command.
  const file = await Deno.makeTempFile();
  for (const text of ["one", "and two"]) {
    await Deno.writeTextFile(file, text);
    assertEquals((await lab(["run", "--attach", id, "--", "cat", file])).stdout, text);
  }
  await Deno.remove(file);
});

test("lab shell: a terminal with its size, Ctrl-C for the guest, and the shell's status", async () => {
  // script(1) gives the tool a terminal.
  const tool = [
    Deno.execPath(),
    "run",
    "-A",
    "--no-check",
    `${ROOT}/tools/lab.ts`,
    "shell",
    "--attach",
    await keptGuest(),
  ].join(" ");
  const child = new Deno.Command("script", {
    args: ["-qefc", `stty rows 31 cols 97; exec ${tool}`, "/dev/null"],
    env: { TERM: "xterm-256color" },
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.getReader();
  const type = async (text: string): Promise<void> => await writer.write(new TextEncoder().encode(text));
  let seen = "";
  const until = async (text: string): Promise<void> => {
    while (!seen.includes(text)) {
      const { value, done } = await reader.read();
      assert(!done, `the shell ended before '${text}':\n${seen}`);
      seen += new TextDecoder().decode(value);
    }
    seen = seen.slice(seen.indexOf(text) + text.length);
  };
  await until("# ");
  await type("stty size; echo $TERM; hostname\r");
  await until("31 97");
  await until("xterm-256color");
  await until("nvme");
  await type("sleep 1000\r");
  await until("sleep 1000");
  await new Promise((resolve) => setTimeout(resolve, 500));
  await type("\x03");
  await until("# ");
  await type("echo status $?\r");
  await until("status 130");
  await type("exit 5\r");
  while (!(await reader.read()).done);
  await writer.close();
  assertEquals((await child.status).code, 5);
});

test("lab qemu: what it prints pastes into a shell and boots", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const printed = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `${ROOT}/tools/lab.ts`, "qemu", "nvme"],
      env: { TMPDIR: folder },
    }).output();
    const child = new Deno.Command("sh", {
      args: ["-c", new TextDecoder().decode(printed.stdout)],
      stdin: "piped",
      stdout: "piped",
    })
      .spawn();
    const writer = child.stdin.getWriter();
    let seen = "";
    let typed = false;
    for await (const chunk of child.stdout) {
      seen += new TextDecoder().decode(chunk);
      if (typed || !/[#$] $/.test(seen)) continue;
      typed = true;
      await writer.write(new TextEncoder().encode("cat /sys/class/nvme/nvme0/serial; exit\r"));
    }
    await writer.close();
    assertStringIncludes(seen, "BUSBAR0001");
    assertEquals((await child.status).code, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const LOST_RACE =
  "qemu-system-x86_64: system/physmem.c:2678: iotlb_to_section: Assertion `section_index < d->map.sections_nb' failed.";

test("a boot that QEMU's own race ended is repeated, twice at most, and each time is told", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { qemu } = await findParts(null, {});
    const wrapper = `${folder}/qemu`;
    const script = `#!/bin/sh
echo >>${folder}/starts
if [ $(wc -l <${folder}/starts) -le $LOST_RACES ]; then echo "${
      LOST_RACE.replaceAll("`", "\\`")
    }" >&2; kill -ABRT $$; fi
exec ${qemu} "$@"
`;
    await Deno.writeTextFile(wrapper, script, { mode: 0o700 });
    const run = async (lostRaces: number): Promise<Ended> => {
      await Deno.remove(`${folder}/starts`).catch(() => {});
      return await lab(["run", "nvme", "--", "echo", "up"], undefined, {
        BUSBAR_LAB_QEMU: wrapper,
        LOST_RACES: String(lostRaces),
      });
    };
    const twice = await run(2);
    assertEquals([twice.code, twice.stdout], [0, "up\n"], twice.stderr);
    assertStringIncludes(twice.stderr, `${LOST_RACE.split(": ").slice(1).join(": ")}; boot 2 of at most 3`);
    assertStringIncludes(twice.stderr, "; boot 3 of at most 3");
    const always = await run(3);
    assertEquals(always.code, 125);
    assertStringIncludes(always.stderr, "QEMU ended with 134: system/physmem.c");
    assertEquals((await Deno.readTextFile(`${folder}/starts`)).length, 3);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Boots a description in a folder of its own until its system ends, and returns what it wrote to its console. */
async function consoleOf(folder: string, description: string): Promise<string> {
  const path = `${folder}/own.yaml`;
  await Deno.writeTextFile(path, description);
  await using guest = await Guest.boot(await loadMachine(path));
  assertEquals(guest.record.takesCommands, false);
  await guest.ended.catch(() => {});
  return lastKernelLines(guest.record.folder).join("\n");
}

test("a user's own kernel and first root boot as they are", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { kernel, busybox } = await findParts(null, {});
    const init = "#!/busybox sh\n/busybox echo hello from my own system\n/busybox poweroff -f\n";
    const root = writeCpio([
      { kind: "file", name: "busybox", bytes: await Deno.readFile(busybox), executable: true },
      { kind: "file", name: "init", bytes: new TextEncoder().encode(init), executable: true },
    ]);
    await Deno.writeFile(`${folder}/root.cpio`, root);
    const text = await consoleOf(
      folder,
      `purpose: own\nkernel: ${kernel}\ninitrd: root.cpio\nkernel-arguments: [quiet]\n`,
    );
    assertStringIncludes(text, "hello from my own system");
    const refused = await lab(["run", `${folder}/own.yaml`, "--", "true"]);
    assertEquals(refused.code, 2);
    assertStringIncludes(refused.stderr, "own boots a system of its own, which takes no commands");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

test("a user's own disk boots, and is not changed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    // A boot sector: writes a text to the serial port, then resets the machine through the keyboard controller.
    const text = "hello from my own disk\r\n\0";
    const code = [
      ...[0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x1a, 0x7c], // cld; ds = 0; si = text
      ...[0xac, 0x84, 0xc0, 0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5], // out 0x3f8 until NUL
      ...[0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd], // out 0x64, 0xfe; hlt
    ];
    const disk = new Uint8Array(1 << 20);
    disk.set(code);
    disk.set(new TextEncoder().encode(text), code.length);
    disk.set([0x55, 0xaa], 510);
    await Deno.writeFile(`${folder}/disk.img`, disk);
    assertStringIncludes(await consoleOf(folder, "purpose: own\ndisk: disk.img\n"), "hello from my own disk");
    assertEquals(await Deno.readFile(`${folder}/disk.img`), disk);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

test("a guest that is reset boots again and takes commands", async () => {
  const id = await keptGuest();
  const record = runningGuests().find((guest) => guest.id === id);
  assert(record !== undefined);
  await using guest = await Guest.attach(record);
  const bootId = async (): Promise<string> => (await guest.run(["cat", "/proc/sys/kernel/random/boot_id"])).stdout;
  const first = await bootId();
  await guest.run(["touch", "/tmp/gone-after-reset"]);
  await guest.reset();
  assert(await bootId() !== first);
  assertEquals((await guest.run(["ls", "/tmp/gone-after-reset"])).code, 2);
  assertEquals((await guest.run(["touch", `${guest.record.share}/still-shared`])).code, 0);
});
