/**
 * `health`: how devices are, once, over time, and for Prometheus.
 * @module
 */

import { Command, type CommandUnknownOpts, Option } from "@commander-js/extra-typings";

import { pause } from "../src/core/deadline.ts";
import { BusbarError } from "../src/core/error.ts";
import { HealthMonitor, metricNames, parseThreshold } from "../src/core/health_monitor.ts";
import { formatMetrics, type MetricFormat } from "../src/core/metrics.ts";
import { timeOption, wholeNumber } from "./cli/arguments.ts";
import { onlyWith } from "./cli/applicable.ts";
import { note, print, printJson, printJsonLine, printSchema } from "./cli/output.ts";
import { interruption, raiseExitStatus, run } from "./cli/run.ts";
import { isLoopback, MetricsListener, parseListenAddress } from "./health/listener.ts";
import { HEALTH_METRICS, type Target, targetsOf } from "./health/targets.ts";
import { eventLine, healthJson, healthLines, healthSchema } from "./render/health/health.ts";

/** What is bad on any machine, whatever the user thinks. */
const USUAL_THRESHOLDS: readonly string[] = [
  "nvme_critical_warning!=0",
  "+nvme_media_errors>0",
  "+pci_fatal_errors>0",
  "cxl_health_status!=0",
  "cxl_media_status!=0",
];
/** No drive's numbers change faster, and each look is a command to it. */
const SHORTEST_INTERVAL_MS = 1000;
const USUAL_INTERVAL_MS = 10_000;

function collect(text: string, before: readonly string[]): string[] {
  return [...before, text];
}

/** The command line of `health`. */
export const command: CommandUnknownOpts = new Command("health")
  .description("Show how devices are: SMART, errors, links, CXL events; over time, with thresholds, for Prometheus.")
  .argument(
    "[device...]",
    "nvme0, 0000:01:00.0, mem0 or soft:nvme; all drives, GPUs, network and CXL devices by default",
  )
  .addOption(
    timeOption("--watch [time]", "look again every 10 s, or in this time, 1 s at the least; tell what changes"),
  )
  .option("--count <n>", "with --watch or --listen: end after so many looks", wholeNumber)
  .addOption(
    new Option("--threshold <rule>", "nvme_temperature_celsius>70; +NAME>0 for growth; beyond it the status is 1")
      .argParser(collect).default([], "none"),
  )
  .option("--openmetrics", "print the metrics in the text form OpenMetrics")
  .option("--listen <address>", "answer GET /metrics for Prometheus, as in 127.0.0.1:9944, from the last look")
  .option("--serials", "with serial numbers, which ordinary users cannot always read")
  .option("--json", "print one JSON document; with --watch a line for each look")
  .option("--json-schema", "print the schema of --json, and stop")
  .action(async (devices, options, self) => {
    if (options.jsonSchema) return printSchema(healthSchema());
    const { watch, listen } = options;
    onlyWith(self, watch !== undefined || listen !== undefined, ["--count"], "--watch");
    if (watch !== undefined && watch !== true && watch < SHORTEST_INTERVAL_MS) {
      throw new BusbarError("usage", "--watch: 1 s at the least, since each look is a command to the drive");
    }
    const known = metricNames(HEALTH_METRICS);
    const monitor = new HealthMonitor(
      [...USUAL_THRESHOLDS, ...options.threshold].map((text) => parseThreshold(text, known)),
    );
    await using targets = disposed(targetsOf(devices, options.serials === true));
    const look = async (): Promise<void> => {
      const samples = await Promise.all(targets.all.map((target) => target.read()));
      const events = monitor.take(Date.now(), samples);
      if (monitor.breaches.length > 0) raiseExitStatus("no");
      if (monitor.samples.every(({ problem }) => problem !== null)) raiseExitStatus("unreachable");
      if (options.openmetrics) return print(text("openmetrics").trimEnd());
      const isStream = watch !== undefined || listen !== undefined;
      if (options.json) return (isStream ? printJsonLine : printJson)(healthJson(monitor, events));
      if (listen === undefined && (!isStream || isFirst || Deno.stdout.isTerminal())) {
        print(healthLines(monitor).join("\n"));
      }
      if (!isFirst || listen !== undefined) { for (const event of events) print(eventLine(event)); }
      isFirst = false;
    };
    const text = (format: MetricFormat): string =>
      formatMetrics(monitor.samples.flatMap(({ values }) => values), format);
    let isFirst = true;
    using listener = listen === undefined ? null : listenAt(listen, text);
    await look();
    if (watch === undefined && listen === undefined) return;
    const intervalMs = watch === undefined || watch === true ? USUAL_INTERVAL_MS : watch;
    const serving = listener?.serve();
    for (let n = 1; n < (options.count ?? Infinity); n++) {
      await pause(intervalMs, interruption);
      await look();
    }
    listener?.[Symbol.dispose]();
    await serving;
  });

function listenAt(text: string, metrics: (format: MetricFormat) => string): MetricsListener {
  const address = parseListenAddress(text);
  const listener = new MetricsListener(address, metrics);
  note(`health: listening on ${address.hostname}:${listener.port}`);
  if (!isLoopback(address.hostname)) {
    note("health: whoever reaches this address can read the metrics: there is no authentication");
  }
  return listener;
}

function disposed(all: readonly Target[]): { readonly all: readonly Target[] } & AsyncDisposable {
  return {
    all,
    async [Symbol.asyncDispose](): Promise<void> {
      for (const target of all) await target[Symbol.asyncDispose]();
    },
  };
}

if (import.meta.main) await run(command);
