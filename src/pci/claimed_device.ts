/**
 * A PCI function that this process drives: registers to write, memory to share, interrupts to wait for.
 * @module
 */

import type { DmaBuffer, DmaMapping } from "../core/dma.ts";
import type { MappedMmio } from "../../ffi/mmio.ts";
import type { PciFunction } from "./function.ts";

/** Interrupts of a function, one event counter for each vector. */
export interface PciInterrupts extends Disposable {
  /** How many vectors are connected, counted from 0. */
  readonly vectors: number;
  /** Waits for a vector, at most `limitMs` (up to 50). True when it came since the last wait. */
  wait(vector: number, limitMs: number): boolean;
  /** The number of a vector's event counter, for C loops. Valid until dispose. */
  counter(vector: number): number;
}

/**
 * A function that is driven from here. Dispose stops its bus mastering, takes its memory away, and lets go of it;
 * whoever drives it has stopped it before.
 */
export interface ClaimedPciDevice extends Disposable {
  /** How it is held. */
  readonly how: "vfio" | "no-iommu" | "soft";
  /** What the machine said of it when it was opened. */
  readonly function: PciFunction;
  /** The function's first configuration bytes as they are now. */
  readConfig(): Uint8Array;
  /** Lets the function start cycles of its own, or forbids it. Memory decoding is turned on with it. */
  setBusMaster(on: boolean): void;
  /** BAR `index`, whole, to read and write. The same object each time; inert after dispose. */
  registers(index: number): MappedMmio;
  /** Zeroed memory that the device can reach, page-aligned on both sides and contiguous for the device. */
  allocDma(sizeBytes: number): DmaBuffer;
  /**
   * Lets the device reach memory of this process that is the caller's: memory of a GPU, another function's BAR. Whole pages,
   * contiguous for the device. Dispose of it before the memory is unmapped.
   *
   * @throws {BusbarError} `unsupported` where there is no IOMMU; as the kernel refuses it
   */
  mapDma(memory: Deno.PointerObject, sizeBytes: number): DmaMapping;
  /** How many interrupt vectors it can have; 0 where there is no way to wait for one. */
  readonly interruptVectors: number;
  /** Connects the first `count` vectors. */
  enableInterrupts(count: number): PciInterrupts;
  /** Resets the function. All that was set up in it is gone. @throws {BusbarError} `unsupported` where it cannot be */
  reset(): void;
  /** True when the function is still there. */
  isPresent(): boolean;
  /**
   * True once the kernel asks for the function back: it is being unplugged or unbound, and the kernel waits until it is let
   * go of. Cheap enough to ask every few milliseconds.
   */
  isRequestedBack(): boolean;
}
