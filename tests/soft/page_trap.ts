/**
 * The page-trap helper: what accesses a piece of code really makes.
 * @module
 */

import { BUSBAR_TRAP } from "../../ffi/build.ts";
import { check, lazyLibrary } from "../../ffi/library.ts";
import { MappedMmio, type RegisterPointer } from "../../ffi/mmio.ts";

/** One access that was made. */
export interface Access {
  readonly offset: number;
  /** In bytes; 0 for an instruction that is not a plain mov. */
  readonly width: number;
  readonly isWrite: boolean;
}

const SYMBOLS = {
  bb_trap_open: { parameters: ["u64", "buffer"], result: "i32" },
  bb_trap_close: { parameters: [], result: "i32" },
  bb_trap_take: { parameters: ["buffer", "u32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const trapLibrary: () => Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] = lazyLibrary(SYMBOLS, BUSBAR_TRAP);

/** Opens the helper; for the hook before a file's tests. */
export function openTrapLibrary(): void {
  trapLibrary();
}

/** Registers whose accesses are counted. */
export class TrappedPage implements Disposable {
  readonly mmio: MappedMmio;

  constructor(sizeBytes: number) {
    const out = new BigUint64Array(1);
    check(trapLibrary().bb_trap_open(BigInt(sizeBytes), out), "open the page trap");
    const pointer = Deno.UnsafePointer.create(out[0] ?? 0n);
    if (pointer === null) throw new Error("no memory");
    this.mmio = new MappedMmio("trapped page", pointer as RegisterPointer, sizeBytes);
  }

  /** The accesses since the last call. */
  take(): Access[] {
    const out = new Uint32Array(3 * 65536);
    const count = check(trapLibrary().bb_trap_take(out, 65536), "count");
    return Array.from({ length: count }, (_, i) => ({
      offset: out[3 * i] ?? 0,
      width: out[3 * i + 1] ?? 0,
      isWrite: out[3 * i + 2] === 1,
    }));
  }

  [Symbol.dispose](): void {
    this.mmio[Symbol.dispose]();
    check(trapLibrary().bb_trap_close(), "close the page trap");
  }
}
