/**
 * How `fleet` asks: the hosts that are meant, and the command for each.
 * @module
 */

import { BusbarError, systemError } from "../../src/core/error.ts";
import { parseHostPart } from "../../src/core/host_part.ts";
import type { Json } from "../../src/core/layout_json.ts";
import { expandHosts, hostsOfFile } from "../../src/remote/fleet/mod.ts";
import { toolCommand } from "../cli/self.ts";

/** Bytes of a file of hosts. */
const HOSTS_FILE_LIMIT = 1 << 20;
/** What of a folder is a recorded machine. */
const RECORDING = /\.(ya?ml|txt|dump)$/;

/** Where the hosts come from. */
export interface HostOptions {
  readonly hosts?: string | undefined;
  readonly hostsFile?: string | undefined;
  readonly slurm?: string | undefined;
}

/** A host: what it is called here, and how a tool is told. */
export interface FleetHost {
  /** Its name. */
  readonly name: string;
  /** A locator, `ssh:lab7` or `file:FILE`; null where Slurm starts the tool on it. */
  readonly locator: string | null;
}

/** The hosts that the options name. @throws {BusbarError} `usage` where they name none, or in two ways */
export async function hostsOf(options: HostOptions): Promise<FleetHost[]> {
  const { hosts, hostsFile, slurm } = options;
  if ([hosts, hostsFile, slurm].filter((one) => one !== undefined).length !== 1) {
    throw new BusbarError("usage", "which hosts? One of --hosts, --hosts-file and --slurm, or a folder", {
      operation: "read the options",
      hint: "fleet --hosts 'lab[01-40]' -- pcie_topology",
    });
  }
  if (slurm !== undefined) return (await nodesOf(slurm)).map((name) => ({ name, locator: null }));
  const names = hosts !== undefined ? expandHosts(hosts) : hostsOfFile(readHostsFile(hostsFile ?? ""));
  return names.map((name) => ({ name, locator: parseHostPart(`ssh:${name}`).text }));
}

function readHostsFile(path: string): string {
  try {
    const { size } = Deno.statSync(path);
    if (size > HOSTS_FILE_LIMIT) {
      throw new BusbarError("malformed", `${path}: ${size} bytes are too many for a list of hosts`, { path });
    }
    return Deno.readTextFileSync(path);
  } catch (cause) {
    throw systemError(cause, "read the hosts", path);
  }
}

/** The recorded machines of a folder, by file name. @throws {BusbarError} `absent` where there is none */
export function recordingsIn(folder: string): FleetHost[] {
  let names: string[];
  try {
    names = Array.from(Deno.readDirSync(folder), ({ name }) => name).filter((name) => RECORDING.test(name)).sort();
  } catch (cause) {
    throw systemError(cause, "list", folder);
  }
  if (names.length === 0) {
    throw new BusbarError("absent", `${folder}: there are neither answers nor recorded machines in it`, {
      operation: "read the folder",
      path: folder,
      hint: "fleet --hosts HOSTS --save FOLDER -- TOOL writes answers; pcie_topology --save FILE.txt records a machine",
    });
  }
  return names.map((name) => ({ name: name.replace(RECORDING, ""), locator: `file:${folder}/${name}` }));
}

/** The nodes of a partition, as Slurm has them. @throws {BusbarError} as `sinfo` fails */
async function nodesOf(partition: string): Promise<string[]> {
  const program = "sinfo";
  if (!/^[\w.-]+$/.test(partition) || partition.startsWith("-")) {
    throw new BusbarError("usage", `'${partition}' is no name of a partition`, { operation: "read the options" });
  }
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, { args: ["-h", "-N", "-p", partition, "-o", "%N"] }).output();
  } catch (cause) {
    throw systemError(cause, "start", program, "Slurm's programs are in PATH where it is installed");
  }
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const names = expandOrNone(text(output.stdout));
  if (output.success && names.length > 0) return names;
  const [line = ""] = text(output.stderr).split("\n");
  throw new BusbarError("absent", `Slurm names no node of partition ${partition}${line === "" ? "" : `: ${line}`}`, {
    operation: "list nodes",
    hint: "sinfo shows the partitions",
  });
}

function expandOrNone(text: string): string[] {
  return text.trim() === "" ? [] : expandHosts(text);
}

/** What is put in the place of {@linkcode PLACE}: a device of the host, as in `{}/0000:01:00.0`. */
const PLACE = "{}";

/**
 * The command that asks a host.
 *
 * @param words the tool and its arguments
 * @param partition of Slurm, where it starts the tool
 */
export function commandFor(host: FleetHost, words: readonly string[], partition: string | undefined): string[] {
  const [tool = "", ...args] = words;
  const separator = args.indexOf("--");
  const own = separator < 0 ? args : args.slice(0, separator);
  const rest = separator < 0 ? [] : args.slice(separator);
  const locator = host.locator;
  const where = locator === null || own.some((word) => word.includes(PLACE)) ? [] : ["--host", locator];
  const placed = own.map((word) => locator === null ? word : word.replaceAll(PLACE, locator));
  const command = [...toolCommand(tool, "fleet"), ...placed, "--json", ...where, ...rest];
  if (locator !== null) return command;
  return ["srun", "--quiet", "-p", partition ?? "", "-w", host.name, "-N1", "-n1", "--", ...command];
}

/**
 * The schema of a tool's documents, which says what of them changes by itself.
 *
 * @throws {BusbarError} `usage` for what is no tool, or has no such schema
 */
export async function schemaOf(words: readonly string[]): Promise<Json> {
  const [tool = ""] = words;
  const fail = (why: string): BusbarError =>
    new BusbarError("usage", `'${words.join(" ")}' cannot be compared: ${why}`, {
      operation: "read the options",
      hint: "any tool with --json and --json-schema, as in fleet --hosts 'lab[01-40]' -- pcie_topology",
    });
  if (!/^[a-z][a-z0-9_]*$/.test(tool)) throw fail("there is no such tool");
  if (tool === "fleet") throw fail("a fleet of fleets");
  const end = words.indexOf("--");
  const own = end < 0 ? words.slice(1) : words.slice(1, end);
  const [program = "", ...args] = [...toolCommand(tool, "fleet"), ...own, "--json-schema"];
  const output = await new Deno.Command(program, { args, stdin: "null" }).output();
  try {
    return JSON.parse(new TextDecoder().decode(output.stdout));
  } catch {
    const [line = ""] = new TextDecoder().decode(output.stderr).split("\n");
    throw fail(line === "" ? "it prints no schema" : line);
  }
}
