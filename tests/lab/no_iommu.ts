/**
 * A controller driven without an IOMMU: the data path, and what is left when the process is killed.
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

import { closeAll } from "../../ffi/library.ts";
import { Mapping } from "../../ffi/memory.ts";
import { pause } from "../../src/core/deadline.ts";
import { NvmeController } from "../../src/nvme/driver/controller.ts";
import { toolArgs } from "../soft/tool.ts";
import { Random } from "../unit/random.ts";
import { watchCanary } from "./canary.ts";
import { blockDevice, kernelControllers, must } from "./controllers.ts";
import { comparePaths, type DataPath } from "./data_path.ts";
import type { Lab } from "./lab.ts";

const NVME = "0000:01:00.0";
const CONFIG = `/sys/bus/pci/devices/${NVME}/config`;
const DRIVER = "/sys/bus/pci/drivers/nvme";
const HUGE = "/dev/hugepages";
const HUGE_PAGES = 40;
const HUGE_PAGE_BYTES = 2 << 20;

async function reserveHugePages(): Promise<void> {
  await Deno.mkdir(HUGE, { recursive: true });
  if (!(await Deno.readTextFile("/proc/mounts")).includes(" hugetlbfs ")) {
    await must("mount", "-t", "hugetlbfs", "none", HUGE);
  }
  await Deno.writeTextFile("/proc/sys/vm/nr_hugepages", String(HUGE_PAGES));
  assertEquals((await Deno.readTextFile("/proc/sys/vm/nr_hugepages")).trim(), String(HUGE_PAGES));
}

/** The files that hold memory for a device. */
async function hugeFiles(): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(HUGE), (entry) => entry.name)).filter((name) =>
    name.startsWith("busbar-")
  );
}

async function isBusMaster(): Promise<boolean> {
  using file = await Deno.open(CONFIG);
  const bytes = new Uint8Array(6);
  await file.read(bytes);
  return ((bytes[4] ?? 0) & 4) !== 0;
}

async function unbind(): Promise<void> {
  await kernelControllers();
  await Deno.writeTextFile(`${DRIVER}/unbind`, NVME);
}

async function bind(): Promise<void> {
  await Deno.writeTextFile(`${DRIVER}/bind`, NVME);
  await kernelControllers();
}

/** The way to the data without an IOMMU. */
const UNPROTECTED: DataPath = {
  driven: async (body) => {
    await unbind();
    {
      await using controller = await NvmeController.open(NVME, { drive: true, noIommu: true });
      await body(controller);
    }
    // The guardian removes the memory a moment after the controller was let go of.
    for (let i = 0; (await hugeFiles()).length > 0; i++) {
      assert(i < 200, "the guardian did not remove the memory");
      await pause(50);
    }
    assertEquals(await isBusMaster(), false);
    await bind();
  },
  blockDevice: () => blockDevice(NVME, 1),
};

/** Registers the data path of `sizeBytes`, both ways. */
function noIommuDataTest(lab: Lab, what: string, sizeBytes: number): void {
  lab.test(`without an IOMMU ${what} written by us are read by the kernel, and the other way round`, async () => {
    await reserveHugePages();
    await comparePaths(UNPROTECTED, 1, sizeBytes, new Random("data path without IOMMU"));
    closeAll();
  }, { timeoutMs: 400_000 });
}

const tool = (name: string, ...args: string[]): Deno.Command =>
  new Deno.Command(Deno.execPath(), { args: toolArgs(name, args), stdout: "piped", stderr: "piped" });

async function runTool(name: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await tool(name, ...args).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Enables the controller and holds it, as any driver in user space would. */
const SOMEBODY = `
import mmap, os, struct, sys, time
fd = os.open("/sys/bus/pci/devices/${NVME}/resource0", os.O_RDWR)
bar = mmap.mmap(fd, 4096)
def put(offset, value): bar[offset:offset + 4] = struct.pack("<I", value)
put(0x24, 0x001f001f); put(0x28, 0x100000); put(0x2c, 0); put(0x30, 0x200000); put(0x34, 0); put(0x14, 0x460001)
while not struct.unpack_from("<I", bar, 0x1c)[0] & 1: time.sleep(0.01)
print("ready", flush=True)
sys.stdin.read()
put(0x14, 0x460000)
while struct.unpack_from("<I", bar, 0x1c)[0] & 1: time.sleep(0.01)
`;

/** What is killed while it reads: the loop in C, and kernels of a GPU. */
const KILLED = {
  loop: { what: "by nvme_io", name: "nvme_io", args: ["--depth", "32", "--block-size", "128KiB"], ready: "" },
  // Its data is one buffer, and no buffer is larger than a huge page.
  kernels: { what: "by kernels", name: "gpu_nvme", args: ["--depth", "32", "--block-size", "32KiB"], ready: "tier 1" },
} as const;

/**
 * Kills a tool that drives the controller without an IOMMU, and watches the memory that it had.
 *
 * @param ready what it prints before its commands begin
 */
async function killTest(name: string, args: readonly string[], ready: string): Promise<void> {
  await reserveHugePages();
  await unbind();
  const child = tool(name, NVME, "bench", "--no-iommu", ...args, "--random", "1", "--duration", "60s").spawn();
  const [printed, rest] = child.stdout.tee();
  const output = Promise.all([new Response(rest).text(), new Response(child.stderr).text()]);
  const reader = printed.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; !text.includes(ready);) {
    const { value, done } = await reader.read();
    assert(!done, `${name} ended: ${done ? (await output)[1] : ""}`);
    text += value;
  }
  await reader.cancel();
  for (let i = 0; !await isBusMaster(); i++) {
    assert(i < 400, `${name} did not begin: ${i === 400 ? (await output)[1] : ""}`);
    await pause(50);
  }
  await pause(2000);
  assertEquals((await hugeFiles()).length, 1);
  child.kill("SIGKILL");
  await child.status;
  await output;
  for (let i = 0;; i++) {
    assert(i < 2000, "the memory is still there after 20 s");
    // In this order: once the memory is seen to be gone, the controller must already have been cut off.
    const isGone = (await hugeFiles()).length === 0;
    const isMaster = await isBusMaster();
    if (isGone) {
      assertEquals(isMaster, false, "the pages were freed while the controller could still write");
      break;
    }
    await pause(5);
  }
  const path = `${HUGE}/canary`;
  const sizeBytes = HUGE_PAGES * HUGE_PAGE_BYTES;
  {
    using file = await Deno.open(path, { read: true, write: true, create: true });
    await file.truncate(sizeBytes);
  }
  {
    using canary = Mapping.file(path, sizeBytes, { writable: true, populate: true });
    await watchCanary(canary.bytes(), 5000);
  }
  await Deno.remove(path);
  const restored = await runTool("restore");
  assertEquals(restored.code, 0, restored.stderr);
  await bind();
  closeAll();
}

/** Registers what must hold when whoever reads is killed. */
export function killedTest(lab: Lab, which: keyof typeof KILLED): void {
  const { what, name, args, ready } = KILLED[which];
  lab.test(
    `SIGKILL with 32 reads in flight, ${what}: bus mastering is off before a page is freed, and nobody writes into it afterwards`,
    async () => await killTest(name, args, ready),
    { timeoutMs: 240_000 },
  );
}

/** Registers what must hold of a controller that is driven without an IOMMU. */
export function noIommuTests(lab: Lab): void {
  noIommuDataTest(lab, "256 MiB", 2 ** 28);

  killedTest(lab, "loop");

  lab.test("a controller that somebody drives is refused, and the process is named; so is one that the kernel has", async () => {
    await reserveHugePages();
    const kernel = await runTool("nvme_io", NVME, "read", "--blocks", "1", "--no-iommu");
    assertEquals(kernel.code, 3);
    assertStringIncludes(kernel.stderr, "the kernel's driver nvme has it");
    await unbind();
    await Deno.writeTextFile(`/sys/bus/pci/devices/${NVME}/enable`, "1");
    const somebody = new Deno.Command("python3", { args: ["-c", SOMEBODY], stdin: "piped", stdout: "piped" }).spawn();
    const reader = somebody.stdout.getReader();
    await reader.read();
    const { code, stderr } = await runTool("nvme_io", NVME, "read", "--blocks", "1", "--no-iommu");
    assertEquals(code, 3);
    assertStringIncludes(stderr, `it is enabled: python3 (process ${somebody.pid}) drives it`);
    assertStringIncludes(stderr, "hint: end that process first");
    await somebody.stdin.close();
    await somebody.status;
    await reader.cancel();
    await Deno.writeTextFile(`/sys/bus/pci/devices/${NVME}/enable`, "0");
    await bind();
  });

  lab.test("without an IOMMU, without huge pages, without privilege: each refusal is one line and says what to do", async () => {
    const bindVfio = await runTool("bind", "vfio", NVME);
    assertEquals(bindVfio.code, 3);
    assertStringIncludes(bindVfio.stderr, "is in no IOMMU group");
    assertStringIncludes(bindVfio.stderr, "hint: ");
    await unbind();
    const unsafe = await runTool("nvme_io", NVME, "read", "--blocks", "1");
    assertEquals(unsafe.code, 3);
    assertStringIncludes(unsafe.stderr, "--no-iommu");
    await Deno.writeTextFile("/proc/sys/vm/nr_hugepages", "0");
    const noPages = await runTool("nvme_io", NVME, "read", "--blocks", "1", "--no-iommu");
    assertEquals(noPages.code, 3);
    assertStringIncludes(noPages.stderr, "free huge pages");
    assertStringIncludes(noPages.stderr, "nr_hugepages");
    for (const path of [Deno.execPath(), Deno.env.get("DENO_DIR") ?? "/", import.meta.filename ?? "/"]) {
      for (let at = path; at !== ""; at = at.slice(0, at.lastIndexOf("/"))) await must("chmod", "a+rX", at);
    }
    const nobody = await new Deno.Command("setpriv", {
      args: ["--reuid=65534", "--regid=65534", "--clear-groups", Deno.execPath()].concat(
        toolArgs("nvme_io", [NVME, "read", "--blocks", "1", "--no-iommu"]),
      ),
    }).output();
    const text = new TextDecoder().decode(nobody.stderr);
    assertEquals(nobody.code, 3, text);
    assertStringIncludes(text, "hint: ");
    assertEquals(text.trimEnd().split("\n").length, 2, text);
    await bind();
    assertEquals(await hugeFiles(), []);
  });
}
