// A test in a lab machine: a stock Linux kernel in QEMU, with the drive that the machine's file describes.
// `deno test -A examples/lab_test.ts`. It needs QEMU; without root, on Debian, `deno task lab setup` fetches all.
import { cannotStart, Guest, loadMachine } from "@busbar/busbar/lab";

const reason = cannotStart()?.message ?? null;

Deno.test({
  name: `the kernel sees the drive${reason === null ? "" : ` (not run: ${reason})`}`,
  ignore: reason !== null,
  fn: async () => {
    await using guest = await Guest.boot(await loadMachine("nvme"));
    const { code, stdout } = await guest.run(["cat", "/sys/class/nvme/nvme0/serial"]);
    if (code !== 0 || stdout.trim() !== "BUSBAR0001") throw new Error(`the serial number is '${stdout.trim()}'`);
  },
});
