/**
 * A made-up machine with CXL memory that answers writes as Linux 6.12 does: what was seen in the lab machine cxl.yaml,
 * and the refusals of drivers/cxl/core/region.c. For tests of what no lab machine can be made to do.
 * @module
 */

import { errnoError } from "../../src/core/error.ts";
import { MadeUpMachine } from "./machines.ts";

const BUS = "/sys/bus/cxl/devices";
const ROOT = "/sys/devices/platform/ACPI0017:00/root0";
const MEMORY = "/sys/devices/system/memory";
const DAX_DRIVERS = "/sys/bus/dax/drivers";

/** Bytes of a device of this machine. */
export const DEVICE_BYTES = 0x1000_0000n;

interface Decoder {
  readonly name: string;
  readonly folder: string;
}

/**
 * Two volatile devices, mem0 under host bridge port1 and mem1 under port2, and a persistent one, mem2, behind a switch
 * under port2. decoder0.0 is interleaved over port2 and port1; decoder0.1 reaches port2, decoder0.2 port1.
 */
export class CxlMachine extends MadeUpMachine {
  #nextRegion = 0;
  /** Milliseconds after which a driver takes a new dax device; 0: before its region's driver is bound. */
  driverDelayMs = 0;
  /** Names that the driver for programs takes, whatever their type: what was written to its new_id. */
  readonly devdaxNames: Set<string> = new Set();

  constructor() {
    super();
    this.file("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse2 clflush\n")
      .file("/proc/sys/kernel/osrelease", "6.12.0-test\n")
      .file("/proc/1/comm", "init\n")
      .file(`${MEMORY}/block_size_bytes`, "8000000\n")
      .file(`${MEMORY}/auto_online_blocks`, "online\n")
      .file("/sys/bus/cxl/drivers/cxl_region/bind", "")
      .file("/sys/bus/cxl/drivers/cxl_region/unbind", "");
    for (const driver of ["device_dax", "kmem"]) {
      for (const file of ["bind", "unbind", "new_id", "remove_id"]) this.file(`${DAX_DRIVERS}/${driver}/${file}`, "");
    }
    this.#port("root0", ROOT, "ACPI0017:00");
    this.link(`${ROOT}/dport32`, "../../pci0000:20").link(`${ROOT}/dport96`, "../../pci0000:60");
    this.#port("port1", `${ROOT}/port1`, "pci0000:60");
    this.#port("port2", `${ROOT}/port2`, "pci0000:20");
    this.#port("port5", `${ROOT}/port2/port5`, "0000:22:00.0");
    this.#window("decoder0.0", "32,96", 2, 1024, 0x1_9000_0000n);
    this.#window("decoder0.1", "32", 1, 256, 0x2_9000_0000n);
    this.#window("decoder0.2", "96", 1, 256, 0x3_9000_0000n);
    this.#decoder("decoder1.0", `${ROOT}/port1`);
    for (const [port, number] of [[`${ROOT}/port2`, 2], [`${ROOT}/port2/port5`, 5]] as const) {
      for (let n = 0; n < 2; n++) this.#decoder(`decoder${number}.${n}`, port);
    }
    this.#memdev("mem0", "0000:61:00.0", `${ROOT}/port1/endpoint3`, 2, "ram");
    this.#memdev("mem1", "0000:21:00.0", `${ROOT}/port2/endpoint4`, 1, "ram");
    this.#memdev("mem2", "0000:24:00.0", `${ROOT}/port2/port5/endpoint6`, 3, "pmem");
    this.onWrite = (path, text): void => {
      // Linux, drivers/cxl/core/region.c, uuid_store: a uuid and the end of its line.
      if (path.endsWith("/uuid") && text.length !== 37) throw errnoError(22, "write", { path });
      this.#written(path, text.trim());
    };
    this.shownAs = (path, text): string =>
      path.endsWith("/dpa_size") ? `0x${BigInt(text).toString(16).padStart(16, "0")}\n` : this.#shown(path, text);
  }

  #port(name: string, folder: string, device: string): void {
    this.link(`${BUS}/${name}`, folder).link(`${folder}/uport`, `../../../${device}`);
    this.file(`${folder}/decoders_committed`, "0\n");
  }

  #window(name: string, targets: string, ways: number, granularity: number, start: bigint): void {
    const folder = `${ROOT}/${name}`;
    this.link(`${BUS}/${name}`, folder);
    const files = {
      target_list: targets,
      interleave_ways: String(ways),
      interleave_granularity: String(granularity),
      start: `0x${start.toString(16)}`,
      size: "0x100000000",
      cap_ram: "1",
      cap_pmem: "1",
      create_ram_region: "region0",
      create_pmem_region: "region0",
      delete_region: "",
    };
    for (const [file, text] of Object.entries(files)) this.file(`${folder}/${file}`, `${text}\n`);
  }

  #decoder(name: string, port: string): void {
    const folder = `${port}/${name}`;
    this.link(`${BUS}/${name}`, folder).file(`${folder}/region`, "\n").file(`${folder}/locked`, "0\n");
  }

  #memdev(name: string, pci: string, endpoint: string, serial: number, type: "ram" | "pmem"): void {
    const folder = `/sys/devices/pci0000:00/${pci}/${name}`;
    const size = (one: string): string => one === type ? `0x${DEVICE_BYTES.toString(16)}\n` : "0x0\n";
    this.link(`${BUS}/${name}`, folder).file(`${folder}/serial`, `0x${serial}\n`).file(`${folder}/numa_node`, "-1\n")
      .file(`${folder}/ram/size`, size("ram")).file(`${folder}/pmem/size`, size("pmem"))
      .file(`${folder}/firmware_version`, "BWFW VERSION 00\n");
    this.#port(endpoint.slice(endpoint.lastIndexOf("/") + 1), endpoint, name);
    const number = /\d+$/.exec(endpoint)?.[0];
    for (let n = 0; n < 2; n++) {
      this.#decoder(`decoder${number}.${n}`, endpoint);
      this.file(`${endpoint}/decoder${number}.${n}/mode`, "none\n")
        .file(`${endpoint}/decoder${number}.${n}/dpa_size`, "0x0000000000000000\n");
    }
  }

  /** Everything that a region leaves in sysfs: what is there when none is. */
  get traces(): string[] {
    const regions = this.list(BUS).filter((name) => name.startsWith("region"));
    const reserved = [...this.files].filter(([path, bytes]) =>
      path.endsWith("/dpa_size") && BigInt(new TextDecoder().decode(bytes).trim()) !== 0n
    );
    const dax = [...this.links.keys()].filter((path) => path.includes("/dax"));
    return [...regions, ...reserved.map(([path]) => path), ...dax];
  }

  #shown(path: string, text: string): string {
    if (path.endsWith("/state")) return `${text.startsWith("online") ? "online" : text}\n`;
    return /\/create_\w+_region$/.test(path) ? `region${this.#nextRegion}\n` : text;
  }

  #written(path: string, text: string): void {
    const folder = path.slice(0, path.lastIndexOf("/"));
    const file = path.slice(folder.length + 1);
    const refuse = (errno: number): never => {
      throw errnoError(errno, "write", { path });
    };
    if (/^create_\w+_region$/.test(file)) {
      if (text !== `region${this.#nextRegion}`) refuse(16);
      this.#createRegion(folder, text, file.includes("pmem") ? "pmem" : "ram");
    } else if (file === "delete_region") {
      this.remove(`${folder}/${text}`);
      this.links.delete(`${BUS}/${text}`);
    } else if (file === "interleave_ways") {
      for (let k = 0; k < Number(text); k++) this.file(`${folder}/target${k}`, "\n");
    } else if (/^target\d+$/.test(file)) {
      const old = this.readText(path).trim();
      if (text !== "" && old !== "") refuse(16);
      const decoder = this.#decoderNamed(text === "" ? old : text);
      if (text !== "" && BigInt(this.readText(`${decoder.folder}/dpa_size`)) === 0n) refuse(6);
      this.file(`${decoder.folder}/region`, text === "" ? "\n" : `${folder.slice(folder.lastIndexOf("/") + 1)}\n`);
    } else if (file === "dpa_size") {
      if (this.readText(`${folder}/region`).trim() !== "") refuse(16);
    } else if (file === "commit") {
      const targets = this.list(folder).filter((name) => /^target\d+$/.test(name));
      if (text === "1" && targets.some((name) => this.readText(`${folder}/${name}`).trim() === "")) refuse(6);
    } else if (path.startsWith("/sys/bus/cxl/drivers/cxl_region/")) {
      const region = this.realPath(`${BUS}/${text}`);
      if (file === "bind") {
        if (this.readText(`${region}/commit`).trim() !== "1") refuse(6);
        this.link(`${region}/driver`, "/sys/bus/cxl/drivers/cxl_region");
        if (this.readText(`${region}/mode`) === "ram") this.#makeDax(region, text);
      } else {
        this.links.delete(`${region}/driver`);
        const dax = `dax${text.slice(6)}.0`;
        this.remove(`${region}/dax_${text}`);
        this.links.delete(`/sys/bus/dax/devices/${dax}`);
        for (const driver of ["kmem", "device_dax"]) this.links.delete(`${DAX_DRIVERS}/${driver}/${dax}`);
        this.#removeBlocks();
      }
    } else if (path.startsWith(DAX_DRIVERS)) {
      this.#daxDriver(path.split("/").at(-2) ?? "", file, text);
    } else if (file === "state") {
      this.file(`${folder}/valid_zones`, text === "online_movable" ? "Movable\n" : "Normal\n");
    }
  }

  #createRegion(window: string, name: string, type: string): void {
    this.#nextRegion++;
    for (const file of this.files.keys()) {
      if (/\/create_\w+_region$/.test(file)) this.file(file, `region${this.#nextRegion}\n`);
    }
    const folder = `${window}/${name}`;
    this.link(`${BUS}/${name}`, folder);
    const start = this.readText(`${window}/start`);
    const files = {
      mode: type,
      interleave_granularity: "0",
      interleave_ways: "0",
      size: "0x0",
      resource: start,
      commit: "0",
      uuid: "",
    };
    for (const [file, text] of Object.entries(files)) this.file(`${folder}/${file}`, `${text}\n`);
  }

  #decoderNamed(name: string): Decoder {
    return { name, folder: this.realPath(`${BUS}/${name}`) };
  }

  #makeDax(region: string, name: string): void {
    const dax = `dax${name.slice(6)}.0`;
    const folder = `${region}/dax_${name}/${dax}`;
    const size = BigInt(this.readText(`${region}/size`));
    this.link(`/sys/bus/dax/devices/${dax}`, folder).file(`${folder}/size`, `${size}\n`)
      .file(`${folder}/align`, "2097152\n").file(`${folder}/target_node`, "2\n").file(`${folder}/numa_node`, "-1\n")
      .file(`${folder}/resource`, this.readText(`${region}/resource`));
    const take = (): void => this.#daxDriver(this.devdaxNames.has(dax) ? "device_dax" : "kmem", "bind", dax);
    if (this.driverDelayMs === 0) take();
    else setTimeout(take, this.driverDelayMs);
  }

  #daxDriver(driver: string, file: string, name: string): void {
    const folder = this.realPath(`/sys/bus/dax/devices/${name}`);
    const bound = this.links.get(`${folder}/driver`)?.split("/").at(-1);
    if (driver === "device_dax" && file === "new_id") this.devdaxNames.add(name);
    if (driver === "device_dax" && file === "remove_id") this.devdaxNames.delete(name);
    if (file === "unbind" && bound === driver) {
      this.links.delete(`${folder}/driver`);
      if (driver === "kmem") this.#removeBlocks();
    } else if ((file === "new_id" || file === "bind") && bound === undefined) {
      this.link(`${folder}/driver`, `${DAX_DRIVERS}/${driver}`);
      if (driver === "kmem") {
        this.#addBlocks(BigInt(this.readText(`${folder}/resource`)), this.readText(`${folder}/size`));
      }
    }
  }

  #addBlocks(start: bigint, size: string): void {
    const policy = this.readText(`${MEMORY}/auto_online_blocks`).trim();
    for (let at = start; at < start + BigInt(size); at += 0x800_0000n) {
      const folder = `${MEMORY}/memory${at / 0x800_0000n}`;
      this.file(`${folder}/state`, policy === "offline" ? "offline\n" : "online\n")
        .file(`${folder}/valid_zones`, policy === "offline" ? "Normal Movable\n" : "Normal\n")
        .link(`${folder}/node2`, "../../node/node2");
    }
  }

  #removeBlocks(): void {
    const busy = [...this.files].some(([path, bytes]) =>
      /\/memory\d+\/state$/.test(path) && new TextDecoder().decode(bytes).trim() === "online"
    );
    // kmem keeps memory that is still online until the next boot.
    if (busy) return;
    for (const path of [...this.files.keys()]) if (/\/memory\d+\//.test(path)) this.files.delete(path);
    for (const path of [...this.links.keys()]) if (/\/memory\d+\//.test(path)) this.links.delete(path);
  }
}
