/**
 * Debian packages without root: a private package state in the user's cache, the machine's own mirror and keys.
 * apt resolves, downloads and verifies; nothing is installed and nothing of the system is touched.
 * @module
 */

import { BusbarError, systemError } from "../core/error.ts";
import { type AptSource, debianArchive, parseAptSources, writeAptSources } from "./apt_sources.ts";
import { runTool } from "./host_tool.ts";

/** The release the lab is made from, on every machine, so that every machine has the same lab. */
export const SUITES: readonly string[] = ["bookworm", "bookworm-backports"];

/** Fetching gives up after this time without an answer from the mirror. */
const MIRROR_TIMEOUT_S = 30;
const UPDATE_LIMIT_MS = 5 * 60_000;
const FETCH_LIMIT_MS = 30 * 60_000;

/** A private package state in a folder. */
export class PrivateApt {
  readonly #folder: string;
  readonly #suites: readonly string[];

  /**
   * Nothing is made before {@linkcode PrivateApt.update}.
   *
   * @param folder where lists and packages are kept
   * @param suites releases of Debian; packages come from the last one that has them
   */
  constructor(folder: string, suites: readonly string[] = SUITES) {
    this.#folder = folder;
    this.#suites = suites;
  }

  /**
   * Fetches the package lists of the suites from the machine's mirror.
   *
   * @throws {BusbarError} `unsupported` when the machine has no Debian source, `io` when the mirror fails
   */
  async update(signal?: AbortSignal): Promise<void> {
    this.#prepare();
    await this.#run("update the package lists", ["apt-get", "-q", "update", "--error-on=any"], UPDATE_LIMIT_MS, signal);
  }

  /**
   * Downloads packages and all that they depend on; verified ones that are already there are not fetched again.
   *
   * @returns the paths of the package files of this set
   */
  async download(packages: readonly string[], signal?: AbortSignal): Promise<string[]> {
    const { install, names } = await this.#resolve(packages, signal);
    await this.#run("download packages", [...install, "--download-only"], FETCH_LIMIT_MS, signal);
    return names.map((name) => `${this.#archives}/${name}`);
  }

  /**
   * Downloads, of a package and all that it depends on, only those with certain names.
   *
   * @param wanted tells by a package's name
   * @returns the paths of the package files
   */
  async downloadSome(
    packages: readonly string[],
    wanted: (name: string) => boolean,
    signal?: AbortSignal,
  ): Promise<string[]> {
    const { names } = await this.#resolve(packages, signal);
    const files = names.filter((name) => wanted(nameOf(name)));
    // It writes into the folder that it is started in.
    const download = ["env", "-C", this.#archives, "apt-get"];
    await this.#run("download packages", [...download, "-q", "download", ...files.map(nameOf)], FETCH_LIMIT_MS, signal);
    return files.map((name) => `${this.#archives}/${name}`);
  }

  get #archives(): string {
    return `${this.#folder}/cache/archives`;
  }

  async #resolve(
    packages: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<{ install: string[]; names: string[] }> {
    const install = ["apt-get", "-q", "-y", "-t", this.#suites.at(-1) ?? "", "install", ...packages];
    // Asked before the download, because afterwards apt lists nothing any more.
    const listed = await this.#run("resolve packages", [...install, "--print-uris"], UPDATE_LIMIT_MS, signal, [
      // A different archive folder makes it list also what was already downloaded.
      `Dir::Cache::archives=${this.#folder}/none`,
    ]);
    const names = [...listed.matchAll(/^'[^']*' (\S+\.deb) \d+/gm)].map((match) => match[1] ?? "");
    if (names.length === 0) throw new BusbarError("bug", "apt-get resolved no packages");
    return { install, names };
  }

  #prepare(): void {
    const archive = debianArchive(machineSources());
    if (archive === null) {
      throw new BusbarError("unsupported", "the package sources of this machine name no Debian archive", {
        operation: "read package sources",
        path: "/etc/apt",
      });
    }
    const folder = this.#folder;
    for (const name of ["state/lists/partial", "cache/archives/partial", "none/partial", "empty"]) {
      Deno.mkdirSync(`${folder}/${name}`, { recursive: true, mode: 0o700 });
    }
    Deno.writeTextFileSync(`${folder}/status`, "");
    Deno.writeTextFileSync(`${folder}/lab.sources`, writeAptSources(archive, this.#suites));
    Deno.writeTextFileSync(`${folder}/apt.conf`, configuration(folder));
  }

  async #run(
    what: string,
    [program = "", ...args]: readonly string[],
    limitMs: number,
    signal: AbortSignal | undefined,
    settings: readonly string[] = [],
  ): Promise<string> {
    // Behind "env -C FOLDER" the program itself comes fourth.
    const [before, after] = program === "env" ? [args.slice(0, 3), args.slice(3)] : [[], args];
    const result = await runTool(program, [
      ...before,
      "-c",
      `${this.#folder}/apt.conf`,
      ...settings.flatMap((s) => ["-o", s]),
      ...after,
    ], {
      limitMs,
      signal,
      env: { LC_ALL: "C.UTF-8", DEBIAN_FRONTEND: "noninteractive" },
    });
    if (result.code === 0) return new TextDecoder().decode(result.stdout);
    const said = result.stderr.split("\n").filter((line) => line.startsWith("E:") || line.startsWith("W:"));
    throw new BusbarError("io", `cannot ${what}: ${said[0]?.slice(3) ?? `apt-get ended with ${result.code}`}`, {
      operation: what,
      path: this.#folder,
      hint: "check the network and the package sources of this machine, then repeat the command: it goes on from here",
    });
  }
}

/** The package's name in the name of its file: what stands before the version. */
function nameOf(file: string): string {
  return file.slice(0, file.indexOf("_"));
}

/** Settings that make apt use only the private state. The user's own settings (proxies) stay in force otherwise. */
function configuration(folder: string): string {
  const settings = {
    "Dir::State": `${folder}/state`,
    "Dir::State::status": `${folder}/status`,
    "Dir::Cache": `${folder}/cache`,
    "Dir::Etc::sourcelist": `${folder}/lab.sources`,
    "Dir::Etc::sourceparts": `${folder}/empty`,
    "Dir::Etc::preferences": `${folder}/empty/preferences`,
    "Dir::Etc::preferencesparts": `${folder}/empty`,
    "Dir::Log": `${folder}/empty`,
    "APT::Architecture": "amd64",
    "APT::Install-Recommends": "false",
    "APT::Sandbox::User": "",
    "APT::Get::AllowUnauthenticated": "false",
    "Acquire::AllowInsecureRepositories": "false",
    "Debug::NoLocking": "true",
    "Acquire::Languages": "none",
    "Acquire::Retries": "2",
    "Acquire::http::Timeout": String(MIRROR_TIMEOUT_S),
    "Acquire::https::Timeout": String(MIRROR_TIMEOUT_S),
  };
  // Hooks of the machine's own settings act on the system (they clean its caches, notify its services).
  const hooks = ["APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success"];
  return [
    ...Object.entries(settings).map(([name, value]) => `${name} "${value}";`),
    ...[...hooks, "DPkg::Pre-Invoke", "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs"].map((hook) => `#clear ${hook};`),
    "",
  ].join("\n");
}

/** All package sources of this machine. */
function machineSources(): AptSource[] {
  const sources: AptSource[] = [];
  const names = listFolder("/etc/apt/sources.list.d").filter((name) => /\.(?:list|sources)$/.test(name));
  for (const path of ["/etc/apt/sources.list", ...names.map((name) => `/etc/apt/sources.list.d/${name}`)]) {
    try {
      sources.push(...parseAptSources(Deno.readTextFileSync(path), path));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw systemError(error, "read", path);
    }
  }
  return sources;
}

function listFolder(path: string): string[] {
  try {
    return Array.from(Deno.readDirSync(path), (entry) => entry.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw systemError(error, "list", path);
  }
}
