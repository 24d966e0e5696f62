import { assert, assertEquals } from "@std/assert";

import { findRecorder, recorderPlaces, TOOL_NAME } from "../../src/sim/host/recorder_build.ts";
import { surroundings } from "../../ffi/build.ts";
import { Op } from "../../src/sim/trace/batch.ts";
import { withNeeds } from "../needs.ts";
import { CLEAN_ENV, entriesOf, type Entry, LOOPS, RecorderFolder } from "./sim_recorder.ts";
import { toolArgs } from "./tool.ts";

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
  async fn() {
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
      // The loader reads one byte of a table at the place of a random byte: lackey differs from itself there.
      assert(
        differing.length <= 1 && differing.every((entry) => entry.bytes === 1),
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
  async fn() {
    if (Deno.uid() !== 0) return;
    using folder = new RecorderFolder();
    Deno.chmodSync(folder.path, 0o777);
    const own = `${folder.path}/home`;
    Deno.mkdirSync(own);
    Deno.chownSync(own, 65534, 65534);
    // Its own copy of Deno's cache would have to be fetched: the tool is bundled into one file, and the sources beside it.
    const root = new URL("../..", import.meta.url).pathname;
    const readable = new Deno.Command("setpriv", {
      args: ["--reuid=65534", "--regid=65534", "--clear-groups", "test", "-r", `${root}/tools/cxl_sim.ts`],
    }).outputSync().success;
    assert(readable, "the checkout has to be readable for this test");
    const output = await new Deno.Command("setpriv", {
      args: [
        ...["--reuid=65534", "--regid=65534", "--clear-groups", Deno.execPath()],
        ...toolArgs("cxl_sim", ["record", "-o", `${own}/t.bbt`, "--", "/bin/echo", "hello"]),
      ],
      env: {
        ...CLEAN_ENV,
        HOME: own,
        XDG_CACHE_HOME: `${own}/.cache`,
        DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`,
      },
    }).output();
    const text = new TextDecoder().decode(output.stderr);
    assertEquals(output.code, 0, text);
    assert((await entriesOf(`${own}/t.bbt`)).length > 100);
  },
});
