import { assert, assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { MemoryBackend, parseMemory } from "../../src/memory/backend.ts";
import { withLibraries } from "./setup.ts";

withLibraries();

function withFile(sizeBytes: number, body: (path: string) => void, folder?: string): void {
  const path = Deno.makeTempFileSync(folder === undefined ? {} : { dir: folder });
  try {
    Deno.truncateSync(path, sizeBytes);
    body(path);
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("a file: two openings see each other's stores, persist writes them, views are empty after close", () => {
  withFile(1 << 20, (path) => {
    const request = { backend: "mmap", resource: path } as const;
    using one = MemoryBackend.open(request);
    using two = MemoryBackend.open(request);
    assertEquals([one.kind, one.sizeBytes, one.persistence], ["file", 1 << 20, "msync"]);
    const view = one.bytes(5000, 3);
    view.set([7, 8, 9]);
    one.persist(5000, 3);
    assertEquals([...two.bytes(5000, 3)], [7, 8, 9]);
    assertEquals([...Deno.readFileSync(path).subarray(5000, 5003)], [7, 8, 9]);
    one[Symbol.dispose]();
    assertEquals([view.length, two.bytes().length], [0, 1 << 20]);
    assertEquals(assertThrows(() => one.bytes(), BusbarError).code, "closed");
  });
});

Deno.test("shared memory by name, anonymous memory and memory of a node are the same class", () => {
  withFile(1 << 20, (path) => {
    const name = path.slice("/dev/shm/".length);
    using shared = MemoryBackend.open(parseMemory(`ivshmem:${name}`, 0n));
    using again = MemoryBackend.open({ backend: "mmap", resource: path });
    shared.bytes()[12] = 34;
    assertEquals([shared.kind, shared.persistence, again.bytes()[12]], ["shared memory", "none", 34]);
  }, "/dev/shm");
  for (const word of ["anonymous", "numa:0"]) {
    using memory = MemoryBackend.open(parseMemory(word, 1n << 20n));
    memory.bytes().fill(1);
    memory.persist();
    memory.persist(1, 1);
    assertEquals([memory.name, memory.sizeBytes, memory.persistence], [word, 1 << 20, "none"]);
    assertThrows(() => memory.persist(1 << 20, 1), BusbarError, "outside");
    assertThrows(() => memory.bytes(-1, 1), BusbarError, "outside");
  }
});

Deno.test("a node that does not exist, or has less than is asked for, is refused before anything is touched", () => {
  const refused = (node: number, sizeBytes: bigint): BusbarError =>
    assertThrows(() => MemoryBackend.open({ backend: "numa", node, sizeBytes }), BusbarError);
  assertEquals([refused(999, 4096n).code, refused(0, 1n << 50n).code], ["absent", "out-of-range"]);
});

Deno.test("what cannot be opened fails before mmap, with a code and a hint", () => {
  withFile(0, (path) => {
    const table = [
      [{ backend: "mmap", resource: "/nonexistent/file" }, "absent"],
      [{ backend: "mmap", resource: "/tmp" }, "usage"],
      [{ backend: "mmap", resource: path }, "out-of-range"],
      [{ backend: "dax", resource: "/dev/zero" }, "usage"],
      [{ backend: "dax", resource: "/dev/dax77.0" }, "absent"],
    ] as const;
    for (const [request, code] of table) {
      const error = assertThrows(() => MemoryBackend.open(request), BusbarError);
      assertEquals(error.code, code);
      assert(error.hint !== null, `${request.resource} has no hint`);
    }
    Deno.truncateSync(path, 8192);
    const tooLarge = { backend: "mmap", resource: path, sizeBytes: 16384n } as const;
    assertEquals(assertThrows(() => MemoryBackend.open(tooLarge), BusbarError).code, "out-of-range");
    const shifted = { backend: "mmap", resource: path, offsetBytes: 12n, sizeBytes: 4096n } as const;
    assertEquals(assertThrows(() => MemoryBackend.open(shifted), BusbarError).code, "usage");
  });
});

Deno.test("words for memory: each backend, a path or address alone, and what names none", () => {
  const size = 4096n;
  assertEquals(parseMemory("/dev/dax0.0", size), { backend: "dax", resource: "/dev/dax0.0" });
  assertEquals(parseMemory("/tmp/x", size), { backend: "mmap", resource: "/tmp/x" });
  assertEquals(parseMemory("0000:00:04.0", size), { backend: "ivshmem", resource: "0000:00:04.0" });
  assertEquals(parseMemory("huge:1GiB", size), { backend: "huge", sizeBytes: size, pages: "1GiB" });
  assertEquals(parseMemory("numa:1", size), { backend: "numa", node: 1, sizeBytes: size });
  for (const word of ["", "numa", "numa:x", "numa:-1", "huge:4KiB", "dax:", "anonymous:1", "nothing"]) {
    assertEquals(assertThrows(() => parseMemory(word, size), BusbarError).code, "usage", word);
  }
});
