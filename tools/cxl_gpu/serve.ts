/**
 * `cxl_gpu serve`: software Type 2 GPUs for guests and for programs of this machine.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { pause } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { parseBytes } from "../../src/core/units.ts";
import { serveSharedFile } from "../../src/type2/open.ts";
import { FILE_LEAST_BYTES } from "../../src/type2/registers.ts";
import type { SoftType2 } from "../../ffi/soft_type2.ts";
import { sizeBytes, timeOption, wholeNumber } from "../cli/arguments.ts";
import { note, print } from "../cli/output.ts";
import { interruption } from "../cli/run.ts";

const LOOK_MS = 200;
const DEFAULT_BYTES = 256 << 20;

/** A file to serve, with what is said of it alone. */
interface ServedFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly profile: string | null;
}

/** `PATH[,profile=v1][,size=256MiB]` */
function parseFile(text: string, before: readonly ServedFile[]): ServedFile[] {
  const [path = "", ...settings] = text.split(",");
  let size = DEFAULT_BYTES, profile: string | null = null;
  if (path === "") throw new BusbarError("usage", `'${text}' names no file`);
  for (const setting of settings) {
    if (setting.startsWith("size=")) size = Number(parseBytes(setting.slice("size=".length)));
    else if (setting.startsWith("profile=")) profile = setting.slice("profile=".length);
    else {throw new BusbarError("usage", `'${setting}' in '${text}' is no setting`, {
        hint: "it takes profile= and size=",
      });}
  }
  if (size < FILE_LEAST_BYTES || (size & (size - 1)) !== 0 || !Number.isSafeInteger(size)) {
    throw new BusbarError("usage", `${path}: a file of ${size} bytes`, {
      hint: "the size is a power of two, at least 16 MiB: size=64MiB",
    });
  }
  return [...before, { path, sizeBytes: size, profile }];
}

/** The options of QEMU that give the file to a guest. */
function qemuOptions(file: ServedFile, index: number): string {
  const path = file.path.startsWith("/") ? file.path : `${Deno.cwd()}/${file.path}`;
  return `-object memory-backend-file,id=gpu${index},mem-path=${path},size=${file.sizeBytes},share=on ` +
    `-device ivshmem-plain,memdev=gpu${index}`;
}

/** The command line of `cxl_gpu serve`. */
export const serve: CommandUnknownOpts = new Command("serve")
  .description("Be a CXL Type 2 GPU for guests, and for programs of this machine, until interrupted.")
  .addOption(
    new Option("--file <path>", "a shared file, as in /dev/shm/gpu,profile=v1,size=64MiB; once for each guest")
      .argParser(parseFile).default([] as ServedFile[], "none"),
  )
  .option("--backend <locator>", "what runs kernels: soft:cuda?…, cuda:LIBRARY?device=N, or none", "soft:cuda")
  .option("--profile <generation>", "v1, v2 or v2-J", "v2")
  .addOption(
    new Option("--memory <size>", "device memory of each guest").argParser(sizeBytes).default(1n << 30n, "1GiB"),
  )
  .addOption(timeOption("--limit <time>", "how long a kernel may run", "10s"))
  .option("--filter <lines>", "lines of the snoop filter", wholeNumber, 4096)
  .option("--name <text>", "what the device says it is called", "")
  .action(async (options) => {
    if (options.file.length === 0) {
      throw new BusbarError("usage", "there is nothing to serve", { hint: "--file /dev/shm/gpu gives a guest one" });
    }
    const devices: SoftType2[] = [];
    using all = new DisposableStack();
    for (const [index, file] of options.file.entries()) {
      const settings = new Map([
        ["profile", file.profile ?? options.profile],
        ["backend", options.backend],
        ["memory", options.memory.toString()],
        ["limit", String(options.limit)],
        ["filter", String(options.filter)],
        ["name", options.name],
      ]);
      devices.push(all.use(serveSharedFile(settings, file)));
      print(`serving type2:${file.path}`);
      print(`  qemu ${qemuOptions(file, index)}`);
    }
    await watch(devices);
  });

/** Until interrupted, or until no guest is left. A guest whose file was taken away is told of, and the others go on. */
async function watch(devices: readonly SoftType2[]): Promise<void> {
  const lost = new Set<SoftType2>();
  while (!interruption.aborted) {
    for (const device of devices) {
      const problem = lost.has(device) ? null : device.problem;
      if (problem === null) continue;
      lost.add(device);
      note(`cxl_gpu: ${device.name}: ${problem}; its guest is not served any more`);
    }
    if (lost.size === devices.length) {
      throw new BusbarError("device-gone", "no file is left to serve", { hint: "start it again" });
    }
    await pause(LOOK_MS, interruption).catch(() => {});
  }
}
