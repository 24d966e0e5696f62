/**
 * Made-up machines for tests: files and links of sysfs, held in memory, that can be changed and written to.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { type Host, ifPresent } from "../../src/core/host.ts";
import type { HostAnswer, HostRequest } from "../../src/core/host_requests.ts";
import { RecordedHost } from "../../src/core/recorded_host.ts";

/** A machine whose files can be written. What a write does beyond storing the text is up to `onWrite`. */
export class MadeUpMachine implements Host {
  readonly name = "made-up machine";
  readonly files: Map<string, Uint8Array> = new Map();
  readonly links: Map<string, string> = new Map();
  /** Every write, as `path=text` or `path@offset=hex`. */
  readonly writes: string[] = [];
  /** Called before a write is stored; may throw or change other files. */
  onWrite: (path: string, text: string) => void = () => {};
  /** Called after a folder was made: the kernel puts files into those of cgroups. */
  onFolder: (path: string) => void = () => {};
  /** What a file shows after a text was written to it. */
  shownAs: (path: string, text: string) => string = (_path, text) => text;

  /** A file with text in it. */
  file(path: string, text: string | Uint8Array): this {
    this.files.set(path, typeof text === "string" ? new TextEncoder().encode(text) : text);
    return this;
  }

  /** A symbolic link. */
  link(path: string, target: string): this {
    this.links.set(path, target);
    return this;
  }

  /** Takes a folder and all below it away. */
  remove(folder: string): void {
    for (const map of [this.files, this.links]) {
      for (const path of [...map.keys()]) if (path === folder || path.startsWith(`${folder}/`)) map.delete(path);
    }
  }

  #host(): RecordedHost {
    return new RecordedHost(this.name, { files: this.files, links: this.links });
  }

  readText(path: string): string {
    return this.#host().readText(path);
  }

  readBytes(path: string, offset: number, sizeBytes: number): Uint8Array {
    return this.#host().readBytes(path, offset, sizeBytes);
  }

  list(path: string): string[] {
    return this.#host().list(path);
  }

  readLink(path: string): string {
    return this.#host().readLink(path);
  }

  realPath(path: string): string {
    return this.#host().realPath(path);
  }

  sizeBytes(path: string): number {
    return this.#host().sizeBytes(path);
  }

  batch(requests: readonly HostRequest[]): HostAnswer[] {
    return this.#host().batch(requests);
  }

  writeText(path: string, text: string): void {
    const real = this.realPath(path);
    this.onWrite(real, text);
    this.writes.push(`${path}=${text}`);
    this.file(real, this.shownAs(real, text));
  }

  writeBytes(path: string, offset: number, bytes: Uint8Array): void {
    const real = this.realPath(path);
    const old = this.files.get(real);
    if (old === undefined) throw new BusbarError("absent", `${path}: not a file`);
    this.onWrite(real, bytes.toHex());
    this.writes.push(`${path}@${offset}=${bytes.toHex()}`);
    const now = old.slice();
    now.set(bytes, offset);
    this.files.set(real, now);
  }

  // deno-lint-ignore require-await
  async writeTextSlowly(path: string, text: string): Promise<void> {
    this.writeText(path, text);
  }

  makeFolder(path: string): void {
    if (ifPresent(() => this.realPath(path)) !== null) throw new BusbarError("busy", `${path}: exists`, { path });
    const parent = path.slice(0, path.lastIndexOf("/"));
    if (ifPresent(() => this.realPath(parent)) === null) {
      throw new BusbarError("absent", `${path}: no parent`, { path });
    }
    this.onWrite(path, "");
    this.writes.push(`mkdir ${path}`);
    this.file(`${path}/.folder`, "");
    this.onFolder(path);
  }

  removeFolder(path: string): void {
    this.realPath(path);
    this.writes.push(`rmdir ${path}`);
    this.remove(path);
  }
}

/** A 4096-byte configuration space with a type 0 header of an NVMe controller, memory decoding and bus master on. */
export function nvmeConfig(): Uint8Array<ArrayBuffer> {
  const config = new Uint8Array(4096);
  config.set(Uint8Array.fromHex("361b1000" + "06001000" + "02020801" + "00000000" + "040000fe00000000"));
  config[0x34] = 0x40;
  // PM in D0, then PCIe: endpoint, 8 GT/s x4 of 16 GT/s x4.
  config.set(Uint8Array.fromHex("0150030000000000"), 0x40);
  config.set(Uint8Array.fromHex("10000200" + "00000010" + "10280000" + "44000000" + "00004310"), 0x50);
  config[0x50 + 0x2c] = 0x1e;
  return config;
}

/** The folder of the function that {@linkcode nvmeMachine} has. */
export const NVME_FOLDER = "/sys/devices/pci0000:00/0000:00:03.0/0000:01:00.0";

/** A machine with one NVMe controller, 0000:01:00.0, behind the root port 0000:00:03.0. */
export function nvmeMachine(): MadeUpMachine {
  const machine = new MadeUpMachine();
  const bridge = new Uint8Array(4096);
  bridge.set(Uint8Array.fromHex("361b0c00" + "07001000" + "00000406" + "00000100"));
  bridge.set([0, 1, 1, 0], 0x18);
  machine
    .link("/sys/bus/pci/devices/0000:00:03.0", "../../../devices/pci0000:00/0000:00:03.0")
    .link("/sys/bus/pci/devices/0000:01:00.0", "../../../devices/pci0000:00/0000:00:03.0/0000:01:00.0")
    .file("/sys/devices/pci0000:00/0000:00:03.0/config", bridge)
    .file("/sys/devices/pci0000:00/0000:00:03.0/resource", "0x0 0x0 0x0\n")
    .file("/sys/devices/pci0000:00/0000:00:03.0/enable", "2\n")
    .file(`${NVME_FOLDER}/config`, nvmeConfig())
    .file(
      `${NVME_FOLDER}/resource`,
      "0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n" +
        "0x0000000000000000 0x0000000000000000 0x0000000000000000\n".repeat(12),
    )
    .file(`${NVME_FOLDER}/numa_node`, "-1\n")
    .file(`${NVME_FOLDER}/power_state`, "D0\n")
    .file(`${NVME_FOLDER}/enable`, "1\n")
    .link(`${NVME_FOLDER}/driver`, "../../../../bus/pci/drivers/nvme")
    .link(`${NVME_FOLDER}/iommu_group`, "../../../../kernel/iommu_groups/7")
    .file("/sys/kernel/iommu_groups/7/type", "DMA-FQ\n")
    .file("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
    .file("/proc/sys/kernel/osrelease", "6.12.0-test\n");
  return machine;
}
