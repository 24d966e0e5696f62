import { assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { environmentOf } from "../../src/memory/bench_environment.ts";
import { limitSize, refuseUsedMemory } from "../../src/memory/bench_guard.ts";
import type { Files } from "../../src/core/files.ts";
import { daxMachine } from "./dax_machines.ts";
import { MadeUpMachine } from "./machines.ts";

Deno.test("what measurements depend on is read where it is told, and null where not", () => {
  const machine = new MadeUpMachine()
    .file("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Example 9000\nflags\t\t: fpu hypervisor sse2\n")
    .file("/sys/devices/system/cpu/online", "0-63\n")
    .file("/sys/devices/system/cpu/cpu0/cache/index3/level", "3\n")
    .file("/sys/devices/system/cpu/cpu0/cache/index3/size", "32768K\n")
    .file("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size [never] deny\n");
  assertEquals(environmentOf(machine), {
    processor: "Example 9000",
    cpus: "0-63",
    isVirtual: true,
    kernel: null,
    nodes: null,
    hugePages: "never",
    governor: null,
    largestCache: "L3 32768K",
    caches: [{ name: "L3", sizeBytes: 32 << 20 }],
  });
  const { caches, ...rest } = environmentOf(new MadeUpMachine());
  assertEquals([caches, new Set(Object.values(rest))], [[], new Set([null])]);
});

const files: Files = {
  status: (path) => {
    if (path !== "/dev/dax0.0") return null;
    return { kind: "character device", sizeBytes: 0n, mode: 0o600, uid: 0, gid: 0, onDevice: "0:6", device: "252:1" };
  },
  whyNotOpen: () => null,
  isDax: () => null,
};

Deno.test("a dax device is measured only when its contents may be lost, and not while a process has it", () => {
  const request = { backend: "dax", resource: "/dev/dax0.0" } as const;
  const host = daxMachine();
  const refused = (mayWrite: boolean): string =>
    assertThrows(() => refuseUsedMemory({ host, files }, request, mayWrite), BusbarError).code;
  assertEquals(refused(false), "usage");
  refuseUsedMemory({ host, files }, request, true);
  refuseUsedMemory({ host, files }, { backend: "mmap", resource: "/tmp/new" }, false);
  refuseUsedMemory({ host, files }, { backend: "anonymous", sizeBytes: 1n }, false);
  host.file("/proc/812/comm", "tigon\n").link("/proc/812/fd/5", "/dev/dax0.0");
  assertEquals([refused(true), refused(false)], ["busy", "busy"]);
});

Deno.test("what is larger than asked is cut, in whole units of its alignment; what is smaller stays", () => {
  const cut = (sizeBytes: bigint): unknown =>
    limitSize({ host: daxMachine(), files }, { backend: "dax", resource: "/dev/dax0.0" }, sizeBytes);
  const mib = 1n << 20n;
  assertEquals(cut(5n * mib), { backend: "dax", resource: "/dev/dax0.0", sizeBytes: 4n * mib });
  assertEquals(cut(1n << 40n), { backend: "dax", resource: "/dev/dax0.0", sizeBytes: 250n * mib });
  assertEquals(cut(4096n), { backend: "dax", resource: "/dev/dax0.0", sizeBytes: 2n * mib });
});
