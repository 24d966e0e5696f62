/** NVDIMMs as devdax and as a file system with direct access, and memory shared with the host. */

import { assertEquals, assertMatch } from "@std/assert";

import { machine } from "./lab.ts";
import { output, shell } from "./programs.ts";

const lab = machine("dax.yaml", import.meta.url);

lab.test("ndctl lists two NVDIMMs and the region of each", async () => {
  const dimms = JSON.parse(await output("ndctl", "list", "-D"));
  assertEquals(dimms.length, 2);
  const regions: { dev: string; size: number }[] = JSON.parse(await output("ndctl", "list", "-R"));
  assertEquals(regions.map(({ dev, size }) => [dev, size]).sort(), [["region0", 256 << 20], ["region1", 256 << 20]]);
});

lab.test("the first becomes a devdax, which daxctl lists", async () => {
  const made = JSON.parse(
    await output("ndctl", "create-namespace", "-f", "-e", "namespace0.0", "-m", "devdax", "-a", "4K"),
  );
  assertEquals(made.mode, "devdax");
  const [device] = JSON.parse(await output("daxctl", "list"));
  assertEquals([device.chardev, device.size, device.align], ["dax0.0", 250 << 20, 4096]);
  assertEquals((await Deno.stat("/dev/dax0.0")).isCharDevice, true);
});

lab.test("the second holds a file system that is mounted with direct access", async () => {
  await output("ndctl", "create-namespace", "-f", "-e", "namespace1.0", "-m", "fsdax");
  await shell("mkfs.ext4 -q -b 4096 /dev/pmem1 && mkdir -p /mnt/pmem && mount -o dax /dev/pmem1 /mnt/pmem");
  assertMatch(await Deno.readTextFile("/proc/mounts"), /^\/dev\/pmem1 \/mnt\/pmem ext4 .*dax=always/m);
  await output("umount", "/mnt/pmem");
});

lab.hostTest(
  "what the guest writes to the shared memory is in the host's file, and the other way round",
  async (guest) => {
    const file = `${guest.record.folder}/disks/ivshmem`;
    const bar = "/sys/bus/pci/devices/0000:00:01.0/resource2";
    const python = `import mmap, os
fd = os.open("${bar}", os.O_RDWR)
memory = mmap.mmap(fd, 1 << 20)
memory[0:5] = b"guest"
print(memory[16:20].decode())`;
    {
      using opened = await Deno.open(file, { write: true });
      await opened.seek(16, Deno.SeekMode.Start);
      await opened.write(new TextEncoder().encode("host"));
    }
    await guest.run(["sh", "-c", `echo 1 >${bar.replace("resource2", "enable")}`]);
    const { stdout, stderr } = await guest.run(["/usr/bin/python3", "-c", python]);
    assertEquals([stdout, stderr], ["host\n", ""]);
    const bytes = (await Deno.readFile(file)).subarray(0, 5);
    assertEquals(new TextDecoder().decode(bytes), "guest");
  },
);
