/**
 * What every implementation of `Machine` must do besides its `Host`, each point as a test. A new implementation adds a row
 * in `machine_test.ts`.
 * @module
 */

import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";

import { BusbarError, type ErrorCode } from "../../src/core/error.ts";
import type { Machine } from "../../src/core/machine.ts";
import type { MappedMemory, MemoryPart } from "../../src/core/memory_loops.ts";

/** Bytes of the registers that each implementation is given. */
export const REGISTER_BYTES = 16384;

/** What the 32-bit register at an offset holds. */
export function registerAt(offset: number): number {
  return (Math.imul(offset, 0x9e37_79b1) ^ 0x5a5a_0f0f) >>> 0;
}

/** The registers as a file holds them. */
export function registerFile(): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(REGISTER_BYTES));
  for (let offset = 0; offset < REGISTER_BYTES; offset += 4) view.setUint32(offset, registerAt(offset), true);
  return new Uint8Array(view.buffer);
}

/** An implementation, with the registers of {@linkcode registerFile}. */
export interface MachineUnderTest extends Disposable {
  /** The machine. */
  readonly machine: Machine;
  /** A file of it that shows the registers. */
  readonly registers: string;
  /** A folder of it; nothing in it is called `none`. */
  readonly folder: string;
}

/** A row of the table of implementations. */
export interface MachineImplementation {
  /** What it is called. */
  readonly name: string;
  /** Makes one. */
  readonly make: () => MachineUnderTest;
  /** Points that it does not meet, by the name of the test, and why: its answer is the error `unsupported`, with its name. */
  readonly cannot: Readonly<Record<string, string>>;
}

interface Point {
  readonly name: string;
  readonly check: (made: MachineUnderTest) => void | Promise<void>;
}

function fails(call: () => unknown, ...codes: ErrorCode[]): BusbarError {
  const error = assertThrows(call, BusbarError);
  // What a machine cannot do at all is another matter.
  if (error.code === "unsupported" && !codes.includes("unsupported")) throw error;
  assert(codes.includes(error.code), `${error.code}: ${error.message}`);
  return error;
}

const POINTS: readonly Point[] = [
  {
    name: "it is called what its files are called",
    check: ({ machine }) => assertEquals(machine.name, machine.host.name),
  },
  {
    name: "registers are read in every width, at their offset in the file",
    check({ machine, registers }): void {
      const range = { name: "BAR0 of it", path: registers, offset: 0, sizeBytes: REGISTER_BYTES };
      using mmio = machine.mapRegisters(range);
      assertEquals([mmio.firstOffset, mmio.endOffset], [0, REGISTER_BYTES]);
      const value = registerAt(0x24);
      assertEquals(mmio.read32(0x24), value);
      assertEquals([mmio.read8(0x25), mmio.read16(0x26)], [value >>> 8 & 0xff, value >>> 16]);
      assertEquals(mmio.read64(0x20), BigInt(registerAt(0x20)) | BigInt(value) << 32n);
      assertEquals(mmio.readBlock(0x3f00, 0x100, 4), registerFile().slice(0x3f00, 0x4000));
      assertEquals(mmio.readBlockInto(new Uint8Array(8), 8, 8), registerFile().slice(8, 16));
      const { matched, last } = mmio.pollSlice(0x24, 4, 0xffn, BigInt(value & 0xff), 1);
      assertEquals([matched, last], [true, BigInt(value)]);
    },
  },
  {
    name: "a part of the registers has the offsets of the whole",
    check({ machine, registers }): void {
      using mmio = machine.mapRegisters({ name: "part", path: registers, offset: 0x2004, sizeBytes: 8 });
      assertEquals([mmio.read32(0x2004), mmio.read32(0x2008)], [registerAt(0x2004), registerAt(0x2008)]);
      assert(mmio.firstOffset <= 0x2004 && mmio.endOffset >= 0x200c);
    },
  },
  {
    name: "an access that is not aligned or not inside is refused",
    check({ machine, registers }): void {
      using mmio = machine.mapRegisters({ name: "BAR0", path: registers, offset: 0, sizeBytes: REGISTER_BYTES });
      for (const offset of [-4, 1, 2, 0.5, REGISTER_BYTES, 2 ** 32, NaN]) {
        fails(() => mmio.read32(offset), "out-of-range");
      }
      fails(() => mmio.readBlock(REGISTER_BYTES - 4, 8, 4), "out-of-range");
    },
  },
  {
    name: "registers that are not there, or longer than the file, are an error that names the file",
    check({ machine, registers, folder }): void {
      const range = { name: "BAR0", offset: 0, sizeBytes: REGISTER_BYTES };
      const path = `${folder}/none/resource0`;
      assertEquals(fails(() => machine.mapRegisters({ ...range, path }), "absent", "not-recorded").path, path);
      fails(
        () => machine.mapRegisters({ ...range, path: registers, sizeBytes: 4 * REGISTER_BYTES }),
        "out-of-range",
        "io",
      );
    },
  },
  {
    name: "registers that were closed are refused",
    check({ machine, registers }): void {
      const mmio = machine.mapRegisters({ name: "BAR0", path: registers, offset: 0, sizeBytes: 64 });
      mmio[Symbol.dispose]();
      mmio[Symbol.dispose]();
      fails(() => mmio.read32(0), "closed");
    },
  },
  {
    name: "registers that are mapped to be written are written",
    check({ machine, registers }): void {
      using mmio = machine.mapWritableRegisters({ name: "BAR0", path: registers, offset: 0, sizeBytes: 4096 });
      mmio.write32(0x40, 0x1234_5678);
      mmio.write8(0x44, 0xab);
      assertEquals([mmio.read32(0x40), mmio.read8(0x44)], [0x1234_5678, 0xab]);
      assertEquals(mmio.read32(0x3c), registerAt(0x3c));
    },
  },
  {
    name: "what a path is, is told; null where nothing is",
    check({ machine, registers, folder }): void {
      const { files } = machine;
      assertEquals([files.status(folder)?.kind, files.status(registers)?.kind], ["directory", "file"]);
      assertEquals(files.status(registers)?.sizeBytes, BigInt(REGISTER_BYTES));
      assertEquals(files.status(`${folder}/none`), null);
      assertEquals(files.whyNotOpen(registers, false), null);
      assertEquals(files.whyNotOpen(`${folder}/none`, false)?.code, "absent");
      assertNotEquals(files.isDax(registers), true);
    },
  },
  {
    name: "memory is mapped zeroed, holds what is written to it, and is refused after it was closed",
    check({ machine }): void {
      const { memory } = machine;
      assert(memory.pageBytes >= 4096 && (memory.pageBytes & memory.pageBytes - 1) === 0);
      const mapped = memory.mapAnonymous(4 * memory.pageBytes, "base");
      assertEquals(mapped.sizeBytes, 4 * memory.pageBytes);
      assertEquals(mapped.bytes(8, 4), Uint8Array.of(0, 0, 0, 0));
      mapped.bytes(8, 4).set([1, 2, 3, 4]);
      mapped.flush(0, 64);
      assertEquals([...mapped.bytes(9, 2)], [2, 3]);
      fails(() => mapped.checkRange(mapped.sizeBytes - 1, 2), "out-of-range");
      mapped[Symbol.dispose]();
      fails(() => mapped.bytes(0, 1), "closed");
    },
  },
  {
    name: "a file is mapped, and what is written to it is in it",
    check({ machine, registers, folder }): void {
      using mapped = machine.memory.mapFile(registers, REGISTER_BYTES, { writable: true });
      mapped.bytes(4, 1)[0] = 0x77;
      mapped.sync();
      using again = machine.mapRegisters({ name: "again", path: registers, offset: 0, sizeBytes: 64 });
      assertEquals(again.read8(4), 0x77);
      fails(() => machine.memory.mapFile(`${folder}/none`, 4096), "absent");
    },
  },
  {
    name: "loops run on memory and count what they did",
    async check({ machine }): Promise<void> {
      const { loops, mapAnonymous, pageBytes } = machine.memory;
      using memory: MappedMemory = mapAnonymous(16 * pageBytes, "base");
      const whole: MemoryPart = { memory, offset: 0, sizeBytes: memory.sizeBytes };
      const half = { ...whole, sizeBytes: memory.sizeBytes / 2 };
      const chase = await loops.chase(whole, 64, 1n, () => {});
      const streams = [loops.stream("write", whole), loops.stream("copy", half, { ...half, offset: half.sizeBytes })];
      for (const loop of [chase, ...streams, loops.persistentWrites(whole, 64, "cache flush")]) {
        const { count, nanoseconds, cpuNanoseconds, systemNanoseconds } = await loop.slice(-1);
        assert(count > 0 && nanoseconds > 0 && cpuNanoseconds >= systemNanoseconds && systemNanoseconds >= 0);
      }
    },
  },
  {
    name: "random updates made twice leave the table as it was",
    async check({ machine }): Promise<void> {
      const { loops, mapAnonymous, pageBytes } = machine.memory;
      using memory: MappedMemory = mapAnonymous(16 * pageBytes, "base");
      const table: MemoryPart = { memory, offset: 0, sizeBytes: memory.sizeBytes };
      await loops.prepareTable(table);
      assertEquals(await loops.tableErrors(table), 0);
      assertEquals((await loops.updates(table, 1n, null).slice(5000, -1)).count, 5000);
      assert(await loops.tableErrors(table) > 0);
      assertEquals((await loops.updates(table, 1n, null).slice(5000, -1)).count, 5000);
      assertEquals(await loops.tableErrors(table), 0);
    },
  },
  {
    name: "an NVMe controller that is not there is absent, and what is none takes no command",
    async check({ machine, registers, folder }): Promise<void> {
      fails(() => machine.openNvmeAdmin(`${folder}/none`), "absent");
      const identify = Uint32Array.from({ length: 16 }, (_, i) => i === 0 ? 0x06 : i === 10 ? 1 : 0);
      await assertRejects(async () => {
        using file = machine.openNvmeAdmin(registers);
        await file.execute(identify, new Uint8Array(4096), null, 100);
      }, BusbarError);
    },
  },
  {
    name: "an accelerator that is not there is absent",
    check: ({ machine, folder }) => void fails(() => machine.openOradax(`${folder}/none`), "absent"),
  },
];

/** Makes a test of each point for one implementation. */
export function testMachine({ name, make, cannot }: MachineImplementation): void {
  for (const point of Object.keys(cannot)) {
    if (!POINTS.some((one) => one.name === point)) throw new Error(`${name}: there is no point '${point}'`);
  }
  for (const point of POINTS) {
    const reason = cannot[point.name];
    if (reason === undefined) {
      Deno.test(`${name}: ${point.name}`, async () => {
        using made = make();
        await point.check(made);
      });
    } else {
      Deno.test(`${name} cannot (${reason}): ${point.name}`, async () => {
        using made = make();
        const error = await assertRejects(async () => await point.check(made), Error);
        if (reason === KEEPS_NOTHING_OPEN) return;
        assert(error instanceof BusbarError, error.message);
        assertEquals(error.code, "unsupported");
        assert(error.message.includes(made.machine.name), error.message);
      });
    }
  }
}

/** For the one point whose failure is no error: memory that is never unmapped is not refused either. */
export const KEEPS_NOTHING_OPEN = "there is nothing to close";
