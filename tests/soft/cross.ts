/**
 * Cross compilers and the emulators that run what they make: those of the machine, or those that the long tests fetched
 * into the user's cache.
 * @module
 */

import { PrivateApt } from "../../src/lab/apt.ts";
import { labFolder } from "../../src/lab/cache.ts";
import { unpack } from "../../src/lab/unpack.ts";

/** A processor that programs can be built for and run on here. */
export interface Cross {
  readonly compiler: string;
  readonly emulator: string;
  /** For fetched tools, which find their libraries by it. */
  readonly env: Readonly<Record<string, string>>;
}

/** Debian's packages for a processor. */
const PACKAGES = {
  sparc64: ["gcc-sparc64-linux-gnu", "libc6-dev-sparc64-cross", "qemu-user-static"],
  aarch64: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static"],
  ppc64le: ["gcc-powerpc64le-linux-gnu", "libc6-dev-ppc64el-cross", "qemu-user-static"],
  riscv64: ["gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross", "qemu-user-static"],
} as const;

/** What a compiler's name begins with, where it is not the processor's. */
const COMPILERS: Readonly<Partial<Record<CrossName, string>>> = { ppc64le: "powerpc64le" };

/** A processor of {@linkcode findCross}. */
export type CrossName = keyof typeof PACKAGES;

/** The tools for a processor; null where they are neither installed nor fetched. */
export function findCross(name: CrossName): Cross | null {
  const fetched = fetchedFolder(name);
  for (
    const [folders, env] of [
      [(Deno.env.get("PATH") ?? "").split(":"), {}],
      [[`${fetched}/usr/bin`], { LD_LIBRARY_PATH: `${fetched}/usr/lib/x86_64-linux-gnu` }],
    ] as const
  ) {
    const find = (...names: readonly string[]): string | undefined =>
      folders.flatMap((folder) => names.map((one) => `${folder}/${one}`)).find(isFile);
    const compiler = find(`${COMPILERS[name] ?? name}-linux-gnu-gcc`);
    const emulator = find(`qemu-${name}-static`, `qemu-${name}`);
    if (compiler !== undefined && emulator !== undefined) return { compiler, emulator, env };
  }
  return null;
}

/** Fetches the tools without root, from the machine's own mirror. @throws {BusbarError} where it has no Debian sources */
export async function fetchCross(name: CrossName): Promise<void> {
  const folder = fetchedFolder(name);
  const apt = new PrivateApt(`${folder}.apt`);
  await apt.update();
  const packages = await apt.download(PACKAGES[name]);
  const partial = `${folder}.partial`;
  await Deno.remove(partial, { recursive: true }).catch(() => {});
  await unpack(packages, partial, undefined);
  await Deno.rename(partial, folder);
}

function fetchedFolder(name: CrossName): string {
  return `${labFolder()}/cross-${name}`;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
