/**
 * What a machine description says in two places must fit together: names, buses, nodes, sizes.
 * @module
 */

import { formatBytes } from "../core/units.ts";
import { nearest } from "../core/locator.ts";
import {
  type Bus,
  canHotplug,
  CURRENT_KERNEL,
  type CxlType3,
  type Device,
  type Machine,
  type NvmeController,
} from "./description.ts";

/** The root complex that every machine has. */
const ROOT = "pcie.0";

/** What can be plugged into what: for each kind of bus, the types that may sit on it. */
type Place = "root" | "pcie-root" | "cxl-root" | "port" | "cxl-port" | "conventional";

const PLACE_OF: Readonly<Record<Bus["type"], Place>> = {
  "pxb-pcie": "pcie-root",
  "pxb-cxl": "cxl-root",
  "pcie-root-port": "port",
  "cxl-rp": "cxl-port",
  "switch": "port",
  "cxl-switch": "cxl-port",
  "pcie-pci-bridge": "conventional",
  "pci-bridge": "conventional",
};

const PLACE_TEXT: Readonly<Record<Place, string>> = {
  root: "pcie.0",
  "pcie-root": "a pxb-pcie",
  "cxl-root": "a pxb-cxl",
  port: "a pcie-root-port or a port of a switch",
  "cxl-port": "a cxl-rp or a port of a cxl-switch",
  conventional: "a pcie-pci-bridge or pci-bridge",
};

/** Where each kind of bus may sit. Devices: {@linkcode placesOf}. */
const BUS_PLACES: Readonly<Record<Bus["type"], readonly Place[]>> = {
  "pxb-pcie": ["root"],
  "pxb-cxl": ["root"],
  "pcie-root-port": ["root", "pcie-root"],
  "cxl-rp": ["cxl-root"],
  "switch": ["port"],
  "cxl-switch": ["cxl-port"],
  "pcie-pci-bridge": ["root", "pcie-root", "port"],
  "pci-bridge": ["conventional"],
};

interface Slot {
  readonly place: Place;
  /** A port takes one device only. */
  occupant: string | null;
}

/** The mistakes of a description whose every value is right by itself, one line each. */
export function crossCheck(machine: Machine): string[] {
  const mistakes: string[] = [];
  const report = (where: string, text: string): number => mistakes.push(`${where}: ${text}`);
  checkBoot(machine, report);
  if (machine.gpu?.by === "file" && machine.gpu.size === undefined) {
    report("gpu", "by: file needs the size of the file; write the one that cxl_gpu serve has, such as size: 64MiB");
  }
  checkNodes(machine, report);
  checkPlaces(machine, report);
  machine.devices.forEach((device, index) => checkDevice(machine, device, `devices[${index}]`, report));
  checkSubsystems(machine, report);
  checkWindows(machine, report);
  return mistakes;
}

type Report = (where: string, text: string) => void;

function checkBoot(machine: Machine, report: Report): void {
  if (machine["keep-disk"] === true && machine.disk === undefined) {
    report("keep-disk", "true is not allowed without a disk of your own");
  }
  if (machine.kernel === CURRENT_KERNEL && machine.disk !== undefined) {
    report("kernel", "'current' is not allowed with a disk of your own; name the file of its kernel");
  }
  if (machine.initrd !== undefined && machine.kernel === undefined) {
    report("initrd", `'${machine.initrd}' is not allowed without a kernel; write its kernel too`);
  }
}

function checkNodes({ nodes, cpus, memory, distances, buses, devices }: Machine, report: Report): void {
  const wantNode = (where: string, node: number | undefined): void => {
    if (node === undefined || node < nodes.length) return;
    report(
      where,
      `${node} is not allowed; ${
        nodes.length === 0 ? "list the machine's nodes first" : `the nodes are 0 to ${nodes.length - 1}`
      }`,
    );
  };
  buses.forEach((bus, i) => "node" in bus && wantNode(`buses[${i}].node`, bus.node));
  devices.forEach((device, i) => "node" in device && wantNode(`devices[${i}].node`, device.node));
  distances.forEach((distance, i) => {
    wantNode(`distances[${i}].from`, distance.from);
    wantNode(`distances[${i}].to`, distance.to);
  });
  if (nodes.length === 0) return;
  const sum = nodes.reduce((total, node) => total + node.memory, 0n);
  if (sum !== memory) {
    report(
      "nodes",
      `their memory is ${formatBytes(sum)} together; write parts that add up to memory: ${formatBytes(memory)}`,
    );
  }
  const owners = new Map<number, number>();
  nodes.forEach((node, i) =>
    node.cpus.forEach((cpu) => {
      const where = `nodes[${i}].cpus`;
      if (cpu >= cpus) report(where, `${cpu} is not allowed; the processors are 0 to ${cpus - 1}`);
      else if (owners.has(cpu)) report(where, `${cpu} is already in node ${owners.get(cpu)}`);
      owners.set(cpu, i);
    })
  );
  const missing = Array.from({ length: cpus }, (_, cpu) => cpu).filter((cpu) => !owners.has(cpu));
  if (missing.length > 0) report("nodes", `processor ${missing.join(", ")} is in no node; list it under cpus of one`);
}

function checkPlaces(machine: Machine, report: Report): void {
  const slots = new Map<string, Slot>([[ROOT, { place: "root", occupant: null }]]);
  const names = new Map<string, string>([[ROOT, "the root complex"]]);
  const claim = (name: string, where: string): void => {
    const owner = names.get(name);
    if (owner !== undefined) report(where, `'${name}' is already the id of ${owner}; write a different one`);
    else if (name.startsWith("lab-")) {
      report(where, `'${name}' is not allowed; names that begin with lab- belong to the lab`);
    }
    names.set(name, where.replace(/\.id$/, ""));
  };
  const numbers = new Map<number, string>();
  machine.buses.forEach((bus, i) => {
    const later = machine.buses.slice(i).some((other) => namesOf(other).includes(bus.bus ?? ROOT));
    if (later) report(`buses[${i}].bus`, `'${bus.bus}' comes later; list a bus after the one it sits on`);
    else checkPlace(bus.type, bus.id, bus.bus, BUS_PLACES[bus.type], `buses[${i}].bus`, slots, report);
    claim(bus.id, `buses[${i}].id`);
    if ("ports" in bus) bus.ports.forEach((port, n) => claim(port, `buses[${i}].ports[${n}]`));
    for (const name of namesOf(bus)) slots.set(name, { place: PLACE_OF[bus.type], occupant: null });
    if (!("bus_nr" in bus)) return;
    const other = numbers.get(bus.bus_nr);
    if (other !== undefined) report(`buses[${i}].bus_nr`, `${bus.bus_nr} is already the number of ${other}`);
    numbers.set(bus.bus_nr, bus.id);
  });
  machine.devices.forEach((device, i) => {
    claim(device.id, `devices[${i}].id`);
    if (device.type === "nvdimm") return;
    const where = `devices[${i}].bus`;
    if (canHotplug(device) && device.hotplug) {
      if (device.bus === undefined) return; // It gets a root port of its own.
      const slot = slots.get(device.bus);
      if (slot !== undefined && slot.place !== "port") {
        report(where, `'${device.bus}' cannot unplug; with hotplug: true leave bus out, or name ${PLACE_TEXT.port}`);
        return;
      }
    }
    checkPlace(device.type, device.id, device.bus, placesOf(device), where, slots, report);
  });
}

/** The names that devices can sit on: a switch is known by its ports. */
function namesOf(bus: Bus): readonly string[] {
  return "ports" in bus ? bus.ports : [bus.id];
}

function placesOf(device: Device): readonly Place[] {
  return device.type === "cxl-type3" ? ["cxl-port"] : ["root", "pcie-root", "port", "conventional"];
}

function checkPlace(
  type: string,
  id: string,
  bus: string | undefined,
  allowed: readonly Place[],
  where: string,
  slots: ReadonlyMap<string, Slot>,
  report: Report,
): void {
  const name = bus ?? ROOT;
  const allowedText = allowed.map((place) => PLACE_TEXT[place]).join(", ");
  const slot = slots.get(name);
  if (slot === undefined) {
    const near = nearest(name, [...slots.keys()]);
    report(where, `'${name}' is no bus; ${near === null ? `write ${allowedText}` : `did you mean '${near}'?`}`);
  } else if (!allowed.includes(slot.place)) {
    report(where, `${bus === undefined ? "missing" : `'${name}' is not allowed`}; a ${type} sits on ${allowedText}`);
  } else if (slot.place === "port" || slot.place === "cxl-port") {
    if (slot.occupant !== null) report(where, `'${name}' is taken by ${slot.occupant}; a port takes one device`);
    slot.occupant = id;
  }
}

function checkDevice(machine: Machine, device: Device, where: string, report: Report): void {
  if (device.type === "nvme") checkNvme(device, where, report);
  if (device.type === "cxl-type3") checkCxl(device, where, report);
  if (device.type === "qemu" && device.device === undefined) {
    report(`${where}.device`, "missing; write the name of a QEMU device");
  }
  if (device.type !== "qemu" && "device" in device && device.device !== undefined) {
    report(`${where}.device`, `'${device.device}' is not allowed; it belongs to type: qemu`);
  }
  if (device.type !== "pci-testdev" && "membar" in device && device.membar !== undefined) {
    report(`${where}.membar`, `'${formatBytes(device.membar)}' is not allowed; it belongs to type: pci-testdev`);
  }
  if (
    canHotplug(device) && device.hotplug && device.addr !== undefined &&
    machine.buses.every((bus) => bus.id !== device.bus)
  ) {
    report(`${where}.addr`, `'${device.addr}' is not allowed; a port of its own has one slot`);
  }
}

function checkNvme(nvme: NvmeController, where: string, report: Report): void {
  if (nvme.pmr !== undefined && nvme["msix-exclusive-bar"]) {
    report(`${where}.pmr`, `'${formatBytes(nvme.pmr)}' is not allowed; msix-exclusive-bar takes BAR 4, which it needs`);
  }
  const ids = new Set<number>();
  nvme.namespaces.forEach((namespace, i) => {
    const at = `${where}.namespaces[${i}]`;
    if (ids.has(namespace.nsid)) report(`${at}.nsid`, `${namespace.nsid} is used twice; write a different one`);
    ids.add(namespace.nsid);
    const block = BigInt(namespace.logical_block_size ?? 512);
    if (namespace.size % block !== 0n) {
      report(
        `${at}.size`,
        `'${formatBytes(namespace.size)}' is not allowed; write a multiple of the block size, ${block}`,
      );
    }
    if ((namespace.pi ?? 0) > 0 && (namespace.ms ?? 0) < 8) {
      report(`${at}.pi`, `${namespace.pi} is not allowed; protection information needs ms: 8 or more`);
    }
    for (const key of ["shared", "detached"] as const) {
      if (namespace[key] && nvme.subsystem === undefined) {
        report(`${at}.${key}`, "true is not allowed; name the controller's subsystem first");
      }
    }
    const zoned = namespace.zoned;
    if (zoned === undefined) return;
    if (zoned.zone_size > namespace.size || zoned.zone_size % block !== 0n) {
      report(
        `${at}.zoned.zone_size`,
        `'${formatBytes(zoned.zone_size)}' is not allowed; write whole blocks, at most the size`,
      );
    }
    if ((zoned.zone_capacity ?? 0n) > zoned.zone_size) {
      report(
        `${at}.zoned.zone_capacity`,
        `'${formatBytes(zoned.zone_capacity ?? 0n)}' is not allowed; write at most zone_size`,
      );
    }
    if ((zoned.max_active ?? 0) > 0 && (zoned.max_open ?? 0) > (zoned.max_active ?? 0)) {
      report(`${at}.zoned.max_open`, `${zoned.max_open} is not allowed; write at most max_active`);
    }
  });
}

function checkCxl(device: CxlType3, where: string, report: Report): void {
  if (device.volatile === undefined && device.persistent === undefined) {
    report(where, "a cxl-type3 without memory; write volatile, persistent or both");
  }
  if (device.lsa !== undefined && device.persistent === undefined) {
    report(`${where}.lsa`, `'${formatBytes(device.lsa)}' is not allowed; only persistent memory has labels`);
  }
}

/** Namespace ids are unique in a subsystem. */
function checkSubsystems(machine: Machine, report: Report): void {
  const seen = new Map<string, string>();
  machine.devices.forEach((device, i) => {
    if (device.type !== "nvme" || device.subsystem === undefined) return;
    const { subsystem } = device;
    device.namespaces.forEach((namespace, n) => {
      const key = `${subsystem} ${namespace.nsid}`;
      const owner = seen.get(key);
      if (owner !== undefined && owner !== device.id) {
        report(
          `devices[${i}].namespaces[${n}].nsid`,
          `${namespace.nsid} is already a namespace of ${owner} in subsystem '${subsystem}'`,
        );
      }
      seen.set(key, device.id);
    });
  });
}

function checkWindows(machine: Machine, report: Report): void {
  const roots = machine.buses.filter((bus) => bus.type === "pxb-cxl").map((bus) => bus.id);
  machine.windows.forEach((window, i) => {
    window.targets.forEach((target, n) => {
      const where = `windows[${i}].targets[${n}]`;
      if (!roots.includes(target)) {
        report(
          where,
          `'${target}' is no pxb-cxl bus; ${roots.length === 0 ? "list one under buses" : `write ${roots.join(", ")}`}`,
        );
      }
      if (window.targets.indexOf(target) !== n) report(where, `'${target}' is listed twice`);
    });
    if (![1, 2, 3, 4, 6, 8, 12, 16].includes(window.targets.length)) {
      report(
        `windows[${i}].targets`,
        `${window.targets.length} targets are not allowed; write 1, 2, 3, 4, 6, 8, 12 or 16`,
      );
    }
    const reached = machine.devices
      .filter((device) =>
        device.type === "cxl-type3" && window.targets.includes(hostBridgeOf(machine, device.bus) ?? "")
      )
      .reduce(
        (sum, device) => device.type === "cxl-type3" ? sum + (device.volatile ?? 0n) + (device.persistent ?? 0n) : sum,
        0n,
      );
    if (window.size < reached) {
      report(
        `windows[${i}].size`,
        `'${formatBytes(window.size)}' is not allowed; write at least ${
          formatBytes(reached)
        }, the memory behind its targets`,
      );
    }
  });
}

/** The `pxb-cxl` above a bus, or null when there is none. */
function hostBridgeOf(machine: Machine, name: string | undefined): string | null {
  // A chain is no longer than the list of buses, so a circle ends too.
  for (let step = 0, at = name; at !== undefined && step <= machine.buses.length; step++) {
    const here = at;
    const bus = machine.buses.find((bus) => namesOf(bus).includes(here));
    if (bus?.type === "pxb-cxl") return bus.id;
    at = bus?.bus;
  }
  return null;
}
