/**
 * The real nvme-cli, many times for one start: as a decoder of pages of ours, without a controller, and as it is. See
 * `tests/c/nvme_cli`.
 * @module
 */

import { findLibrary, type LibrarySpec } from "../../ffi/build.ts";
import { cannotSetUp, findImage, setUp } from "../../src/lab/image.ts";

/** What makes one start of nvme-cli run many times. */
export const NVME_CLI_PRELOAD: LibrarySpec = {
  name: "busbar_nvme_cli",
  folders: ["tests/c/nvme_cli"],
  variable: "BUSBAR_NVME_CLI_PRELOAD",
  linkFlags: ["-ldl"],
};

/** How nvme-cli is started, and which one it is. */
export interface NvmeCli {
  /** Program and first arguments, to which a library to preload and the command are added. */
  readonly start: (preload: string) => readonly [program: string, args: readonly string[], env: Record<string, string>];
  /** What `nvme version` says. */
  readonly version: string;
}

/** Why there is no nvme-cli here and none can be fetched, or null. */
export function cannotFindNvmeCli(): string | null {
  if (Deno.env.get("BUSBAR_LAB_SKIP")) return Deno.env.get("BUSBAR_LAB_SKIP") ?? null;
  if (inPath() !== null || findImage()?.root) return null;
  return cannotSetUp()?.message ?? null;
}

function inPath(): string | null {
  for (const folder of [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"]) {
    try {
      if (Deno.statSync(`${folder}/nvme`).isFile) return `${folder}/nvme`;
    } catch {
      // Not in this one.
    }
  }
  return null;
}

/** nvme-cli of the lab's image, so that every machine compares with the same one; else this machine's own. */
export async function findNvmeCli(): Promise<NvmeCli> {
  const own = inPath();
  const image = findImage() ?? (own === null ? (await setUp()).image : null);
  const cli = image?.root ? inImage(image.root) : installed(own ?? "nvme");
  const [program, args, env] = cli("");
  const { stdout } = await new Deno.Command(program, { args: [...args, "version"], env }).output();
  return { start: cli, version: new TextDecoder().decode(stdout).split("\n")[0] ?? "" };
}

function installed(path: string): NvmeCli["start"] {
  return (preload) => [path, [], { LD_PRELOAD: preload }];
}

/** The image's program needs the image's libraries, whatever this system has. */
function inImage(root: string): NvmeCli["start"] {
  const libraries = `${root}/usr/lib/x86_64-linux-gnu`;
  return (preload) => [
    `${libraries}/ld-linux-x86-64.so.2`,
    [
      "--library-path",
      libraries,
      ...(preload === "" ? [] : ["--preload", preload]),
      `${root}/usr/sbin/nvme`,
    ],
    {},
  ];
}

/** Which admin command a page answers. */
export interface PageAnswer {
  /** 6 Identify, 2 Get Log Page. */
  readonly opcode: 2 | 6;
  /** CNS or log identifier. */
  readonly id: number;
}

/** A number or text as nvme-cli wrote it; numbers are kept as text, because they may have 128 bits. */
export type TheirValue = { readonly number: string } | string | TheirObject | readonly TheirValue[];

/** An object of nvme-cli's, by its own keys. */
export interface TheirObject {
  readonly [key: string]: TheirValue;
}

/** The preloaded library's words for SIGSEGV. */
const CRASHED = /ended with status 0xb\b/;
const MOST_ASKED = 6;

/**
 * What nvme-cli says of each page, decoded by its `-o json`.
 *
 * @param command `["id-ctrl"]`, without the device and the format
 */
export async function decodeByNvmeCli(
  cli: NvmeCli,
  command: readonly string[],
  answer: PageAnswer,
  pages: readonly Uint8Array[],
): Promise<TheirObject[]> {
  const file = await Deno.makeTempFile();
  try {
    const sizeBytes = pages[0]?.length ?? 0;
    const all = new Uint8Array(sizeBytes * pages.length);
    for (const [i, page] of pages.entries()) all.set(page, i * sizeBytes);
    await Deno.writeFile(file, all);
    const [program, args, env] = cli.start(findLibrary(NVME_CLI_PRELOAD));
    const nvme = new Deno.Command(program, {
      // Any character device will do: nothing but its type is looked at.
      args: [...args, ...command, "/dev/null", "-o", "json"],
      env: {
        ...env,
        LC_ALL: "C",
        BUSBAR_PAGES: file,
        BUSBAR_PAGE_BYTES: String(sizeBytes),
        BUSBAR_PAGE_OPCODE: String(answer.opcode),
        BUSBAR_PAGE_ID: String(answer.id),
      },
    });
    // On some pages of noise nvme-cli crashes in one run of five, by where its memory lies; then it is asked again.
    for (let asked = 1;; asked++) {
      const { success, stdout, stderr } = await nvme.output();
      const texts = charactersOf(stdout).split("\0").slice(0, -1);
      if (success && texts.length === pages.length) return texts.map(parseTheirs);
      const complaint = new TextDecoder().decode(stderr);
      if (asked === MOST_ASKED || !CRASHED.test(complaint)) {
        throw new Error(`nvme ${command.join(" ")}: ${texts.length} of ${pages.length}: ${complaint}`);
      }
    }
  } finally {
    await Deno.remove(file);
  }
}

/** One character for each byte, because bytes of a page stand in texts as they are. */
function charactersOf(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += 8192) parts.push(String.fromCharCode(...bytes.subarray(at, at + 8192)));
  return parts.join("");
}

/** Numbers become objects before JSON.parse would round them. They stand at the end of a line, texts never do. */
function parseTheirs(text: string): TheirObject {
  return JSON.parse(text.replace(/":(-?\d+)(,?)$/gm, '":{"number":"$1"}$2'));
}

/** How a command of nvme-cli ended. */
export interface CommandResult {
  /** True for exit status 0. */
  readonly success: boolean;
  /** What it printed. */
  readonly stdout: Uint8Array<ArrayBuffer>;
}

/** Runs this system's nvme-cli once for each list of words. */
export async function runNvmeCli(commands: readonly (readonly string[])[]): Promise<CommandResult[]> {
  const folder = await Deno.makeTempDir();
  try {
    const words = commands.map((command) => ["nvme", ...command].map((word) => `${word}\0`).join("") + "\0");
    await Deno.writeTextFile(`${folder}/commands`, words.join(""));
    const { success, stdout, stderr } = await new Deno.Command("nvme", {
      env: {
        LC_ALL: "C",
        LD_PRELOAD: findLibrary(NVME_CLI_PRELOAD),
        BUSBAR_COMMANDS: `${folder}/commands`,
        BUSBAR_OUTPUTS: folder,
      },
    }).output();
    const statuses = new TextDecoder().decode(stdout).split("\n").slice(0, -1);
    if (!success || statuses.length !== commands.length) {
      throw new Error(`nvme: ${statuses.length} of ${commands.length}: ${new TextDecoder().decode(stderr)}`);
    }
    return statuses.map((status, i) => ({ success: status === "0", stdout: Deno.readFileSync(`${folder}/${i}`) }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
