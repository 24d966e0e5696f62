/**
 * What tests need besides Deno and a C compiler: one table of programs, with the Debian package that has each and the suite
 * that wants it. As root what is missing is installed, without what its packages recommend; else the command is printed. A
 * test whose program is missing is skipped by name.
 * @module
 */

/** A program that tests use. */
export interface Need {
  /** Names that it may have, the first that is found is taken. */
  readonly programs: readonly string[];
  /** Debian's package. */
  readonly package: string;
  /** The suites whose tests use it, as `tests/suites.ts` names them. */
  readonly suites: readonly string[];
}

/** The names that tests call the programs by. */
export type NeedName =
  | "bash"
  | "blkid"
  | "chromium"
  | "cpio"
  | "debugfs"
  | "fish"
  | "groff"
  | "lspci"
  | "man"
  | "mcopy"
  | "mkfs.btrfs"
  | "mkfs.ext2"
  | "mkfs.ext4"
  | "mkfs.vfat"
  | "mkfs.xfs"
  | "xfs_db"
  | "mkswap"
  | "rsvg-convert"
  | "python3"
  | "readelf"
  | "script"
  | "setpriv"
  | "sfdisk"
  | "aarch64-linux-gnu-gcc"
  | "powerpc64le-linux-gnu-gcc"
  | "riscv64-linux-gnu-gcc"
  | "sparc64-linux-gnu-gcc"
  | "qemu-aarch64-static"
  | "qemu-ppc64le-static"
  | "qemu-riscv64-static"
  | "qemu-sparc64-static"
  | "sshd"
  | "spin"
  | "valgrind"
  | "zsh";

/** The programs by name. */
export const NEEDS: Readonly<Record<NeedName, Need>> = {
  bash: { programs: ["bash"], package: "bash", suites: ["unit"] },
  groff: { programs: ["groff"], package: "groff-base", suites: ["unit"] },
  man: { programs: ["man"], package: "man-db", suites: ["unit"] },
  lspci: { programs: ["lspci"], package: "pciutils", suites: ["full"] },
  zsh: { programs: ["zsh"], package: "zsh", suites: ["unit"] },
  fish: { programs: ["fish"], package: "fish", suites: ["unit"] },
  script: { programs: ["script"], package: "bsdutils", suites: ["unit"] },
  cpio: { programs: ["cpio"], package: "cpio", suites: ["unit"] },
  blkid: { programs: ["blkid"], package: "util-linux", suites: ["unit"] },
  debugfs: { programs: ["debugfs"], package: "e2fsprogs", suites: ["unit", "soft"] },
  mcopy: { programs: ["mcopy"], package: "mtools", suites: ["unit", "soft"] },
  "mkfs.ext4": { programs: ["mkfs.ext4"], package: "e2fsprogs", suites: ["unit", "soft"] },
  "mkfs.ext2": { programs: ["mkfs.ext2"], package: "e2fsprogs", suites: ["unit"] },
  "mkfs.xfs": { programs: ["mkfs.xfs"], package: "xfsprogs", suites: ["unit"] },
  xfs_db: { programs: ["xfs_db"], package: "xfsprogs", suites: ["unit"] },
  "mkfs.btrfs": { programs: ["mkfs.btrfs"], package: "btrfs-progs", suites: ["unit"] },
  "mkfs.vfat": { programs: ["mkfs.vfat"], package: "dosfstools", suites: ["unit", "soft"] },
  python3: { programs: ["python3"], package: "python3-minimal", suites: ["soft", "full"] },
  readelf: { programs: ["readelf"], package: "binutils", suites: ["full"] },
  // Each wants a C library beside it, which one row cannot say: libc6-dev-ARCH-cross.
  "aarch64-linux-gnu-gcc": { programs: ["aarch64-linux-gnu-gcc"], package: "gcc-aarch64-linux-gnu", suites: [] },
  "powerpc64le-linux-gnu-gcc": {
    programs: ["powerpc64le-linux-gnu-gcc"],
    package: "gcc-powerpc64le-linux-gnu",
    suites: ["full"],
  },
  "riscv64-linux-gnu-gcc": { programs: ["riscv64-linux-gnu-gcc"], package: "gcc-riscv64-linux-gnu", suites: [] },
  "sparc64-linux-gnu-gcc": { programs: ["sparc64-linux-gnu-gcc"], package: "gcc-sparc64-linux-gnu", suites: [] },
  "qemu-aarch64-static": { programs: ["qemu-aarch64-static"], package: "qemu-user-static", suites: ["full"] },
  "qemu-ppc64le-static": { programs: ["qemu-ppc64le-static"], package: "qemu-user-static", suites: ["full"] },
  "qemu-riscv64-static": { programs: ["qemu-riscv64-static"], package: "qemu-user-static", suites: ["full"] },
  "qemu-sparc64-static": { programs: ["qemu-sparc64-static"], package: "qemu-user-static", suites: ["full"] },
  // Not a package of any suite: it would start a service. The tests unpack it themselves.
  sshd: { programs: ["sshd"], package: "openssh-server", suites: [] },
  sfdisk: { programs: ["sfdisk"], package: "fdisk", suites: ["unit"] },
  setpriv: { programs: ["setpriv"], package: "util-linux", suites: ["full"] },
  spin: { programs: ["spin"], package: "spin", suites: ["full"] },
  valgrind: { programs: ["valgrind"], package: "valgrind", suites: ["soft", "full"] },
  mkswap: { programs: ["mkswap"], package: "util-linux", suites: ["unit"] },
  "rsvg-convert": { programs: ["rsvg-convert"], package: "librsvg2-bin", suites: ["unit", "full"] },
  chromium: {
    programs: ["chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "chrome"],
    package: "chromium",
    suites: ["full"],
  },
};

/** Where programs are looked for: ordinary users lack the folders for administrators. */
function searchPath(): string[] {
  const own = (Deno.env.get("PATH") ?? "/usr/local/bin:/usr/bin:/bin").split(":");
  return [...new Set([...own, "/usr/local/sbin", "/usr/sbin", "/sbin"])];
}

/** The path of a program of the table, or null where it is not installed. */
export function findNeed(name: NeedName): string | null {
  for (const program of NEEDS[name].programs) {
    for (const folder of searchPath()) {
      const path = `${folder}/${program}`;
      if (isExecutable(path)) return path;
    }
  }
  return null;
}

function isExecutable(path: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile && ((mode ?? 0) & 0o111) !== 0;
  } catch {
    return false;
  }
}

/** Why a test that uses these programs cannot run, to stand in its name; null where all are there. */
export function missingNeed(...names: readonly NeedName[]): string | null {
  const missing = names.find((name) => findNeed(name) === null);
  return missing === undefined ? null : `there is no ${missing}; the package ${NEEDS[missing].package} has it`;
}

/** A test's name and whether it is left out, for a test that uses these programs. */
export function withNeeds(
  name: string,
  ...needs: readonly NeedName[]
): { readonly name: string; readonly ignore: boolean } {
  return unless(missingNeed(...needs), name);
}

/** A test's name and whether it is left out: for a reason, which its name then says. */
export function unless(reason: string | null, name: string): { readonly name: string; readonly ignore: boolean } {
  return reason === null ? { name, ignore: false } : { name: `${name} (not run: ${reason})`, ignore: true };
}

/** The packages that the suites named want and this machine lacks. */
export function missingPackages(suites: readonly string[]): string[] {
  const rows: readonly (readonly [string, Need])[] = Object.entries(NEEDS);
  const missing = rows.filter(([name, need]) =>
    need.suites.some((suite) => suites.includes(suite)) && isNeed(name) && findNeed(name) === null
  );
  return [...new Set(missing.map(([, need]) => need.package))].sort();
}

function isNeed(name: string): name is NeedName {
  return Object.hasOwn(NEEDS, name);
}

/**
 * Installs what the suites lack, as root on Debian; else says what would.
 *
 * @param say takes a line for people
 */
export function installNeeds(suites: readonly string[], say: (line: string) => void): void {
  const packages = missingPackages(suites);
  if (packages.length === 0) return;
  const command = ["apt-get", "install", "-y", "--no-install-recommends", ...packages];
  if (Deno.uid() !== 0 || !isExecutable("/usr/bin/apt-get")) {
    say(`some tests will not run; as root this lets them: ${command.join(" ")}`);
    return;
  }
  say(`installing what tests need: ${packages.join(" ")}`);
  // Lists of a fresh machine are empty or old; when no mirror answers, the tests that need more are left out.
  for (const [program = "", ...args] of [["apt-get", "update"], command]) {
    const { success, stderr } = new Deno.Command(program, {
      args: [...args],
      env: { DEBIAN_FRONTEND: "noninteractive" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).outputSync();
    if (success) continue;
    say(`${program} ${args.join(" ")} failed: ${new TextDecoder().decode(stderr).trim().split("\n").at(-1) ?? ""}`);
    return;
  }
}
