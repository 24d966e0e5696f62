/**
 * Functions held without an IOMMU: by their `resourceN` files, with memory in huge pages whose physical addresses the
 * device uses. Nothing keeps such a device from writing anywhere, so this is done only when it was asked for.
 *
 * The memory is a named file on hugetlbfs. It is removed by the guardian program alone, and only after the controller was
 * disabled and its bus mastering turned off; so a process that is killed leaves no device writing into memory that has
 * become somebody else's.
 *
 * Sources: Linux Documentation/admin-guide/mm/hugetlbpage.rst, pagemap.rst.
 * @module
 */

import { Deadline } from "../core/deadline.ts";
import type { DmaBuffer, DmaMapping } from "../core/dma.ts";
import { BusbarError, isBusbarError, systemError } from "../core/error.ts";
import { factOf, type Host, ifPresent } from "../core/host.ts";
import { UndoJournal } from "../core/undo/journal.ts";
import { formatBytes } from "../core/units.ts";
import { findProgram, NVME_GUARDIAN } from "../../ffi/build.ts";
import { Descriptor } from "../../ffi/fd.ts";
import { Mapping, pageSizeBytes } from "../../ffi/memory.ts";
import { MappedMmio } from "../../ffi/mmio.ts";
import {
  configUint,
  EXTENDED_CONFIG_BYTES,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from "./config_space.ts";
import { enableMemory } from "./enable.ts";
import { CLASS_NVME, type PciFunction, readPciFunction } from "./function.ts";
import type { ClaimedPciDevice, PciInterrupts } from "./claimed_device.ts";
import { explainMapError, usableBar } from "./accessibility.ts";

/** How much memory a device gets by default: queues, and data in flight. */
const DEFAULT_POOL_BYTES = 64 * 2 ** 20;
const GUARDIAN_START_MS = 5_000;
const GUARDIAN_LIMIT_MS = 30_000;

/** A hugetlbfs mount with its page size. */
interface HugePages {
  readonly folder: string;
  readonly pageBytes: number;
}

/**
 * Holds a function that no driver has, without an IOMMU.
 *
 * @param poolBytes memory for the device, a whole number of huge pages
 * @throws {BusbarError} `unsupported` for other classes than NVMe (the guardian knows how to stop those only) and where
 * an IOMMU translates, `permission` without root, `io` without free huge pages
 */
export async function openWithoutIommu(
  host: Host,
  fn: PciFunction,
  poolBytes: number = DEFAULT_POOL_BYTES,
): Promise<ClaimedPciDevice> {
  refuseUnsuitable(host, fn);
  const journal = new UndoJournal(host, { command: `driving ${fn.name} without an IOMMU` });
  enableMemory(journal, { function: fn, host });
  const bar = usableBar(readPciFunction(host, fn.name), 0);
  const pages = findHugePages(host);
  const size = Math.ceil(poolBytes / pages.pageBytes) * pages.pageBytes;
  const path = `${pages.folder}/busbar-${fn.name}-${Deno.pid}`;
  const memory = mapHugeFile(path, size, pages);
  let guardian: Guardian | null = null;
  try {
    guardian = await Guardian.start(fn, path);
    return new UnprotectedDevice(host, fn, memory, pages.pageBytes, Number(bar.sizeBytes), guardian, journal);
  } catch (error) {
    memory[Symbol.dispose]();
    if (guardian === null) await Deno.remove(path);
    else guardian.release();
    journal[Symbol.dispose]();
    throw error;
  }
}

function refuseUnsuitable(host: Host, fn: PciFunction): void {
  const details = { operation: "hold without an IOMMU", path: fn.name };
  if (fn.classCode !== CLASS_NVME) {
    throw new BusbarError("unsupported", `${fn.name}: only NVMe controllers are driven without an IOMMU`, {
      ...details,
      hint: `use VFIO: busbar bind vfio ${fn.name}`,
    });
  }
  const type = fn.iommuGroup === null
    ? null
    : factOf(() => host.readText(`/sys/kernel/iommu_groups/${fn.iommuGroup}/type`).trim());
  if (type !== null && type !== "identity") {
    throw new BusbarError(
      "unsupported",
      `${fn.name}: an IOMMU translates its addresses (group ${fn.iommuGroup}, ${type})`,
      {
        ...details,
        hint: `use VFIO, which is safe: busbar bind vfio ${fn.name}; or boot with iommu=pt`,
      },
    );
  }
}

/** The hugetlbfs mount with the smallest pages. */
function findHugePages(host: Host): HugePages {
  const mounts = host.readText("/proc/mounts").split("\n").flatMap((line): HugePages[] => {
    const [, folder = "", type, options = ""] = line.split(" ");
    if (type !== "hugetlbfs") return [];
    const [, count = "2", unit = "M"] = /pagesize=(\d+)([KMG])/.exec(options) ?? [];
    const factor = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[unit] ?? 2 ** 20;
    return [{ folder, pageBytes: Number(count) * factor }];
  });
  const [smallest] = mounts.sort((a, b) => a.pageBytes - b.pageBytes);
  if (smallest !== undefined) return smallest;
  throw new BusbarError("absent", "no hugetlbfs is mounted", {
    operation: "find huge pages",
    path: "/proc/mounts",
    hint: "mount -t hugetlbfs none /dev/hugepages",
  });
}

function mapHugeFile(path: string, sizeBytes: number, pages: HugePages): Mapping {
  const hint = `reserve ${sizeBytes / pages.pageBytes} pages: echo N > /sys/kernel/mm/hugepages/hugepages-${
    pages.pageBytes / 1024
  }kB/nr_hugepages`;
  try {
    using file = Deno.openSync(path, { read: true, write: true, createNew: true, mode: 0o600 });
    file.truncateSync(sizeBytes);
  } catch (cause) {
    throw systemError(cause, "make a file of huge pages", path, hint);
  }
  try {
    // Populated now: a page that is missing is an error here, not SIGBUS in the middle of a transfer.
    return Mapping.file(path, sizeBytes, { writable: true, populate: true, hint });
  } catch (error) {
    Deno.removeSync(path);
    if (!isBusbarError(error, "io")) throw error;
    throw new BusbarError("io", `${path}: there are not ${formatBytes(sizeBytes)} of free huge pages`, {
      operation: "map huge pages",
      path,
      hint,
      cause: error,
    });
  }
}

/** The program that stops the controller when this process ends. */
class Guardian {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#input = child.stdin.getWriter();
    // It waits for the end of this process: it must not be what this process waits for.
    child.unref();
  }

  static async start(fn: PciFunction, memoryFile: string): Promise<Guardian> {
    const program = findProgram(NVME_GUARDIAN);
    const args = [`${fn.folder}/resource0`, `${fn.folder}/config`, memoryFile, String(GUARDIAN_LIMIT_MS)];
    const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
    const guardian = new Guardian(child);
    const reader = child.stdout.getReader();
    const late = Deadline.after(GUARDIAN_START_MS);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), late.limitMs));
    const first = await Promise.race([reader.read(), timeout]);
    clearTimeout(timer);
    const ready = first !== "late" && first.value !== undefined &&
      new TextDecoder().decode(first.value).startsWith("ready");
    await reader.cancel();
    if (ready) return guardian;
    child.kill("SIGKILL");
    await child.status;
    throw new BusbarError("io", `${fn.name}: the guardian program did not start`, {
      operation: "start the guardian",
      path: program,
      hint: "without it nothing would stop the controller if this process were killed",
    });
  }

  /** Lets it do its work now. It ends by itself. */
  release(): void {
    this.#input.close().catch(() => {});
    this.#child.status.catch(() => {});
  }
}

class UnprotectedDevice implements ClaimedPciDevice {
  readonly how = "no-iommu";
  readonly function: PciFunction;
  readonly interruptVectors = 0;
  readonly #host: Host;
  readonly #memory: Mapping;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #hugePageBytes: number;
  /** The physical address of each huge page. */
  readonly #addresses: readonly bigint[];
  readonly #config: Descriptor;
  readonly #bar: MappedMmio;
  readonly #guardian: Guardian;
  readonly #journal: UndoJournal;
  /** Free runs inside huge pages: offset and length, by offset. */
  #free: { offset: number; sizeBytes: number }[];
  #closed = false;

  constructor(
    host: Host,
    fn: PciFunction,
    memory: Mapping,
    hugePageBytes: number,
    barBytes: number,
    guardian: Guardian,
    journal: UndoJournal,
  ) {
    this.#host = host;
    this.function = fn;
    this.#memory = memory;
    this.#bytes = memory.bytes();
    this.#hugePageBytes = hugePageBytes;
    this.#guardian = guardian;
    this.#journal = journal;
    memory.lock();
    const perHuge = hugePageBytes / pageSizeBytes();
    this.#addresses = memory.physicalPages().filter((_, i) => i % perHuge === 0).map((address) => {
      if (address === null) {
        throw new BusbarError("io", `${memory.name}: a huge page is not in memory`, { path: memory.name });
      }
      return address;
    });
    // A piece never crosses from one huge page into the next: those need not be neighbours.
    this.#free = this.#addresses.map((_, i) => ({ offset: i * hugePageBytes, sizeBytes: hugePageBytes }));
    this.#config = Descriptor.open(`${fn.folder}/config`, true, "run as root");
    try {
      const mapping = Mapping.file(`${fn.folder}/resource0`, barBytes, { writable: true });
      this.#bar = new MappedMmio(`BAR0 of ${fn.name}`, mapping.registers, barBytes, () => mapping[Symbol.dispose]());
    } catch (error) {
      this.#config[Symbol.dispose]();
      throw explainMapError(host, fn, 0, error);
    }
  }

  readConfig(): Uint8Array {
    return this.#config.read(0n, EXTENDED_CONFIG_BYTES);
  }

  isPresent(): boolean {
    return ifPresent(() => this.#host.sizeBytes(`${this.function.folder}/config`)) !== null &&
      configUint(this.#config.read(0n, 2), 0, 2) !== 0xffff;
  }

  isRequestedBack(): boolean {
    return false;
  }

  setBusMaster(on: boolean): void {
    const old = configUint(this.#config.read(BigInt(PCI_COMMAND), 2), 0, 2);
    const command = on ? old | PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY : old & ~PCI_COMMAND_MASTER;
    this.#config.write(BigInt(PCI_COMMAND), Uint8Array.of(command & 0xff, command >> 8));
  }

  registers(index: number): MappedMmio {
    if (index === 0) return this.#bar;
    throw new BusbarError("unsupported", `${this.function.name}: only BAR0 is used without an IOMMU`, {
      path: this.function.name,
    });
  }

  allocDma(sizeBytes: number): DmaBuffer {
    const page = pageSizeBytes();
    const size = Math.ceil(sizeBytes / page) * page;
    const run = this.#free.find((run) => run.sizeBytes >= size);
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || run === undefined) {
      throw new BusbarError("io", `${this.function.name}: no ${sizeBytes} bytes of contiguous memory are left for it`, {
        operation: "allocate DMA memory",
        path: this.function.name,
        hint: `a piece is at most one huge page (${formatBytes(this.#hugePageBytes)})`,
      });
    }
    const { offset } = run;
    run.offset += size;
    run.sizeBytes -= size;
    const huge = Math.floor(offset / this.#hugePageBytes);
    const iova = (this.#addresses[huge] ?? 0n) + BigInt(offset % this.#hugePageBytes);
    const bytes = this.#bytes.subarray(offset, offset + sizeBytes);
    bytes.fill(0);
    const pointer = Deno.UnsafePointer.offset(this.#memory.pointer, offset);
    if (pointer === null) throw new BusbarError("bug", "huge pages at address 0");
    return new HugeDmaBuffer(bytes, iova, pointer, () => this.#giveBack(offset, size));
  }

  mapDma(): DmaMapping {
    throw new BusbarError("unsupported", `${this.function.name}: reaches only memory in huge pages without an IOMMU`, {
      operation: "map memory for the device",
      path: this.function.name,
      hint: "memory of others is mapped through VFIO only: boot with the IOMMU on",
    });
  }

  #giveBack(offset: number, sizeBytes: number): void {
    const runs = [...this.#free.filter((run) => run.sizeBytes > 0), { offset, sizeBytes }].sort((a, b) =>
      a.offset - b.offset
    );
    const merged: { offset: number; sizeBytes: number }[] = [];
    for (const run of runs) {
      const last = merged.at(-1);
      const touches = last !== undefined && last.offset + last.sizeBytes === run.offset &&
        run.offset % this.#hugePageBytes !== 0;
      if (touches) last.sizeBytes += run.sizeBytes;
      else merged.push({ ...run });
    }
    this.#free = merged;
  }

  enableInterrupts(): PciInterrupts {
    throw new BusbarError("unsupported", `${this.function.name}: has no interrupts without VFIO`, {
      path: this.function.name,
    });
  }

  reset(): void {
    throw new BusbarError("unsupported", `${this.function.name}: is not reset without VFIO`, {
      path: this.function.name,
      hint: `echo 1 > ${this.function.folder}/reset`,
    });
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.setBusMaster(false);
    } finally {
      this.#bar[Symbol.dispose]();
      this.#config[Symbol.dispose]();
      // The file and its pages stay until the guardian has seen the controller stopped.
      this.#memory[Symbol.dispose]();
      this.#journal[Symbol.dispose]();
      this.#guardian.release();
    }
  }
}

class HugeDmaBuffer implements DmaBuffer {
  readonly iova: bigint;
  readonly sizeBytes: number;
  readonly #pointer: Deno.PointerObject;
  readonly #release: () => void;
  #bytes: Uint8Array<ArrayBuffer> | null;

  constructor(bytes: Uint8Array<ArrayBuffer>, iova: bigint, pointer: Deno.PointerObject, release: () => void) {
    this.#bytes = bytes;
    this.sizeBytes = bytes.length;
    this.iova = iova;
    this.#pointer = pointer;
    this.#release = release;
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === null) throw new BusbarError("closed", "a DMA buffer was used after it was freed");
    return this.#bytes;
  }

  get pointer(): Deno.PointerObject {
    if (this.#bytes === null) throw new BusbarError("closed", "a DMA buffer was used after it was freed");
    return this.#pointer;
  }

  [Symbol.dispose](): void {
    if (this.#bytes === null) return;
    this.#bytes = null;
    this.#release();
  }
}
