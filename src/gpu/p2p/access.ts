/**
 * Steps 7 and 8 of the chain: one write to the drive, and one read from it.
 *
 * The write goes to AQA, which a disabled controller keeps and does nothing with (NVMe Base 2.0 §3.1.3.8). Doorbells of a
 * disabled controller must not be written. The read is of VS, which never changes, and is done once: on some root
 * complexes a read that is not answered has taken the drive off the bus until the next power cycle.
 * @module
 */

import { pause } from "../../core/deadline.ts";
import { BusbarError, isBusbarError } from "../../core/error.ts";
import type { WritableMmio } from "../../core/mmio.ts";
import { hex } from "../../core/units.ts";
import { registerOffset } from "../../nvme/tables/registers.ts";
import type { Gpu } from "../gpu.ts";
import type { PinnedBuffer, RegisteredMemory } from "../memory.ts";
import type { GpuFunction } from "../module.ts";
import mmioPtx from "../kernels/mmio.ptx" with { type: "text" };
import { type P2pCheck, ruleText } from "./check.ts";

const VS = registerOffset("VS"), CC = registerOffset("CC"), CSTS = registerOffset("CSTS"), AQA = registerOffset("AQA");

/** How long a posted write may take to arrive, and a kernel to end. */
const ARRIVAL_MS = 200;
const KERNEL_MS = 2000;

/** Somebody who writes a 32-bit register of the drive: a kernel, or, to try the logic, the CPU. */
export type RegisterWriter = (offset: number, value: number) => Promise<void>;

/** Somebody who reads one. */
export type RegisterReader = (offset: number) => Promise<number>;

/** Accesses by a kernel on the GPU, to BAR0 as it was registered. Dispose takes the module away. */
export class GpuRegisters implements Disposable {
  readonly #gpu: Gpu;
  readonly #bar0: RegisteredMemory;
  readonly #write: GpuFunction;
  readonly #read: GpuFunction;
  readonly #result: PinnedBuffer;

  /** Loads the kernels. @throws {CudaError} 222 where the driver is too old for them, 218 on a GPU before sm_70 */
  constructor(gpu: Gpu, bar0: RegisteredMemory) {
    this.#gpu = gpu;
    this.#bar0 = bar0;
    const module = gpu.module(mmioPtx);
    this.#write = module.function("mmio_write32");
    this.#read = module.function("mmio_read32");
    this.#result = gpu.allocatePinned(4);
  }

  /** One posted write. Returns when the kernel has ended. */
  async write(offset: number, value: number): Promise<void> {
    this.#write.launch({ grid: 1, block: 1 }, [this.#bar0.address + BigInt(offset), value]);
    await this.#gpu.synchronize({ timeoutMs: KERNEL_MS });
  }

  /** One read. */
  async read(offset: number): Promise<number> {
    const bytes = this.#result.bytes;
    bytes.fill(0);
    this.#read.launch({ grid: 1, block: 1 }, [this.#bar0.address + BigInt(offset), this.#result]);
    await this.#gpu.synchronize({ timeoutMs: KERNEL_MS });
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  /** Takes the kernels away. */
  [Symbol.dispose](): void {
    this.#result[Symbol.dispose]();
    this.#write.module[Symbol.dispose]();
  }
}

/**
 * Refuses a controller that runs, or that does not answer.
 *
 * @throws {BusbarError} `busy` while it is enabled or ready, `unreachable` when its registers read all ones
 */
export function checkDisabled(bar0: WritableMmio, name: string): void {
  const [cc, csts] = [bar0.read32(CC), bar0.read32(CSTS)];
  const details = { operation: "write test", path: name };
  if (csts === 0xffff_ffff) {
    throw new BusbarError("unreachable", `${name}: its registers read all ones`, details);
  }
  if ((cc & 1) === 0 && (csts & 1) === 0) return;
  throw new BusbarError("busy", `${name}: the controller is enabled (CC ${hex(cc, 8)}, CSTS ${hex(csts, 8)})`, {
    ...details,
    hint: `Linux leaves it so when it lets go: echo 1 > /sys/bus/pci/devices/${name}/reset`,
  });
}

/** A legal value of AQA that differs from this one in both of its halves. */
export function otherAqa(old: number): number {
  const SIZES = 0x0fff_0fff;
  return ((old & SIZES) ^ 0x0015_000a) >>> 0;
}

/**
 * Step 7: has `write` put another value into AQA, looks with the CPU whether it arrived, and puts the old one back.
 *
 * @param bar0 the drive's registers, for the CPU
 * @param name the drive, for messages
 */
export async function writeTest(bar0: WritableMmio, name: string, write: RegisterWriter): Promise<P2pCheck> {
  const base = { step: 7, name: "posted write", rule: ruleText("rootComplex") };
  let old: number;
  try {
    checkDisabled(bar0, name);
    old = bar0.read32(AQA);
  } catch (error) {
    return refused(base, error);
  }
  const wanted = otherAqa(old);
  let seen = old;
  let failure: unknown = null;
  try {
    await write(AQA, wanted);
    for (let waited = 0; waited <= ARRIVAL_MS; waited++) {
      seen = bar0.read32(AQA);
      if (seen === wanted) break;
      await pause(1);
    }
  } catch (error) {
    failure = error;
  }
  // Written by the CPU, whatever happened: it may have arrived late.
  bar0.write32(AQA, old);
  const restored = bar0.read32(AQA);
  const evidence = `AQA ${hex(old, 8)}, written ${hex(wanted, 8)}, read ${hex(seen, 8)}, put back ${hex(restored, 8)}`;
  if (failure !== null) return { ...refused(base, failure), evidence };
  if (seen !== wanted) {
    return {
      ...base,
      outcome: "fail",
      text: "the write did not arrive",
      evidence,
      remedy:
        "look at steps 2 and 3: something on the way drops it; lspci -vvv shows errors that were recorded (UESta)",
    };
  }
  const text = "a write by a kernel on the GPU arrived at the drive";
  return { ...base, outcome: restored === old ? "pass" : "warn", text, evidence, remedy: null };
}

/** Step 8: has `read` read VS once, and compares with what the CPU reads. */
export async function readTest(bar0: WritableMmio, read: RegisterReader): Promise<P2pCheck> {
  const base = { step: 8, name: "read", rule: ruleText("rootComplex") };
  const expected = bar0.read32(VS);
  let seen: number;
  try {
    seen = await read(VS);
  } catch (error) {
    return refused(base, error);
  }
  const evidence = `VS by the CPU ${hex(expected, 8)}, by the GPU ${hex(seen, 8)}`;
  if (seen === expected) {
    return { ...base, outcome: "pass", text: "a read by the GPU returned", evidence, remedy: null };
  }
  const isLost = seen === 0xffff_ffff;
  return {
    ...base,
    outcome: "fail",
    text: isLost
      ? "the read came back as all ones: the root complex passes writes between its ports and drops reads"
      : "the read came back with another value",
    evidence,
    remedy: "do not repeat it: a drive was lost that way until a power cycle. Tier 1 does without reads by the GPU",
  };
}

function refused(base: Pick<P2pCheck, "step" | "name" | "rule">, error: unknown): P2pCheck {
  if (!isBusbarError(error)) throw error;
  return { ...base, outcome: "unknown", text: error.message, evidence: error.operation ?? "", remedy: error.hint };
}
