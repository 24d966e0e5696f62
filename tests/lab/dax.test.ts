/** NVDIMMs as devdax and as a file system with direct access, and memory shared with the host. */

import { assertEquals, assertThrows } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { MemoryBackend } from "../../src/memory/backend.ts";
import { comparisonTest, daxConfigTests, systemRamTests } from "./dax_config.ts";
import { machine } from "./lab.ts";
import { output } from "./programs.ts";

/** The ivshmem device. */
const ADDRESS = "0000:00:01.0";

const lab = machine("dax.yaml", import.meta.url);

lab.test("ndctl lists two NVDIMMs and the region of each", async () => {
  const dimms = JSON.parse(await output("ndctl", "list", "-D"));
  assertEquals(dimms.length, 2);
  const regions: { dev: string; size: number }[] = JSON.parse(await output("ndctl", "list", "-R"));
  assertEquals(regions.map(({ dev, size }) => [dev, size]).sort(), [["region0", 256 << 20], ["region1", 256 << 20]]);
});

daxConfigTests(lab);

lab.test("ivshmem in the guest: refused while memory decoding is off, mapped when it is on", async () => {
  const request = { backend: "ivshmem", resource: ADDRESS } as const;
  await Deno.writeTextFile(`/sys/bus/pci/devices/${ADDRESS}/enable`, "1");
  using memory = MemoryBackend.open(request);
  assertEquals([memory.kind, memory.sizeBytes, memory.persistence], ["BAR", 16 << 20, "none"]);
  memory.bytes(0, 5).set(new TextEncoder().encode("guest"));
  const error = assertThrows(() => MemoryBackend.open({ backend: "ivshmem", resource: "0000:00:1f.2" }), BusbarError);
  assertEquals(error.code, "absent");
});

lab.hostTest(
  "ivshmem on the host: the same class on the file reads what the guest wrote, and answers",
  (guest) => {
    using memory = MemoryBackend.open({ backend: "ivshmem", resource: `${guest.record.folder}/disks/ivshmem` });
    assertEquals(new TextDecoder().decode(memory.bytes(0, 5).slice()), "guest");
    memory.bytes(1 << 20, 4).set(new TextEncoder().encode("host"));
    return Promise.resolve();
  },
);

lab.test("and the guest reads the answer", () => {
  using memory = MemoryBackend.open({ backend: "ivshmem", resource: ADDRESS });
  assertEquals(new TextDecoder().decode(memory.bytes(1 << 20, 4).slice()), "host");
});

comparisonTest(lab, ADDRESS);
systemRamTests(lab);
