/** A kernel that lets nobody map what a driver holds (CONFIG_IO_STRICT_DEVMEM without iomem=relaxed), and no IOMMU. */

import { assertEquals, assertStringIncludes } from "@std/assert";

import { toolArgs } from "../soft/tool.ts";
import { machine } from "./lab.ts";
import { listTests } from "./list.ts";
import { lspciLinesTest } from "./lspci_lines.ts";
import { killedTest, noIommuTests } from "./no_iommu.ts";
import { output } from "./programs.ts";

const lab = machine("nvme-strict.yaml", import.meta.url);

listTests(lab);
lspciLinesTest(lab);

/** Maps BAR 0 and prints the version register, or why it cannot. Python is the oracle: the image brings it. */
const READ_VERSION = `
import mmap, os, struct
fd = os.open("/sys/bus/pci/devices/0000:01:00.0/resource0", os.O_RDONLY)
try:
    bar = mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
    print(hex(struct.unpack_from("<I", bar, 8)[0]))
except OSError as error:
    print(error.strerror)
`;

lab.test("the kernel lets nobody map the registers of a bound controller, and anybody those of an unbound one", async () => {
  assertEquals((await output("/usr/bin/python3", "-c", READ_VERSION)).trim(), "Invalid argument");
  await Deno.writeTextFile("/sys/bus/pci/drivers/nvme/unbind", "0000:01:00.0");
  await Deno.writeTextFile("/sys/bus/pci/devices/0000:01:00.0/enable", "1");
  assertEquals((await output("/usr/bin/python3", "-c", READ_VERSION)).trim(), "0x10400");
  await Deno.writeTextFile("/sys/bus/pci/devices/0000:01:00.0/enable", "0");
  await Deno.writeTextFile("/sys/bus/pci/drivers/nvme/bind", "0000:01:00.0");
});

lab.test("dump_bar0 of a controller that its driver holds ends with 3 and names both ways out", async () => {
  const dump = new Deno.Command(Deno.execPath(), { args: toolArgs("dump_bar0", ["0000:01:00.0", "--json"]) });
  const { code, stdout, stderr } = await dump.output();
  const text = new TextDecoder().decode(stderr);
  assertEquals(code, 3, text);
  assertStringIncludes(text, "the driver nvme holds BAR0");
  assertStringIncludes(text, "iomem=relaxed");
  assertStringIncludes(text, "unbind it: echo 0000:01:00.0 > ");
  assertEquals(JSON.parse(new TextDecoder().decode(stdout)).error.code, "busy");
  await Deno.writeTextFile("/sys/bus/pci/drivers/nvme/unbind", "0000:01:00.0");
  assertEquals((await dump.output()).code, 0, "unbound, it is read");
  await Deno.writeTextFile("/sys/bus/pci/drivers/nvme/bind", "0000:01:00.0");
});

noIommuTests(lab);
killedTest(lab, "kernels");
