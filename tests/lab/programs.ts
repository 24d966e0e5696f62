/**
 * Other people's programs, as lab tests ask them.
 * @module
 */

import { assert } from "@std/assert";

/** What a program prints, which must succeed. */
export async function output(...[program, ...args]: [string, ...string[]]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  assert(success, `${program} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** What a shell prints, which must succeed. */
export async function shell(script: string): Promise<string> {
  return await output("sh", "-e", "-c", script);
}

/** The text of a file without the line break at its end. */
export async function read(path: string): Promise<string> {
  return (await Deno.readTextFile(path)).trim();
}

/** The names in a folder, sorted. */
export async function list(path: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(path), (entry) => entry.name)).sort();
}

/** The name of the NVMe controller with a serial number, such as `nvme3`. The kernel numbers them as they answer. */
export async function controllerOf(serial: string): Promise<string> {
  for (const name of await list("/sys/class/nvme")) {
    if (await read(`/sys/class/nvme/${name}/serial`) === serial) return name;
  }
  throw new Error(`no NVMe controller has the serial number ${serial}`);
}

/** The names of the block devices of a controller, sorted. Shared namespaces belong to the subsystem. */
export async function namespacesOf(serial: string): Promise<string[]> {
  const controller = await controllerOf(serial);
  const folder = await Deno.realPath(`/sys/class/nvme/${controller}`);
  const subsystem = (await list(folder)).includes("subsystem") ? await subsystemOf(controller) : folder;
  return (await list(subsystem)).filter((name) => /^nvme\d+n\d+$/.test(name));
}

async function subsystemOf(controller: string): Promise<string> {
  for (const name of await list("/sys/class/nvme-subsystem")) {
    if ((await list(`/sys/class/nvme-subsystem/${name}`)).includes(controller)) {
      return `/sys/class/nvme-subsystem/${name}`;
    }
  }
  throw new Error(`${controller} belongs to no subsystem`);
}
