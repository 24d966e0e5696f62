/**
 * `deno task package`: everything as one file that needs neither Deno nor a compiler nor the network.
 *
 * A shell script, and behind it an archive: the Deno program, one bundle of all TypeScript, the C libraries, the lab's
 * machines. gzip and not zstd, which is smaller but not on every machine. The same sources, compiler and Deno give the
 * same bytes.
 * @module
 */

import { Command, type CommandUnknownOpts, InvalidArgumentError } from "@commander-js/extra-typings";

import denoJson from "../../deno.json" with { type: "json" };
import { BusbarError, systemError } from "../../src/core/error.ts";
import { formatBytes } from "../../src/core/units.ts";
import { note, print } from "../cli/output.ts";
import { ElapsedProgress } from "../cli/progress.ts";
import { run } from "../cli/run.ts";
import { type Arch, ARCHES, fillApp, otherAgents, ROOT, succeed, TAR_FLAGS } from "./payload.ts";
import stub from "./stub.sh" with { type: "text" };

function archName(text: string): Arch {
  const arch = ARCHES.find((one) => one === text);
  if (arch === undefined) throw new InvalidArgumentError(`write ${ARCHES.join(" or ")}`);
  return arch;
}

/** The command line of `deno task package`. */
export const command: CommandUnknownOpts = new Command("package")
  .description("Make one file of all of busbar, which runs on a Linux that has glibc, sh, tar and gzip.")
  .option("--output <folder>", "where it goes", `${ROOT}/dist`)
  .option("--arch <name>", `the processor: ${ARCHES.join(" or ")}`, archName, Deno.build.arch)
  .option("--deno <file>", "the Deno program for that processor; by default the one that runs this")
  .option("--list", "print what is in it")
  .action(async (options) => {
    const { arch } = options;
    if (arch !== Deno.build.arch && options.deno === undefined) {
      throw new BusbarError("usage", `this Deno is made for ${Deno.build.arch}`, {
        hint: `--deno FILE names a Deno ${Deno.version.deno} for ${arch}`,
      });
    }
    using progress = new ElapsedProgress("package");
    const stage = await Deno.makeTempDir({ prefix: "busbar-package-" });
    try {
      await fill(`${stage}/app`, arch, options.deno ?? Deno.execPath());
      const { script, id } = await pack(stage, arch);
      await Deno.mkdir(options.output, { recursive: true });
      const output = `${await Deno.realPath(options.output)}/busbar-${denoJson.version}-linux-${arch}`;
      await join(`${stage}/app.tar.gz`, script, output);
      progress[Symbol.dispose]();
      if (options.list) print(await succeed("tar", ["-tf", `${stage}/app.tar`]));
      const { size } = await Deno.stat(output);
      note(`package: ${formatBytes(size)}, contents ${id}`);
      print(output);
    } catch (cause) {
      throw cause instanceof BusbarError ? cause : systemError(cause, "package", stage);
    } finally {
      await Deno.remove(stage, { recursive: true });
    }
  });

/** Puts the files in place, as they will lie in the cache. */
async function fill(app: string, arch: Arch, deno: string): Promise<void> {
  await fillApp(app, [arch], otherAgents(arch));
  await Deno.copyFile(deno, `${app}/deno`);
  await Deno.chmod(`${app}/deno`, 0o755);
}

/** Makes `app.tar.gz` and the script before it. */
async function pack(stage: string, arch: Arch): Promise<{ readonly script: string; readonly id: string }> {
  await succeed("tar", [...TAR_FLAGS, "--mode=u=rwX,go=rX", "-cf", `${stage}/app.tar`, "-C", `${stage}/app`, "."]);
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(`${stage}/app.tar`));
  const id = new Uint8Array(digest).toHex().slice(0, 16);
  await succeed("gzip", ["-n", "-k", "-9", `${stage}/app.tar`]);
  const values: Readonly<Record<string, string>> = {
    VERSION: denoJson.version,
    OS: Deno.build.os,
    ARCH: arch,
    ID: id,
    LINE: String(stub.split("\n").length),
  };
  return { script: stub.replace(/@([A-Z]+)@/g, (whole, name) => values[name] ?? whole), id };
}

/** Writes script and archive as one executable file, whole or not at all. */
async function join(archive: string, script: string, output: string): Promise<void> {
  const temporary = `${output}.${Deno.pid}.tmp`;
  {
    using file = await Deno.open(temporary, { write: true, create: true, truncate: true });
    const bytes = new TextEncoder().encode(script);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    using from = await Deno.open(archive);
    await from.readable.pipeTo(file.writable);
  }
  await Deno.chmod(temporary, 0o755);
  await Deno.rename(temporary, output);
}

if (import.meta.main) await run(command);
