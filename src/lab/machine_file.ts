/**
 * Machine descriptions on disk: those that come with busbar, and the user's own.
 * @module
 */

import { DOCUMENT_BYTES, parseYaml } from "../core/documents.ts";
import { readInputText } from "../core/input.ts";
import { BusbarError } from "../core/error.ts";
import { nearest } from "../core/locator.ts";
import { CURRENT_KERNEL, type Machine } from "./description.ts";

/** A machine and what it is called. */
export interface NamedMachine {
  /** The file's name without folder and ending; also the guest's host name. */
  readonly name: string;
  /** The file. */
  readonly path: string;
  /** What the file says. */
  readonly machine: Machine;
}

/** The machines that come with busbar, in the order in which they are listed. */
export const SHIPPED: readonly string[] = [
  ...["nvme", "nvme-strict", "nvme-zoo", "topology", "cxl", "cxl-guest", "dax", "tiers", "type2", "everything"],
];

/**
 * Reads and checks a machine description.
 *
 * @param name a shipped machine (`nvme`) or a file (anything with a slash or ending in .yaml)
 * @throws {BusbarError} `absent`; `malformed` with a line for every mistake
 */
export async function loadMachine(name: string): Promise<NamedMachine> {
  const path = machinePath(name);
  const text = readInputText(path, {
    limitBytes: DOCUMENT_BYTES,
    what: "the machine description",
    hint: "lab list shows the machines that come with busbar",
  });
  return await parseMachine(text, path);
}

/**
 * Checks the text of a machine description.
 *
 * @param path the file it is from: relative paths in it start from its folder
 * @throws {BusbarError} `malformed` with a line for every mistake
 */
export async function parseMachine(text: string, path: string): Promise<NamedMachine> {
  const { checkMachine } = await import("./schema.ts");
  const file = path.slice(path.lastIndexOf("/") + 1);
  const value = await parseYaml(text, file);
  const checked = checkMachine(value);
  if ("mistakes" in checked) {
    const lines = checked.mistakes.map((mistake) => `${file}: ${mistake}`);
    throw new BusbarError("malformed", lines.join("\n"), { operation: "check the machine", path });
  }
  return { name: nameOf(file), path, machine: withAbsolutePaths(checked.machine, path) };
}

/** The name of a machine file as a host name: letters, digits and hyphens. */
function nameOf(file: string): string {
  return file.replace(/\.ya?ml$/, "").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-|-$/g, "") || "machine";
}

function machinePath(name: string): string {
  if (SHIPPED.includes(name)) return shippedPath(name);
  if (name.includes("/") || /\.ya?ml$/.test(name)) {
    // A shipped machine may be called by its file's name, unless there is such a file here.
    const bare = name.replace(/\.ya?ml$/, "");
    const own = name.startsWith("/") ? name : `${Deno.cwd()}/${name.replace(/^(?:\.\/)+/, "")}`;
    return SHIPPED.includes(bare) && !exists(own) ? shippedPath(bare) : own;
  }
  const near = nearest(name, SHIPPED);
  throw new BusbarError("absent", `'${name}' is no machine that comes with busbar`, {
    operation: "find the machine",
    path: name,
    hint: near === null
      ? `there are ${SHIPPED.join(", ")}; your own is a path such as ./${name}.yaml`
      : `did you mean '${near}'? Your own machine is a path such as ./${name}.yaml`,
  });
}

function shippedPath(name: string): string {
  return decodeURIComponent(new URL(`machines/${name}.yaml`, import.meta.url).pathname);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Paths in a description start from its file. */
function withAbsolutePaths(machine: Machine, path: string): Machine {
  const folder = path.slice(0, path.lastIndexOf("/"));
  const absolute = (file: string): string => file.startsWith("/") ? file : `${folder}/${file}`;
  const withFile = <T extends { readonly file?: string | undefined }>(part: T): T =>
    part.file === undefined ? part : { ...part, file: absolute(part.file) };
  const boot = (["kernel", "initrd", "disk", "firmware"] as const).flatMap((key) => {
    const file = machine[key];
    if (file === undefined || (key === "kernel" && file === CURRENT_KERNEL)) return [];
    return [[key, absolute(file)] as const];
  });
  return {
    ...machine,
    ...Object.fromEntries(boot),
    ...(machine.gpu === undefined ? {} : { gpu: { ...machine.gpu, path: absolute(machine.gpu.path) } }),
    devices: machine.devices.map((device) => {
      if (device.type === "nvme") return { ...device, namespaces: device.namespaces.map(withFile) };
      const holdsFile = device.type === "nvdimm" || device.type === "ivshmem-plain" || device.type === "cxl-type3";
      return holdsFile ? withFile(device) : device;
    }),
  };
}
