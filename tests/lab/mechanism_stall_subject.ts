/**
 * A guest that is lost to a stall, as far as its console tells: mechanism.full.test.ts runs this file and reads what is said
 * about it.
 */

import { machine } from "./lab.ts";

const lab = machine("nvme.yaml", import.meta.url);

let stalls = 0;

lab.hostTest("stalls once", async (guest) => {
  if (stalls++ > 0) return;
  const script = "echo 'Kernel panic - not syncing: RCU Stall' > /dev/ttyS0; echo o > /proc/sysrq-trigger; sleep 60";
  await guest.run(["sh", "-c", script]);
});

lab.test("goes on in the new guest", () => {});
