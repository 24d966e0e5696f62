/**
 * The lab's second QEMU: a current one, from Debian's backports of a newer release, with its own libraries. A machine whose
 * `gpu` is by vfio-user needs it; it is fetched (about 60 MB) when it is first needed, and not with the image.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { PrivateApt } from "./apt.ts";
import { labSubfolder, writeWhole } from "./cache.ts";
import { runTool } from "./host_tool.ts";
import { cannotSetUp, lockImages, QEMU_SCRIPT, type SetUpOptions } from "./image.ts";
import { listIfPresent, unpack } from "./unpack.ts";

const SUITES: readonly string[] = ["trixie", "trixie-backports"];
const PACKAGE = "qemu-system-x86";
const UNFINISHED = ".unfinished";
const HELP_LIMIT_MS = 60_000;
const PROGRAM = "qemu-system-x86_64";

/** The newest current QEMU in the cache, or null when none was fetched. */
export function findCurrentQemu(): string | null {
  const folder = labSubfolder("qemus");
  const names = listIfPresent(folder).map(({ name }) => name).filter((name) => !name.endsWith(UNFINISHED));
  const newest = names.sort().at(-1);
  return newest === undefined ? null : `${folder}/${newest}/${PROGRAM}`;
}

/**
 * The current QEMU, fetched when it is not there.
 *
 * @returns the path of the program that starts it
 * @throws {BusbarError} `unsupported` where it cannot be fetched, `io` when fetching or unpacking failed
 */
export async function currentQemu(options: SetUpOptions): Promise<string> {
  const known = findCurrentQemu();
  if (known !== null) return known;
  const refusal = cannotSetUp();
  if (refusal !== null) {
    throw new BusbarError("unsupported", "a QEMU with vfio-user cannot be fetched here", {
      operation: "fetch a current QEMU",
      hint: "name one of version 10.1 or newer in BUSBAR_LAB_QEMU, or write by: file",
      cause: refusal,
    });
  }
  using _lock = await lockImages(options);
  const other = findCurrentQemu();
  if (other !== null) return other;
  options.onProgress?.("fetching a current QEMU (about 60 MB, once)");
  const folder = labSubfolder("qemus");
  for (const { name } of listIfPresent(folder)) {
    if (name.endsWith(UNFINISHED)) await Deno.remove(`${folder}/${name}`, { recursive: true });
  }
  const aptFolder = `${folder}/apt${UNFINISHED}`;
  const apt = new PrivateApt(aptFolder, SUITES);
  await apt.update(options.signal);
  const packages = await apt.download([PACKAGE], options.signal);
  const version = packages.map((path) => /\/qemu-system-x86_([^_]+)_/.exec(path)?.[1]).find((one) => one !== undefined);
  if (version === undefined) throw new BusbarError("bug", `apt-get resolved no ${PACKAGE}`);
  const unfinished = `${folder}/qemu${UNFINISHED}`;
  await unpack(packages, `${unfinished}/root`, options.signal);
  writeWhole(`${unfinished}/${PROGRAM}`, QEMU_SCRIPT, 0o755);
  const finished = `${folder}/${decodeURIComponent(version).replace(/[^\w.+~-]/g, "-")}`;
  await Deno.rename(unfinished, finished);
  await Deno.remove(aptFolder, { recursive: true });
  return `${finished}/${PROGRAM}`;
}

/**
 * Whether a QEMU has a device.
 *
 * @throws {BusbarError} `io` when it does not start
 */
export async function qemuHasDevice(qemu: string, name: string, signal?: AbortSignal): Promise<boolean> {
  const { code, stdout, stderr } = await runTool(qemu, ["-machine", "none", "-device", "help"], {
    limitMs: HELP_LIMIT_MS,
    signal,
  });
  if (code !== 0) throw new BusbarError("io", `${qemu} does not start: ${stderr.trim()}`, { path: qemu });
  return new TextDecoder().decode(stdout).includes(`name "${name}"`);
}
