import { assert, assertEquals, assertThrows } from "@std/assert";

import { Mapping, pageSizeBytes } from "../../ffi/memory.ts";
import { BusbarError } from "../../src/core/error.ts";
import { withLibraries } from "./setup.ts";

withLibraries();

function withFile(sizeBytes: number, body: (path: string) => void): void {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, new Uint8Array(sizeBytes).map((_, i) => i % 251));
    body(path);
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("a file is mapped read-only by default, from an offset", () => {
  withFile(3 * 4096, (path) => {
    using mapping = Mapping.file(path, 4096, { offset: 4096n });
    const bytes = mapping.bytes();
    assertEquals(bytes[0], 4096 % 251);
    assertEquals(bytes[4095], 8191 % 251);
  });
});

Deno.test("what is written to a shared mapping is in the file after sync; a private one keeps it to itself", () => {
  withFile(4096, (path) => {
    {
      using mapping = Mapping.file(path, 4096, { writable: true });
      mapping.bytes()[7] = 99;
      mapping.sync();
      assertEquals(Deno.readFileSync(path)[7], 99);
    }
    {
      using mapping = Mapping.file(path, 4096, { writable: true, private: true });
      mapping.bytes()[7] = 55;
      assertEquals(Deno.readFileSync(path)[7], 99);
    }
  });
});

Deno.test("a file that is shorter than asked is refused: touching the rest would be SIGBUS", () => {
  withFile(4096, (path) => {
    const error = assertThrows(() => Mapping.file(path, 8192), BusbarError);
    assertEquals([error.code, error.path], ["out-of-range", path]);
    assertThrows(() => Mapping.file(path, 4096, { offset: 4096n }), BusbarError, "out of range");
  });
});

Deno.test("what cannot be mapped says why: absent, a folder, an offset inside a page, no size, no permission", () => {
  assertEquals(assertThrows(() => Mapping.file("/nonexistent/x", 4096), BusbarError).code, "absent");
  assertEquals(assertThrows(() => Mapping.file("/tmp", 4096), BusbarError).code, "usage");
  for (const size of [0, -1, 1.5, NaN, 2 ** 60]) {
    assertEquals(assertThrows(() => Mapping.anonymous(size), BusbarError).code, "out-of-range");
  }
  assertThrows(() => Mapping.file("a\0b", 4096), BusbarError, "NUL");
  withFile(8192, (path) => {
    assertThrows(() => Mapping.file(path, 4096, { offset: 12n }), BusbarError, "EINVAL");
  });
});

Deno.test("MAP_SYNC on a file without direct access is unsupported, not silently ignored", () => {
  withFile(4096, (path) => {
    const error = assertThrows(() => Mapping.file(path, 4096, { writable: true, sync: true }), BusbarError);
    assertEquals(error.code, "unsupported");
  });
});

Deno.test("a FIFO does not hang the caller", () => {
  const folder = Deno.makeTempDirSync();
  try {
    new Deno.Command("mkfifo", { args: [`${folder}/fifo`] }).outputSync();
    assertThrows(() => Mapping.file(`${folder}/fifo`, 4096), BusbarError);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("after dispose views are empty and calls are errors", () => {
  const mapping = Mapping.anonymous(8192);
  const view = mapping.bytes();
  assertEquals(view.length, 8192);
  mapping[Symbol.dispose]();
  mapping[Symbol.dispose]();
  assertEquals(view.length, 0);
  assertEquals(view[0], undefined);
  for (const use of [() => mapping.bytes(), () => mapping.sync(), () => mapping.flush(), () => mapping.pointer]) {
    assertEquals(assertThrows(use, BusbarError).code, "closed");
  }
});

Deno.test("cache lines of any range inside can be flushed, and none outside", () => {
  using mapping = Mapping.anonymous(8192);
  mapping.bytes().fill(1);
  mapping.flush();
  mapping.flush(1, 1);
  mapping.flush(8192, 0);
  assertThrows(() => mapping.flush(8000, 200), BusbarError, "outside");
  assertThrows(() => mapping.flush(-1, 1), BusbarError, "outside");
});

Deno.test("pages can be locked and unlocked, and locking past the limit says so", () => {
  using mapping = Mapping.anonymous(4096);
  mapping.lock();
  mapping.unlock();
});

const root = Deno.uid() === 0;

Deno.test(
  `physical addresses: one for each page, none for a page that is not in memory${root ? "" : " (not run: needs root)"}`,
  { ignore: !root },
  () => {
    const page = pageSizeBytes();
    using mapping = Mapping.anonymous(4 * page);
    mapping.bytes()[page] = 1;
    mapping.bytes()[3 * page] = 1;
    const pages = mapping.physicalPages();
    assertEquals(pages.length, 4);
    assertEquals([pages[0], pages[2]], [null, null]);
    assert(pages[1] !== null && pages[3] !== null && pages[1] !== pages[3]);
    assertEquals((pages[1] ?? 1n) % BigInt(page), 0n);
  },
);

Deno.test("physical addresses without privilege are a permission error, not zeros", async () => {
  // The kernel shows zeros to a process without CAP_SYS_ADMIN, which setpriv can take away.
  const script = `
    import { Mapping } from "${new URL("../../ffi/memory.ts", import.meta.url)}";
    using mapping = Mapping.anonymous(4096, { populate: true });
    try { mapping.physicalPages(); console.log("no error"); } catch (error) { console.log(error.code); }`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(file, script);
  const deno = [Deno.execPath(), "run", "-A", "--no-check", file];
  const [command = "", ...args] = root
    ? ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", ...deno]
    : deno;
  const output = await new Deno.Command(command, { args, stderr: "inherit" }).output();
  await Deno.remove(file);
  assertEquals(new TextDecoder().decode(output.stdout).trim(), "permission");
});

Deno.test("huge pages that are not reserved are refused with the file that reserves them", () => {
  const free = Deno.readTextFileSync("/proc/meminfo").match(/HugePages_Free:\s+(\d+)/)?.[1];
  if (free !== undefined && free !== "0") return;
  const error = assertThrows(() => Mapping.anonymous(2 ** 21, { pages: "2MiB" }), BusbarError);
  assert(error.hint?.includes("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), error.hint ?? "");
});
