/**
 * Memory to work on, whatever it is: shared memory, a mapped file, a dax device, a BAR, ordinary, huge-page or NUMA-bound
 * memory. One class, so that a program and a benchmark do not know which.
 * @module
 */

import { localMachine } from "../../ffi/machine.ts";
import { BusbarError, isBusbarError } from "../core/error.ts";
import { type Host, ifReadable } from "../core/host.ts";
import type { Machine } from "../core/machine.ts";
import type { FileMappingOptions, MachineMemory, MappedMemory, Persistence } from "../core/memory_loops.ts";
import { formatBytes } from "../core/units.ts";
import {
  firstError,
  inspectResource,
  type MemoryResource,
  type ResourceKind,
  type ResourceRequest,
} from "./resource.ts";

/** What to open. */
export type MemoryRequest =
  | ResourceRequest
  | {
    /** Memory of this process, in pages of the usual size. */
    readonly backend: "anonymous";
    /** Bytes. */
    readonly sizeBytes: bigint;
  }
  | {
    /** Huge pages, which have to be reserved before. */
    readonly backend: "huge";
    /** Bytes. */
    readonly sizeBytes: bigint;
    /** Size of a page; 2 MiB by default. */
    readonly pages?: "2MiB" | "1GiB";
  }
  | {
    /** Memory of one NUMA node. */
    readonly backend: "numa";
    /** Its number. */
    readonly node: number;
    /** Bytes. */
    readonly sizeBytes: bigint;
  };

/** What is needed of the machine that memory is looked for on. */
export type MemoryMachine = Pick<Machine, "host" | "files">;

/**
 * Mapped memory. Dispose empties every view that it gave, then unmaps.
 *
 * @example
 * ```ts
 * import { type MemoryBackend, openMemory } from "@busbar/busbar";
 * const fill = (memory: MemoryBackend, value: number): void => {
 *   memory.bytes().fill(value);
 *   memory.persist();
 * };
 * using memory = openMemory("anonymous", { sizeBytes: 1n << 16n });
 * fill(memory, 0x5a);
 * console.assert(memory.bytes(100, 1)[0] === 0x5a);
 * ```
 */
export class MemoryBackend implements Disposable {
  /** What it is. */
  readonly kind: ResourceKind | "anonymous" | "huge" | "numa";
  /** What it is called: the path, or `numa:1`. */
  readonly name: string;
  /** Bytes. */
  readonly sizeBytes: number;
  /** How stores become permanent. */
  readonly persistence: Persistence;
  /** Bytes of the pages that it is mapped in, as far as that is settled when it is opened. */
  readonly pageBytes: number;
  /** What was looked at before it was mapped; null for memory that is no file. */
  readonly resource: MemoryResource | null;
  /** The machine whose memory it is, for its loops. */
  readonly machineMemory: MachineMemory;
  readonly #mapping: MappedMemory;

  private constructor(opened: Opened, machineMemory: MachineMemory) {
    this.machineMemory = machineMemory;
    this.kind = opened.kind;
    this.#mapping = opened.mapping;
    this.sizeBytes = opened.mapping.sizeBytes;
    this.name = opened.name;
    this.persistence = opened.persistence;
    this.pageBytes = opened.pageBytes;
    this.resource = opened.resource;
  }

  /**
   * Checks and maps memory. Shared files and devices are mapped shared; nothing is created.
   *
   * @throws {BusbarError} the first bad finding of {@linkcode inspectResource}; `io` where the kernel has too little
   * memory or huge pages; `absent` for a node that does not exist
   *
   * @example
   * ```ts
   * import { MemoryBackend } from "./backend.ts";
   * using memory = MemoryBackend.open({ backend: "anonymous", sizeBytes: 1n << 20n });
   * memory.bytes(0, 4).set([1, 2, 3, 4]);
   * console.assert(memory.persistence === "none");
   * ```
   */
  static open(
    request: MemoryRequest,
    machine: Pick<Machine, "host" | "files" | "memory"> = localMachine,
  ): MemoryBackend {
    return new MemoryBackend(openRequest(request, machine), machine.memory);
  }

  /** The memory underneath, for loops. */
  get memory(): MappedMemory {
    return this.#mapping;
  }

  /**
   * A view of the memory, whole or in part. It is empty after dispose.
   * Touching a file that was cut meanwhile, or a device that is gone, ends the process (SIGBUS).
   */
  bytes(offset: number = 0, sizeBytes: number = this.sizeBytes - offset): Uint8Array<ArrayBuffer> {
    return this.#mapping.bytes(offset, sizeBytes);
  }

  /** Makes stores to a range permanent, in the way that is right for this memory, and waits until they are. */
  persist(offset: number = 0, sizeBytes: number = this.sizeBytes - offset): void {
    switch (this.persistence) {
      case "cache flush":
        return this.#mapping.flush(offset, sizeBytes);
      case "msync":
        return this.#mapping.sync(offset, sizeBytes);
      case "none":
        // Nothing outlives the power; the range is checked all the same.
        this.#mapping.checkRange(offset, sizeBytes);
    }
  }

  /** Empties the views and unmaps. Calling it again does nothing. */
  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
  }
}

/** What a backend is made of. */
interface Opened {
  readonly kind: MemoryBackend["kind"];
  readonly mapping: MappedMemory;
  readonly name: string;
  readonly persistence: Persistence;
  readonly pageBytes: number;
  readonly resource: MemoryResource | null;
}

function openRequest(request: MemoryRequest, machine: Pick<Machine, "host" | "files" | "memory">): Opened {
  switch (request.backend) {
    case "anonymous":
      return ofProcess(machine.memory, "anonymous", "anonymous", request.sizeBytes);
    case "huge": {
      const pages = request.pages ?? "2MiB";
      return ofProcess(machine.memory, "huge", `huge:${pages}`, request.sizeBytes, pages);
    }
    case "numa": {
      checkNode(machine.host, request.node, request.sizeBytes);
      const opened = ofProcess(machine.memory, "numa", `numa:${request.node}`, request.sizeBytes);
      try {
        opened.mapping.bindNode(request.node);
        return opened;
      } catch (error) {
        opened.mapping[Symbol.dispose]();
        throw error;
      }
    }
    default:
      return openResource(machine, request);
  }
}

function ofProcess(
  memory: MachineMemory,
  kind: "anonymous" | "huge" | "numa",
  name: string,
  sizeBytes: bigint,
  pages: "base" | "2MiB" | "1GiB" = "base",
): Opened {
  const pageBytes = { base: memory.pageBytes, "2MiB": 2 ** 21, "1GiB": 2 ** 30 }[pages];
  const mapping = memory.mapAnonymous(Number(sizeBytes), pages);
  return { kind, mapping, name, persistence: "none", pageBytes, resource: null };
}

function openResource(
  { host, files, memory }: Pick<Machine, "host" | "files" | "memory">,
  request: ResourceRequest,
): Opened {
  const resource = inspectResource(host, files, request);
  const error = firstError(resource);
  if (error !== null) throw error;
  const { kind, path, alignBytes } = resource;
  const offset = request.offsetBytes ?? 0n;
  const all = (resource.sizeBytes ?? 0n) - offset;
  const sizeBytes = Number(request.sizeBytes ?? all - all % alignBytes);
  const options = { offset, writable: request.writable ?? true };
  const { mapping, isSync } = mapDirectly(memory, path, sizeBytes, options, kind === "fsdax");
  return {
    kind,
    mapping,
    name: path,
    persistence: persistenceOf(kind, isSync),
    pageBytes: kind === "devdax" ? Number(alignBytes) : memory.pageBytes,
    resource,
  };
}

/** With MAP_SYNC where the file system can: then a flush of the cache is enough, without msync (mmap(2)). */
function mapDirectly(
  memory: MachineMemory,
  path: string,
  sizeBytes: number,
  options: FileMappingOptions,
  isDax: boolean,
): { mapping: MappedMemory; isSync: boolean } {
  if (isDax && options.writable === true) {
    try {
      return { mapping: memory.mapFile(path, sizeBytes, { ...options, sync: true }), isSync: true };
    } catch (error) {
      if (!isBusbarError(error, "unsupported")) throw error;
    }
  }
  return { mapping: memory.mapFile(path, sizeBytes, options), isSync: false };
}

function persistenceOf(kind: ResourceKind, isSync: boolean): Persistence {
  switch (kind) {
    case "devdax":
      return "cache flush";
    case "fsdax":
      return isSync ? "cache flush" : "msync";
    case "file":
    case "block device":
      return "msync";
    default:
      return "none";
  }
}

/** A page taken from a node that has none left ends the process: so this looks first. */
function checkNode(host: Host, node: number, sizeBytes: bigint): void {
  const text = ifReadable(() => host.readText(`/sys/devices/system/node/node${node}/meminfo`));
  const read = (name: string): bigint => BigInt(new RegExp(`${name}:\\s+(\\d+) kB`).exec(text ?? "")?.[1] ?? 0) * 1024n;
  if (text === null) {
    const nodes = ifReadable(() => host.readText("/sys/devices/system/node/online").trim()) ?? "0";
    throw new BusbarError("absent", `there is no NUMA node ${node}`, {
      operation: "open memory",
      path: `numa:${node}`,
      hint: `the nodes are ${nodes}; numactl -H lists them`,
    });
  }
  if (read("MemTotal") === 0n) {
    throw new BusbarError("unsupported", `node ${node} has no memory`, {
      operation: "open memory",
      path: `numa:${node}`,
      hint: "daxctl reconfigure-device --mode=system-ram dax0.0 gives a node the memory of a dax device",
    });
  }
  // What the node keeps in its page cache can be given up.
  const available = read("MemFree") + read("Inactive\\(file\\)");
  if (sizeBytes > available) {
    throw new BusbarError(
      "out-of-range",
      `node ${node} has ${formatBytes(available)} to give, and ${formatBytes(sizeBytes)} were asked for`,
      { operation: "open memory", path: `numa:${node}`, hint: "the kernel would end the process: ask for less" },
    );
  }
}

/**
 * What a word of the command line asks for: `dax:/dev/dax0.0`, `mmap:/tmp/file`, `ivshmem:SS`, `anonymous`, `huge`,
 * `huge:1GiB`, `numa:1`; or a path or PCI address alone, whose backend is inferred.
 *
 * @param sizeBytes the size where memory has none of its own
 * @throws {BusbarError} `usage`
 */
export function parseMemory(text: string, sizeBytes: bigint): MemoryRequest {
  const [word = "", rest] = splitOnce(text);
  switch (word) {
    case "anonymous":
      if (rest === null) return { backend: "anonymous", sizeBytes };
      break;
    case "huge":
      if (rest === null || rest === "2MiB" || rest === "1GiB") {
        return { backend: "huge", sizeBytes, pages: rest ?? "2MiB" };
      }
      break;
    case "numa":
      if (rest !== null && /^\d{1,3}$/.test(rest)) return { backend: "numa", node: Number(rest), sizeBytes };
      break;
    case "dax":
    case "mmap":
    case "ivshmem":
      if (rest !== null && rest !== "") return { backend: word, resource: rest };
      break;
  }
  if (/^\/dev\/dax/.test(text)) return { backend: "dax", resource: text };
  if (/resource2(?:_wc)?$/.test(text) || /^[0-9a-f:]+\.[0-7]$/i.test(text)) {
    return { backend: "ivshmem", resource: text };
  }
  if (text.startsWith("/")) return { backend: "mmap", resource: text };
  throw new BusbarError("usage", `'${text}' names no memory`, {
    operation: "open memory",
    hint: "write anonymous, huge, huge:1GiB, numa:1, dax:/dev/dax0.0, mmap:/path/file, ivshmem:SS, or a path",
  });
}

function splitOnce(text: string): [string, string | null] {
  const colon = text.indexOf(":");
  return colon < 0 ? [text, null] : [text.slice(0, colon), text.slice(colon + 1)];
}

/** How memory is opened. */
export interface OpenMemoryOptions {
  /** Bytes; all of a device or file by default. Needed for memory that has no size of its own. */
  readonly sizeBytes?: bigint;
  /** The first byte of a device or file; 0 by default. */
  readonly offsetBytes?: bigint;
  /** For writing too; true by default. */
  readonly writable?: boolean;
  /** The machine whose memory it is; this one by default. */
  readonly machine?: Pick<Machine, "host" | "files" | "memory">;
}

/**
 * Opens memory: `/dev/dax0.0`, the path of a file, `ivshmem:SS`; and of this process `anonymous`, `huge:1GiB`, `numa:1`,
 * which take their size from the options.
 *
 * @throws {BusbarError} `usage` for other text; as {@linkcode MemoryBackend.open}
 *
 * @example
 * ```ts
 * import { openMemory } from "./backend.ts";
 * using memory = openMemory("anonymous", { sizeBytes: 1n << 20n });
 * memory.bytes(0, 4).set([1, 2, 3, 4]);
 * console.assert(memory.sizeBytes === 1 << 20);
 * ```
 */
export function openMemory(locator: string, options: OpenMemoryOptions = {}): MemoryBackend {
  const { machine = localMachine, sizeBytes, ...range } = options;
  const request = parseMemory(locator, sizeBytes ?? 0n);
  return MemoryBackend.open(
    "resource" in request ? { ...request, ...range, ...(sizeBytes === undefined ? {} : { sizeBytes }) } : request,
    machine,
  );
}
