/** Copies of every awkward size over the shared file, by the client and by a program, with the commands that they should take. */

import { assertEquals } from "@std/assert";

import { GuestProgram } from "./type2_program.ts";
import { Served, withType2Libraries } from "./type2_device.ts";

withType2Libraries();

const MIB = 1 << 20;

/** Compares word by word: an assertion would print what differs, 1 GiB of it. */
function areEqual(a: Uint8Array<ArrayBuffer>, b: Uint8Array<ArrayBuffer>): boolean {
  if (a.length !== b.length) return false;
  const whole = a.length - a.length % 4;
  const [x, y] = [new Uint32Array(a.buffer, 0, whole / 4), new Uint32Array(b.buffer, 0, whole / 4)];
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return false;
  for (let i = whole; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function pattern(size: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + size, 2654435761);
  return new Uint8Array(words.buffer, 0, size);
}

/** The pieces that a copy is cut into: DATA by DATA, or as large as BAR4 takes below its pool. */
function piecesOf(profile: string, size: number, dataBytes: number): number {
  return Math.ceil(size / (profile === "v1" || size <= dataBytes ? dataBytes : 64 * MIB));
}

for (const [profile, dataBytes] of [["v1", 0xf000], ["v2", MIB]] as const) {
  const sizes = [dataBytes - 1, dataBytes, dataBytes + 1, 3 * dataBytes + 5, 64 * MIB, 64 * MIB + 1, 1024 * MIB];
  const settings = { profile, memory: String(1100 * MIB) };

  Deno.test(`copies up to 1 GiB by the client, ${profile}: equal, with as few commands as can be`, async () => {
    await using served = Served.start(settings, 256 * MIB);
    using gpu = served.open();
    await gpu.begin();
    for (const size of sizes) {
      const pointer = await gpu.allocate(size);
      const before = served.device.count();
      const bytes = pattern(size);
      await gpu.write(pointer, bytes);
      assertEquals(areEqual(await gpu.read(pointer, size), bytes), true, `${size} bytes`);
      assertEquals(served.device.count() - before, 2 * piecesOf(profile, size, dataBytes), `${size} bytes`);
      await gpu.free(pointer);
    }
    await gpu.end();
  });

  Deno.test(`copies up to 1 GiB by a program, ${profile}: equal, with as few commands as can be`, async () => {
    await using served = Served.start(settings, 256 * MIB);
    using program = await GuestProgram.build();
    const copies = (): number => [0x22, 0x23, 0x70, 0x71].reduce((sum, code) => sum + served.device.count(code), 0);
    for (const size of sizes) {
      const before = copies();
      const { code, output, errors } = await program.run(served.path, "copy", String(size));
      assertEquals({ code, output }, { code: 0, output: "equal\n" }, `${size} bytes: ${errors}`);
      assertEquals(copies() - before, 2 * piecesOf(profile, size, dataBytes), `${size} bytes`);
    }
  });
}
