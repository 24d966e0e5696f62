/** What is refused of a Type 2 GPU: each in one line, with what to do. */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";

import { Mapping } from "../../ffi/memory.ts";
import { MappedMmio } from "../../ffi/mmio.ts";
import { Deadline } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { Type2Gpu } from "../../src/type2/client.ts";
import { bar2Error, openType2, serveSharedFile, serveVfioUser } from "../../src/type2/open.ts";
import { MemoryTransport } from "../../src/type2/memory_transport.ts";
import { EXT_MAGIC, MAGIC, registerOffset } from "../../src/type2/registers.ts";
import type { Type2Transport } from "../../src/type2/transport.ts";
import { infoLines } from "../../tools/render/type2/info.ts";
import { Served, withType2Libraries } from "./type2_device.ts";

withType2Libraries();

/** One line that names the place, and a remedy. */
function isExplained(error: BusbarError, code: string, place: string, part: string, remedy: string): void {
  assertEquals(error.code, code, error.message);
  assertStringIncludes(error.message, place);
  assertStringIncludes(error.message, part);
  assert(!error.message.includes("\n"), error.message);
  assertStringIncludes(error.hint ?? "", remedy);
  assert(!(error.hint ?? "").includes("\n"), error.hint ?? "");
}

Deno.test("no such device: a file, a function, and a function that is another device", () => {
  const opened = (locator: string): BusbarError => assertThrows(() => openType2(locator), BusbarError);
  isExplained(opened("type2:/nowhere/gpu"), "absent", "/nowhere/gpu", "no such file", "cxl_gpu serve --file");
  isExplained(opened("9999:ff:1f.0"), "absent", "9999:ff:1f.0", "neither", "lspci -D");
  isExplained(opened("soft:nvme"), "usage", "soft:nvme", "cxl_gpu", "type2:PATH");
});

Deno.test("MAGIC of a file all ones, 0 or foreign, and a file that is too short", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/gpu`;
  const opened = (bytes: Uint8Array): BusbarError => {
    Deno.writeFileSync(path, bytes);
    return assertThrows(() => openType2(`type2:${path}`), BusbarError);
  };
  const size = 16 << 20;
  for (const fill of [0xff, 0, 0x42]) {
    const error = opened(new Uint8Array(size).fill(fill));
    isExplained(error, "malformed", path, "is no shared file of a Type 2 GPU", "cxl_gpu serve --file");
  }
  isExplained(opened(new Uint8Array(size - 1)), "malformed", path, `${size - 1} bytes`, "cxl_gpu serve --file");
  await Deno.remove(folder, { recursive: true });
});

/** A device by its registers; it runs nothing. */
function device(values: Readonly<Record<string, number>>, windowBytes: number): Type2Transport {
  const at = new Map(Object.entries(values).map(([name, value]) => [registerOffset(name), value]));
  return {
    name: "0000:01:00.0",
    kind: "trapped registers",
    windowBytes,
    bar4: null,
    read32: (offset) => at.get(offset) ?? 0,
    read64: (offset) => BigInt(at.get(offset) ?? 0),
    submit: () => Promise.reject(new Error("nothing is to be sent")),
    [Symbol.dispose]: () => {},
  };
}

Deno.test("registers that are no such device's: MAGIC all ones, 0 or foreign, BAR2 too small", () => {
  const opened = (magic: number, windowBytes: number): BusbarError =>
    assertThrows(() => new Type2Gpu(device({ MAGIC: magic }, windowBytes)), BusbarError);
  const name = "0000:01:00.0";
  isExplained(opened(0xffff_ffff, 0x10000), "unreachable", name, "all ones", "rescan");
  isExplained(opened(0, 0x10000), "unreachable", name, "MAGIC reads 0", "enable");
  isExplained(opened(0x12345678, 0x10000), "absent", name, "0x12345678", "another device");
  isExplained(opened(MAGIC, 0x8000), "unsupported", name, "BAR2 has 0x8000 bytes", "no Type 2 GPU");
});

Deno.test("a newer VERSION: info says so, and what is not of the first generation is refused with the reason", async () => {
  for (const windowBytes of [0x10000, 0x101000]) {
    using gpu = new Type2Gpu(device({ MAGIC, VERSION: 0x11300, CAPS: 0x1b }, windowBytes));
    assertEquals(gpu.generation.profile.name, "newer");
    assert(gpu.dataBytes < windowBytes);
    const line = infoLines(gpu).find((one) => one.startsWith("version"));
    assertStringIncludes(line ?? "", "0x00011300: newer than 0x00010000");
    const error = await assertRejects(() => gpu.command("BULK_HTOD", [0n, 0n, 8n]), BusbarError);
    isExplained(error, "unsupported", gpu.name, "has no BULK_HTOD", "newer busbar");
  }
});

Deno.test("registers that trap: each command says whose it is, and nothing is written to a device without sessions", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/registers`, size = 0x101000;
  for (const [magic, session] of [[EXT_MAGIC, 0], [0, 7]] as const) {
    // A file in the place of registers: a command that is done, and the session of a process that is gone.
    const words = new Uint32Array(size / 4);
    words[registerOffset("CMD_STATUS") / 4] = 3;
    words[registerOffset("EXT_MAGIC") / 4] = magic;
    words[registerOffset("SESSION") / 4] = 7;
    await Deno.writeFile(path, new Uint8Array(words.buffer));
    const mapping = Mapping.file(path, size, { writable: true });
    const registers = new MappedMmio("0000:01:00.0", mapping.registers, size);
    using transport = new MemoryTransport({
      name: "0000:01:00.0",
      registers,
      data: null,
      bar4: null,
      lock: { tryLock: () => true, unlock: () => {} },
      isShared: false,
      ring: null,
      release: () => {
        registers[Symbol.dispose]();
        mapping[Symbol.dispose]();
      },
    });
    await transport.submit({ code: 1, params: [], session: 0, data: null, readBytes: 0 }, Deadline.after(1000));
    assertEquals([transport.read32(registerOffset("CMD")), transport.read32(registerOffset("SESSION"))], [1, session]);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("who may not open a function is given the udev rule", () => {
  const path = "/sys/bus/pci/devices/0000:01:00.0/resource2";
  for (const [kind, id] of [["ivshmem", "0x1110"], ["cxl-type2", "0x0d92"]] as const) {
    const error = bar2Error(new Deno.errors.PermissionDenied("Permission denied (os error 13)"), path, kind);
    isExplained(error, "permission", path, "open BAR2", `ATTR{device}=="${id}"`);
  }
});

Deno.test("a file and a socket that another server has; a socket in a folder that others may enter", async () => {
  await using served = Served.start({ backend: "none" }, 16 << 20);
  const options = new Map([["backend", "none"]]);
  const again = assertThrows(() => serveSharedFile(options, { path: served.path, sizeBytes: 16 << 20 }), BusbarError);
  isExplained(again, "busy", served.path, "another server has this file", "end that server");
  const folder = await Deno.makeTempDir();
  {
    using _first = serveVfioUser(options, `${folder}/gpu`);
    const second = assertThrows(() => serveVfioUser(options, `${folder}/gpu`), BusbarError);
    isExplained(second, "busy", `${folder}/gpu`, "another server has this socket", "end that server");
  }
  await Deno.chmod(folder, 0o755);
  const open = assertThrows(() => serveVfioUser(options, `${folder}/gpu`), BusbarError);
  isExplained(open, "permission", `${folder}/gpu`, "mode 0700", "chmod 0700");
  await Deno.remove(folder);
});

Deno.test("memory that QEMU does not share: what is written there reaches no server, and that is said", async () => {
  await using served = Served.start({ backend: "none" }, 16 << 20);
  // A private mapping has the server's bytes of the start, and none that it writes later.
  const path = `${served.path}.private`;
  await Deno.copyFile(served.path, path);
  using gpu = openType2(`type2:${path}`);
  const error = await assertRejects(() => gpu.command("NOP"), BusbarError);
  isExplained(error, "device-gone", path, "silent for 1000 ms", "share=on");
});
