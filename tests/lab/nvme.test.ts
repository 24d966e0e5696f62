/** The ordinary machine, and what every lab guest is. */

import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";

import { pause } from "../../src/core/deadline.ts";
import { BusbarError } from "../../src/core/error.ts";
import { CHANNELS } from "../../src/lab/qemu.ts";
import { dumpBar0Tests } from "./dump_bar0.ts";
import { machine } from "./lab.ts";
import { output } from "./programs.ts";
import { vfioDataTest } from "./vfio_data.ts";

const lab = machine("nvme.yaml", import.meta.url);

lab.test("lspci shows the controller behind a root port, in an IOMMU group of its own", async () => {
  const functions = await output("lspci", "-Dnn");
  assertMatch(functions, /^0000:00:01\.0 PCI bridge/m);
  assertMatch(functions, /^0000:01:00\.0 Non-Volatile memory controller .*\[1b36:0010\]/m);
  const group = await Deno.realPath("/sys/bus/pci/devices/0000:01:00.0/iommu_group");
  assertEquals(await Array.fromAsync(Deno.readDir(`${group}/devices`), (entry) => entry.name), ["0000:01:00.0"]);
});

lab.test("nvme list shows the controller by its serial number, and the namespace by its size", async () => {
  const { Devices } = JSON.parse(await output("nvme", "list", "-o", "json"));
  assertEquals(Devices.length, 1);
  assertEquals([Devices[0].SerialNumber.trim(), Devices[0].PhysicalSize], ["BUSBAR0001", 2 ** 31]);
});

lab.test("the guest is root, finds the host's files at their paths, and programs that the host lacks", async () => {
  assertEquals(Deno.uid(), 0);
  assertEquals(new URL(import.meta.url).pathname, await Deno.realPath(new URL(import.meta.url)));
  for (
    const program of ["nvme", "lspci", "ndctl", "daxctl", "cxl", "fio", "numactl", "setpci", "mkfs.ext4", "mkfs.xfs"]
  ) {
    await output("sh", "-c", `command -v ${program}`);
  }
  assertEquals(Deno.env.get("HOME"), "/root");
  assertEquals((await output("sh", "-c", "printf %s ü | wc -m")).trim(), "1");
});

lab.test("everything is writable in the guest", async () => {
  for (
    const path of ["/usr/busbar-lab-test", "/etc/busbar-lab-test", "/root/busbar-lab-test", "/tmp/busbar-lab-test"]
  ) {
    await Deno.writeTextFile(path, "written in the guest");
  }
  const here = new URL("./busbar-lab-test", import.meta.url);
  await Deno.writeTextFile(here, "written in the guest");
  assertEquals(await Deno.readTextFile(here), "written in the guest");
});

lab.hostTest("nothing of it reached the host", async () => {
  // Nobody but root may look into root's home; nobody else's guest could have written there either.
  const home = Deno.uid() === 0 ? ["/root"] : [];
  for (const path of ["/usr", "/etc", ...home, "/tmp", new URL(".", import.meta.url).pathname.slice(0, -1)]) {
    await assertRejects(() => Deno.stat(`${path}/busbar-lab-test`), Deno.errors.NotFound);
  }
});

lab.test("the share is written", async () => {
  const share = Deno.env.get("BUSBAR_LAB_SHARE") ?? "";
  await Deno.writeTextFile(`${share}/from-guest`, "héllo");
  await Deno.chmod(`${share}/from-guest`, 0o755);
  await Deno.chown(`${share}/from-guest`, 1234, 5678);
  const { mode, uid, gid } = await Deno.stat(`${share}/from-guest`);
  assertEquals([(mode ?? 0) & 0o777, uid, gid], [0o755, 1234, 5678]);
});

lab.hostTest("the share has the same path here; owner and mode are the guest's affair", async (guest) => {
  const { share } = guest.record;
  assertEquals(await Deno.readTextFile(`${share}/from-guest`), "héllo");
  const { mode, uid } = await Deno.stat(`${share}/from-guest`);
  assertEquals([(mode ?? 0) & 0o077, uid], [0, Deno.uid()]);
  await Deno.writeTextFile(`${share}/from-host`, "hello guest");
  assertEquals((await guest.run(["cat", `${share}/from-host`])).stdout, "hello guest");
});

lab.test("modules and file systems are loaded on demand", async () => {
  await output("mkfs.ext4", "-q", "-F", "/dev/nvme0n1");
  await output("mkdir", "-p", "/mnt/nvme");
  await output("mount", "/dev/nvme0n1", "/mnt/nvme");
  await Deno.writeTextFile("/mnt/nvme/file", "on the controller");
  await output("umount", "/mnt/nvme");
  await output("modprobe", "nbd");
  assertStringIncludes(await output("lsmod"), "nbd ");
});

lab.hostTest("a command runs in the host's folder, and its clock is the host's", async (guest) => {
  assertEquals((await guest.run(["pwd"])).stdout.trim(), Deno.cwd());
  assertEquals((await guest.run(["pwd"], { cwd: "/usr/lib" })).stdout.trim(), "/usr/lib");
  const seconds = Number((await guest.run(["date", "+%s"])).stdout);
  assert(Math.abs(seconds - Date.now() / 1000) < 10, `the guest's clock says ${seconds}`);
  assertEquals((await guest.run(["hostname"])).stdout.trim(), "nvme");
});

lab.hostTest("exit status, standard output and standard error are the command's own", async (guest) => {
  const script = "echo out; echo err >&2; echo more >/dev/stdout; exit 7";
  assertEquals(await guest.run(["sh", "-c", script]), { code: 7, stdout: "out\nmore\n", stderr: "err\n" });
  assertEquals((await guest.run(["/nonexistent"])).code, 127);
  assertEquals((await guest.run(["true"], { cwd: "/nonexistent" })).code, 125);
  const words = ["", "two words", "it's", "a\nb", '"$HOME" `id` \\', "ü€"];
  assertEquals((await guest.run(["printf", "%s|", ...words])).stdout, words.map((word) => `${word}|`).join(""));
  assertEquals((await guest.run(["printenv", "A"], { env: { A: "it's\n2" } })).stdout, "it's\n2\n");
});

lab.hostTest("a megabyte of every byte comes back through standard input and output unchanged", async (guest) => {
  const sent = new Uint8Array(1 << 20).map((_, i) => (i * 7 + (i >> 8)) & 0xff);
  const process = await guest.spawn(["cat"], { stdin: true });
  const writer = process.stdin?.getWriter();
  assert(writer !== undefined);
  const written = writer.write(sent).then(() => writer.close());
  const got = await new Response(process.stdout).bytes();
  await written;
  await process.stderr.cancel();
  assertEquals([await process.status, got.length], [0, sent.length]);
  assert(got.every((byte, i) => byte === sent[i]));
});

lab.hostTest("a signal reaches the command, which is killed by it as by any other", async (guest) => {
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGKILL", 137]] as const) {
    const process = await guest.spawn(["sleep", "1000"]);
    await process.kill(signal);
    const [code, stdout, stderr] = await Promise.all([
      process.status,
      new Response(process.stdout).text(),
      new Response(process.stderr).text(),
    ]);
    assertEquals([code, stdout, stderr], [status, "", ""]);
  }
});

lab.hostTest("a command that leaves a process behind ends all the same", async (guest) => {
  const started = performance.now();
  assertEquals(await guest.run(["sh", "-c", "sleep 1000 & echo done"]), { code: 0, stdout: "done\n", stderr: "" });
  assert(performance.now() - started < 10_000);
});

lab.hostTest("as many commands run at once as there are channels, and one more is refused", async (guest) => {
  const free = CHANNELS - guest.running.length;
  const processes = await Promise.all(Array.from({ length: free }, () => guest.spawn(["cat"], { stdin: true })));
  const error = await assertRejects(() => guest.spawn(["true"]), BusbarError);
  assertEquals(error.code, "busy");
  const results = await Promise.all(processes.map(async (process, i) => {
    const writer = process.stdin?.getWriter();
    await writer?.write(new TextEncoder().encode(`input ${i}`));
    await writer?.close();
    await process.stderr.cancel();
    return await new Response(process.stdout).text();
  }));
  assertEquals(results, Array.from({ length: free }, (_, i) => `input ${i}`));
  await Promise.all(processes.map((process) => process.status));
});

lab.hostTest("a command that takes too long is killed and reported", async (guest) => {
  const error = await assertRejects(() => guest.run(["sleep", "1234"], { timeoutMs: 300 }), BusbarError);
  assertEquals([error.code, error.message], ["timeout", "sleep did not end within 300 ms in the guest"]);
  const isThere = async (): Promise<boolean> => (await guest.run(["pgrep", "-xf", "sleep 1234"])).code === 0;
  // The kill is under way when the error comes.
  for (let i = 0; i < 30 && await isThere(); i++) await pause(100);
  assertEquals(await isThere(), false);
});

lab.hostTest("errors put under a namespace reach the guest, and end", async (guest, qmp) => {
  const read = async (block: number): Promise<number> =>
    (await guest.run(["dd", "if=/dev/nvme0n1", "of=/dev/null", "iflag=direct", "bs=4096", "count=1", `skip=${block}`]))
      .code;
  assertEquals([await read(0), await read(100)], [0, 0]);
  await qmp.injectErrors("nvme0-1", [{ event: "read_aio", errno: 5, sector: 800 }]);
  assertEquals([await read(0), await read(100)], [0, 1]);
  assertMatch((await guest.run(["dmesg"])).stdout, /critical medium error, dev nvme\w+, sector 800 /);
  await qmp.clearErrors("nvme0-1");
  assertEquals(await read(100), 0);
});

lab.hostTest("a non-maskable interrupt reaches the guest's kernel", async (guest, qmp) => {
  await qmp.nmi();
  await guest.run(["sleep", "0.5"]);
  assertStringIncludes((await guest.run(["dmesg"])).stdout, "NMI received for unknown reason");
});

lab.hostTest("the controller is pulled out and put back", async (guest, qmp) => {
  const functions = async (): Promise<string> => (await guest.run(["lspci", "-D"])).stdout;
  assertStringIncludes(await functions(), "0000:01:00.0");
  await qmp.unplug("nvme0");
  assertEquals((await functions()).includes("0000:01:00.0"), false);
  assertEquals((await guest.run(["ls", "/sys/class/nvme"])).stdout, "");
  await qmp.plug("nvme0");
  const appeared = "for i in $(seq 100); do [ -e /dev/nvme*n1 ] && exit 0; sleep 0.1; done; exit 1";
  assertEquals((await guest.run(["sh", "-c", appeared])).code, 0);
  assertStringIncludes(await functions(), "0000:01:00.0");
  const refused = await assertRejects(() => qmp.unplug("lab-ports"), BusbarError);
  assertEquals(refused.code, "device-failed");
});

dumpBar0Tests(lab);
vfioDataTest(lab, "64 MiB", 64 << 20);
