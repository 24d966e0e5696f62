/**
 * What is given away: compiled programs and the one-file package. Deno itself is left out of the packages here, a shell
 * script stands in for it; tests/lab/package.full.test.ts runs the whole one in a bare machine.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import denoJson from "../../deno.json" with { type: "json" };
import { NO_RUNTIME } from "../../tools/ship/compile.ts";
import { DATA_FOLDERS, otherAgents } from "../../tools/ship/payload.ts";
import { projectFiles } from "../unit/imports.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** What is given away is never the variant with sanitizers. */
function test(name: string, fn: (folder: string) => Promise<void>, needsRoot = false): void {
  const asan = Deno.env.get("BUSBAR_VARIANT") === "asan";
  const notRoot = needsRoot && Deno.uid() !== 0;
  const why = asan ? "only the release variant is given away" : notRoot ? "it needs root" : null;
  Deno.test({
    name: why === null ? name : `${name} (not run: ${why})`,
    ignore: why !== null,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        await fn(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(program: string, args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args], env }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

function ship(what: "compile" | "package", args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return run(Deno.execPath(), ["run", "-A", "--no-check", `${ROOT}/tools/ship/${what}.ts`, ...args], env);
}

test("compile embeds the C libraries, the guardian and the lab's machines, and tries out what it made", async (folder) => {
  // A runtime that is Deno itself: what is embedded is right, but the file behaves as plain Deno.
  const { code, stdout, stderr } = await ship("compile", ["--list", "--output", folder, "busbar"], {
    DENORT_BIN: Deno.execPath(),
  });
  for (const name of ["libbusbar", "libbusbar_soft", "nvme_guardian"]) {
    assertEquals(stdout.match(new RegExp(`\\b${name}-linux-${Deno.build.arch}-release-[0-9a-f]{16}`, "g"))?.length, 1);
  }
  for (const part of ["machines/*", "commander", "zod/", "deno.json"]) assertStringIncludes(stdout, part);
  assertEquals([stdout.includes("fast-check"), stdout.includes("ajv/")], [false, false], "packages for tests only");
  assertEquals(code, 1);
  assertStringIncludes(stderr, "does not behave as busbar\n  hint: DENORT_BIN must name denort, not deno");
});

test("compile says in one line what to do where the runtime cannot be downloaded", async (folder) => {
  // A cache with the packages and without the runtime, and a network that leads nowhere.
  const { denoDir } = JSON.parse((await run(Deno.execPath(), ["info", "--json"])).stdout);
  await Deno.symlink(`${denoDir}/npm`, `${folder}/npm`);
  const nowhere = "http://127.0.0.1:1";
  const { code, stdout, stderr } = await ship("compile", ["--output", folder, "dump_bar0"], {
    DENO_DIR: folder,
    HTTPS_PROXY: nowhere,
    https_proxy: nowhere,
    DENORT_BIN: "",
  });
  assertEquals([code, stdout], [3, ""]);
  assertEquals(stderr.trim().split("\n").at(-1), `compile: ${NO_RUNTIME}`);
  assertMatch(NO_RUNTIME, /DENORT_BIN.* or .*denort-\S+\.zip/);
});

Deno.test("every file that a module opens beside itself is given away too", () => {
  // Modules of src/ that use import.meta.url, and the folders that they open. Anything else is to be imported as text.
  const known: Readonly<Record<string, readonly string[]>> = {
    "ffi/build.ts": [], // finds the libraries
    "src/gpu/kernels/make.ts": [], // compiles kernels, from a checkout
    "src/lab/machine_file.ts": ["src/lab/machines"],
    "src/lab/test_session.ts": [], // runs tests, from a checkout
    "src/sim/host/recorder_sources.ts": ["csrc/record/hooks", "csrc/record/valgrind"],
  };
  const users = [...projectFiles(ROOT)].filter(([path, text]) =>
    /^(src|ffi)\//.test(path) && text.includes("import.meta.url")
  ).map(([path]) => path);
  assertEquals(
    users.sort(),
    Object.keys(known).sort(),
    "import files as text; where that cannot be, add their folder to DATA_FOLDERS and the module to this list",
  );
  assertEquals(Object.values(known).flat(), DATA_FOLDERS);
});

/** Makes a package in which a shell script stands in for Deno, and returns its path. */
async function pack(folder: string, deno: string, ...more: string[]): Promise<{ path: string; list: string }> {
  await Deno.writeTextFile(`${folder}/deno`, deno, { mode: 0o755 });
  const { code, stdout, stderr } = await ship("package", [
    ...["--deno", `${folder}/deno`, "--output", `${folder}/dist`, "--list"],
    ...more,
  ]);
  assertEquals(code, 0, stderr);
  const lines = stdout.trim().split("\n");
  return { path: lines.at(-1) ?? "", list: lines.slice(0, -1).join("\n") };
}

/** Prints its arguments but for those of Deno, one in each line. */
const ECHO = '#!/bin/sh\nwhile [ "$1" != "${0%/*}/busbar.js" ]; do shift; done\nshift\nprintf "<%s>\\n" "$@"\n';

test("the package unpacks at its first start only, also when two start at once, and passes its arguments on", async (folder) => {
  const { path, list } = await pack(folder, ECHO);
  assertStringIncludes(path, `/dist/busbar-${denoJson.version}-linux-${Deno.build.arch}`);
  for (const name of ["LICENSE", "busbar.js", "deno", "machines/nvme.yaml"]) assertStringIncludes(list, `./${name}`);
  assertEquals(list.match(/^\.\/(lib.*\.so|nvme_guardian.*)$/gm)?.length, 8);
  const agents = Array.from(list.matchAll(/^\.\/busbar_agent-linux-(\w+)-release-[0-9a-f]+$/gm), ([, arch]) => arch);
  const others = otherAgents(Deno.build.arch).map((path) => /busbar_agent-linux-(\w+)-/.exec(path)?.[1]);
  assertEquals(agents.sort(), [Deno.build.arch, ...others].sort());
  const cache = `${folder}/with space`;
  const words = ["", "two words", "it's", '"$HOME"', "*"];
  const first = await Promise.all([1, 2, 3].map(() => run(path, words, { BUSBAR_PACKAGE_CACHE: cache })));
  const echoed = words.map((word) => `<${word}>\n`).join("");
  assertEquals(first, Array(3).fill({ code: 0, stdout: echoed, stderr: "" }));
  const [app, ...more] = await Array.fromAsync(Deno.readDir(cache), ({ name }) => name);
  assertMatch(app ?? "", /^[0-9a-f]{16}$/);
  assertEquals(more, []);
  assertEquals(((await Deno.stat(cache)).mode ?? 0) & 0o077, 0, "nobody else looks in or writes");
  const made = (await Deno.stat(`${cache}/${app}/deno`)).ctime;
  await run(path, [], { BUSBAR_PACKAGE_CACHE: cache });
  assertEquals((await Deno.stat(`${cache}/${app}/deno`)).ctime, made);
});

test("a damaged or cut package is not run, and leaves nothing behind", async (folder) => {
  const { path } = await pack(folder, ECHO);
  const whole = await Deno.readFile(path);
  const broken = `${folder}/broken`;
  const flipped = whole.slice();
  // Past the script, in the middle of the archive.
  const at = whole.length - 200_000;
  flipped[at] = (flipped[at] ?? 0) ^ 0x10;
  for (const bytes of [flipped, whole.subarray(0, whole.length - 4), whole.subarray(0, whole.length / 2)]) {
    await Deno.writeFile(broken, bytes, { mode: 0o755 });
    const { code, stdout, stderr } = await run(broken, [], { BUSBAR_PACKAGE_CACHE: `${folder}/cache` });
    assertEquals([code, stdout], [3, ""]);
    assertMatch(stderr, /busbar: cannot unpack .*: no space, or the file is damaged\n {2}hint: /);
    assertEquals(await Array.fromAsync(Deno.readDir(`${folder}/cache`)), []);
  }
});

test("the same sources give the same package, wherever they lie", async (folder) => {
  const here = await pack(folder, ECHO);
  const copy = `${folder}/another/place/busbar`;
  await Deno.mkdir(copy, { recursive: true });
  for (const part of ["LICENSE", "deno.json", "deno.lock", "csrc", "ffi", "src", "tools", "types", "tests"]) {
    await run("cp", ["-r", `${ROOT}/${part}`, copy]);
  }
  const args = ["--deno", `${folder}/deno`, "--output", `${folder}/there`];
  const there = await run(Deno.execPath(), ["run", "-A", "--no-check", `${copy}/tools/ship/package.ts`, ...args]);
  assertEquals(there.code, 0, there.stderr);
  const [one, two] = [await Deno.readFile(here.path), await Deno.readFile(there.stdout.trim())];
  assert(one.length === two.length && one.every((byte, i) => byte === two[i]), "the two packages differ");
});

test("a cache that belongs to somebody else is not used", async (folder) => {
  const { path } = await pack(folder, ECHO);
  await Deno.mkdir(`${folder}/foreign`);
  await Deno.chown(`${folder}/foreign`, 65534, 65534);
  const { code, stderr } = await run(path, [], { BUSBAR_PACKAGE_CACHE: `${folder}/foreign` });
  assertEquals(code, 3);
  assertMatch(stderr, /foreign belongs to somebody else\n {2}hint: set BUSBAR_PACKAGE_CACHE to a folder/);
}, true);

test("another processor needs its own Deno, and a cross compiler", async (folder) => {
  const other = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";
  const none = await ship("package", ["--arch", other, "--output", folder]);
  assertEquals(none.code, 2);
  assertStringIncludes(none.stderr, `--deno FILE names a Deno ${Deno.version.deno} for ${other}`);
  const crossed = await ship("package", ["--arch", other, "--deno", "/bin/true", "--output", folder, "--list"]);
  if (crossed.code === 0) assertStringIncludes(crossed.stdout, `./libbusbar-linux-${other}-release-`);
  else assertMatch(crossed.stderr, new RegExp(`there is no ${other}-linux-gnu-gcc.*\\n  hint: install it`));
});
