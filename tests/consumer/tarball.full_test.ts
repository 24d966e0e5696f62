/**
 * The npm package: packed, installed into an empty folder by an ordinary user who has no compiler and no Deno, run with npx,
 * and imported. Asks npm's registry for Deno.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

import denoJson from "../../deno.json" with { type: "json" };
import { LIBRARY_LIST } from "../../ffi/build.ts";
import { OLDEST_GLIBC } from "../../tools/ship/npm.ts";
import { findNeed, missingNeed, unless } from "../needs.ts";
import { checkAndRun, type Ended, inFolder, programFor, ROOT, run } from "./setup.ts";

/** Some user that is not root. */
const NOBODY = 65534;

/** What an ordinary machine with Node has, and the tests call: no compiler, no Deno. */
const PROGRAMS: readonly string[] = ["node", "npm", "npx", "sh", "env"];

async function pathOf(program: string): Promise<string | null> {
  const { code, stdout } = await run("sh", ["-c", `command -v ${program}`]);
  return code === 0 ? await Deno.realPath(stdout.trim()) : null;
}

/** Why the package cannot be installed here, or null. */
async function cannotInstall(): Promise<string | null> {
  if (Deno.env.get("BUSBAR_VARIANT") === "asan") return "only the release variant is given away";
  if (await pathOf("npm") === null) return "there is no npm";
  if (Deno.uid() === 0 && missingNeed("setpriv") !== null) return missingNeed("setpriv");
  const { code } = await run("npm", ["view", `deno@${DENO}`, "version", "--fetch-retries=0", "--fetch-timeout=10000"]);
  return code === 0 ? null : "npm's registry is not reachable";
}

const DENO = "2.9.6";
const reason = await cannotInstall();

/** Runs a program as an ordinary user, with nothing but {@linkcode PROGRAMS} on the way. */
async function asUser(folder: string, program: string, args: readonly string[]): Promise<Ended> {
  const env = { PATH: `${folder}/bin`, HOME: `${folder}/home` };
  const options = { cwd: `${folder}/project`, env, clearEnv: true };
  if (Deno.uid() !== 0) return await run(`${folder}/bin/${program}`, args, options);
  const user = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
  return await run(findNeed("setpriv") ?? "", [...user, `${folder}/bin/${program}`, ...args], options);
}

/** Packs busbar, and makes an empty folder of that user with the package beside it. */
async function packed(folder: string): Promise<string> {
  const made = await run(Deno.execPath(), [
    ...["run", "-A", "--no-check", `${ROOT}/tools/ship/npm.ts`],
    ...["--output", folder],
  ]);
  assertEquals(made.code, 0, made.stderr);
  for (const part of ["project", "home", "bin"]) await Deno.mkdir(`${folder}/${part}`);
  for (const program of PROGRAMS) await Deno.symlink(await pathOf(program) ?? program, `${folder}/bin/${program}`);
  await Deno.chmod(folder, 0o755);
  if (Deno.uid() === 0) {
    for (const part of ["project", "home"]) {
      await Deno.chown(`${folder}/${part}`, NOBODY, NOBODY);
    }
  }
  return made.stdout.trim();
}

Deno.test({
  ...unless(
    reason,
    "the packed tarball installs without scripts for an ordinary user without a compiler; npx runs it, programs import it",
  ),
  fn: () =>
    inFolder(async (folder) => {
      const tarball = await packed(folder);
      assertEquals(tarball, `${folder}/busbar-${denoJson.version}.tgz`);
      assertEquals((await asUser(folder, "sh", ["-c", "command -v cc gcc clang deno"])).stdout, "");
      const install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", tarball];
      const installed = await asUser(folder, "npm", install);
      assertEquals(installed.code, 0, installed.stderr);

      const dump = await asUser(folder, "npx", ["busbar", "dump_bar0", "soft:nvme"]);
      assertEquals([dump.code, dump.stderr], [0, ""]);
      assertStringIncludes(dump.stdout, "0x0008  VS         0x00010400          Version");
      // The same bytes as from the checkout.
      const here = await run(Deno.execPath(), ["run", "-A", "--no-check", `${ROOT}/tools/dump_bar0.ts`, "soft:nvme"]);
      assertEquals(dump.stdout, here.stdout);
      assertEquals((await asUser(folder, "npx", ["busbar", "dump_bar0", "soft:nope"])).code, 2);
      assertEquals((await asUser(folder, "npx", ["busbar", "dump_bar0", "0000:ff:1f.7"])).code, 3);
      const gpu = await asUser(folder, "npx", ["busbar", "soft_cuda", "devices", "--help"]);
      assertEquals([gpu.code === 0 || gpu.code === 2, gpu.stderr.includes("compiler")], [true, false]);

      const project = `${folder}/project`;
      // The programs below are this user's, who loads nothing that another ordinary user could change.
      assertEquals((await run("chown", ["-R", String(Deno.uid()), project])).code, 0);
      await Deno.writeTextFile(`${project}/use.ts`, programFor((part) => `busbar${part}`));
      await checkAndRun(project, "use.ts", { HOME: `${folder}/home` });
      await Deno.writeTextFile(`${project}/wrong.ts`, `import { openPciDevice } from "busbar";\nopenPciDevice(42);\n`);
      const wrong = await run(Deno.execPath(), ["check", "--no-lock", "wrong.ts"], { cwd: project });
      assertStringIncludes(wrong.stderr, "'number' is not assignable to parameter of type 'string | Locator'");

      const described = JSON.parse(await Deno.readTextFile(`${project}/node_modules/busbar/package.json`));
      assertEquals(described.scripts, undefined);
      assertEquals(described.dependencies.deno, DENO);
      for (const version of Object.values(described.dependencies)) assertMatch(String(version), /^\d+\.\d+\.\d+$/);

      // A library that is not the one that was packed is not loaded.
      const app = `${project}/node_modules/busbar/app`;
      const names: string[] = Object.keys(JSON.parse(await Deno.readTextFile(`${app}/${LIBRARY_LIST}`)));
      const soft = names.find((name) => name.startsWith(`libbusbar_soft-linux-${Deno.build.arch}`)) ?? "";
      await Deno.writeTextFile(`${app}/${soft}`, "x", { append: true });
      const damaged = await asUser(folder, "npx", ["busbar", "dump_bar0", "soft:nvme"]);
      assertEquals(damaged.code, 3);
      assertStringIncludes(
        damaged.stderr,
        `is not the file that ${LIBRARY_LIST} lists\n  hint: install the package again`,
      );
    }),
});

/** The newest version of glibc that a library's symbols name. */
async function neededGlibc(path: string): Promise<readonly number[]> {
  const { code, stdout } = await run(findNeed("readelf") ?? "readelf", ["-W", "-V", path]);
  assertEquals(code, 0, path);
  const versions = [...stdout.matchAll(/\bGLIBC_(\d+)\.(\d+)/g)].map((
    [, major, minor],
  ) => [Number(major), Number(minor)]);
  // The agent is static: it needs none.
  assert(versions.length > 0 || path.includes("/busbar_agent-"), `${path} names no version`);
  return versions.sort((a, b) => (b[0] ?? 0) - (a[0] ?? 0) || (b[1] ?? 0) - (a[1] ?? 0))[0] ?? [0, 0];
}

const noElf = missingNeed("readelf");

Deno.test({
  name: unless(noElf, `the package's libraries need glibc ${OLDEST_GLIBC}, as the pages say`).name,
  ignore: noElf !== null || Deno.env.get("BUSBAR_VARIANT") === "asan",
  fn: () =>
    inFolder(async (folder) => {
      const tarball = await packed(folder);
      assertEquals((await run("tar", ["-xzf", tarball, "-C", folder])).code, 0);
      const app = `${folder}/package/app`;
      const names = Object.keys(JSON.parse(await Deno.readTextFile(`${app}/${LIBRARY_LIST}`)));
      assert(names.length >= 6);
      const needed = await Promise.all(names.map((name) => neededGlibc(`${app}/${name}`)));
      const newest = needed.reduce((a, b) => (a[1] ?? 0) >= (b[1] ?? 0) ? a : b);
      assertEquals(newest.join("."), OLDEST_GLIBC);
      for (const page of ["README.md", "docs/design/shipping.md"]) {
        assertStringIncludes(await Deno.readTextFile(`${ROOT}/${page}`), `glibc ${OLDEST_GLIBC}`);
      }
    }),
});

Deno.test("deno publish takes no tests, and less than 1 MiB packed", () =>
  inFolder(async (folder) => {
    const { code, stderr } = await run(Deno.execPath(), ["publish", "--dry-run", "--allow-dirty"], { cwd: ROOT });
    assertEquals(code, 0, stderr);
    const files = [...stderr.matchAll(/file:\/\/(\S+) \(/g)].map(([, path]) => (path ?? "").slice(ROOT.length + 1));
    assert(files.length > 300 && files.includes("mod.ts") && files.includes("csrc/busbar.h"), String(files.length));
    assertEquals(files.filter((path) => /(^|\/)(tests?|bench|build|dist)\/|_test\.ts$|\.so$/.test(path)), []);
    // JSR is sent a compressed archive.
    const packed = await run("tar", ["-czf", `${folder}/publish.tgz`, "-C", ROOT, ...files]);
    assertEquals(packed.code, 0, packed.stderr);
    const { size } = await Deno.stat(`${folder}/publish.tgz`);
    assert(size < 1 << 20, `${size} bytes`);
  }));
