/**
 * `deno task npm`: the npm package. `npx busbar` runs the tools with the Deno that npm installs, and programs import the
 * library. Nothing is compiled or run when it is installed: the C libraries are in it.
 *
 * `deno pack` makes the library's part, JavaScript and declarations. What it cannot do is added: the tools as one bundle,
 * their start, the C libraries with the list of their hashes, and exact versions of what the package depends on.
 * @module
 */

import { Command, type CommandUnknownOpts } from "@commander-js/extra-typings";

import denoJson from "../../deno.json" with { type: "json" };
import { PACKAGE_FOLDER } from "../../ffi/build.ts";
import { isBusbarError } from "../../src/core/error.ts";
import { formatBytes } from "../../src/core/units.ts";
import { note, print } from "../cli/output.ts";
import { ElapsedProgress } from "../cli/progress.ts";
import { run } from "../cli/run.ts";
import { type Arch, ARCHES, fillApp, nativeFiles, ROOT, succeed, TAR_FLAGS } from "./payload.ts";

/** The Deno that the tools are run with: the one that they were tested with. */
const DENO_VERSION = "2.9.6";

/** The oldest C library that the package's libraries run with; a test reads it from them. */
export const OLDEST_GLIBC = "2.34";

/** The command line of `deno task npm`. */
export const command: CommandUnknownOpts = new Command("npm")
  .description("Make the npm package: the tools for npx, the library, and the C libraries for each processor.")
  .option("--output <folder>", "where it goes", `${ROOT}/dist`)
  .option("--this-processor", "leave the libraries for other processors out")
  .option("--list", "print what is in it")
  .action(async (options) => {
    const arches = options.thisProcessor === true ? [Deno.build.arch] : buildable();
    using progress = new ElapsedProgress("npm");
    const stage = await Deno.makeTempDir({ prefix: "busbar-npm-" });
    try {
      await makePackage(stage, arches);
      await Deno.mkdir(options.output, { recursive: true });
      const output = `${await Deno.realPath(options.output)}/busbar-${denoJson.version}.tgz`;
      await succeed("tar", [...TAR_FLAGS, "--mode=u=rwX,go=rX", "-cf", `${stage}/package.tar`, "-C", stage, "package"]);
      await succeed("gzip", ["-n", "-9", `${stage}/package.tar`]);
      await Deno.copyFile(`${stage}/package.tar.gz`, output);
      progress[Symbol.dispose]();
      if (options.list) print(await succeed("tar", ["-tzf", output]));
      const { size } = await Deno.stat(output);
      note(`npm: ${formatBytes(size)}, C libraries for ${arches.join(" and ")}`);
      print(output);
    } finally {
      await Deno.remove(stage, { recursive: true });
    }
  });

/** The processors that there is a compiler for here, this one first. */
function buildable(): Arch[] {
  const others = ARCHES.filter((arch) => arch !== Deno.build.arch).filter((arch) => {
    try {
      return nativeFiles(arch).length > 0;
    } catch (error) {
      if (!isBusbarError(error, "library")) throw error;
      note(`npm: without libraries for ${arch}: ${error.message}; ${error.hint}`);
      return false;
    }
  });
  return [Deno.build.arch, ...others];
}

/** Fills `package/` in a folder. */
async function makePackage(stage: string, arches: readonly Arch[]): Promise<void> {
  const root = `${stage}/package`;
  await succeed(Deno.execPath(), ["pack", "--allow-dirty", "--no-source-maps", "--output", `${stage}/library.tgz`]);
  await succeed("tar", ["-xzf", `${stage}/library.tgz`, "-C", stage]);
  await removeSources(root);
  await fillApp(`${root}/${PACKAGE_FOLDER}`, arches);
  await Deno.mkdir(`${root}/bin`);
  await Deno.copyFile(`${ROOT}/tools/ship/busbar.cjs`, `${root}/bin/busbar.cjs`);
  await Deno.chmod(`${root}/bin/busbar.cjs`, 0o755);
  const made = JSON.parse(await Deno.readTextFile(`${root}/package.json`));
  const described = {
    ...made,
    name: "busbar",
    description: "Reach real hardware from TypeScript: map it, drive it, simulate it",
    os: ["linux"],
    libc: ["glibc"],
    cpu: arches.map((arch) => arch === "x86_64" ? "x64" : "arm64"),
    bin: { busbar: "bin/busbar.cjs" },
    dependencies: { ...exact(made.dependencies), deno: DENO_VERSION },
  };
  await Deno.writeTextFile(`${root}/package.json`, JSON.stringify(described, null, 2) + "\n");
}

/** The versions that were tested, and no others. */
function exact(dependencies: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(dependencies).map(([name, range]) => [name, range.replace(/^[\^~]/, "")]),
  );
}

/** Takes out what a package with built libraries does not need: C sources, and TypeScript that is no declaration. */
async function removeSources(root: string): Promise<void> {
  await Deno.remove(`${root}/csrc`, { recursive: true });
  const walk = async (folder: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (isDirectory) await walk(`${folder}/${name}`);
      else if (name.endsWith(".ts") && !name.endsWith(".d.ts")) await Deno.remove(`${folder}/${name}`);
    }
  };
  await walk(root);
}

if (import.meta.main) await run(command);
