/**
 * Software devices: `libbusbar_soft`, opened only when a `soft:` locator is.
 * @module
 */

import { BusbarError, errnoError } from "../src/core/error.ts";
import type { DmaBuffer, DmaMapping } from "../src/core/dma.ts";
import { BUSBAR_SOFT } from "./build.ts";
import { check, cString, lazyLibrary } from "./library.ts";
import { MappedMmio, type RegisterPointer } from "./mmio.ts";

/** Points at a running software device. */
type Handle = Deno.PointerObject<"bb_soft">;

const HANDLE = "pointer" as Deno.NativeTypedPointer<Handle>;

const SYMBOLS = {
  bb_soft_open: {
    parameters: [/* const char *kind */ "buffer", /* const char *settings */ "buffer", /* bb_soft **out */ "buffer"],
    result: "i32",
  },
  bb_soft_close: { parameters: [HANDLE], result: "void" },
  bb_soft_config: { parameters: [HANDLE, /* void **bytes */ "buffer"], result: "i32" },
  bb_soft_bar: {
    parameters: [HANDLE, /* index */ "u32", /* void **base */ "buffer", /* uint64_t *size */ "buffer"],
    result: "i32",
  },
  bb_soft_dma_allocate: {
    parameters: [HANDLE, /* size */ "u64", /* void **base */ "buffer", /* uint64_t *bus_address */ "buffer"],
    result: "i32",
  },
  bb_soft_dma_map: {
    parameters: [HANDLE, /* void *base */ "pointer", /* size */ "u64", /* uint64_t *bus_address */ "buffer"],
    result: "i32",
  },
  bb_soft_dma_free: { parameters: [HANDLE, /* bus_address */ "u64"], result: "i32" },
  bb_soft_interrupt_fd: { parameters: [HANDLE, /* vector */ "u32"], result: "i32" },
  bb_soft_nvme_fault: { parameters: [HANDLE, /* const char *text */ "buffer"], result: "i32" },
  bb_soft_nvme_counter: {
    parameters: [HANDLE, /* const char *name */ "buffer", /* uint64_t *value */ "buffer"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const library: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS, BUSBAR_SOFT);

const CONFIG_BYTES = 4096;
const ENXIO = 6;

/** A software device: configuration space, BARs, DMA memory, and a thread that plays it. Dispose stops it. */
export class SoftDevice implements Disposable {
  /** The locator that it was opened by, for messages. */
  readonly name: string;
  readonly #bars = new Map<number, MappedMmio>();
  readonly #buffers = new Set<SoftDmaBuffer>();
  readonly #mappings = new Set<DmaMapping>();
  #handle: Handle | null;
  #config: ArrayBuffer;

  private constructor(name: string, handle: Handle) {
    this.name = name;
    this.#handle = handle;
    const out = new BigUint64Array(1);
    check(library().bb_soft_config(handle, out), "open configuration space", { path: name });
    this.#config = Deno.UnsafePointerView.getArrayBuffer(pointerFrom(out), CONFIG_BYTES);
  }

  /**
   * Starts a software device.
   *
   * @param name the locator, for messages
   * @param kind `nvme`
   * @param settings the device's settings, already checked; a key that the device does not know is an error
   * @throws {BusbarError} `library` when libbusbar_soft cannot be built or opened
   */
  static open(name: string, kind: string, settings: ReadonlyMap<string, string>): SoftDevice {
    const out = new BigUint64Array(1);
    const lines = Array.from(settings, ([key, value]) => `${key}=${value}\n`).join("");
    const result = library().bb_soft_open(cString(kind), cString(lines), out);
    check(result, "start the software device", { path: name });
    return new SoftDevice(name, pointerFrom(out) as Handle);
  }

  /** Configuration space, live: 4096 bytes of ordinary memory. Empty after dispose. */
  get config(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#config);
  }

  /**
   * The registers of BAR `index`, 0 to 5; inert after dispose. Null when the device has no such BAR.
   */
  bar(index: number): MappedMmio | null {
    const known = this.#bars.get(index);
    if (known !== undefined) return known;
    const base = new BigUint64Array(1);
    const size = new BigUint64Array(1);
    const result = library().bb_soft_bar(this.#open(), index, base, size);
    if (result === -ENXIO) return null;
    check(result, `open BAR${index}`, { path: this.name });
    const pointer = pointerFrom(base) as RegisterPointer;
    const mmio = new MappedMmio(`BAR${index} of ${this.name}`, pointer, Number(size[0] ?? 0n));
    this.#bars.set(index, mmio);
    return mmio;
  }

  /** Zeroed memory that the device can reach, a whole number of 4 KiB pages. */
  allocDma(sizeBytes: number): DmaBuffer {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0) {
      throw new BusbarError("out-of-range", `${this.name}: cannot allocate ${sizeBytes} bytes`, { path: this.name });
    }
    const base = new BigUint64Array(1);
    const address = new BigUint64Array(1);
    const handle = this.#open();
    const result = library().bb_soft_dma_allocate(handle, BigInt(sizeBytes), base, address);
    check(result, `allocate ${sizeBytes} bytes`, { path: this.name });
    const buffer = new SoftDmaBuffer(pointerFrom(base), sizeBytes, address[0] ?? 0n, (closing) => {
      this.#buffers.delete(closing);
      check(library().bb_soft_dma_free(handle, closing.iova), "free DMA memory", { path: this.name });
    });
    this.#buffers.add(buffer);
    return buffer;
  }

  /**
   * Lets the device reach memory of this process, whole pages. It stays the caller's, and must stay until this is disposed of.
   *
   * @throws {BusbarError} `io` (EINVAL) where it is not whole pages
   */
  mapDma(memory: Deno.PointerObject, sizeBytes: number): DmaMapping {
    const address = new BigUint64Array(1);
    const result = library().bb_soft_dma_map(this.#open(), memory, BigInt(sizeBytes), address);
    check(result, `map ${sizeBytes} bytes`, { path: this.name });
    const iova = address[0] ?? 0n;
    const mapping: DmaMapping = {
      iova,
      [Symbol.dispose]: () => {
        if (!this.#mappings.delete(mapping)) return;
        check(library().bb_soft_dma_free(this.#open(), iova), "unmap memory", { path: this.name });
      },
    };
    this.#mappings.add(mapping);
    return mapping;
  }

  /**
   * The event counter of an interrupt vector, which stays the device's. The first call for a vector turns MSI-X on and
   * unmasks it, as VFIO does when a counter is connected.
   */
  interruptFd(vector: number): number {
    const result = library().bb_soft_interrupt_fd(this.#open(), vector);
    return check(result, `connect interrupt vector ${vector}`, { path: this.name });
  }

  /**
   * Makes an NVMe controller misbehave from now on, or behave again: `drop,every=100`, `status=0x281,lba=7`, `gone`, `clear`.
   * csrc/soft/busbar_soft.h has the whole language; the setting `fault` takes the same.
   */
  fault(text: string): void {
    const result = library().bb_soft_nvme_fault(this.#open(), cString(text));
    check(result, `set the fault '${text}'`, { path: this.name });
  }

  /** One of an NVMe controller's counters: `commands`, `completions`, `dma_errors`, `doorbell_errors`, `interrupts`, … */
  counter(name: string): bigint {
    const value = new BigUint64Array(1);
    const result = library().bb_soft_nvme_counter(this.#open(), cString(name), value);
    check(result, `read the counter '${name}'`, { path: this.name });
    return value[0] ?? 0n;
  }

  /** Stops the device, then takes its BARs and memory away. Calling it again does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    if (handle === null) return;
    for (const mmio of this.#bars.values()) mmio[Symbol.dispose]();
    for (const one of [...this.#buffers, ...this.#mappings]) one[Symbol.dispose]();
    this.#config.transfer(0);
    this.#config = new ArrayBuffer(0);
    this.#handle = null;
    library().bb_soft_close(handle);
  }

  #open(): Handle {
    if (this.#handle === null) {
      throw new BusbarError("closed", `${this.name}: used after it was closed`, { path: this.name });
    }
    return this.#handle;
  }
}

class SoftDmaBuffer implements DmaBuffer {
  readonly sizeBytes: number;
  readonly iova: bigint;
  readonly pointer: Deno.PointerObject;
  readonly #release: (self: SoftDmaBuffer) => void;
  #bytes: ArrayBuffer | null;

  constructor(
    pointer: Deno.PointerObject,
    sizeBytes: number,
    iova: bigint,
    release: (self: SoftDmaBuffer) => void,
  ) {
    this.pointer = pointer;
    this.sizeBytes = sizeBytes;
    this.iova = iova;
    this.#release = release;
    this.#bytes = Deno.UnsafePointerView.getArrayBuffer(pointer, sizeBytes);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === null) throw new BusbarError("closed", "a DMA buffer was used after it was freed");
    return new Uint8Array(this.#bytes);
  }

  [Symbol.dispose](): void {
    const bytes = this.#bytes;
    if (bytes === null) return;
    this.#bytes = null;
    bytes.transfer(0);
    this.#release(this);
  }
}

function pointerFrom(out: BigUint64Array): Deno.PointerObject {
  const pointer = Deno.UnsafePointer.create(out[0] ?? 0n);
  if (pointer === null) throw errnoError(14, "open a software device");
  return pointer;
}
