import { assert, assertEquals } from "@std/assert";

import { findRecorder, recorderPlaces, TOOL_NAME } from "../../src/sim/host/recorder_build.ts";
import { surroundings } from "../../ffi/build.ts";
import { Op } from "../../src/sim/trace/batch.ts";
import { withNeeds } from "../needs.ts";
import { CLEAN_ENV, entriesOf, type Entry, LOOPS, RecorderFolder } from "./sim_recorder.ts";

/** One folder with our tool and lackey in it: the size of the environment moves the stack. */
function bothTools(folder: RecorderFolder): string {
  const { library } = findRecorder(recorderPlaces(surroundings().cache, () => {}));
  const both = `${folder.path}/tools`;
  Deno.mkdirSync(both);
  for (const { name } of Deno.readDirSync(library)) Deno.symlinkSync(`${library}/${name}`, `${both}/${name}`);
  const lackey = ["/usr/libexec/valgrind", "/usr/lib/x86_64-linux-gnu/valgrind"].map((place) =>
    `${place}/lackey-amd64-linux`
  );
  Deno.symlinkSync(lackey.find((path) => exists(path)) ?? "", `${both}/lackey-amd64-linux`);
  return both;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function valgrind(library: string, tool: string, args: readonly string[], command: readonly string[]): void {
  const output = new Deno.Command("valgrind", {
    args: [`--tool=${tool}`, "--vgdb=no", "--vex-guest-chase=no", ...args, ...command],
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin", VALGRIND_LIB: library },
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  assert(output.success, new TextDecoder().decode(output.stderr));
}

const PROGRAMS: readonly (readonly string[])[] = [
  ["loops"],
  ["/bin/ls", "/"],
  ["/usr/bin/sort", "/etc/passwd"],
  ["/bin/echo", "hello"],
  ["/usr/bin/cut", "-c1-3", "/etc/group"],
];

Deno.test({
  ...withNeeds(
    "our valgrind tool and lackey see the same data references at the same times, in five programs",
    "valgrind",
  ),
  async fn(): Promise<void> {
    using folder = new RecorderFolder();
    folder.compile("loops", LOOPS);
    const tools = bothTools(folder);
    for (const [name = "", ...args] of PROGRAMS) {
      const command = [name.startsWith("/") ? name : `${folder.path}/${name}`, ...args];
      const lackey = `${folder.path}/x.lackey`;
      valgrind(tools, "lackey", ["--trace-mem=yes", `--log-file=${lackey}`], command);
      const ours = `${folder.path}/t`;
      valgrind(tools, TOOL_NAME, ["--filter=no", `--out=${ours}`, `--log-file=${folder.path}/log`], command);
      const expected = await entriesOf(lackey);
      const entries = (await entriesOf(`${ours}.0`)).filter((entry) => entry.op <= Op.Write);
      assert(expected.length > 10_000);
      assertEquals(entries.length, expected.length, name);
      const differing = entries.flatMap((entry, i) => same(entry, expected[i]) ? [] : [entry]);
      // The loader looks up characters that lie behind the environment, where random bytes are: lackey differs from
      // itself there, in a few reads of one byte.
      assert(
        differing.length <= 16 && differing.every((entry) => entry.bytes === 1 && entry.op === Op.Read),
        `${name}: ${JSON.stringify(differing)}`,
      );
      Deno.removeSync(`${ours}.0`);
    }
  },
});

function same(a: Entry, b: Entry | undefined): boolean {
  return a.timeNs === b?.timeNs && a.op === b.op && a.address === b.address && a.bytes === b.bytes;
}

Deno.test({
  ...withNeeds("an ordinary user records, with a cache of its own", "valgrind", "setpriv"),
  async fn(): Promise<void> {
    if (Deno.uid() !== 0) return;
    using folder = new RecorderFolder();
    Deno.chmodSync(folder.path, 0o755);
    const own = `${folder.path}/home`;
    Deno.mkdirSync(own);
    Deno.chownSync(own, 65534, 65534);
    const root = new URL("../..", import.meta.url).href;
    const script = `${own}/record.ts`;
    // The library alone: an ordinary user cannot read the npm packages in root's cache, which the tool's options need.
    Deno.writeTextFileSync(
      script,
      `import { findRecorder, recorderPlaces } from "${root}src/sim/host/recorder_build.ts";
       import { record } from "${root}src/sim/host/record.ts";
       const recorder = findRecorder(recorderPlaces("${own}/.cache", () => {}));
       await record(recorder, { command: ["/bin/echo", "hello"], output: "${own}/t.bbt", all: false, filterBytes: 1 << 20,
         filterWays: 16, allocations: true, maxBytes: null, nsPerInstruction: 0.25, env: {}, durationMs: null,
         keepPartial: false, signal: new AbortController().signal });`,
    );
    const output = await new Deno.Command("setpriv", {
      args: [
        ...["--reuid=65534", "--regid=65534", "--clear-groups", Deno.execPath()],
        ...["run", "-A", "--no-check", "--no-config", "--no-lock", script],
      ],
      env: { ...CLEAN_ENV, HOME: own, XDG_CACHE_HOME: `${own}/.cache`, DENO_DIR: `${own}/deno` },
      cwd: own,
    }).output();
    const text = new TextDecoder().decode(output.stderr);
    assertEquals(output.code, 0, text);
    assert((await entriesOf(`${own}/t.bbt`)).length > 100);
  },
});

Deno.test({
  ...withNeeds("a disk that is full while a program is recorded: one line, exit 2, nothing left behind", "valgrind"),
  async fn(): Promise<void> {
    if (Deno.uid() !== 0) return;
    using folder = new RecorderFolder();
    const small = `${folder.path}/small`;
    const run = (...command: string[]): boolean =>
      new Deno.Command(command[0] ?? "", { args: command.slice(1), stderr: "null" }).outputSync().success;
    await Deno.mkdir(small);
    // A container may not mount; there the test says nothing.
    if (!run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small)) return;
    try {
      const { code, stderr } = await folder.record("small/x.bbt", ["--all"], ["/bin/ls", "/"]);
      assertEquals(code, 2, stderr);
      assert(stderr.includes("the disk is full") && stderr.includes("nothing was written"), stderr);
      assertEquals(await Array.fromAsync(Deno.readDir(small)), []);
    } finally {
      run("umount", small);
    }
  },
});
