/**
 * `health` of a CXL memory device: events and poison that QEMU injects are what it counts.
 * @module
 */

import { assert, assertEquals } from "@std/assert";

import { toolArgs } from "../soft/tool.ts";
import type { Lab } from "./lab.ts";

/** The device whose id in QEMU is `ram0`, by the serial number that the machine gives it. */
const QEMU_DEVICE = "/machine/peripheral/ram0";
const SERIAL = "0x1";

interface Looked {
  readonly devices: readonly {
    readonly problem: string | null;
    readonly metrics: readonly {
      readonly name: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly value: string;
    }[];
  }[];
}

/** Registers the test for a machine with `ram0`. */
export function cxlHealthTest(lab: Lab): void {
  lab.hostTest(
    "health counts the CXL event and the poisoned line that QEMU injects, of that device alone",
    async (guest, qmp) => {
      const shell = async (script: string): Promise<string> => {
        const { code, stdout, stderr } = await guest.run(["sh", "-c", script]);
        assertEquals(code, 0, stderr);
        return stdout.trim();
      };
      const memdev = (await shell(`cd /sys/bus/cxl/devices; grep -lx ${SERIAL} mem*/serial`)).split("/")[0] ?? "";
      const trace = "/sys/kernel/tracing/trace";
      await shell(`echo >${trace}; echo 1 >/sys/kernel/tracing/events/cxl/enable`);
      await qmp.execute("cxl-inject-general-media-event", {
        path: QEMU_DEVICE,
        log: "informational",
        flags: 1,
        dpa: 0x1000,
        descriptor: 3,
        type: 3,
        "transaction-type": 192,
      });
      await qmp.execute("cxl-inject-poison", { path: QEMU_DEVICE, start: 0x2000, length: 64 });
      // The kernel reads the list of poison when it is asked to; the event comes with an interrupt.
      await shell(
        `echo 1 >/sys/bus/cxl/devices/${memdev}/trigger_poison_list; ` +
          `for i in $(seq 50); do grep -q cxl_general_media: ${trace} && exit 0; sleep 0.2; done; cat ${trace}; exit 1`,
      );
      const counts = async (): Promise<[string, string, string][]> => {
        const { code, stdout, stderr } = await guest.run([Deno.execPath(), ...toolArgs("health", ["--json"])]);
        assertEquals(code, 0, stderr);
        const looked: Looked = JSON.parse(stdout);
        // QEMU's device has no command Get Health Information, which is no problem of it.
        assertEquals(looked.devices.filter(({ problem }) => problem !== null), []);
        assert(!stdout.includes("busbar_cxl_health_status"), stdout);
        return looked.devices.flatMap(({ metrics }) => metrics).filter(({ name, value }) =>
          name === "busbar_cxl_trace_events" && value !== "0"
        ).map(({ labels, value }) => [labels.device ?? "", labels.event ?? "", value]);
      };
      assertEquals(await counts(), [[memdev, "cxl_general_media", "1"], [memdev, "cxl_poison", "1"]]);
      await shell(`echo 0 >/sys/kernel/tracing/events/cxl/enable; echo >${trace}`);
    },
    { timeoutMs: 180_000, isLong: true },
  );
}
