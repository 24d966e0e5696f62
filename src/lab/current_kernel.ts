/**
 * The lab's second kernel: a current one, from Debian's backports of a newer release. A machine file asks for it with
 * `kernel: current`; it is fetched (about 120 MB) when it is first asked for, and not with the image.
 * @module
 */

import { BusbarError } from "../core/error.ts";
import { PrivateApt } from "./apt.ts";
import { labSubfolder } from "./cache.ts";
import { runTool } from "./host_tool.ts";
import { cannotSetUp, type Image, lockImages, type SetUpOptions } from "./image.ts";
import { listIfPresent, unpack } from "./unpack.ts";

const SUITES: readonly string[] = ["trixie", "trixie-backports"];
const PACKAGE = "linux-image-amd64";
/** Kernel, modules, and the list of what is built in; `linux-image-…` itself is only a frame. What else it depends on is for an installed system. */
const WANTED = /^linux-(?:base|binary|modules)-\d/;
const UNFINISHED = ".unfinished";
const DEPMOD_LIMIT_MS = 5 * 60_000;

/** The newest current kernel in the cache, or null when none was fetched. */
export function findCurrentKernel(): string | null {
  const folder = labSubfolder("kernels");
  const releases = listIfPresent(folder).map(({ name }) => name).filter((name) => !name.endsWith(UNFINISHED));
  const newest = releases.sort().at(-1);
  return newest === undefined ? null : kernelIn(`${folder}/${newest}`, newest);
}

function kernelIn(root: string, release: string): string {
  return `${root}/usr/lib/modules/${release}/vmlinuz`;
}

/**
 * The current kernel, fetched when it is not there. Its modules lie beside it.
 *
 * @param image has the tools that list the modules' dependencies
 * @returns the path of the kernel
 * @throws {BusbarError} `unsupported` where it cannot be fetched, `io` when fetching or unpacking failed
 */
export async function currentKernel(image: Image, options: SetUpOptions): Promise<string> {
  const known = findCurrentKernel();
  if (known !== null) return known;
  const refusal = cannotSetUp();
  if (refusal !== null || image.root === null) {
    throw new BusbarError("unsupported", "kernel: current cannot be fetched here", {
      operation: "fetch a current kernel",
      hint: "name the file of a kernel whose modules are installed",
      cause: refusal ?? undefined,
    });
  }
  using _lock = await lockImages(options);
  const other = findCurrentKernel();
  if (other !== null) return other;
  options.onProgress?.("fetching a current kernel (about 120 MB, once)");
  const folder = labSubfolder("kernels");
  for (const { name } of listIfPresent(folder)) {
    if (name.endsWith(UNFINISHED)) await Deno.remove(`${folder}/${name}`, { recursive: true });
  }

  const aptFolder = `${folder}/apt${UNFINISHED}`;
  const apt = new PrivateApt(aptFolder, SUITES);
  await apt.update(options.signal);
  const packages = await apt.downloadSome([PACKAGE], (name) => WANTED.test(name), options.signal);
  const root = `${folder}/root${UNFINISHED}`;
  await unpack(packages, root, options.signal);
  const release = await listModules(root, image.root, options.signal);
  await Deno.rename(root, `${folder}/${release}`);
  await Deno.remove(aptFolder, { recursive: true });
  return kernelIn(`${folder}/${release}`, release);
}

/** Lists the modules' dependencies with the image's depmod. Returns the kernel's release. */
async function listModules(root: string, tools: string, signal: AbortSignal | undefined): Promise<string> {
  const [release, ...more] = listIfPresent(`${root}/usr/lib/modules`).map(({ name }) => name);
  if (release === undefined || more.length > 0) {
    throw new BusbarError("io", `the packages hold ${more.length + (release === undefined ? 0 : 1)} kernels, not one`, {
      operation: "fetch a current kernel",
    });
  }
  const libraries = `${tools}/usr/lib/x86_64-linux-gnu`;
  const args = ["--library-path", libraries, "--argv0", "depmod", `${tools}/usr/bin/kmod`, "-b", root, release];
  const { code, stderr } = await runTool(`${libraries}/ld-linux-x86-64.so.2`, args, {
    limitMs: DEPMOD_LIMIT_MS,
    signal,
  });
  if (code !== 0) throw new BusbarError("io", `depmod failed: ${stderr.trim()}`, { operation: "run depmod" });
  return release;
}
