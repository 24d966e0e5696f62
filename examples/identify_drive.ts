// Says what a drive is and which namespaces it has. `identify_drive.ts 0000:01:00.0`, `nvme0`, or a software drive.
import { formatBytes, openNvme } from "@busbar/busbar";

await using drive = await openNvme(Deno.args[0] ?? "soft:nvme?serial=EXAMPLE");
const { model, serial, firmware } = await drive.identify();
console.log(`${model}, serial number ${serial}, firmware ${firmware}`);
for (const id of await drive.namespaceIds()) {
  const { blocks, blockBytes } = await drive.namespace(id).geometry();
  console.log(`namespace ${id}: ${formatBytes(blocks * BigInt(blockBytes))} in blocks of ${blockBytes} bytes`);
}
