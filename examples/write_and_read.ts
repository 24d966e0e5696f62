// Writes a block to a software drive and reads it back. With "0000:01:00.0" in place of "soft:nvme" it is a real one, which
// must be bound to vfio-pci: the same code.
import { openNvme } from "@busbar/busbar";

await using drive = await openNvme("soft:nvme?size=64MiB");
const namespace = drive.namespace(1);
const written = new TextEncoder().encode("hello, drive".padEnd(512));
await namespace.write(7, written);
const read = new Uint8Array(512);
await namespace.read(7, read);
console.log(new TextDecoder().decode(read).trimEnd());
