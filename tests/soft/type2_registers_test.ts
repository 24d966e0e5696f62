/** The register file of the software Type 2 GPU: every register by every width and alignment. */

import { assert, assertEquals } from "@std/assert";

import { SoftType2 } from "../../ffi/soft_type2.ts";
import { softType2Settings } from "../../src/type2/open.ts";
import { DATA_OFFSET, PROFILES, registerOffset, TYPE2_REGISTERS } from "../../src/type2/registers.ts";
import { withType2Libraries } from "./type2_device.ts";

withType2Libraries();

const WIDTHS = [1, 2, 4, 8] as const;

function open(settings: Record<string, string> = {}): SoftType2 {
  return SoftType2.open(
    "soft:type2",
    softType2Settings(new Map(Object.entries({ backend: "none", ...settings }))).settings,
  );
}

/** The register block byte by byte. */
function bytesOf(device: SoftType2): Uint8Array {
  return Uint8Array.from({ length: DATA_OFFSET }, (_, i) => Number(device.read(i, 1)));
}

Deno.test("a read of any width at any place gives those bytes", () => {
  using device = open();
  const bytes = bytesOf(device);
  for (const width of WIDTHS) {
    for (let offset = 0; offset + width <= DATA_OFFSET; offset++) {
      const wanted = bytes.subarray(offset, offset + width).reduceRight((sum, byte) => sum << 8n | BigInt(byte), 0n);
      assertEquals(device.read(offset, width), wanted, `${width} bytes at ${offset}`);
    }
  }
});

Deno.test("only PARAMs, SUBMIT and SESSION change by a write, of any width at any place", () => {
  using device = open();
  const writable = new Set<number>();
  for (const row of TYPE2_REGISTERS.rows) {
    if (row.type !== "uint" || row.access !== "RW") continue;
    for (let i = 0; i < row.sizeBytes; i++) writable.add(row.offset + i);
  }
  assertEquals(writable.size, 8 * 8 + 4 + 4);
  const fresh = bytesOf(device);
  for (const width of WIDTHS) {
    for (let offset = 0; offset + width <= DATA_OFFSET; offset++) {
      if (offset === registerOffset("CMD")) continue;
      device.write(offset, width, 0xa5a5_a5a5_a5a5_a5a5n);
      for (let at = offset; at < offset + width; at++) {
        assertEquals(
          device.read(at, 1),
          BigInt(writable.has(at) ? 0xa5 : fresh[at] ?? 0),
          `${width} bytes at ${offset}`,
        );
        if (writable.has(at)) device.write(at, 1, BigInt(fresh[at] ?? 0));
      }
    }
  }
});

Deno.test("a command begins only by a write at CMD itself, and takes its low 32 bits", () => {
  using device = open();
  const CMD = registerOffset("CMD"), STATUS = registerOffset("CMD_STATUS"), RESULT = registerOffset("CMD_RESULT");
  device.write(CMD - 4, 8, 0x02n << 32n);
  device.write(CMD + 1, 1, 2n);
  assertEquals(device.read(STATUS, 4), 0n);
  device.write(CMD, 8, 0xffff_ffff_0000_0002n);
  assertEquals([device.read(STATUS, 4), device.read(RESULT, 4), device.read(CMD, 4)], [3n, 0n, 0n]);
  device.write(CMD, 1, 0xff02n);
  assertEquals(device.read(RESULT, 4), 0n);
  device.write(CMD, 2, 0x0102n);
  assertEquals(device.read(RESULT, 4), 1n);
});

Deno.test("DATA ends where the generation says; an access past it reads 0 and changes nothing", () => {
  for (const profile of ["v1", "v2"] as const) {
    using device = open({ profile });
    const end = DATA_OFFSET + PROFILES[profile].dataBytes;
    for (const width of WIDTHS) {
      device.write(end - width, width, 0x1122_3344_5566_7788n);
      const kept = BigInt.asUintN(8 * width, 0x1122_3344_5566_7788n);
      assertEquals(device.read(end - width, width), kept);
      for (let past = end - width + 1; past < end + 9; past++) {
        device.write(past, width, 0xffff_ffff_ffff_ffffn);
        assertEquals(device.read(past, width), 0n, `${width} bytes at ${past}`);
      }
      assertEquals(device.read(end - width, width), kept);
    }
  }
});

Deno.test("a million random writes: STATUS stays what it is, nothing is thrown, the device still works", () => {
  using device = open({
    backend: "soft:cuda?memory=16MiB",
    bar4: String(1 << 20),
    dcd: String(64 << 20),
    gfam: "4",
    mhsld: "4",
  });
  let state = 12345;
  const random = (): number => state = Math.imul(state, 1664525) + 1013904223 >>> 0;
  const steps = 1_000_000;
  for (let i = 0; i < steps; i++) {
    const width = WIDTHS[random() >>> 30] ?? 1;
    const place = random() >>> 28;
    const offset = place < 6
      ? registerOffset("PARAM0") + random() % 64
      : place < 8
      ? registerOffset("CMD")
      : place < 12
      ? DATA_OFFSET + random() % 64
      : random() % 0x102000;
    device.write(
      offset,
      width,
      place < 8 ? BigInt(random() >>> (random() >>> 27)) : BigInt(random()) << 16n ^ BigInt(random()),
    );
    if (offset === registerOffset("CMD") && (random() & 3) === 0) device.write(registerOffset("SESSION"), 4, 0n);
  }
  assert((device.read(registerOffset("STATUS"), 4) & 1n) === 1n);
  device.write(registerOffset("SESSION"), 4, 0n);
  device.write(registerOffset("CMD"), 4, 6n);
  assertEquals(device.read(registerOffset("RESULT0"), 8), device.read(registerOffset("TOTAL_MEM"), 8));
});
