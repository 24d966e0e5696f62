/**
 * A made-up machine with persistent memory that answers writes as Linux 6.12 does in the lab machine dax.yaml: what was seen
 * there with `ndctl list -RNi` and in /sys/bus/nd.
 * @module
 */

import { errnoError } from "../../src/core/error.ts";
import { MadeUpMachine } from "./machines.ts";

const ND = "/sys/bus/nd/devices";
const REAL = "/sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0";
const DRIVERS = "/sys/bus/nd/drivers";

/** Where the double keeps the uuid in a description. */
const UUID_AT = 64;

/** region0 has no labels, and is namespace0.0 as a whole; region1 has labels and 256 MiB of free space. */
export class NamespaceMachine extends MadeUpMachine {
  #number = 0;

  constructor() {
    super();
    for (const driver of ["nd_pmem", "dax_pmem"]) {
      for (const file of ["bind", "unbind"]) this.file(`${DRIVERS}/${driver}/${file}`, "");
    }
    this.file("/sys/bus/nd/drivers_probe", "").file("/proc/swaps", "Filename\n").file("/proc/1/comm", "init\n");
    this.#region(0, "4");
    this.#region(1, "5");
    this.#namespace("namespace0.0", 256 << 20);
    this.#namespace("namespace1.0", 0);
    this.#bind("namespace0.0", "nd_pmem");
    this.onWrite = (path, text): void => this.#written(path, text.trim());
    this.shownAs = (path, text): string => {
      const shown = this.#shown.get(path);
      this.#shown.delete(path);
      return shown ?? text;
    };
  }

  /** What a file shows after the write that is being made. */
  readonly #shown = new Map<string, string>();

  #region(number: number, nstype: string): void {
    const real = `${REAL}/region${number}`;
    this.link(`${ND}/region${number}`, `../../..${real.slice(4)}`);
    const free = nstype === "5" ? 256 << 20 : 0;
    this.file(`${real}/nstype`, `${nstype}\n`).file(`${real}/size`, `${256 << 20}\n`)
      .file(`${real}/available_size`, `${free}\n`).file(`${real}/max_available_extent`, `${free}\n`)
      .file(`${real}/align`, "0x1000000\n").file(`${real}/read_only`, "0\n")
      .file(`${real}/mapping0`, `nmem${number},0,268435456,0\n`)
      .file(`${real}/namespace_seed`, `namespace${number}.0\n`);
    this.#seed("dax", number);
    this.#seed("pfn", number);
  }

  /** Offers the next device that a namespace can be given to. */
  #seed(kind: "dax" | "pfn", region: number): void {
    const name = `${kind}${region}.${this.#number++}`;
    const real = `${REAL}/region${region}/${name}`;
    this.link(`${ND}/${name}`, `../../..${real.slice(4)}`)
      .file(`${real}/namespace`, "\n").file(`${real}/mode`, "none\n").file(`${real}/uuid`, "\n")
      .file(`${real}/align`, "2097152\n").file(`${real}/supported_alignments`, "4096 2097152 1073741824\n")
      .file(`${real}/uevent`, `DEVTYPE=nd_${kind}\n`)
      .file(`${REAL}/region${region}/${kind}_seed`, `${name}\n`);
  }

  #namespace(name: string, sizeBytes: number): void {
    const region = /\d+/.exec(name)?.[0] ?? "";
    const real = `${REAL}/region${region}/${name}`;
    this.link(`${ND}/${name}`, `../../..${real.slice(4)}`)
      .file(`${real}/size`, `${sizeBytes}\n`).file(`${real}/mode`, "raw\n").file(`${real}/holder`, "\n")
      .file(`${real}/force_raw`, "0\n").file(`${real}/numa_node`, "0\n");
    if (sizeBytes === 0) this.file(`${real}/uuid`, "\n").file(`${real}/holder_class`, "\n");
  }

  /** What lies at the description of a namespace: all zeros, or one that the kernel wrote. */
  readonly media: Map<string, Uint8Array> = new Map();

  #folder(name: string): string {
    return this.realPath(`${ND}/${name}`);
  }

  #bind(name: string, driver: string): void {
    const folder = this.#folder(name);
    this.link(`${folder}/driver`, `../../../../../../../bus/nd/drivers/${driver}`);
    if (!name.startsWith("namespace")) {
      this.file(`${folder}/uevent`, `DEVTYPE=nd\nDRIVER=${driver}\n`);
      const namespace = this.readText(`${folder}/namespace`).trim();
      // The kernel writes the holder's uuid into the description.
      const description = new Uint8Array(4096).fill(0x4e);
      description.set(new TextEncoder().encode(this.readText(`${folder}/uuid`).trim().padEnd(36)), UUID_AT);
      this.media.set(namespace, description);
      this.file(`${folder}/size`, "262144000\n");
      if (name.startsWith("dax")) {
        this.file(`${folder}/dax0.0/size`, "262144000\n").file(`${folder}/dax0.0/align`, "2097152\n")
          .link("/sys/bus/dax/devices/dax0.0", `../../..${folder.slice(4)}/dax0.0`)
          .link(`${folder}/dax0.0/driver`, "../../../../../../../../../bus/dax/drivers/device_dax");
      }
      if (name.startsWith("pfn")) this.file(`${folder}/block/pmem0/dev`, "259:0\n");
      const [kind, region = ""] = [name.startsWith("dax") ? "dax" : "pfn", /\d+/.exec(name)?.[0]];
      if (this.readText(`${REAL}/region${region}/${kind}_seed`).trim() === name) {
        this.#seed(kind as "dax" | "pfn", Number(region));
      }
      return;
    }
    const disk = diskOf(name);
    this.file(`${folder}/block/${disk}/dev`, "259:0\n");
    const bytes = new Uint8Array(8192);
    bytes.set(this.media.get(name) ?? new Uint8Array(4096), 4096);
    this.file(`/dev/${disk}`, bytes);
  }

  #unbind(name: string): void {
    const folder = this.#folder(name);
    if (!this.links.has(`${folder}/driver`)) throw errnoError(19, "write", { path: name });
    this.links.delete(`${folder}/driver`);
    if (name.startsWith("namespace")) {
      const disk = diskOf(name);
      this.media.set(name, this.readBytes(`/dev/${disk}`, 4096, 4096));
      this.remove(`/dev/${disk}`);
      this.remove(`${folder}/block`);
    } else {
      this.file(`${folder}/uevent`, "DEVTYPE=nd\n");
      this.remove(`${folder}/dax0.0`);
      this.remove("/sys/bus/dax/devices/dax0.0");
      this.remove(`${folder}/block`);
    }
  }

  /** Lets the driver look at a namespace: a description makes the holder again. */
  #probe(name: string): void {
    const described = this.media.get(name)?.some((byte) => byte !== 0) === true;
    const isForced = this.readText(`${ND}/${name}/force_raw`).trim() === "1";
    if (!described || isForced) return this.#bind(name, "nd_pmem");
    const region = /\d+/.exec(name)?.[0];
    const holder = this.readText(`${REAL}/region${region}/dax_seed`).trim();
    this.#hold(holder, name);
    const uuid = new TextDecoder().decode(this.media.get(name)?.subarray(UUID_AT, UUID_AT + 36)).trim();
    this.file(`${this.#folder(holder)}/uuid`, `${uuid}\n`);
    this.#bind(holder, "dax_pmem");
  }

  #hold(holder: string, name: string): void {
    this.file(`${this.#folder(holder)}/namespace`, `${name}\n`).file(`${this.#folder(holder)}/mode`, "pmem\n");
    this.file(`${ND_REAL(this, name)}/holder`, `${holder}\n`);
    this.file(`${ND_REAL(this, name)}/mode`, holder.startsWith("dax") ? "dax\n" : "memory\n");
  }

  #written(path: string, text: string): void {
    const [, driver, action] = /^\/sys\/bus\/nd\/drivers\/(\w+)\/(bind|unbind)$/.exec(path) ?? [];
    if (action === "unbind") return this.#unbind(text);
    if (driver !== undefined) {
      const isNamespace = text.startsWith("namespace");
      return isNamespace ? this.#probe(text) : this.#bind(text, driver);
    }
    if (path === "/sys/bus/nd/drivers_probe") return this.#probe(text);
    const [, name = "", file] = /\/((?:dax|pfn|namespace)[\d.]+)\/(\w+)$/.exec(path) ?? [];
    if (this.links.has(`${ND_REAL(this, name)}/driver`) && file !== undefined) {
      throw errnoError(16, "write", { path });
    }
    if (file === "namespace" && text !== "") this.#hold(name, text);
    if (file === "namespace" && text === "") {
      const held = this.readText(path).trim();
      if (held !== "") this.file(`${ND_REAL(this, held)}/holder`, "\n").file(`${ND_REAL(this, held)}/mode`, "raw\n");
      // One that is offered stays, another is gone with what it held.
      const [kind, region] = [name.slice(0, 3), /\d+/.exec(name)?.[0]];
      if (this.readText(`${REAL}/region${region}/${kind}_seed`).trim() !== name) this.remove(`${ND}/${name}`);
    }
    if (file === "size" && text === "0") this.file(path.replace(/size$/, "uuid"), "\n");
    if (file === "size" || file === "uuid" || file === "force_raw") this.#shown.set(path, `${text}\n`);
  }
}

function diskOf(name: string): string {
  const [, region, id] = /(\d+)\.(\d+)/.exec(name) ?? [];
  return `pmem${region}${id === "0" ? "" : `.${id}`}`;
}

function ND_REAL(machine: NamespaceMachine, name: string): string {
  return machine.realPath(`${ND}/${name}`);
}
