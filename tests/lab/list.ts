/**
 * `list` in a lab machine, against lspci, nvme-cli, cxl-cli, daxctl, ndctl and /proc/net/dev: nothing that they show is missing.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { schemaErrors } from "../unit/schema.ts";
import { inventorySchema } from "../../tools/render/pci/inventory.ts";
import { toolArgs } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";
import { list, output, read } from "./programs.ts";

/** A device as `list --json` shows it. */
export interface Listed {
  readonly id: string;
  readonly kind: string;
  readonly address: string | null;
  readonly names: { readonly value: readonly string[] | null };
  readonly sizeBytes: { readonly value: string | null };
  readonly firmware: { readonly value: string | null };
  readonly driver: { readonly value: string | null };
  readonly numaNode: { readonly value: number | null };
}

async function listed(): Promise<Listed[]> {
  const document = JSON.parse(await output(Deno.execPath(), ...toolArgs("list", ["--json"])));
  assertEquals(schemaErrors(inventorySchema(), document), "");
  // The kernel gives an ordinary user the first 64 bytes of configuration space, and list says so.
  const isKnown = (problem: string): boolean => Deno.uid() !== 0 && problem.endsWith("only 64 bytes were read");
  assertEquals(document.problems.filter((problem: string) => !isKnown(problem)), []);
  return document.devices;
}

/** Prints nothing where the program is not installed in this machine's image. */
async function jsonOf(...command: [string, ...string[]]): Promise<Record<string, unknown>[]> {
  const text = (await output(...command)).trim();
  const value = text === "" ? [] : JSON.parse(text);
  return Array.isArray(value) ? value : [value];
}

/** Registers the comparison. */
export function listTests(lab: Lab): void {
  lab.test(
    "list shows every function and device that lspci, nvme, cxl, daxctl, ndctl and /proc/net/dev show",
    async () => {
      const named = await sameFunctionsAndInterfaces();
      await sameNamespaces(named);
      await sameMemory(named);
    },
    { timeoutMs: 300_000, isLong: true },
  );
}

/** What `list` shows of this machine, by the kernel's names: the functions that lspci shows, and every interface. */
export async function sameFunctionsAndInterfaces(): Promise<ReadonlyMap<string, Listed>> {
  const devices = await listed();
  await sameFunctions(devices);
  const named = new Map(devices.flatMap((device) => (device.names.value ?? []).map((name) => [name, device])));
  for (const name of await interfaceNames()) assert(named.has(name), `${name} of /proc/net/dev is missing`);
  return named;
}

/** ip(8) is not in every image: its list comes from the same kernel. */
async function interfaceNames(): Promise<string[]> {
  return (await read("/proc/net/dev")).split("\n").slice(2).map((line) => line.split(":")[0]?.trim() ?? "");
}

async function sameFunctions(devices: readonly Listed[]): Promise<void> {
  const blocks = (await output("lspci", "-Dvmmnnk")).trim().split("\n\n").map((block) =>
    new Map(block.split("\n").map((line) => line.split(":\t") as [string, string]))
  );
  const own = devices.filter(({ address }) => address !== null);
  assertEquals(own.map(({ address }) => address), blocks.map((block) => block.get("Slot") ?? null));
  for (const [i, block] of blocks.entries()) {
    assertEquals(own[i]?.driver.value ?? undefined, block.get("Driver"), block.get("Slot"));
    assertEquals(own[i]?.numaNode.value?.toString(), block.get("NUMANode"), block.get("Slot"));
  }
}

async function sameNamespaces(named: ReadonlyMap<string, Listed>): Promise<void> {
  const controllers = await list("/sys/class/nvme").catch(() => []);
  const document = JSON.parse(await output("nvme", "list", "-o", "json").then((text) => text.trim() || "{}"));
  for (const { DevicePath, Firmware } of document.Devices ?? []) {
    const device = named.get(DevicePath.slice("/dev/".length));
    assert(device !== undefined, `${DevicePath} of nvme list is missing`);
    assertEquals(device.firmware.value, Firmware.trim(), DevicePath);
  }
  for (const controller of controllers) {
    const device = named.get(controller);
    const names = (device?.names.value ?? []).filter((name) => /n\d+$/.test(name));
    if (names.length === 0) continue;
    const sizes = await Promise.all(names.map((name) => read(`/sys/class/block/${name}/size`)));
    // nvme-cli asks the drive for NSZE. Where the kernel cannot use the blocks, and shows 0, list says that it does not know.
    const asked = names.map((name) =>
      (document.Devices ?? []).find((one: { DevicePath: string }) => one.DevicePath === `/dev/${name}`)?.PhysicalSize ??
        0
    );
    const total = asked.reduce((sum: number, bytes: number) => sum + bytes, 0);
    assertEquals(device?.sizeBytes.value, sizes.includes("0") ? null : String(total), controller);
  }
}

async function sameMemory(named: ReadonlyMap<string, Listed>): Promise<void> {
  for (const { memdev, ram_size = 0, pmem_size = 0, host } of await jsonOf("cxl", "list", "-M")) {
    const device = named.get(String(memdev));
    assert(device !== undefined, `${memdev} of cxl list is missing`);
    assertEquals([device.address, device.sizeBytes.value], [host, String(Number(ram_size) + Number(pmem_size))]);
  }
  for (const { chardev, size } of await jsonOf("daxctl", "list", "-D")) {
    assertEquals(named.get(String(chardev))?.sizeBytes.value, String(size), `${chardev} of daxctl list`);
  }
  for (const { dev, size } of await jsonOf("ndctl", "list", "-N")) {
    assert(named.has(String(dev)), `${dev} of ndctl list is missing`);
    assert(Number(named.get(String(dev))?.sizeBytes.value) >= Number(size), String(dev));
  }
}
