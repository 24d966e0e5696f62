/**
 * How long `list` takes to read a machine with 300 functions: from files in a folder laid out as sysfs is, and from
 * memory. The limit of the design is 200 ms; `deno bench` prints the time of one whole look.
 */

import { answerEach, type Host, thisMachine } from "../src/core/host.ts";
import type { HostAnswer, HostRequest } from "../src/core/host_requests.ts";
import { parsePciNames } from "../src/pci/ids.ts";
import { readInventory } from "../src/pci/inventory.ts";
import { parseMachine } from "../src/pci/machine_file.ts";
import { type FunctionSpec, pciMachineText } from "../tests/unit/pci_machine.ts";
import { inventoryLines } from "../tools/render/pci/inventory.ts";

const FUNCTIONS = 300;

/** Root ports, each with one drive below it. */
function functions(): FunctionSpec[] {
  return Array.from({ length: FUNCTIONS / 2 }, (_, i): FunctionSpec[] => {
    const hex = (value: number): string => value.toString(16).padStart(2, "0");
    const bus = i + 1;
    return [
      { at: `00:${hex(i >>> 3)}.${i & 7}`, id: "8086:347a", kind: "root-port", buses: [bus, bus], link: [4, 4, 4, 4] },
      { at: `${hex(bus)}:00.0`, id: "144d:a80a", class: "010802", link: [4, 4, 4, 4], driver: "nvme", group: i },
    ];
  }).flat();
}

/** A machine whose files lie below a folder. */
class RootedHost implements Host {
  readonly name = "folder";
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  readText = (path: string): string => thisMachine.readText(this.#root + path);
  readBytes = (path: string, offset: number, sizeBytes: number): Uint8Array =>
    thisMachine.readBytes(this.#root + path, offset, sizeBytes);
  list = (path: string): string[] => thisMachine.list(this.#root + path);
  readLink = (path: string): string => thisMachine.readLink(this.#root + path);
  realPath = (path: string): string => thisMachine.realPath(this.#root + path).slice(this.#root.length);
  sizeBytes = (path: string): number => thisMachine.sizeBytes(this.#root + path);
  batch = (requests: readonly HostRequest[]): HostAnswer[] => answerEach(this, requests);
  writeText = thisMachine.writeText;
  writeBytes = thisMachine.writeBytes;
  writeTextSlowly = thisMachine.writeTextSlowly;
  makeFolder = thisMachine.makeFolder;
  removeFolder = thisMachine.removeFolder;
}

const { host } = parseMachine(pciMachineText({ functions: functions() }), "made-up.txt");
const folder = Deno.realPathSync(Deno.makeTempDirSync());
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
Deno.mkdirSync(`${folder}/sys/bus/pci/devices`, { recursive: true });
for (const name of host.list("/sys/bus/pci/devices")) {
  const real = host.realPath(`/sys/bus/pci/devices/${name}`);
  Deno.mkdirSync(`${folder}${real}`, { recursive: true });
  for (const file of ["config", "resource", "numa_node", "power_state"]) {
    Deno.writeFileSync(`${folder}${real}/${file}`, host.readBytes(`${real}/${file}`, 0, 4096).slice());
  }
  Deno.symlinkSync(`${folder}${real}`, `${folder}/sys/bus/pci/devices/${name}`);
}

const rooted = new RootedHost(folder);
const names = parsePciNames("", null);

Deno.bench({ name: `${FUNCTIONS} functions from files`, group: "list", baseline: true }, () => {
  if (inventoryLines(readInventory(rooted).devices, names, null).length !== FUNCTIONS + 1) throw new Error("too few");
});

Deno.bench({ name: `${FUNCTIONS} functions from memory`, group: "list" }, () => {
  if (inventoryLines(readInventory(host).devices, names, null).length !== FUNCTIONS + 1) throw new Error("too few");
});
