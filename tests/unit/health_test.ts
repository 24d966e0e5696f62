/** Metrics as text, thresholds, a week of looks, the listener against hostile clients. */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";

import { decodeTable } from "../../src/core/decoded.ts";
import { BusbarError, type ErrorCode } from "../../src/core/error.ts";
import { type DeviceSample, HealthMonitor, metricNames, parseThreshold } from "../../src/core/health_monitor.ts";
import { textLines } from "../../src/core/layout_text.ts";
import { formatMetrics, type MetricRow } from "../../src/core/metrics.ts";
import { CXL_HEALTH_INFO, readCxlDeviceHealth } from "../../src/cxl/device_health.ts";
import { readCxlEvents } from "../../src/cxl/health.ts";
import { Unknown } from "../../src/core/fact.ts";
import { isLoopback, MetricsListener, parseListenAddress } from "../../tools/health/listener.ts";
import { HEALTH_METRICS } from "../../tools/health/targets.ts";
import { MadeUpMachine } from "./machines.ts";

const HOT: MetricRow = { name: "busbar_hot_celsius", type: "gauge", help: 'How "hot".' };
const BAD: MetricRow = { name: "busbar_bad", type: "counter", help: "Bad things." };

function sample(device: string, hot: number, bad: bigint, problem: string | null = null): DeviceSample {
  const labels = { device };
  const values = [{ row: HOT, labels, value: hot }, { row: BAD, labels: { ...labels, error: "x" }, value: bad }];
  return { device, values: problem === null ? values : [], problem };
}

Deno.test("the text of metrics: OpenMetrics 1.0 and the older form differ where the specifications do", () => {
  const values = [
    { row: BAD, labels: { device: 'a"b\\c\nd' }, value: 2n ** 100n },
    { row: HOT, labels: {}, value: 1.5 },
    { row: BAD, labels: { device: "e" }, value: 0n },
  ];
  assertEquals(
    formatMetrics(values, "openmetrics"),
    '# HELP busbar_bad Bad things.\n# TYPE busbar_bad counter\nbusbar_bad_total{device="a\\"b\\\\c\\nd"} ' +
      '1267650600228229401496703205376\nbusbar_bad_total{device="e"} 0\n# HELP busbar_hot_celsius How \\"hot\\".\n' +
      "# TYPE busbar_hot_celsius gauge\nbusbar_hot_celsius 1.5\n# EOF\n",
  );
  const older = formatMetrics(values, "prometheus");
  assertStringIncludes(older, "# TYPE busbar_bad_total counter\n");
  assert(!older.includes("# EOF"));
  for (const { name, help } of HEALTH_METRICS) {
    assert(/^busbar_[a-z][a-z0-9_]*$/.test(name) && !name.endsWith("_total"), name);
    assert(help.endsWith("."), name);
  }
});

Deno.test("thresholds: crossed once, told once, told when it is over, and not over while nobody can tell", () => {
  const known = metricNames([HOT, BAD]);
  const monitor = new HealthMonitor([
    parseThreshold("hot_celsius>70", known),
    parseThreshold("+busbar_bad_total>0", known),
  ]);
  const take = (second: number, one: DeviceSample): string[] =>
    monitor.take(1000 * second, [one]).map(({ kind, text }) => `${kind} ${text}`);
  assertEquals(take(0, sample("d", 40, 5n)), []);
  assertEquals(take(1, sample("d", 75, 5n)), ["beyond hot_celsius is 75: beyond hot_celsius>70"]);
  assertEquals(take(2, sample("d", 76, 7n)), ["beyond bad{error=x} grew by 2: beyond +busbar_bad_total>0"]);
  assertEquals(take(3, sample("d", 0, 0n, "gone")), ["lost gone"]);
  assertEquals(monitor.breaches.length, 2, "of a device that is gone nobody knows that it is cool");
  assertEquals(take(4, sample("d", 40, 7n)), [
    "found it can be read again",
    "back no longer beyond hot_celsius>70",
    "back no longer beyond +busbar_bad_total>0",
  ]);
  for (const text of ["hot_celsius", "cold>1", "hot_celsius>x", "hot_celsius=>1"]) {
    assertEquals(assertThrows(() => parseThreshold(text, known), BusbarError).code, "usage", text);
  }
});

Deno.test("a week of looks, ten seconds apart, at twenty devices: what is kept does not grow", () => {
  const monitor = new HealthMonitor([parseThreshold("hot_celsius>70", metricNames([HOT]))]);
  const kept = (): number =>
    JSON.stringify([monitor.samples, monitor.breaches], (_, value) => typeof value === "bigint" ? String(value) : value)
      .length;
  const devices = Array.from({ length: 20 }, (_, i) => `nvme${i}`);
  let events = 0;
  let afterAnHour = 0;
  for (let look = 0; look < 7 * 24 * 360; look++) {
    // Hot for a minute in each hour, gone for a minute in another.
    const minute = Math.floor(look / 6) % 60;
    const all = devices.map((device) =>
      sample(device, minute === 30 ? 75 : 40, 1_000_000n + BigInt(look), minute === 45 ? "gone" : null)
    );
    events += monitor.take(10_000 * look, all).length;
    if (look === 359) afterAnHour = kept();
  }
  assertEquals(events, 7 * 24 * 20 * 4);
  assertEquals(kept(), afterAnHour);
});

Deno.test("CXL events: lines of the device in the trace; not known while nobody traces", () => {
  const machine = new MadeUpMachine();
  const count = (): unknown => readCxlEvents(machine, "mem1", {});
  assert(count() instanceof Unknown);
  machine.file("/sys/kernel/tracing/events/cxl/enable", "0\n").file("/sys/kernel/tracing/trace", "");
  assert(count() instanceof Unknown);
  machine.file("/sys/kernel/tracing/events/cxl/enable", "1\n").file(
    "/sys/kernel/tracing/trace",
    "# tracer: nop\n irq-1 [000] ..... 1.0: cxl_poison: memdev=mem1 host=0000:01:00.0 serial=1\n" +
      " irq-1 [000] ..... 2.0: cxl_poison: memdev=mem10 host=x\n irq-1 [000] ..... 3.0: cxl_dram: memdev=mem1 host=x\n",
  );
  const values = readCxlEvents(machine, "mem1", {});
  assert(Array.isArray(values));
  assertEquals(values.filter(({ value }) => value !== 0).map(({ labels, value }) => [labels.event, value]), [
    ["cxl_dram", 1],
    ["cxl_poison", 1],
  ]);
});

/** As the kernel's own mock of a device answers (tools/testing/cxl/test/mem.c, mock_health_info): its numbers, byte by byte. */
const MOCK = Uint8Array.of(0x07, 3, 0x18, 15, 25, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0);

Deno.test("a CXL device's health: the kernel's mock device; what is not reported; a command that it has not", async () => {
  const read = async (answer: Uint8Array): Promise<Record<string, number>> => {
    const values = await readCxlDeviceHealth("mem0", {}, () => Promise.resolve(answer));
    assert(Array.isArray(values));
    return Object.fromEntries(values.map(({ row, value }) => [row.name.replace("busbar_cxl_", ""), Number(value)]));
  };
  assertEquals(await read(MOCK), {
    health_status: 7,
    media_status: 3,
    additional_status: 0x18,
    used_ratio: 0.15,
    temperature_celsius: 25,
    dirty_shutdowns: 10,
    corrected_volatile_errors: 20,
    corrected_persistent_errors: 30,
  });
  const text = JSON.stringify(textLines(decodeTable(CXL_HEALTH_INFO, MOCK).rows));
  for (const part of ["all data is lost", "Maintenance is needed", "critical", "warning", "25 °C", "15 %"]) {
    assertStringIncludes(text, part);
  }
  const [status = 0, media = 0, more = 0, ...rest] = MOCK;
  const cold = await read(Uint8Array.of(status, media, more, 0xff, 0xf6, 0xff, ...rest.slice(3)));
  assertEquals([cold.temperature_celsius, cold.used_ratio], [-10, undefined]);
  const unknown = await read(Uint8Array.of(status, media, more, 0xff, 0xff, 0x7f, ...rest.slice(3)));
  assertEquals([unknown.temperature_celsius, unknown.used_ratio], [undefined, undefined]);
  await assertRejects(() => read(MOCK.subarray(0, 17)), BusbarError, "17 bytes of 18");
  const failing = (code: ErrorCode): Promise<unknown> =>
    readCxlDeviceHealth("mem0", {}, () => Promise.reject(new BusbarError(code, "no")));
  assert(await failing("unsupported") instanceof Unknown);
  await assertRejects(() => failing("permission"), BusbarError, "no");
});

async function request(port: number, text: string): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(text));
  return await readAll(connection);
}

async function readAll(connection: Deno.TcpConn): Promise<string> {
  const buffer = new Uint8Array(65_536);
  let text = "";
  try {
    for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
      text += new TextDecoder().decode(buffer.subarray(0, count));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
  return text;
}

Deno.test("the listener answers GET /metrics alone, in the form that was asked for, and survives hostile clients", async () => {
  const listener = new MetricsListener({ hostname: "127.0.0.1", port: 0 }, (format) => `${format}\n`, {
    connections: 8,
    connectionMs: 300,
  });
  const serving = listener.serve();
  const { port } = listener;
  try {
    assertStringIncludes(await request(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "\r\n\r\nprometheus\n");
    const open = await request(
      port,
      "GET /metrics?x=1 HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n",
    );
    assertStringIncludes(open, "\r\n\r\nopenmetrics\n");
    assertStringIncludes(open, "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n");
    assert((await request(port, "POST /metrics HTTP/1.1\r\n\r\n")).startsWith("HTTP/1.1 405 "));
    assert((await request(port, "GET / HTTP/1.1\r\n\r\n")).startsWith("HTTP/1.1 404 "));
    assert((await request(port, "GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n")).startsWith("HTTP/1.1 404 "));
    assert((await request(port, "nonsense\r\n\r\n")).startsWith("HTTP/1.1 400 "));
    // What is sent beyond the limit is not read, so the answer may be lost with the connection.
    const long = await request(port, `GET /metrics HTTP/1.1\r\nX: ${"a".repeat(9000)}`);
    assert(long === "" || long.startsWith("HTTP/1.1 400 "), long);
    // Eight that say nothing: the ninth is closed at once, and after their time they are closed too.
    const silent = await Promise.all(Array.from({ length: 8 }, () => Deno.connect({ hostname: "127.0.0.1", port })));
    await new Promise((resolve) => setTimeout(resolve, 50));
    assertEquals(await request(port, "GET /metrics HTTP/1.1\r\n\r\n").catch(() => ""), "");
    const started = performance.now();
    assertEquals(await Promise.all(silent.map(readAll)), Array(8).fill(""));
    assert(performance.now() - started < 3000);
    for (const connection of silent) connection.close();
    assertStringIncludes(await request(port, "GET /metrics HTTP/1.0\r\n\r\n"), "prometheus");
  } finally {
    listener[Symbol.dispose]();
    await serving;
  }
});

Deno.test("addresses to listen on", () => {
  assertEquals(parseListenAddress("127.0.0.1:9944"), { hostname: "127.0.0.1", port: 9944 });
  assertEquals(parseListenAddress("[::1]:0"), { hostname: "::1", port: 0 });
  for (const text of ["9944", "127.0.0.1", "::1:9944", "a:99999", ""]) {
    assertThrows(() => parseListenAddress(text), BusbarError);
  }
  assertEquals(["127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "10.0.0.1", "127.evil.org"].map(isLoopback), [
    ...[true, true, true, true],
    ...[false, false, false],
  ]);
});
