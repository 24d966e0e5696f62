import { assertEquals, assertRejects } from "@std/assert";

import { BusbarError } from "../../src/core/error.ts";
import { TextMachine } from "../../src/core/machine.ts";
import { parseLocator } from "../../src/core/locator.ts";
import { openNvmeTransport } from "../../src/nvme/driver/open.ts";
import { NVME_FOLDER, nvmeConfig, nvmeMachine } from "./machines.ts";

Deno.test("a function that is no NVMe controller is refused before anything of it is touched", async () => {
  for (const drive of [false, true]) {
    const machine = nvmeMachine();
    const config = nvmeConfig();
    config.set([0x00, 0x00, 0x02], 0x09); // an Ethernet controller
    machine.file(`${NVME_FOLDER}/config`, config);
    const opening = openNvmeTransport(parseLocator("0000:01:00.0"), {
      drive,
      noIommu: true,
      machine: new TextMachine(machine),
    });
    const error = await assertRejects(() => opening, BusbarError);
    assertEquals([error.code, error.hint], ["usage", "lspci -D -d ::0108 lists them"]);
    assertEquals(
      error.message,
      "0000:01:00.0 is no NVMe controller: Ethernet controller 1b36:0010, driver nvme, IOMMU group 7",
    );
    assertEquals(machine.writes, []);
  }
});
