/**
 * Counter mode: the delay of each epoch from a CSV of counters, without accesses.
 * @module
 */

import { type CounterDelay, counterDelay } from "../../src/sim/models/counters.ts";
import { buildNetwork } from "../../src/sim/engine/network.ts";
import { readCounters } from "../../src/sim/trace/counters.ts";
import { nsOf } from "../../src/sim/units.ts";
import { print, printJson } from "../cli/output.ts";
import { columns } from "../cli/table.ts";
import { configEcho, configHash } from "./echo.ts";
import { readText } from "./files.ts";
import type { Settings } from "./settings.ts";

/** The weight of a miss when `-w` is not given: the first branch of the reference. */
const DEFAULT_WEIGHT = 4.1;

/** Runs counter mode and prints what came of it. */
export async function runCounters(path: string, settings: Settings, json: boolean): Promise<void> {
  const { config } = settings;
  const { path: ticks } = buildNetwork(config.topology, { ...config, localLatencyNs: config.dramLatencyNs });
  const pathNs = config.topology.endpoints.map(({ number }) =>
    [nsOf(ticks[number * 2] as number), nsOf(ticks[number * 2 + 1] as number)] as const
  );
  const rows = readCounters(readText(path, "the counters"), path);
  const missWeight = settings.weight?.mean ?? DEFAULT_WEIGHT;
  const delays: CounterDelay[] = rows.map((row) =>
    counterDelay(row, {
      frequencyMHz: settings.frequencyMHz,
      missWeight,
      dramLatencyNs: config.dramLatencyNs[0],
      pathNs,
    })
  );
  const nativeNs = rows.length * config.epochNs;
  const delayNs = delays.reduce((sum, one) => sum + one.delayNs, 0);
  const echo = configEcho(config);
  if (json) {
    return printJson({
      schema: "cxl_sim_counters/1",
      source: path,
      config: echo,
      configHash: await configHash(echo),
      missWeight,
      frequencyMHz: settings.frequencyMHz,
      epochs: delays,
      time: {
        nativeNs,
        delayNs,
        simulatedNs: nativeNs + delayNs,
        slowdown: nativeNs === 0 ? null : (nativeNs + delayNs) / nativeNs,
      },
    });
  }
  print([
    `${path}: ${rows.length} epochs of ${config.epochNs} ns, miss weight ${missWeight}`,
    ...columns([
      ["epoch", "stall ns", "read misses", "writeback misses", "delay ns"],
      ...delays.map((one, i) =>
        [String(i), one.stallNs, one.readMisses, one.writebackMisses, one.delayNs].map((value) => String(value))
      ),
    ]),
    `delay ${delayNs} ns, slowdown ${nativeNs === 0 ? "-" : ((nativeNs + delayNs) / nativeNs).toFixed(4)}`,
  ].join("\n"));
}
