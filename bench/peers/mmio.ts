/**
 * Register access side by side: busbar, C as the limit, and what others would use.
 * @module
 */

import { BUSBAR, findLibrary } from "../../ffi/build.ts";

/** What one peer measured, in nanoseconds, or why it did not. */
export interface MmioResult {
  /** Who. */
  readonly peer: string;
  /** Nanoseconds for one access, or for one block of 4 KiB; null when it was not run. */
  readonly ns: Readonly<Record<MmioAccess, number>> | null;
  /** Why not. */
  readonly notRun: string | null;
}

/** What is measured. */
export const MMIO_ACCESSES = ["read32", "write32", "block4k"] as const;

/** One of these. */
export type MmioAccess = typeof MMIO_ACCESSES[number];

const HERE = new URL("mmio/", import.meta.url).pathname;

/** The version that the numbers in docs/benchmarks/registers.md are of. */
const KOFFI = "koffi@3.3.4";

interface Peer {
  readonly name: string;
  /** Its command line, or a sentence when it cannot be run. */
  readonly command: (place: Place) => Promise<readonly string[] | string>;
  readonly env?: (place: Place) => Readonly<Record<string, string>>;
}

interface Place {
  readonly folder: string;
  readonly file: string;
  readonly library: string;
}

const PEERS: readonly Peer[] = [
  {
    name: "C",
    command: async ({ folder, file, library }) => {
      const problem = await failure("cc", ["-O2", "-o", `${folder}/peer`, `${HERE}peer.c`, "-ldl"]);
      return problem ?? [`${folder}/peer`, file, library];
    },
  },
  {
    name: "busbar",
    command: ({ file }) =>
      Promise.resolve([Deno.execPath(), "run", "-A", "--no-check", "--cached-only", `${HERE}busbar.ts`, file]),
  },
  {
    name: "Node, koffi",
    command: async ({ folder, file, library }) => {
      const args = ["install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", KOFFI];
      return await failure("node", ["--version"]) ?? await failure("npm", args) ??
        ["node", `${HERE}koffi.cjs`, file, library];
    },
    env: ({ folder }) => ({ NODE_PATH: `${folder}/node_modules` }),
  },
  { name: "Python, mmap and struct", command: (place) => python("mmap", place) },
  { name: "Python, ctypes", command: (place) => python("ctypes", place) },
];

async function python(way: string, { file, library }: Place): Promise<readonly string[] | string> {
  return await failure("python3", ["--version"]) ?? ["python3", `${HERE}peer.py`, way, file, library];
}

/** Runs every peer, one after the other, on the same file of memory. */
export async function measureMmio(onProgress: (line: string) => void): Promise<MmioResult[]> {
  const folder = await Deno.makeTempDir({ prefix: "busbar-peers-" });
  // Ordinary memory under a name, so that Python can map it too.
  const file = await Deno.makeTempFile({ dir: "/dev/shm", prefix: "busbar-peers-" });
  try {
    await Deno.truncate(file, 65_536);
    const place = { folder, file, library: findLibrary(BUSBAR) };
    const results: MmioResult[] = [];
    for (const peer of PEERS) {
      onProgress(`registers: ${peer.name}`);
      results.push(await measure(peer, place));
    }
    return results;
  } finally {
    await Deno.remove(folder, { recursive: true });
    await Deno.remove(file);
  }
}

async function measure(peer: Peer, place: Place): Promise<MmioResult> {
  const argv = await peer.command(place);
  if (typeof argv === "string") return { peer: peer.name, ns: null, notRun: argv };
  const [program = "", ...args] = argv;
  const { success, stdout, stderr } = await new Deno.Command(program, { args, env: { ...peer.env?.(place) } }).output();
  if (success) return { peer: peer.name, ns: JSON.parse(new TextDecoder().decode(stdout)), notRun: null };
  return { peer: peer.name, ns: null, notRun: lastLine(stderr) };
}

/** Runs a program; null when it succeeds, else one line that says why it did not. */
async function failure(program: string, args: readonly string[]): Promise<string | null> {
  try {
    const { success, stderr } = await new Deno.Command(program, { args: [...args], stdout: "null" }).output();
    return success ? null : `${program} failed: ${lastLine(stderr)}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `there is no ${program}`;
    throw error;
  }
}

function lastLine(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).trim().split("\n").at(-1) ?? "";
}
