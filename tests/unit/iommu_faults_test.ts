/** What the kernel says of accesses that an IOMMU stopped. */

import { assertEquals } from "@std/assert";

import { faultOf } from "../../src/pci/iommu_faults.ts";

/** Lines as Linux 6.1 and 6.12 print them, drivers/iommu/intel/dmar.c and drivers/iommu/amd/iommu.c. */
const INTEL =
  "DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x7f0000000 [fault reason 0x05] PTE Write " +
  "access is not set";
const AMD = "nvme 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0010 address=0x7f0000000 flags=0x0020]";

Deno.test("a fault of the function is found, with the words of the kernel", () => {
  assertEquals(faultOf(`3,1204,5512345,-;${INTEL}\n SUBSYSTEM=pci\n`, "0000:01:00.0"), INTEL);
  assertEquals(faultOf(`3,9,7,-;${AMD}\n`, "0000:01:00.0"), AMD.replace(/^ /, ""));
});

Deno.test("faults of others, and other words about the function, are not", () => {
  assertEquals(faultOf(`3,1,1,-;${INTEL}\n`, "0000:02:00.0"), null);
  assertEquals(faultOf(`3,1,1,-;${INTEL}\n`, "0001:01:00.0"), null, "another domain, which the line does not name");
  assertEquals(faultOf("6,1,1,-;vfio-pci 0000:01:00.0: enabling device (0000 -> 0002)\n", "0000:01:00.0"), null);
  assertEquals(faultOf("", "0000:01:00.0"), null);
});
