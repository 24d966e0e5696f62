/** health on the software controller: what its faults change is told at the next look. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";

import { cxlHealthInfo } from "../../ffi/cxl.ts";
import { Descriptor } from "../../ffi/fd.ts";
import { BusbarError } from "../../src/core/error.ts";
import { Unknown } from "../../src/core/fact.ts";
import { HealthMonitor, metricNames, parseThreshold } from "../../src/core/health_monitor.ts";
import { readCxlDeviceHealth } from "../../src/cxl/device_health.ts";
import { readNvmeHealth, SMART_METRICS } from "../../src/nvme/jobs/health.ts";
import { healthSchema } from "../../tools/render/health/health.ts";
import { schemaErrors } from "../unit/schema.ts";
import { openController, withDriverLibraries } from "./nvme_device.ts";
import { badInputIsExplained, runTool } from "./tool.ts";

withDriverLibraries();
Deno.test.beforeAll(async () => {
  using none = Descriptor.open("/dev/null", true);
  await cxlHealthInfo(none, 18).catch(() => {});
});

Deno.test("a temperature that a fault raises is beyond its threshold at the next look, and back after the next", async () => {
  await using one = await openController();
  const monitor = new HealthMonitor([parseThreshold("nvme_temperature_celsius>70", metricNames(SMART_METRICS))]);
  const look = async (): Promise<string[]> => {
    const values = await readNvmeHealth(one.controller, { device: "d" });
    return monitor.take(0, [{ device: "d", values, problem: null }]).map(({ kind }) => kind);
  };
  assertEquals(await look(), []);
  one.soft.fault("temperature=350");
  assertEquals(await look(), ["beyond"]);
  assertStringIncludes(monitor.breaches[0]?.text ?? "", "nvme_temperature_celsius is 77");
  one.soft.fault("temperature=310");
  assertEquals(await look(), ["back"]);
});

Deno.test("looks leave the event pending that announced the log", async () => {
  await using one = await openController();
  // Asynchronous Event Configuration: all of SMART.
  await one.controller.setFeature(0x0b, 0xff);
  one.soft.fault("warning=4");
  const events = one.controller.asyncEvents(AbortSignal.timeout(2000));
  const first = await events.next();
  assertEquals(first.value?.logId, 2);
  const before = one.soft.counter("commands");
  await readNvmeHealth(one.controller, {});
  assertEquals(one.soft.counter("commands"), before + 1n, "a look is one command");
  await events.return();
});

Deno.test("a CXL device that is absent, and one whose driver has no such command", async () => {
  await assertRejects(() => readCxlDeviceHealth("mem4242", {}), BusbarError, "/dev/cxl/mem4242");
  using other = Descriptor.open("/dev/null", true);
  const ask = (_memdev: string, sizeBytes: number): Promise<Uint8Array> => cxlHealthInfo(other, sizeBytes);
  assert(await readCxlDeviceHealth("mem0", {}, ask) instanceof Unknown);
});

Deno.test("the tool: once, over time, beyond a threshold, with and without serial numbers", async () => {
  const once = await runTool("health", ["soft:nvme", "--json"]);
  assertEquals(once.code, 0, once.stderr);
  assertEquals(schemaErrors(healthSchema(), JSON.parse(once.stdout)), "");
  assert(!once.stdout.includes("BUSBAR-SOFT-0001"));
  const hot = await runTool("health", [
    "soft:nvme?fault=temperature%3D350",
    "--threshold",
    "nvme_temperature_celsius>70",
    "--json",
  ]);
  assertEquals(hot.code, 1);
  const { beyond } = JSON.parse(hot.stdout);
  assertEquals(beyond.map(({ threshold }: { threshold: string }) => threshold), [
    "nvme_critical_warning!=0",
    "nvme_temperature_celsius>70",
  ]);
  const open = await runTool("health", ["soft:nvme", "--openmetrics", "--serials"]);
  assertStringIncludes(open.stdout, 'serial="BUSBAR-SOFT-0001"');
  assert(open.stdout.endsWith("# EOF\n"));
  const watched = await runTool("health", ["soft:nvme", "--watch", "1s", "--count", "2", "--json"]);
  const lines = watched.stdout.trim().split("\n");
  assertEquals(lines.map((line) => schemaErrors(healthSchema(), JSON.parse(line))), ["", ""]);
});

Deno.test("bad days: a drive that is gone, one that is absent, wrong words", async () => {
  const gone = await runTool("health", [`soft:nvme?fault=${encodeURIComponent("cfs,queue=admin,opcode=2")}`, "--json"]);
  assertEquals(gone.code, 3);
  const [device] = JSON.parse(gone.stdout).devices;
  assertEquals(device.metrics.map(({ name, value }: { name: string; value: string }) => [name, value]), [[
    "busbar_device_up",
    "0",
  ]]);
  await badInputIsExplained("health", [
    [["/dev/nvme77"], 3, "absent", "nvme77"],
    [["file:x"], 2, "usage", "file:x"],
    [["soft:nvme", "--threshold", "warm>1"], 2, "usage", "warm"],
    [["soft:nvme", "--watch", "100ms"], 2, "usage", "1 s at the least"],
    [["soft:nvme", "--listen", "9944"], 2, "usage", "9944"],
    [["soft:nvme", "--listen", "192.0.2.1:1"], 3, "io", "192.0.2.1"],
  ], healthSchema());
});
