import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";

import { BusbarError, errnoError } from "../../src/core/error.ts";
import { examineProcess, parseMappings, processesNamed, readLog } from "../../src/memory/evidence.ts";
import type { FileKind, Files, FileStatus } from "../../src/core/files.ts";
import { daxOption, mountOf, readMounts } from "../../src/memory/mounts.ts";
import { firstError, inspectResource, type MemoryResource, resourcePath } from "../../src/memory/resource.ts";
import { parseMemorySize } from "../../src/core/units.ts";
import type { BackendName } from "../../src/memory/settings.ts";
import { stripAnsiCode } from "@std/fmt/colors";
import { logLines } from "../../tools/render/memory/dax_config.ts";
import { daxMachine, makeSystemRam } from "./dax_machines.ts";
import { MadeUpMachine } from "./machines.ts";
import { Random } from "./random.ts";

/** Made-up files: kind, size, device, and what the kernel says about direct access. */
class MadeUpFiles implements Files {
  readonly #status = new Map<string, FileStatus>();
  readonly #dax = new Map<string, boolean | null>();
  readonly denied = new Set<string>();

  add(path: string, kind: FileKind, sizeBytes: bigint, device: string, isDax: boolean | null = false): this {
    this.#status.set(path, { kind, sizeBytes, mode: 0o600, uid: 0, gid: 6, onDevice: device, device });
    this.#dax.set(path, isDax);
    return this;
  }

  status(path: string): FileStatus | null {
    return this.#status.get(path) ?? null;
  }

  whyNotOpen(path: string): BusbarError | null {
    return this.denied.has(path) ? errnoError(13, "open", { path }) : null;
  }

  isDax(path: string): boolean | null {
    return this.#dax.get(path.replace(/^\/proc\/\d+\/root/, "")) ?? null;
  }
}

const MOUNTS = `33 1 0:30 / / rw,relatime - overlay overlay rw
44 33 259:0 / /mnt/pmem rw,relatime - ext4 /dev/pmem1 rw,dax=always
45 33 8:1 / /data rw - xfs /dev/sda1 rw,dax=inode
46 33 0:40 / /dev/shm rw - tmpfs tmpfs rw
47 44 8:2 / /mnt/pmem/with\\040blank rw - ext4 /dev/sdb rw
`;

function files(): MadeUpFiles {
  return new MadeUpFiles()
    .add("/dev/dax0.0", "character device", 0n, "252:1")
    .add("/dev/null", "character device", 0n, "1:3")
    .add("/dev/pmem1", "block device", 0n, "259:0")
    .add("/mnt/pmem/f", "file", 64n << 20n, "259:0", true)
    .add("/data/f", "file", 64n << 20n, "8:1", false)
    .add("/data/empty", "file", 0n, "8:1")
    .add("/data", "directory", 4096n, "8:1")
    .add("/data/fifo", "FIFO", 0n, "8:1")
    .add("/dev/shm/SS", "file", 1n << 20n, "0:40");
}

function machine(): MadeUpMachine {
  return daxMachine().file("/proc/self/mountinfo", MOUNTS)
    .file("/sys/class/block/pmem1/dev", "259:0\n").file("/sys/class/block/pmem1/size", "512000\n");
}

interface Wanted {
  readonly sizeBytes?: bigint;
  readonly offsetBytes?: bigint;
}

function inspect(
  backend: BackendName,
  resource: string,
  wanted: Wanted = {},
  host = machine(),
  over = files(),
): MemoryResource {
  return inspectResource(host, over, { backend, resource, ...wanted });
}

/** `code: message` of the error that an open would fail with; `ok` where it would not. */
function outcome(resource: MemoryResource): string {
  const error = firstError(resource);
  return error === null ? "ok" : `${error.code}: ${error.message}`;
}

Deno.test("what the resource is, and whether the backend can use it", () => {
  const table: readonly [BackendName, string, MemoryResource["kind"], string][] = [
    ["dax", "/dev/dax0.0", "devdax", "ok"],
    ["mmap", "/dev/dax0.0", "devdax", "ok"],
    ["dax", "/mnt/pmem/f", "fsdax", "ok"],
    ["mmap", "/data/f", "file", "ok"],
    [
      "dax",
      "/data/f",
      "file",
      "unsupported: /data/f goes through the page cache: its file system gives no direct access",
    ],
    ["ivshmem", "SS", "shared memory", "ok"],
    [
      "dax",
      "/dev/shm/SS",
      "shared memory",
      "unsupported: /dev/shm/SS is shared memory (tmpfs): ordinary RAM, not direct access",
    ],
    ["mmap", "/dev/pmem1", "block device", "ok"],
    [
      "dax",
      "/dev/pmem1",
      "block device",
      "unsupported: a mapping of /dev/pmem1 goes through the page cache: a block device itself gives no direct access",
    ],
    ["dax", "/dev/null", "none", "usage: /dev/null is a character device, and none of the kernel's dax devices"],
    ["mmap", "/data", "none", "usage: /data is a directory, and memory is a file or device"],
    ["mmap", "/data/fifo", "none", "usage: /data/fifo is a FIFO, and memory is a file or device"],
    ["mmap", "/data/empty", "file", "out-of-range: /data/empty is empty"],
    ["mmap", "/data/none", "none", "absent: /data/none does not exist"],
    ["dax", "/dev/dax3.0", "none", "absent: /dev/dax3.0: no such dax device; there is /dev/dax0.0"],
  ];
  for (const [backend, resource, kind, expected] of table) {
    const found = inspect(backend, resource);
    assertEquals([found.kind, outcome(found)], [kind, expected], `${backend} ${resource}`);
    const bad = found.findings.filter(({ result }) => result === "bad");
    assertEquals(
      bad.every(({ remedy, name }) => remedy !== null || name === "resource"),
      true,
      "a remedy for every bad one",
    );
  }
});

Deno.test("size and offset against the device: rounding is offered, the device's end is respected", () => {
  const mib = 1n << 20n;
  const table: readonly [Wanted, string][] = [
    [{}, "ok"],
    [{ sizeBytes: 250n * mib }, "ok"],
    [{ sizeBytes: 248n * mib, offsetBytes: 2n * mib }, "ok"],
    [{ sizeBytes: 252n * mib }, "out-of-range: 252 MiB were asked for, and /dev/dax0.0 has 250 MiB"],
    [
      { sizeBytes: 250n * mib, offsetBytes: 2n * mib },
      "out-of-range: 250 MiB at 2 MiB were asked for, and /dev/dax0.0 has 250 MiB",
    ],
    [
      { sizeBytes: 3n * mib },
      "usage: size 3145728 is no multiple of 2 MiB, and mmap of /dev/dax0.0 would fail with EINVAL",
    ],
    [
      { sizeBytes: 2n * mib, offsetBytes: 4096n },
      "usage: offset 4096 is no multiple of 2 MiB, and mmap of /dev/dax0.0 would fail with EINVAL",
    ],
    [{ sizeBytes: 0n }, "out-of-range: 0 bytes at 0 are no part of /dev/dax0.0"],
    [{ sizeBytes: -1n }, "out-of-range: -1 bytes at 0 are no part of /dev/dax0.0"],
    [{ offsetBytes: 250n * mib }, "out-of-range: 0 bytes at 262144000 are no part of /dev/dax0.0"],
  ];
  for (const [wanted, expected] of table) assertEquals(outcome(inspect("dax", "/dev/dax0.0", wanted)), expected);
  const hint = firstError(inspect("dax", "/dev/dax0.0", { sizeBytes: 3n * mib }))?.hint ?? "";
  assertStringIncludes(hint, "--size 2097152B is a multiple");
  const remedies: readonly [Wanted, string | null][] = [
    [{ sizeBytes: 252n * mib }, `--size ${250n * mib}B is the most`],
    [{ sizeBytes: 251n * mib, offsetBytes: 2n * mib }, `--size ${248n * mib}B is the most`],
    [{ sizeBytes: 1n }, "--size 2097152B is a multiple"],
    [{ offsetBytes: 1000n * mib }, `--offset ${248n * mib}B is the highest`],
    [{ sizeBytes: 2n * mib, offsetBytes: 249n * mib }, `--offset ${248n * mib}B is a multiple`],
  ];
  for (const [wanted, expected] of remedies) {
    assertStringIncludes(firstError(inspect("dax", "/dev/dax0.0", wanted))?.hint ?? "null", expected ?? "null");
  }
});

Deno.test("every size and offset that a remedy names is accepted", () => {
  const source = new Random("sizes and offsets");
  const random = (below: number): number => source.below(below);
  const sizes = [0n, 1n, 4096n, 5000n, 2n << 20n, 3n << 20n, 250n << 20n, 251n << 20n, 1n << 40n];
  const pick = (): bigint => (sizes[random(sizes.length)] ?? 0n) + BigInt(random(3) - 1) * BigInt(random(2));
  let named = 0;
  for (let i = 0; i < 3000; i++) {
    const wanted: { sizeBytes?: bigint; offsetBytes?: bigint } = {};
    if (random(4) > 0) wanted.sizeBytes = pick();
    if (random(2) > 0) wanted.offsetBytes = pick();
    const before = JSON.stringify([wanted.sizeBytes?.toString(), wanted.offsetBytes?.toString()]);
    // What is named may be one of several mistakes: each remedy is followed until nothing is named any more.
    let error = firstError(inspect("dax", "/dev/dax0.0", wanted));
    for (let step = 0; step < 3 && error !== null; step++) {
      const [, option, value] = /--(size|offset) (\d+)B/.exec(error.hint ?? "") ?? [];
      if (value === undefined) break;
      named++;
      wanted[option === "size" ? "sizeBytes" : "offsetBytes"] = BigInt(value);
      error = firstError(inspect("dax", "/dev/dax0.0", wanted));
    }
    if (wanted.sizeBytes === undefined || wanted.sizeBytes > 0n) {
      assertEquals(error?.message ?? null, null, `${before} became ${wanted.sizeBytes} at ${wanted.offsetBytes}`);
    }
  }
  assert(named > 1000);
});

Deno.test("no remedy remounts with dax, makes a file named as a device, or truncates a device", () => {
  const host = machine().file("/proc/self/mountinfo", MOUNTS.replace("rw,dax=always", "rw"));
  const plain = files().add("/mnt/pmem/f", "file", 64n << 20n, "259:0", false);
  const remedyOf = (backend: BackendName, resource: string): string =>
    inspectResource(host, plain, { backend, resource }).findings.map(({ remedy }) => remedy ?? "").join("; ");
  assertStringIncludes(remedyOf("dax", "/mnt/pmem/f"), "umount /mnt/pmem; mount -o dax /dev/pmem1 /mnt/pmem");
  const onDisk = remedyOf("dax", "/data/f");
  assertStringIncludes(onDisk, "/dev/sda1 is no persistent memory");
  assertStringIncludes(
    remedyOf("mmap", "/dev/pmem1"),
    "mkfs.ext4 -b 4096 /dev/pmem1; mkdir -p /mnt/pmem; mount -o dax",
  );
  for (const path of ["/dev/pmem7", "/dev/sdz"]) assert(!remedyOf("mmap", path).includes("truncate"), path);
  assertStringIncludes(remedyOf("mmap", "/data/none"), "truncate -s 1G /data/none");
  assert(!onDisk.includes("mount -o remount"));
});

Deno.test("a plain file is mapped at any size: pages are what mmap rounds to by itself", () => {
  const found = inspect("mmap", "/data/f", { sizeBytes: 5000n });
  assertEquals(found.findings.filter(({ result }) => result === "bad"), []);
});

Deno.test("the driver kmem, no driver, no permission: each with its remedy", () => {
  const host = machine();
  makeSystemRam(host);
  const ram = firstError(inspect("dax", "/dev/dax0.0", {}, host));
  assertEquals(ram?.code, "busy");
  assertStringIncludes(ram?.hint ?? "", "daxctl reconfigure-device --mode=devdax dax0.0");
  for (const path of [...host.links.keys()]) if (path.endsWith("/driver")) host.links.delete(path);
  assertEquals(outcome(inspect("dax", "/dev/dax0.0", {}, host)), "unsupported: no driver is bound to dax0.0");
  const denied = files();
  denied.denied.add("/dev/dax0.0");
  const error = firstError(inspect("dax", "/dev/dax0.0", {}, machine(), denied));
  assertEquals([error?.code, error?.message], [
    "permission",
    "this user may not write /dev/dax0.0: it belongs to user 0, group 6, mode 0600",
  ]);
  assertStringIncludes(error?.hint ?? "", "udev rule");
});

Deno.test("an ivshmem BAR by path or address; another device and decoding that is off are told", () => {
  const folder = "/sys/bus/pci/devices/0000:00:04.0";
  const host = machine().file(`${folder}/vendor`, "0x1af4\n").file(`${folder}/device`, "0x1110\n").file(
    `${folder}/enable`,
    "1\n",
  );
  const over = files().add(`${folder}/resource2`, "file", 16n << 20n, "0:22", null);
  for (const name of ["00:04.0", "0000:00:04.0", `${folder}/resource2`]) {
    const found = inspect("ivshmem", name, {}, host, over);
    assertEquals([found.kind, found.sizeBytes, outcome(found)], ["BAR", 16n << 20n, "ok"]);
  }
  host.file(`${folder}/enable`, "0\n");
  assertEquals(
    outcome(inspect("ivshmem", "00:04.0", {}, host, over)),
    "unreachable: memory decoding of 0000:00:04.0 is off: every load would read all ones",
  );
  host.file(`${folder}/device`, "0x1000\n");
  assertEquals(
    outcome(inspect("ivshmem", "00:04.0", {}, host, over)),
    "usage: 0000:00:04.0 is 1af4:1000, not an ivshmem device (1af4:1110)",
  );
  assertEquals(outcome(inspect("ivshmem", "00:09.0", {}, host, over)).split(":")[0], "absent");
  assertEquals(resourcePath("mmap", "pool"), `${Deno.cwd()}/pool`);
});

Deno.test("a kernel that does not tell about the file: the mount options do, or it is unknown, never a guess", () => {
  const over = files().add("/mnt/pmem/old", "file", 4096n, "259:0", null).add("/data/old", "file", 4096n, "8:1", null);
  assertEquals(inspect("dax", "/mnt/pmem/old", {}, machine(), over).kind, "fsdax");
  const unknown = inspect("dax", "/data/old", {}, machine(), over);
  assertEquals(unknown.findings.at(-1)?.result, "unknown");
});

Deno.test("mounts: the longest mount point on the device, octal escapes, and what their dax option says", () => {
  const mounts = readMounts(machine());
  assertEquals(mountOf(mounts, "/mnt/pmem/with blank/x", "8:2")?.source, "/dev/sdb");
  assertEquals(mountOf(mounts, "/mnt/pmemx", "0:30")?.point, "/");
  assertEquals(mountOf(mounts, "/x", "99:9"), null);
  assertEquals(mounts.map(daxOption), ["inode", "always", "inode", "inode", "inode"]);
});

Deno.test("sizes of memory: what has no unit, is zero, negative or no number is refused with a right one", () => {
  assertEquals(parseMemorySize("64MiB"), 64n << 20n);
  assertEquals(parseMemorySize("1.5GB"), 1_500_000_000n);
  assertEquals(parseMemorySize("0x200000"), 2n << 20n);
  const table: readonly [string, string][] = [
    ["64", "'64' has no unit"],
    ["-1", "'-1' is not a size"],
    ["0", "'0' is no size of memory"],
    ["0GiB", "'0GiB' is no size of memory"],
    ["GiB", "'GiB' is not a size"],
    ["1.5XB", "'1.5XB' is not a size"],
    ["", "'' is not a size"],
  ];
  for (const [text, message] of table) {
    const error = assertThrows(() => parseMemorySize(text), BusbarError, message);
    assertEquals(error.code, "usage");
  }
});

/** As Linux 6.12 shows them in the lab machine dax.yaml. */
const SMAPS = `7f8b34e00000-7f8b35200000 rw-s 00000000 08:01 11                         /data/f
Size:               4096 kB
KernelPageSize:        4 kB
Rss:                  12 kB
VmFlags: rd wr sh mr mw me ms sd
7f8b35600000-7f8b35a00000 rw-s 00000000 103:00 12                        /mnt/pmem/f
KernelPageSize:        4 kB
Rss:                   0 kB
VmFlags: rd wr sh mr mw me ms sf sd hg
7f8b35a00000-7f8b35e00000 rw-s 00000000 00:06 146                        /dev/dax0.0
KernelPageSize:     2048 kB
Rss:                   0 kB
VmFlags: rd wr sh mr mw me ms sd hg
7f8b36000000-7f8b36400000 rw-p 00000000 00:06 146                        /dev/dax0.0
7f8b37000000-7f8b37001000 rw-s 00000000 00:1b 9                          /tmp/a\\012b (deleted)
7ffc1000-7ffc2000 rw-p 00000000 00:00 0                                  [stack]
`;

Deno.test("mappings are read from smaps with their flags; a deleted name, a line break in one, what is no file", () => {
  const mappings = parseMappings(SMAPS);
  assertEquals(
    mappings.map((
      { path, isShared, isSync, isDeleted, kernelPageBytes },
    ) => [path, isShared, isSync, isDeleted, kernelPageBytes]),
    [
      ["/data/f", true, false, false, 4096n],
      ["/mnt/pmem/f", true, true, false, 4096n],
      ["/dev/dax0.0", true, false, false, 2n << 20n],
      ["/dev/dax0.0", false, false, false, null],
      ["/tmp/a\nb", true, false, true, null],
    ],
  );
  assertEquals(mappings[1]?.onDevice, "259:0");
  assertEquals(parseMappings(""), []);
  assertEquals(parseMappings("\0\n7f-\nzzz"), []);
});

function withProcess(smaps: string): MadeUpMachine {
  return machine().file("/proc/41/smaps", smaps).file("/proc/41/comm", "bench_tpcc\n").file(
    "/proc/41/mountinfo",
    MOUNTS,
  );
}

Deno.test("a process: yes for what it maps with direct access, no for page cache and private copies, else it says so", () => {
  const lines = SMAPS.split(/(?=^7f.*-)/m);
  const verdict = (smaps: string, over = files()): [string, bigint] => {
    const result = examineProcess(withProcess(smaps), over, 41);
    return [result.verdict, result.daxBytes];
  };
  assertEquals(verdict(SMAPS), ["yes", 8n << 20n]);
  assertEquals(verdict(lines[0] ?? ""), ["no", 0n]);
  assertEquals(verdict(lines[3] ?? ""), ["no", 0n]);
  assertEquals(verdict(""), ["no", 0n]);
  const unknown = new MadeUpFiles();
  assertEquals(verdict((lines[0] ?? "").replace("12 kB", "0 kB"), unknown), ["cannot tell", 0n]);
  assertEquals(verdict(lines[0] ?? "", unknown), ["no", 0n]);
  assertEquals(examineProcess(withProcess(SMAPS), files(), 41).command, "bench_tpcc");
  assertEquals(processesNamed(withProcess(""), "bench_tpcc"), [41]);
  assertEquals(assertThrows(() => examineProcess(machine(), files(), 42), BusbarError).code, "absent");
});

Deno.test("cxlalloc's lines in a log: what was asked for, and that it fell back to shared memory", () => {
  const log = `I0101 main.cpp:12] starting
I0101 cxl.cpp:3] cxlalloc initialized for thread 0: backend=dax resource=/dev/dax0.0
I0101 cxl.cpp:3] cxlalloc initialized for thread 11: backend=mmap resource=/a b\r
Backend dax requires --cxl_memory_resource to point at a file or device
`;
  assertEquals(readLog(log), {
    initialized: [
      { line: 2, thread: 0, backend: "dax", resource: "/dev/dax0.0" },
      { line: 3, thread: 11, backend: "mmap", resource: "/a b" },
    ],
    refused: [{
      line: 4,
      text: "Backend dax requires --cxl_memory_resource to point at a file or device",
      isFatal: false,
    }],
  });
  assertEquals(readLog("nothing here"), { initialized: [], refused: [] });
});

Deno.test("a log says what a program did after it was refused, and no more", () => {
  const refused = "Backend dax requires --cxl_memory_resource to point at a file or device";
  const then = (text: string): string => logLines("log", readLog(text)).map(stripAnsiCode).at(-1) ?? "";
  assertStringIncludes(then(`F1129 07:36:29.000000  12 cxl.cpp:3] ${refused}`), "the program ended there");
  assertStringIncludes(
    then(`F20261129 07:36:29.000000  12 cxl.cpp:3] Check failed: x ${refused}`),
    "the program ended",
  );
  assertStringIncludes(
    then(`E1129 07:36:29.000000  12 cxl.cpp:3] ${refused}`),
    "the log does not say what it did then",
  );
  assertStringIncludes(
    then(`${refused}\nI0101 cxl.cpp:3] cxlalloc initialized for thread 0: backend=ivshmem resource=SS`),
    "it went on with ivshmem on SS (line 2)",
  );
});
