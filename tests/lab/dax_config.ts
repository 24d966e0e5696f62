/**
 * `dax_config` and memory backends on real devdax, fsdax, files and shared memory; ndctl, daxctl and the kernel's own
 * refusals say what is right. The guide's troubleshooting section, each case as a test.
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";

import { Mapping } from "../../ffi/memory.ts";
import { BusbarError } from "../../src/core/error.ts";
import { thisMachine } from "../../src/core/host.ts";
import { MemoryBackend, parseMemory } from "../../src/memory/backend.ts";
import { examineProcess } from "../../src/memory/evidence.ts";
import { localFiles } from "../../ffi/files.ts";
import { firstError, inspectResource } from "../../src/memory/resource.ts";
import type { BackendName } from "../../src/memory/settings.ts";
import type { Lab } from "./lab.ts";
import { output, shell } from "./programs.ts";

const TOOL = new URL("../../tools/dax_config.ts", import.meta.url).pathname;
const MEMBENCH = new URL("../../tools/membench.ts", import.meta.url).pathname;
const DENO = ["--cached-only", "--no-check", "--frozen"];

interface ToolResult {
  readonly code: number;
  readonly text: string;
  // deno-lint-ignore no-explicit-any
  readonly json: any;
}

/** Runs `dax_config … --json`. */
async function daxConfig(...args: string[]): Promise<ToolResult> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...DENO, TOOL, ...args, "--json"],
    env: { CXL_BACKEND: "", CXL_MEMORY_RESOURCE: "" },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert(stdout.length > 0, text);
  return { code, text, json: JSON.parse(new TextDecoder().decode(stdout)) };
}

interface Checked {
  readonly kind: string;
  readonly isUsable: boolean;
  readonly results: Readonly<Record<string, string>>;
  readonly text: string;
}

/** What `dax_config check` says, without the second that a new process takes here. */
function check(backend: BackendName, resource: string): Checked {
  const found = inspectResource(thisMachine, localFiles, { backend, resource });
  const results = Object.fromEntries(found.findings.map(({ name, result }) => [name, result]));
  const text = found.findings.map(({ text, remedy }) => `${text}\n${remedy}`).join("\n");
  return { kind: found.kind, isUsable: firstError(found) === null, results, text };
}

/** Starts a Python program that maps a file, touches it, says so, and waits. */
async function mapper(path: string, sizeBytes: number, name: string, isPrivate = false): Promise<Deno.ChildProcess> {
  const program = `import mmap, os, sys
open("/proc/self/comm", "w").write("${name}")
fd = os.open("${path}", os.O_RDWR)
memory = mmap.mmap(fd, ${sizeBytes}, flags=mmap.${isPrivate ? "MAP_PRIVATE" : "MAP_SHARED"})
memory[0:5] = b"hello"
print("mapped", flush=True)
sys.stdin.read()`;
  const child = new Deno.Command("/usr/bin/python3", { args: ["-c", program], stdin: "piped", stdout: "piped" })
    .spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  return child;
}

async function end(child: Deno.ChildProcess): Promise<void> {
  await child.stdin.close();
  await child.status;
}

/** Registers the tests. They build on one another in this order. */
export function daxConfigTests(lab: Lab): void {
  lab.test("trouble: device not found: the namespaces that there are, and the command that makes one", async () => {
    const { code, json } = await daxConfig("check", "--backend", "dax", "--resource", "/dev/dax0.0");
    assertEquals(code, 1);
    const [finding] = json.resource.findings;
    assertEquals(finding.result, "bad");
    assertStringIncludes(finding.text, "no such dax device; this machine has no dax device");
    const command = /(ndctl create-namespace .*?-m devdax)/.exec(finding.remedy)?.[1] ?? "";
    // The remedy is not only text: it is the command that makes the device.
    const made = JSON.parse(await output(...(command.split(" ") as [string]), "-a", "2M"));
    assertEquals(made.mode, "devdax");
    assertEquals((await Deno.stat("/dev/dax0.0")).isCharDevice, true);
  });

  lab.test("devdax: size, alignment, mode and node are those that daxctl and ndctl list", async () => {
    const [listed] = JSON.parse(await output("daxctl", "list"));
    const namespaces: { dev: string; mode: string }[] = JSON.parse(await output("ndctl", "list", "-N"));
    const { json } = await daxConfig("show");
    const [device] = json.devices;
    assertEquals([device.name, Number(device.sizeBytes), Number(device.alignBytes), device.mode, device.targetNode], [
      listed.chardev,
      listed.size,
      listed.align,
      listed.mode,
      listed.target_node,
    ]);
    assertEquals(device.source, namespaces.find(({ mode }) => mode === "devdax")?.dev);
    const verdict = check("dax", "/dev/dax0.0");
    assertEquals([verdict.isUsable, verdict.kind, verdict.results["direct access"]], [true, "devdax", "good"]);
  });

  lab.test("trouble: EINVAL: what check calls misaligned or too large, mmap refuses; what it calls good, mmap maps", () => {
    const align = 2 << 20;
    for (const [size, offset] of [[4096, 0], [align + 4096, 0], [align, 4096]] as const) {
      const request = {
        backend: "dax",
        resource: "/dev/dax0.0",
        sizeBytes: BigInt(size),
        offsetBytes: BigInt(offset),
      } as const;
      const error = assertThrows(() => MemoryBackend.open(request), BusbarError);
      assertStringIncludes(error.message, "no multiple of 2 MiB");
      assertThrows(
        () => Mapping.file("/dev/dax0.0", size, { offset: BigInt(offset), writable: true }),
        BusbarError,
        "EINVAL",
      );
    }
    assertThrows(() => Mapping.file("/dev/dax0.0", align, { private: true }), BusbarError, "EINVAL");
    const tooLarge = { backend: "dax", resource: "/dev/dax0.0", sizeBytes: 1n << 30n } as const;
    assertEquals(assertThrows(() => MemoryBackend.open(tooLarge), BusbarError).code, "out-of-range");
    using memory = MemoryBackend.open({ backend: "dax", resource: "/dev/dax0.0", sizeBytes: BigInt(align) });
    assertEquals([memory.sizeBytes, memory.persistence], [align, "cache flush"]);
  });

  lab.test("what one writes to devdax and persists, another opening reads; views are empty after close", () => {
    const request = parseMemory("/dev/dax0.0", 0n);
    let view: Uint8Array;
    {
      using memory = MemoryBackend.open(request);
      assertEquals(memory.sizeBytes, 250 << 20);
      view = memory.bytes(4096, 4);
      view.set([0xde, 0xad, 0xbe, 0xef]);
      memory.persist(4096, 4);
    }
    assertEquals(view.length, 0);
    using again = MemoryBackend.open(request);
    assertEquals(again.bytes(4096, 4).toHex(), "deadbeef");
    again[Symbol.dispose]();
    assertEquals(assertThrows(() => again.bytes(), BusbarError).code, "closed");
    assertEquals(assertThrows(() => again.persist(), BusbarError).code, "closed");
  });

  const permission = "trouble: permission: who may not is told owner, mode and what to do";
  lab.test(permission, async () => {
    // Root without the right to ignore permissions, on a device that is somebody else's.
    const capabilities = "-dac_override,-dac_read_search";
    await Deno.chown("/dev/dax0.0", 1234, 1234);
    await Deno.chmod("/dev/dax0.0", 0o600);
    const refused = await shell(
      `setpriv --bounding-set=${capabilities} --inh-caps=${capabilities} ${Deno.execPath()} run -A ${DENO.join(" ")} ` +
        `${TOOL} check --resource /dev/dax0.0 2>&1 || true`,
    );
    assertMatch(
      refused,
      /bad +access: this user may not write \/dev\/dax0\.0: it belongs to user 1234, group 1234, mode 0600/,
    );
    assertStringIncludes(refused, "udev rule");
  });

  lab.test("trouble: raw pmem: a mapping goes through the page cache, and the dax backend refuses it", async () => {
    await output("ndctl", "create-namespace", "-f", "-e", "namespace1.0", "-m", "fsdax");
    const mmap = check("mmap", "/dev/pmem1");
    assertEquals([mmap.isUsable, mmap.kind, mmap.results["direct access"]], [true, "block device", "limited"]);
    const dax = check("dax", "/dev/pmem1");
    assertEquals([dax.isUsable, dax.results["direct access"]], [false, "bad"]);
    assertStringIncludes(dax.text, "-m devdax");
    using memory = MemoryBackend.open({ backend: "mmap", resource: "/dev/pmem1", sizeBytes: 1n << 20n });
    assertEquals(memory.persistence, "msync");
  });

  const makers = [["ext4", "mkfs.ext4 -q -F -b 4096"], ["xfs", "mkfs.xfs --unsupported -q -f -m reflink=0"]] as const;
  for (const [type, make] of makers) {
    lab.test(`fsdax on ${type}: direct access with -o dax, page cache without; MAP_SYNC agrees`, async () => {
      const [device, point, file] = ["/dev/pmem1", "/mnt/pmem", "/mnt/pmem/file"];
      await shell(`${make} ${device}; mkdir -p ${point}; mount -o dax ${device} ${point}; truncate -s 8M ${file}`);
      const dax = check("dax", file);
      assertEquals([dax.isUsable, dax.kind, dax.results["direct access"]], [true, "fsdax", "good"], dax.text);
      {
        using memory = MemoryBackend.open({ backend: "dax", resource: file });
        assertEquals(memory.persistence, "cache flush");
        memory.bytes(0, 5).set(new TextEncoder().encode("hello"));
        memory.persist(0, 5);
      }
      assertEquals(new TextDecoder().decode((await Deno.readFile(file)).subarray(0, 5)), "hello");
      await shell(`umount ${point}; mount -o dax=never ${device} ${point}`);
      const cached = check("dax", file);
      assertEquals(
        [cached.isUsable, cached.kind, cached.results["direct access"]],
        [false, "file", "bad"],
        cached.text,
      );
      assertThrows(() => Mapping.file(file, 4096, { writable: true, sync: true }), BusbarError, "EOPNOTSUPP");
      await shell(`umount ${point}`);
    });
  }

  lab.test(
    "a process that maps DAX is told from one that maps page cache, shared memory, or a private copy",
    async () => {
      await shell("mount -o dax /dev/pmem1 /mnt/pmem; truncate -s 4M /tmp/plain /dev/shm/SS");
      const cases: readonly [string, string, string, string][] = [
        ["/dev/dax0.0", "maps_devdax", "yes", "devdax"],
        ["/mnt/pmem/file", "maps_fsdax", "yes", "fsdax"],
        ["/tmp/plain", "maps_file", "no", "page cache"],
        ["/dev/shm/SS", "maps_shm", "no", "shared memory"],
      ];
      for (const [path, name, verdict, kind] of cases) {
        const child = await mapper(path, 4 << 20, name);
        try {
          const process = examineProcess(thisMachine, localFiles, child.pid);
          const mapping = process.mappings.find((one) => one.path === path);
          assertEquals([process.command, process.verdict, mapping?.kind], [name, verdict, kind]);
          if (kind !== "devdax") continue;
          assertEquals([process.daxBytes, mapping?.kernelPageBytes], [4n << 20n, 2n << 20n]);
          const { code, json } = await daxConfig("check", "--comm", name);
          assertEquals([code, json.processes[0].pid, json.processes[0].daxBytes], [0, child.pid, "4194304"]);
        } finally {
          await end(child);
        }
      }
      const copy = await mapper("/mnt/pmem/file", 4 << 20, "maps_private", true);
      try {
        assertEquals(examineProcess(thisMachine, localFiles, copy.pid).verdict, "no");
      } finally {
        await end(copy);
      }
      await shell("umount /mnt/pmem");
    },
    { timeoutMs: 120_000 },
  );

  lab.test("plain file and shared memory: usable, and no direct access", () => {
    const file = check("mmap", "/tmp/plain");
    assertEquals([file.isUsable, file.results["direct access"]], [true, "limited"]);
    const shm = check("ivshmem", "SS");
    assertEquals([shm.isUsable, shm.kind], [true, "shared memory"]);
    const refused = check("dax", "/tmp/plain");
    assertEquals([refused.isUsable, refused.results["direct access"]], [false, "bad"]);
  });

  lab.test("memory of a node: a node that does not exist, and more than it has, are refused before the kernel acts", () => {
    const open = (node: number, sizeBytes: bigint): BusbarError =>
      assertThrows(() => MemoryBackend.open({ backend: "numa", node, sizeBytes }), BusbarError);
    assertEquals(open(7, 4096n).code, "absent");
    assertEquals(open(0, 1n << 40n).code, "out-of-range");
    using memory = MemoryBackend.open({ backend: "numa", node: 0, sizeBytes: 1n << 20n });
    memory.bytes().fill(1);
    const bound = Deno.readTextFileSync("/proc/self/numa_maps").split("\n").filter((line) => line.includes(" bind:0 "));
    assertEquals(bound.some((line) => line.includes("N0=256")), true, bound.join("\n"));
  });

  lab.test("huge pages: refused while none are reserved, mapped when they are", async () => {
    await Deno.writeTextFile("/proc/sys/vm/nr_hugepages", "0");
    const request = parseMemory("huge", 4n << 20n);
    assertStringIncludes(assertThrows(() => MemoryBackend.open(request), BusbarError).hint ?? "", "nr_hugepages");
    await Deno.writeTextFile("/proc/sys/vm/nr_hugepages", "4");
    using memory = MemoryBackend.open(request);
    memory.bytes().fill(1);
    assertMatch(await Deno.readTextFile("/proc/meminfo"), /HugePages_Free: +2$/m);
  });
}

/** Registers the test of the guide's comparison table; ivshmem's memory decoding is on. */
export function comparisonTest(lab: Lab, ivshmem: string): void {
  lab.test(
    "the guide's comparison table: latency, throughput and CPU of ivshmem, a file and DAX, from one command",
    async () => {
      await shell(`echo 1 >/sys/bus/pci/devices/${ivshmem}/enable
        [ -e /dev/dax0.0 ] || ndctl create-namespace -f -e namespace0.0 -m devdax`);
      const memories = [ivshmem, "mmap:/tmp/cxl_memory", "/dev/dax0.0"];
      const how = ["--size", "4MiB", "--duration", "100ms", "--only", "latency,bandwidth,durable", "--write"];
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", ...DENO, MEMBENCH, ...memories, ...how],
      }).output();
      const text = new TextDecoder().decode(stdout);
      assertEquals(code, 0, new TextDecoder().decode(stderr));
      for (
        const row of [
          /^latency +(\d\S*) ns +(\S+) ns +(\S+) ns$/m,
          /^throughput \(copy\) +(\S+) GB\/s +(\S+) GB\/s +(\S+) GB\/s$/m,
        ]
      ) {
        assert(row.exec(text)?.slice(1).every((value) => Number(value) > 0), text);
      }
      assertMatch(text, /^CPU of copy( +\d+ %){3}$/m);
      assertMatch(text, /^made durable by +none +msync +cache flush$/m);
    },
    { timeoutMs: 180_000 },
  );
}

/** Registers the tests that give dax0.0 to the kernel. They come last: nothing gives it back. */
export function systemRamTests(lab: Lab): void {
  lab.test("trouble: the driver is kmem: refused, with the node and both ways out; daxctl says the same", async () => {
    await output("daxctl", "reconfigure-device", "-m", "system-ram", "--force", "dax0.0");
    const [listed] = JSON.parse(await output("daxctl", "list"));
    const { json } = await daxConfig("show");
    assertEquals([listed.mode, json.devices[0].mode], ["system-ram", "system-ram"]);
    const verdict = check("dax", "/dev/dax0.0");
    assertEquals([verdict.isUsable, verdict.results.driver], [false, "bad"]);
    assertStringIncludes(verdict.text, "system RAM of node 0");
    const error = assertThrows(() => MemoryBackend.open(parseMemory("/dev/dax0.0", 0n)), BusbarError);
    assertEquals(error.code, "busy");
    assertThrows(() => Mapping.file("/dev/dax0.0", 2 << 20, { writable: true }), BusbarError);
  });
}
