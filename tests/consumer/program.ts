// deno-lint-ignore-file no-console
/** A program of somebody who uses busbar: written into other folders by the tests, with `@busbar/busbar` replaced by where it lies. */

import { decodeTable, type Layout, type NvmeController, openNvme, openPciDevice, packed } from "@busbar/busbar";
import { Deadline } from "@busbar/busbar/core";
import { className } from "@busbar/busbar/pci";
import { ADMIN_OPCODES } from "@busbar/busbar/nvme";

const layout: Layout = {
  name: "two numbers",
  source: "this program",
  rows: [
    { type: "uint", name: "A", offset: 0, sizeBytes: 2, title: "First", kind: "quantity" },
    { type: "uint", name: "B", offset: 2, sizeBytes: 2, title: "Second", kind: "register" },
  ],
};

async function serialOf(controller: NvmeController): Promise<string> {
  return (await controller.identify()).serial;
}

using device = openPciDevice("soft:nvme");
const version: number = device.bar(0).read32(0x08);
await using controller = await openNvme("soft:nvme?serial=CONSUMER");
console.log(JSON.stringify({
  version: version.toString(16),
  serial: await serialOf(controller),
  decoded: Number(decodeTable(layout, Uint8Array.of(1, 0, 2, 0)).uint("B")),
  elements: packed(Uint8Array.of(1, 2, 3), { bits: 8 }).elements,
  class: className(device.function.classCode),
  identify: ADMIN_OPCODES[0x06],
  expired: Deadline.after(1000).expired,
}));
