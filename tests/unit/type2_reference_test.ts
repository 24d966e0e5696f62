/** The client against a device of the public code: a transcript of one, its quirks, and what cannot be done on it. */

import { assert, assertEquals, assertRejects } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { parsePtxKernels, type PtxKernel } from "../../src/gpu/ptx.ts";
import { Type2Gpu } from "../../src/type2/client.ts";
import { findQuirks, QUIRKS } from "../../src/type2/quirks.ts";
import { QuirkyReference, referenceTranscript, ReplayedReference } from "./type2_reference.ts";

const HEAD = ".version 6.0\n.target sm_52\n.address_size 64\n";
const PTX = `${HEAD}.visible .entry add(.param .u64 at, .param .u32 by)\n{\n  ret;\n}\n`;

Deno.test("the client works with a device of the public code, command for command, and falls back where it lacks some", async () => {
  const reference = new ReplayedReference(referenceTranscript());
  using gpu = new Type2Gpu(reference);
  assertEquals([gpu.generation.profile.name, gpu.generation.hasExtension], ["v2", false]);
  await gpu.begin();
  assertEquals(gpu.session, 0);
  assertEquals(await gpu.memory(), { freeBytes: 4n << 30n, totalBytes: 4n << 30n });
  assertEquals(gpu.info().name, "Virtual GPU (TMatmul)");
  const [one, two] = [await gpu.allocate(4096), await gpu.allocate(4096)];
  await gpu.write(one, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  await gpu.copy(two, one, 8);
  assertEquals([...await gpu.read(two, 8)], [1, 2, 3, 4, 5, 6, 7, 8]);
  await gpu.fill(one, 7, 16);
  assertEquals(await gpu.read(one, 16), new Uint8Array(16).fill(7));
  const module = await gpu.load(PTX);
  const add = await gpu.function(module, "add");
  // A second question takes a place of the device's 256: it is not asked.
  assertEquals(await gpu.function(module, "add"), add);
  await gpu.launch(add, { grid: [1, 1, 1], block: [32, 1, 1], sharedBytes: 0 }, [{ address: one }, 5]);
  await gpu.synchronize();
  assertEquals(await gpu.printed(), "");
  await gpu.unload(module);
  await gpu.free(two);
  await gpu.free(two);
  await gpu.end();
  assertEquals(reference.left, 0);
});

Deno.test("every quirk is seen on a device that has them all, and named once", async () => {
  using gpu = new Type2Gpu(new QuirkyReference(referenceTranscript()));
  assertEquals(await findQuirks(gpu), [...QUIRKS]);
  assertEquals(new Set(QUIRKS.map(({ name }) => name)).size, QUIRKS.length);
});

Deno.test("a device of the first generation behind a BAR2 of 128 MiB gets pieces of 60 KiB", async () => {
  const transcript = referenceTranscript();
  const reference = new QuirkyReference({ ...transcript, registers: { ...transcript.registers, CAPS: "0" } });
  assertEquals(reference.windowBytes, 128 << 20);
  using gpu = new Type2Gpu(reference);
  assertEquals(gpu.generation.profile.name, "v1");
  await gpu.write(0x100000n, new Uint8Array(3 * 0xf000 + 5));
  await gpu.read(0x100000n, 2 * 0xf000 + 1);
  assertEquals(
    reference.asked.map(({ params, data, readBytes }) => [params[0], data?.length ?? readBytes]),
    [[0x100000n, 0xf000], [0x10f000n, 0xf000], [0x11e000n, 0xf000], [0x12d000n, 5]].concat([
      [0x100000n, 0xf000],
      [0x10f000n, 0xf000],
      [0x11e000n, 1],
    ]),
  );
});

Deno.test("PTX longer than DATA, and more arguments than slots: refused with both sizes and a remedy, and nothing is sent", async () => {
  const reference = new ReplayedReference({ ...referenceTranscript(), exchanges: [] });
  using gpu = new Type2Gpu(reference);
  const long = await assertRejects(
    () => gpu.load(`${PTX}// ${"x".repeat(1 << 20)}`),
    BusbarError,
    "DATA takes 1048576",
  );
  assertEquals(long.code, "unsupported");
  assert(long.hint !== null);
  const kernel = { kernel: kernelWith(65), index: 0 };
  const shape = { grid: [1, 1, 1], block: [1, 1, 1], sharedBytes: 0 } as const;
  const many = await assertRejects(
    () => gpu.launch(kernel, shape, Array.from({ length: 65 }, () => 0n)),
    BusbarError,
    "takes 65 slots of arguments, and this device 64",
  );
  assert(many.hint !== null);
});

/** A kernel with so many parameters of 8 bytes, as the client reads it from PTX. */
function kernelWith(count: number): PtxKernel {
  const list = Array.from({ length: count }, (_, i) => `.param .u64 p${i}`).join(", ");
  const [kernel] = parsePtxKernels(`${HEAD}.visible .entry many(${list})\n{\n  ret;\n}\n`);
  assert(kernel !== undefined);
  return kernel;
}
