/**
 * Counter mode: the delay of each epoch from a CSV of counters, without accesses.
 * @module
 */

import { BusbarError } from "../../src/core/error.ts";
import { type CounterDelay, counterDelay, type EpochCounters } from "../../src/sim/models/counters.ts";
import { buildNetwork } from "../../src/sim/engine/network.ts";
import { nsOf } from "../../src/sim/units.ts";
import { print, printJson } from "../cli/output.ts";
import { columns } from "../cli/table.ts";
import { configEcho, configHash } from "./echo.ts";
import { readText } from "./files.ts";
import type { Settings } from "./settings.ts";

const COLUMNS = ["stall_cycles", "llc_hits", "llc_misses", "socket_reads", "socket_writebacks"] as const;

/** The weight of a miss when `-w` is not given: the first branch of the reference. */
const DEFAULT_WEIGHT = 4.1;

/**
 * Reads counters: a head with `stall_cycles,llc_hits,llc_misses,socket_reads,socket_writebacks`, then for each endpoint
 * `read_share_1,write_share_1,…` where they are known, and a line for each epoch. Without shares every endpoint has as much.
 *
 * @throws {BusbarError} `malformed`, with the line
 */
export function parseCounters(text: string, path: string, endpoints: number): EpochCounters[] {
  const wrong = (line: number, what: string): BusbarError =>
    new BusbarError("malformed", `${path}:${line}: ${what}`, {
      operation: "read the counters",
      path,
      hint: `the first line is ${COLUMNS.join(",")}, then read_share_1,write_share_1 and so on`,
    });
  const lines = text.split("\n").map((line) => line.trim());
  const first = lines.findIndex((line) => line !== "" && !line.startsWith("#"));
  const head = (lines[first] ?? "").split(",").map((name) => name.trim());
  for (const name of COLUMNS) if (!head.includes(name)) throw wrong(first + 1, `there is no column ${name}`);
  const rows: EpochCounters[] = [];
  for (const [i, line] of lines.entries()) {
    if (i <= first || line === "" || line.startsWith("#")) continue;
    const fields = line.split(",").map((field) => Number(field.trim() === "" ? NaN : field));
    if (fields.length !== head.length) throw wrong(i + 1, `${fields.length} fields under ${head.length} names`);
    const value = (name: string, fallback: number): number => {
      const at = head.indexOf(name);
      const found = at < 0 ? fallback : fields[at] ?? NaN;
      if (!(found >= 0 && Number.isFinite(found))) throw wrong(i + 1, `${name} is no number of zero or more`);
      return found;
    };
    const shares = (kind: string): number[] => {
      const found = Array.from({ length: endpoints }, (_, n) => value(`${kind}_share_${n + 1}`, 1 / endpoints));
      const sum = found.reduce((total, one) => total + one, 0);
      if (sum > 1 + 1e-9) throw wrong(i + 1, `the ${kind} shares add up to ${sum}`);
      return found;
    };
    rows.push({
      stallCycles: value("stall_cycles", 0),
      llcHits: value("llc_hits", 0),
      llcMisses: value("llc_misses", 0),
      socketReads: value("socket_reads", 0),
      socketWritebacks: value("socket_writebacks", 0),
      readShare: shares("read"),
      writeShare: shares("write"),
    });
  }
  return rows;
}

/** Runs counter mode and prints what came of it. */
export async function runCounters(path: string, settings: Settings, json: boolean): Promise<void> {
  const { config } = settings;
  const { path: ticks } = buildNetwork(config.topology, { ...config, localLatencyNs: config.dramLatencyNs });
  const pathNs = config.topology.endpoints.map(({ number }) =>
    [nsOf(ticks[number * 2] as number), nsOf(ticks[number * 2 + 1] as number)] as const
  );
  const rows = parseCounters(readText(path, "the counters"), path, pathNs.length);
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
